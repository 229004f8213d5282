//! The keys of a source of kind `host`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use paquebot_actors::source::{HOST_FIELDS, HostOptions, Level, Metric, Side};

use super::SourceKind;
use crate::config::kind;
use crate::config::loading::Reported;
use crate::config::problem::Fault;
use crate::config::recipe::Recipe;
use crate::config::section::Section;

const METRICS: [(&str, Metric); 5] = [
    ("cpu_percent", Metric::CpuPercent),
    ("memory_percent", Metric::MemoryPercent),
    ("disk_percent", Metric::DiskPercent),
    ("load1", Metric::Load1),
    ("temperature_celsius", Metric::TemperatureCelsius),
];
/// Nobody hears of what lasts for less than a day only after that.
const LASTING: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
const PATH_DEFAULT: &str = "/";

pub(super) fn read(section: &mut Section<'_>, name: Option<&str>) -> Result<SourceKind, Reported> {
    let metric = section.required("metric", &kind::choice(&METRICS, &[]));
    let path = match metric {
        Ok(Metric::DiskPercent) => section.optional(
            "path",
            &kind::path(section.loading().folder()),
            PathBuf::from(PATH_DEFAULT),
        ),
        Ok(_) => {
            section.without_effect("path", "only metric = \"disk_percent\" looks at a path");
            Ok(PathBuf::from(PATH_DEFAULT))
        }
        Err(reported) => {
            // It may have been meant, or not.
            drop(section.maybe("path", &kind::path(section.loading().folder())));
            Err(reported)
        }
    };
    let threshold = read_threshold(section);
    if let (Ok(metric), Ok((side, level))) = (&metric, &threshold) {
        check_reach(section, *metric, *side, *level);
    }
    let clear = read_clear(section, threshold.as_ref().ok());
    let lasting = section.optional("for", &kind::duration(LASTING), Duration::ZERO);
    let recipe = Recipe::read(section, name, &HOST_FIELDS);
    let (side, threshold) = threshold?;
    let clear = clear?.unwrap_or(threshold);
    let (metric, path, lasting) = (metric?, path?, lasting?);
    let options = HostOptions { metric, path, side, threshold, clear, lasting };
    Ok(SourceKind::Host { options, recipe: recipe? })
}

fn read_threshold(section: &mut Section<'_>) -> Result<(Side, Level), Reported> {
    let above = section.maybe("above", &kind::number().map(Level::of));
    let below = section.maybe("below", &kind::number().map(Level::of));
    match (above?, below?) {
        (Some(above), None) => Ok((Side::Above, above)),
        (None, Some(below)) => Ok((Side::Below, below)),
        (None, None) => {
            let expected = "`above` or `below`".to_owned();
            Err(section.complain("above", Fault::Missing { expected }))
        }
        (Some(_), Some(_)) => {
            let reason = "there is `above`, and one side of one threshold is watched";
            Err(section.complain("below", Fault::NoEffect { reason }))
        }
    }
}

/// A threshold that no figure passes makes no event.
fn check_reach(section: &Section<'_>, metric: Metric, side: Side, level: Level) {
    let most = match metric {
        Metric::CpuPercent | Metric::MemoryPercent | Metric::DiskPercent => 100.0,
        Metric::Load1 => f64::INFINITY,
        Metric::TemperatureCelsius => return,
    };
    let figure = level.figure();
    let (key, passable, expected) = match side {
        Side::Above => ("above", figure < most, "less than 100"),
        Side::Below => ("below", figure > 0.0, "more than 0"),
    };
    if passable {
        return;
    }
    let expected = format!("{expected}: a {} passes no other threshold", metric.name());
    section.complain(key, Fault::Value { expected, found: figure.to_string() });
}

/// Where the way back ends: not beyond the threshold, or nothing would ever be cleared for good.
fn read_clear(
    section: &mut Section<'_>,
    threshold: Option<&(Side, Level)>,
) -> Result<Option<Level>, Reported> {
    let clear = section.maybe("clear", &kind::number().map(Level::of))?;
    if let (Some(clear), Some((side, threshold))) = (clear, threshold) {
        let (wrong, expected) = match side {
            Side::Above => (clear > *threshold, "no more than `above`"),
            Side::Below => (clear < *threshold, "no less than `below`"),
        };
        if wrong {
            let expected = format!("{expected}, which is {}", threshold.figure());
            let found = clear.figure().to_string();
            return Err(section.complain("clear", Fault::Value { expected, found }));
        }
    }
    Ok(clear)
}
