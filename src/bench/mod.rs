//! The command `bench`: a real client and a real server, as processes over loopback with real
//! fsyncs; and, to compare with, the plainest pipe that makes the same promise.
//!
//! The two run alternately in one call, because the machine beneath is never quite the same twice.

mod child;
mod ideal;
mod load;
mod pipe;
mod report;
pub(crate) mod usage;

use std::path::PathBuf;

use crate::cli::{BenchArgs, LoadArgs, Part};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};

use pipe::Pipe;
use report::{Figures, Report};

/// Runs the measurement and prints its figures.
///
/// # Errors
/// When a process cannot be started or ends early.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    check(args)?;
    let (parent, kept) = directory(args)?;
    let load = LoadArgs {
        packets: args.packets,
        size: args.size,
        in_flight: args.in_flight,
        targets: args.targets,
    };
    let mut ours: Vec<Figures> = Vec::new();
    let mut ideals: Vec<Figures> = Vec::new();
    for run in 1..=args.runs {
        remark(&format!("bench: run {run} of {}", args.runs));
        let dir = parent.join(format!("run-{run}"));
        ours.push(Pipe::start(&dir, args)?.measure(load)?);
        clear(&dir)?;
        if args.ideal {
            ideals.push(ideal::measure(&dir, load)?);
            clear(&dir)?;
        }
    }
    if !kept {
        clear(&parent)?;
    }
    let report = Report::new(args, &ours, &ideals);
    if args.json { say(&format!("{:#}", report.json())) } else { say(&report.table()) }
}

/// Runs one of the processes of a measurement.
///
/// # Errors
/// When it cannot do its part.
pub fn part(part: Part) -> Result<(), Failure> {
    match part {
        Part::Client { config, load } => load::client(config, load),
        Part::IdealSender { to, file, load } => ideal::send(to, &file, load),
        Part::IdealReceiver { file } => ideal::receive(&file),
    }
}

fn check(args: &BenchArgs) -> Result<(), Failure> {
    let numbers = [
        ("--packets", args.packets),
        ("--in-flight", args.in_flight),
        ("--targets", args.targets),
        ("--runs", args.runs as u64),
        ("--size", args.size as u64),
    ];
    match numbers.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => {
            Err(Failure::new(Code::Usage, format!("{name}: expected 1 or more, found 0")))
        }
        None => Ok(()),
    }
}

/// Where the stores lie: on the disk of the current directory, not in a temporary file system that
/// may be memory.
fn directory(args: &BenchArgs) -> Result<(PathBuf, bool), Failure> {
    let (dir, kept) = match &args.dir {
        Some(dir) => (dir.clone(), true),
        None => (PathBuf::from(format!("paquebot-bench-{}", std::process::id())), false),
    };
    let made = std::fs::create_dir_all(&dir).and_then(|()| dir.canonicalize());
    let dir = made.map_err(Failure::of(Code::Io, &dir.display().to_string()))?;
    Ok((dir, kept))
}

fn clear(dir: &std::path::Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(Code::Io, format!("{}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}
