//! Logs on standard error, and metrics for Prometheus.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::{Code, Failure};

/// The variable that sets what is logged, in the syntax of `tracing`'s filters.
const LOG_VARIABLE: &str = "PAQUEBOT_LOG";

/// How often histograms fold what was recorded; without it memory would grow while nobody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// 50 µs to 60 s.
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 30.0, 60.0,
];

/// Packets of one commit.
const PACKETS: [f64; 8] = [1.0, 10.0, 100.0, 1_000.0, 4_000.0, 10_000.0, 40_000.0, 100_000.0];

/// Whether standard error takes colours.
#[must_use]
pub fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// Begins to log.
///
/// # Errors
/// When the variable says something that is no filter: a level that is none would silence everything.
pub fn log() -> Result<(), Failure> {
    let said = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let said = if said.is_empty() { "info".to_owned() } else { said };
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let words = said.split(',').map(str::trim);
    let unknown = words.filter(|word| !word.contains(['=', ':', '['])).find(|word| !is_level(word));
    let wrong = |found: &str| {
        let expected =
            "error, warn, info, debug, trace or off, or a filter such as info,paquebot=debug";
        Failure::new(Code::Usage, format!("{LOG_VARIABLE}: expected {expected}; found {found:?}"))
    };
    if let Some(unknown) = unknown {
        return Err(wrong(unknown));
    }
    let filter = EnvFilter::try_new(&said).map_err(|_| wrong(&said))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .with_target(false)
        .init();
    Ok(())
}

/// Begins to count; the handle renders what was counted.
///
/// # Errors
/// When something in this process counts already.
pub fn metrics() -> Result<PrometheusHandle, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Code::Internal, format!("metrics cannot be recorded: {error}"))
    };
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_packets".into()), &PACKETS)
        })
        .map_err(|error| failed(&error))?
        .install_recorder()
        .map_err(|error| failed(&error))?;
    paquebot_actors::meters::describe();
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("PAQUEBOT_COMMIT").unwrap_or("unknown");
    metrics::gauge!("paquebot_build_info", "version" => version, "commit" => commit).set(1.0);
    Ok(handle)
}
