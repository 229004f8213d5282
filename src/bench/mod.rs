//! The command `bench`: real clients and a real server, as processes over loopback with real fsyncs;
//! and, to compare with, the most that is possible with the same promise.
//!
//! The two run alternately in one call, because the machine beneath is never quite the same twice.

mod args;
mod child;
mod empty_http;
mod figures;
mod ideal;
mod load;
mod log;
mod pipe;
mod poster;
mod progress;
mod report;
pub(crate) mod usage;

use std::path::{Path, PathBuf};

use crate::exit::{Code, Failure};
use crate::print::say;

pub use args::{BenchArgs, BenchHandler, BenchPart, BenchSource, LoadArgs, Part, Phase};
use figures::Figures;
use pipe::Pipe;
use progress::Progress;
use report::Report;

/// Runs the measurement and prints its figures.
///
/// # Errors
/// When a process cannot be started or ends early.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    check(args)?;
    let (parent, kept) = directory(args)?;
    let mut ours: Vec<Figures> = Vec::new();
    let mut ideals: Vec<Figures> = Vec::new();
    for run in 1..=args.runs {
        let dir = parent.join(format!("run-{run}"));
        let packets = args.seconds.is_none().then_some(args.packets);
        let progress = Progress::of(format!("run {run} of {}", args.runs), packets);
        let pipe = Pipe::prepare(&dir, args)?;
        let figures =
            if args.backlog { pipe.measure_backlog(&progress) } else { pipe.measure(&progress) }?;
        clear(&dir)?;
        if args.ideal {
            let load = LoadArgs { packets: figures.packets(), seconds: None, ..whole(args) };
            ideals.push(match args.source {
                BenchSource::Http => ideal::measure_http(load)?,
                BenchSource::Library | BenchSource::Tail => ideal::measure(&dir, load)?,
            });
            clear(&dir)?;
        }
        ours.push(figures);
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
        Part::Poster { to, load } => poster::post(to, load),
        Part::EmptyHttp => empty_http::serve(),
        Part::IdealSender { to, file, load } => ideal::send(to, &file, load),
        Part::IdealReceiver { file } => ideal::receive(&file),
    }
}

/// The load of all clients together.
fn whole(args: &BenchArgs) -> LoadArgs {
    LoadArgs { in_flight: args.in_flight(), ..args.load() }
}

fn check(args: &BenchArgs) -> Result<(), Failure> {
    let outside = args.source != BenchSource::Library;
    let found = if args.source == BenchSource::Tail && args.targets > 1 {
        "--targets: expected 1 with --source tail, whose lines all have one target"
    } else if outside && args.backlog {
        "--backlog: expected --source library with it"
    } else if args.source == BenchSource::Tail && args.warm_up > 0 {
        "--warm-up: expected --source library or http with it"
    } else {
        return Ok(());
    };
    Err(Failure::new(Code::Usage, found))
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

fn clear(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(Code::Io, format!("{}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}
