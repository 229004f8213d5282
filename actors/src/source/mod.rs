//! Sources: what turns events into packets on the client, one actor per configured source.
//!
//! Every source hands its packets over through an [`Outlet`] and hears "stored" from it.

mod condition;
pub mod directory;
mod event;
pub mod exec;
pub mod host;
mod http;
mod kinds;
mod library;
mod lines;
mod load;
mod outlet;
mod recipe;
pub mod stdin;
pub mod tail;
mod template;
pub mod timer;
mod worker;

pub use condition::Condition;
pub use directory::{DIRECTORY_FIELDS, DirectoryOptions, Then};
pub use exec::{EXEC_FIELDS, EXEC_LINE_FIELDS, ExecOptions, Output, Runs};
pub use host::{HOST_FIELDS, HostOptions, Level, Metric, Side};
pub use http::{
    HTTP_FIELDS, HttpListener, HttpOptions, HttpSource, Limited, Problem, StopSource, routes,
    with_the_rest,
};
pub use library::{LibraryLoad, LibraryReport, LibrarySource};
pub use lines::{LineOptions, LongLine};
pub use outlet::{LifetimeOf, Lifetimes, Outlet, Requester};
pub use recipe::{OnError, Recipe};
pub use stdin::STDIN_FIELDS;
pub use tail::{StartAt, TAIL_FIELDS, TailOptions};
pub use template::Template;
pub use timer::{TIMER_FIELDS, Ticks, TimerOptions};
pub use worker::Worker;
