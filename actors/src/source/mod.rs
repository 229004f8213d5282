//! Sources: what turns events into packets on the client, one actor per configured source.
//!
//! Every source hands its packets over through an [`Outlet`] and hears "stored" from it.

mod desk;
mod http;
mod http_batch;
mod http_listen;
mod library;
mod outlet;
mod problem;

pub use http::{HttpOptions, HttpSource, StopSource, routes};
pub use http_listen::{HttpListener, Limited};
pub use library::{LibraryLoad, LibraryReport, LibrarySource};
pub use outlet::{Handover, LifetimeOf, Lifetimes, Outlet};
