//! The command `doctor`: whether this machine lets the program keep its promises.
//!
//! ```text
//! config ─▶ place (each directory) ─▶ probe ──▶ fsync        what the disk does
//!                                  ├▶ mount ──▶ file_system  what it says that it is
//!                                  ├▶ device                 what is beneath it
//!                                  └▶ space                  how much fits
//!        ─▶ process, clock, reach  ─▶ finding ─▶ report
//! ```
//!
//! Each of these gathers facts and judges them apart from each other, so that the judgement can be
//! tested with facts of any machine. Software cannot see whether a disk tells the truth about a
//! flush; what looks like a lie is said, and that it was not proved.
//!
//! Never takes a lock, never opens a store's files and never says hello to a server, which would end
//! the client's own session: it can be run beside a running process. What it writes, one small file
//! a directory, it removes.

mod clock;
mod device;
mod file_system;
mod finding;
mod fsync;
mod mount;
mod place;
mod probe;
mod process;
mod reach;
mod report;
mod space;

pub use finding::{Finding, Level};

use crate::cli::ConfigArgs;
use crate::config::{Config, Loaded};
use crate::exit::{Code, Failure};
use crate::print::{say, unless_unread};
use crate::run;
use place::Place;

/// Looks at everything that the config names, and prints what was found.
///
/// # Errors
/// When the config cannot be used, or something was found that breaks a promise.
pub fn doctor(args: &ConfigArgs, json: bool) -> Result<(), Failure> {
    let Loaded { config, .. } = run::load(args)?;
    let findings = look(&config);
    if json {
        let text = serde_json::to_string_pretty(&findings);
        say(&text.map_err(Failure::of(Code::Internal, "writing JSON failed"))?)?;
    } else {
        unless_unread(report::print(&findings))?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Problem).count() {
        0 => Ok(()),
        // The last line of the report says how many, and JSON is read by programs.
        _ => Err(Failure::new(Code::Io, "")),
    }
}

fn look(config: &Config) -> Vec<Finding> {
    let places = Place::of(config);
    let mounts = mount::here();
    let mut findings = Vec::new();
    for place in &places {
        place.look(&mounts, &mut findings);
    }
    process::look(config, &mut findings);
    clock::look(&places, &mut findings);
    reach::look(config, &mut findings);
    findings
}
