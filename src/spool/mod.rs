//! The command `spool`: looks at a spool that no process uses, and mends it.
//!
//! `check`, `list` and `export` open it on a disk that is looked at and not touched: the whole
//! recovery runs in memory, so that they show what `run` would find, and every file stays as it was.

mod adopt;
mod args;
mod check;
mod export;
mod list;
mod mend;
mod offline;

pub use args::{AdoptArgs, PlaceArgs, PurgeArgs, SpoolCommand};

use crate::exit::Failure;

/// Does it.
///
/// # Errors
/// When there is no spool, a process holds it, it is damaged, or the disk refuses.
pub fn spool(command: &SpoolCommand) -> Result<(), Failure> {
    match command {
        SpoolCommand::Check { place, json } => check::check(place, *json),
        SpoolCommand::List { place, json } => list::list(place, *json),
        SpoolCommand::Export { place, target } => export::export(place, target.as_ref()),
        SpoolCommand::Repair(place) => mend::repair(place),
        SpoolCommand::Purge(args) => mend::purge(args),
        SpoolCommand::Adopt(args) => adopt::adopt(args),
    }
}
