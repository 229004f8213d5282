//! The measured client: the program's own client part, in a process of its own.
//!
//! It says that it is ready, begins when it is told to, tells every second how far it is, and ends
//! with its figures, each a line of JSON.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use paquebot_actors::clock;
use paquebot_actors::source::{LibraryLoad, LibraryReport};
use paquebot_protocol::TargetId;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::args::{BenchSource, LoadArgs, Phase};
use super::log::GrowingLog;
use crate::cli::ConfigArgs;
use crate::exit::{Code, Failure};
use crate::wiring::{ClientPart, Process};
use crate::{run, telemetry};

/// What the client says when it is about to begin.
pub(super) const READY: &str = "ready";

/// How long the client may take to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// How often the spool is asked how far it is, when no source tells.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often the client tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long a drained spool may take to give its files back, and how little is left then.
const GIVE_BACK: (Duration, u64) = (Duration::from_secs(30), 16 * 1024 * 1024);

/// Runs the client, sends the load, prints the figures.
pub(super) fn client(config: PathBuf, load: LoadArgs) -> Result<(), Failure> {
    let dir = config.parent().map(Path::to_owned).unwrap_or_default();
    let config = run::load(&ConfigArgs { config: Some(config) })?.config;
    telemetry::log()?;
    actix_rt::System::new().block_on(async {
        let process = Process::start(config).await?;
        let Some(client) = process.client() else {
            return Err(Failure::new(Code::Config, "expected a [client] part, found none"));
        };
        if load.phase == Phase::Whole {
            connected(client, CONNECT).await?;
        }
        println!("{}", json!(READY));
        actix_rt::task::spawn_blocking(told_to_begin)
            .await
            .map_err(|_| Failure::new(Code::Internal, "waiting for the word to begin failed"))?;
        let mut figures = match (load.phase, load.source) {
            (Phase::Drain, _) => drain(client).await?,
            (_, BenchSource::Library) => library(client, load).await?,
            (_, BenchSource::Http) => settled(client, load, None).await,
            (_, BenchSource::Tail) => settled(client, load, Some(GrowingLog::make(&dir)?)).await,
        };
        add(&mut figures, "wire_bytes", json!(client.view().board.sent_bytes()));
        add(&mut figures, "spool_file_bytes", json!(client.spool().status().file_bytes));
        println!("{figures}");
        // The figures of this process are read while it lives; then it is stopped from outside.
        std::future::pending::<()>().await;
        process.stop().await
    })
}

/// Adds a figure.
pub(super) fn add(figures: &mut Value, name: &str, figure: Value) {
    if let Value::Object(figures) = figures {
        figures.insert(name.to_owned(), figure);
    }
}

/// Waits for a line, or for the end of whoever would send it.
fn told_to_begin() {
    // Either way it is time.
    drop(std::io::stdin().lock().read_line(&mut String::new()));
}

async fn connected(client: &ClientPart, within: Duration) -> Result<(), Failure> {
    let connected = async {
        while client.view().board.read().state != "connected" {
            actix_rt::time::sleep(LOOK_EVERY).await;
        }
    };
    let connected = actix_rt::time::timeout(within, connected).await;
    connected.map_err(|_| Failure::new(Code::Unavailable, "the server did not welcome"))
}

/// Packets from within the process.
async fn library(client: &ClientPart, load: LoadArgs) -> Result<Value, Failure> {
    let targets = (0..load.targets).map(|at| format!("bench.{at}").parse::<TargetId>());
    let targets: Vec<_> =
        targets.collect::<Result<_, _>>().map_err(Failure::of(Code::Usage, "target"))?;
    let piece = |packets, time| LibraryLoad {
        packets,
        time,
        stored_is_enough: load.phase == Phase::Store,
        size: usize::try_from(load.size).unwrap_or(usize::MAX),
        in_flight: load.in_flight,
        targets: targets.clone(),
    };
    if load.warm_up > 0 {
        send(client, piece(load.warm_up, None)).await?;
    }
    let time = load.seconds.map(Duration::from_secs);
    let packets = if time.is_some() { u64::MAX } else { load.packets };
    let report = send(client, piece(packets, time)).await?;
    let seconds = |until: Instant| until.duration_since(report.began).as_secs_f64();
    let (first, last) = (report.stored_a_tenth, report.stored_nine_tenths);
    let mut figures = json!({
        "packets": report.packets,
        "stored_seconds": seconds(report.stored),
        "handled_seconds": seconds(report.handled),
        "stored_us": percentiles(&report.stored_us),
        "stored_first_tenth_seconds": seconds(first),
        "stored_last_tenth_seconds": seconds(report.stored) - seconds(last),
    });
    if load.phase == Phase::Whole {
        add(&mut figures, "handled_us", percentiles(&report.handled_us));
    }
    Ok(figures)
}

async fn send(client: &ClientPart, load: LibraryLoad) -> Result<LibraryReport, Failure> {
    let (done, mut reported) = oneshot::channel();
    let source = client.start_library(load, done);
    let report = loop {
        match actix_rt::time::timeout(TELL_EVERY, &mut reported).await {
            Ok(report) => break report,
            Err(_) => tell(Progress::of(client)),
        }
    };
    drop(source);
    let report = report.map_err(|_| Failure::new(Code::Internal, "the source ended early"))?;
    match &report.refused {
        Some(refused) => {
            Err(Failure::new(Code::TryLater, format!("packets were refused: {refused}")))
        }
        None => Ok(report),
    }
}

/// Packets from outside: the spool is watched until all of them have their outcome.
async fn settled(client: &ClientPart, load: LoadArgs, mut log: Option<GrowingLog>) -> Value {
    // Whoever sends warms up by itself.
    while Progress::of(client).handled < load.warm_up {
        actix_rt::time::sleep(LOOK_EVERY).await;
    }
    let began = clock::instant();
    let (mut told, mut packets) = (began, load.packets);
    let (mut stored, mut handled) = (began, began);
    loop {
        let progress = Progress::of(client).after(load.warm_up);
        let now = clock::instant();
        if let Some(seconds) = load.seconds {
            let over = now.duration_since(began) >= Duration::from_secs(seconds);
            packets = if over { progress.stored } else { u64::MAX };
        }
        if let Some(log) = &mut log {
            let room = progress.handled.saturating_add(load.in_flight).min(packets);
            log.grow_to(room, load.size);
        }
        if progress.stored < packets {
            stored = now;
        }
        if progress.handled >= packets {
            break;
        }
        handled = now;
        if now.duration_since(told) >= TELL_EVERY {
            told = now;
            tell(progress);
        }
        actix_rt::time::sleep(LOOK_EVERY).await;
    }
    let seconds = |until: Instant| until.duration_since(began).as_secs_f64();
    json!({
        "packets": Progress::of(client).after(load.warm_up).handled,
        "stored_seconds": seconds(stored),
        "handled_seconds": seconds(handled),
    })
}

/// A backlog drains, and its files are given back.
async fn drain(client: &ClientPart) -> Result<Value, Failure> {
    let packets = client.spool().status().pending_packets;
    connected(client, CONNECT).await?;
    let (began, mut told) = (clock::instant(), clock::instant());
    while client.spool().status().pending_packets > 0 {
        if told.elapsed() >= TELL_EVERY {
            told = clock::instant();
            tell(Progress::of(client));
        }
        actix_rt::time::sleep(LOOK_EVERY).await;
    }
    let drained = clock::instant();
    let (patience, left_bytes) = GIVE_BACK;
    while client.spool().status().file_bytes > left_bytes && drained.elapsed() < patience {
        actix_rt::time::sleep(LOOK_EVERY).await;
    }
    Ok(json!({
        "packets": packets,
        "stored_seconds": 0.0,
        "handled_seconds": drained.duration_since(began).as_secs_f64(),
        "given_back_seconds": drained.elapsed().as_secs_f64(),
    }))
}

/// How far the packets of this process have come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    stored: u64,
    handled: u64,
}

impl Progress {
    fn of(client: &ClientPart) -> Self {
        let lanes = client.spool().lane_states();
        let stored = lanes.iter().map(|lane| lane.next.before().0).sum();
        Self { stored, handled: lanes.iter().map(|lane| lane.acked_through.0).sum() }
    }

    /// Without the first packets.
    fn after(self, packets: u64) -> Self {
        let Self { stored, handled } = self;
        Self { stored: stored.saturating_sub(packets), handled: handled.saturating_sub(packets) }
    }
}

fn tell(progress: Progress) {
    println!("{}", json!({ "progress": progress.stored, "handled": progress.handled }));
    // Nobody listens any more when the measurement was given up.
    drop(std::io::stdout().flush());
}

/// Latencies, to three digits; grows by itself.
pub(super) fn latencies() -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed"));
    histogram.auto(true);
    histogram
}

/// The latencies that are shown.
pub(super) fn percentiles(latencies: &Histogram<u64>) -> Value {
    json!({
        "p50": latencies.value_at_quantile(0.5),
        "p90": latencies.value_at_quantile(0.9),
        "p99": latencies.value_at_quantile(0.99),
        "p999": latencies.value_at_quantile(0.999),
        "max": latencies.max(),
    })
}
