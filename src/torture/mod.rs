//! The command `torture`: real processes under faults, and the proof that nothing is lost, nothing
//! is twice and order is kept, whatever breaks.
//!
//! One server and several clients of this very program run while they are killed, frozen and
//! stopped, and while the network between them cuts, stalls, delays and corrupts. Then the faults
//! stop, everything has to drain without new input, and a checker compares what writers were told
//! with what came out. The seed decides the plan of faults; when a process does what is up to the
//! machine, so that two runs of one seed are alike and not the same.

mod account;
mod check;
mod draft;
mod evidence;
mod fleet;
mod member;
mod offence;
mod output;
mod plan;
mod post;
mod proxy;
mod receiver;
mod report;
mod route;
mod run;
mod script;
mod stage;
mod tally;
mod victim;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::TortureArgs;
use crate::exit::{Code, Failure};
use crate::print::{remark, say};

use report::Report;

/// How long what still runs in the background may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Tortures, and prints what came of it.
///
/// # Errors
/// With [`Code::Data`] when something was lost, twice, out of order or otherwise not as promised;
/// the directory is kept then.
pub fn torture(args: &TortureArgs) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    remark(&format!("torture: seed {seed}, {} s, {} clients", args.seconds, args.clients));
    remark("torture: the seed decides the plan of faults; the machine decides the rest");
    let dir = directory(seed)?;
    remark(&format!("torture: works in {}", dir.display()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::of(Code::Internal, "starting"))?;
    let ran = runtime.block_on(async {
        // It listens before there is anything to leave behind.
        let interrupted = interrupted()?;
        tokio::select! {
            ran = run::run(seed, args, &dir) => ran.map(Some),
            () = interrupted => Ok(None),
        }
    });
    // The processes die with whatever holds them.
    runtime.shutdown_timeout(SHUTDOWN);
    match ran {
        Ok(Some(report)) => finish(&report, args.json, &dir),
        Ok(None) => {
            clear(&dir);
            Err(Failure::new(Code::Internal, "torture: interrupted; every process was stopped"))
        }
        Err(Failure { code, message }) => {
            let dir = dir.display();
            Err(Failure::new(code, format!("torture: {message}\neverything is kept in {dir}")))
        }
    }
}

fn finish(report: &Report, json: bool, dir: &Path) -> Result<(), Failure> {
    if json {
        say(&format!("{:#}", report.json()))?;
    } else {
        say(&report.table())?;
    }
    if report.offences.is_empty() {
        clear(dir);
        return Ok(());
    }
    let (offences, dir) = (&report.offences, dir.display());
    let message = format!("torture: not as promised:\n{offences}everything is kept in {dir}");
    Err(Failure::new(Code::Data, message))
}

/// What a run without a finding leaves behind is of no use to anybody.
fn clear(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        remark(&format!("torture: {}: {error}", dir.display()));
    }
}

/// A directory of its own, with a short path: Unix sockets lie below it.
fn directory(seed: u64) -> Result<PathBuf, Failure> {
    let name = format!("paquebot-torture-{seed}-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).map_err(Failure::of(Code::Io, &dir.display().to_string()))?;
    Ok(dir)
}

/// Listens from now on; ends when somebody asks this process to end.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let failed = || Failure::of::<std::io::Error>(Code::Internal, "listening for signals");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
