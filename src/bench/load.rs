//! The measured client: the program's own client part, loaded by the source `library`.

use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use paquebot_actors::source::{LibraryLoad, LibraryReport};
use paquebot_protocol::TargetId;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cli::{ConfigArgs, LoadArgs};
use crate::exit::{Code, Failure};
use crate::wiring::Process;
use crate::{run, telemetry};

/// What the client says when it is connected and about to begin.
pub(super) const CLIENT_READY: &str = "ready";

/// How long the client may take to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Runs the client, sends the load, prints the figures.
pub(super) fn client(config: PathBuf, load: LoadArgs) -> Result<(), Failure> {
    let config = run::load(&ConfigArgs { config: Some(config) })?.config;
    telemetry::log()?;
    actix_rt::System::new().block_on(async {
        let process = Process::start(config).await?;
        let Some(client) = process.client() else {
            return Err(Failure::new(Code::Config, "expected a [client] part, found none"));
        };
        let connected = async {
            while client.view().board.read().state != "connected" {
                actix_rt::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let connected = actix_rt::time::timeout(CONNECT, connected).await;
        connected.map_err(|_| Failure::new(Code::Unavailable, "the server did not welcome"))?;
        println!("{}", json!(CLIENT_READY));
        let targets = (0..load.targets).map(|at| format!("bench.{at}").parse::<TargetId>());
        let targets = targets.collect::<Result<_, _>>();
        let targets = targets.map_err(Failure::of(Code::Usage, "target"))?;
        let LoadArgs { packets, size, in_flight, .. } = load;
        let (done, reported) = oneshot::channel();
        let load = LibraryLoad { packets, size, in_flight, targets };
        let source = client.start_library(load, done);
        let report = reported.await;
        let report = report.map_err(|_| Failure::new(Code::Internal, "the source ended early"))?;
        if let Some(refused) = &report.refused {
            return Err(Failure::new(Code::TryLater, format!("packets were refused: {refused}")));
        }
        drop(source);
        let wire_bytes = client.view().board.sent_bytes();
        let file_bytes = client.spool().status().file_bytes;
        println!("{}", figures(&report, packets, wire_bytes, file_bytes));
        // The figures of this process are read while it lives; then it is stopped from outside.
        actix_rt::time::sleep(CONNECT).await;
        process.stop().await
    })
}

fn figures(report: &LibraryReport, packets: u64, wire_bytes: u64, file_bytes: u64) -> Value {
    let per_second = |until: std::time::Instant| {
        packets as f64 / until.duration_since(report.began).as_secs_f64()
    };
    json!({
        "stored_per_second": per_second(report.stored),
        "handled_per_second": per_second(report.handled),
        "stored_us": percentiles(&report.stored_us),
        "handled_us": percentiles(&report.handled_us),
        "wire_bytes": wire_bytes,
        "spool_file_bytes": file_bytes,
    })
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
