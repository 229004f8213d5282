//! The source `host`: that a figure of this machine passes a threshold, and that it comes back, are
//! events.
//!
//! Decides when a state is raised and when it is cleared (`Watch`), apart from how figures are read
//! (`Gauge`). The state stands in the transaction of its packet, so a restart repeats no event and
//! forgets none: what changed meanwhile is one event when the process is back.

use std::path::PathBuf;
use std::time::Duration;

use paquebot_protocol::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysinfo::{Components, System};

use super::event::Event;
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::worker::Worker;
use crate::clock;

/// What `when` and templates can look at.
pub const HOST_FIELDS: [&str; 4] = ["metric", "value", "state", "json"];

/// Figures are looked at that often; the time that a processor was busy is measured in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The one place of such a source.
const PLACE: &[u8] = b"state";

/// A figure of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// For how much of the last second the processors were busy, all together.
    CpuPercent,
    /// How much memory is in use that the system could not give away at once.
    MemoryPercent,
    /// How full a file system is for those who are not root.
    DiskPercent,
    /// How many processes ran or wanted to, over the last minute.
    Load1,
    /// The hottest of all sensors.
    TemperatureCelsius,
}

/// A figure with three digits after the point, so that figures can be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i64);

/// Which side of a threshold is the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// More than the threshold.
    Above,
    /// Less than the threshold.
    Below,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// The figure.
    pub metric: Metric,
    /// A path on the file system that is meant, for [`Metric::DiskPercent`].
    pub path: PathBuf,
    /// Which side of `threshold` is the event.
    pub side: Side,
    /// What has to be passed for the state to be raised.
    pub threshold: Level,
    /// What has to be reached on the way back for the state to be cleared.
    pub clear: Level,
    /// For how long the threshold has to be passed without a break.
    pub lasting: Duration,
}

/// Starts to watch.
///
/// # Errors
/// When the system does not tell its figures, or no thread can be started.
pub fn start(options: HostOptions, recipe: Recipe, outlet: Outlet) -> std::io::Result<Worker> {
    let name = recipe.source.clone();
    let gauge = Gauge::new(options.metric, options.path.clone())?;
    Worker::start(&name, async move |mut stopping| {
        let kitchen = Kitchen::new(recipe, &outlet);
        Host { gauge, options, kitchen, outlet }.work(&mut stopping).await;
    })
}

impl Metric {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuPercent => "cpu_percent",
            Self::MemoryPercent => "memory_percent",
            Self::DiskPercent => "disk_percent",
            Self::Load1 => "load1",
            Self::TemperatureCelsius => "temperature_celsius",
        }
    }
}

impl Level {
    /// The nearest one.
    #[must_use]
    pub fn of(figure: f64) -> Self {
        // The cast stops at the ends, and there are no such figures.
        Self((figure * 1000.0).round() as i64)
    }

    /// The figure.
    #[must_use]
    pub fn figure(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// Whether the threshold counts as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Raised,
    #[default]
    Cleared,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }
}

/// Decides when the state changes. A figure that trembles around the threshold is one event, not many:
/// the way back leads over `clear`.
#[derive(Debug)]
struct Watch {
    side: Side,
    threshold: Level,
    clear: Level,
    lasting: Millis,
    state: State,
    beyond_since: Option<Millis>,
}

impl Watch {
    fn new(options: &HostOptions, state: State) -> Self {
        let HostOptions { side, threshold, clear, lasting, .. } = *options;
        let lasting = Millis(u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
        Self { side, threshold, clear, lasting, state, beyond_since: None }
    }

    /// Takes a figure in; gives the state when it is another one than before.
    fn look(&mut self, level: Level, now: Millis) -> Option<State> {
        let (beyond, back) = match self.side {
            Side::Above => (level > self.threshold, level <= self.clear),
            Side::Below => (level < self.threshold, level >= self.clear),
        };
        match self.state {
            State::Cleared if beyond => {
                let since = *self.beyond_since.get_or_insert(now);
                (now.since(since) >= self.lasting).then(|| self.change(State::Raised))
            }
            State::Cleared => {
                self.beyond_since = None;
                None
            }
            State::Raised => back.then(|| self.change(State::Cleared)),
        }
    }

    fn change(&mut self, state: State) -> State {
        self.state = state;
        self.beyond_since = None;
        state
    }
}

/// Reads one figure.
struct Gauge {
    metric: Metric,
    path: PathBuf,
    system: System,
    components: Components,
}

impl Gauge {
    fn new(metric: Metric, path: PathBuf) -> std::io::Result<Self> {
        let mut system = System::new().map_err(std::io::Error::other)?;
        let components = Components::new().map_err(std::io::Error::other)?;
        if metric == Metric::CpuPercent {
            // The first reading is what the second is compared with.
            system.refresh_cpu_usage();
        }
        Ok(Self { metric, path, system, components })
    }

    /// The figure now.
    fn read(&mut self) -> Result<Level, String> {
        let figure = match self.metric {
            Metric::CpuPercent => {
                self.system.refresh_cpu_usage();
                f64::from(self.system.global_cpu_usage())
            }
            Metric::MemoryPercent => {
                self.system.refresh_memory();
                let all = self.system.total_memory();
                percent(all.saturating_sub(self.system.available_memory()), all)?
            }
            Metric::DiskPercent => {
                let facts = rustix::fs::statvfs(&self.path)
                    .map_err(|error| format!("{}: {error}", self.path.display()))?;
                // As `df` counts: what root keeps for itself is not there for others.
                let used = facts.f_blocks.saturating_sub(facts.f_bfree);
                percent(used, used.saturating_add(facts.f_bavail))?
            }
            Metric::Load1 => System::load_average().map_err(|error| error.to_string())?.one,
            Metric::TemperatureCelsius => {
                self.components.refresh(true);
                let sensors = self.components.iter().filter_map(sysinfo::Component::temperature);
                let hottest = sensors.filter(|celsius| celsius.is_finite()).reduce(f32::max);
                f64::from(hottest.ok_or("this machine has no sensor of temperature")?)
            }
        };
        Ok(Level::of(figure))
    }
}

fn percent(part: u64, all: u64) -> Result<f64, String> {
    if all == 0 {
        Err("the system says nothing".to_owned())
    } else {
        Ok(part as f64 * 100.0 / all as f64)
    }
}

/// The source at work.
struct Host {
    gauge: Gauge,
    options: HostOptions,
    kitchen: Kitchen,
    outlet: Outlet,
}

/// A change of the state, or a figure that could not be read.
struct Change<'o> {
    options: &'o HostOptions,
    value: Option<Level>,
    state: State,
}

impl Change<'_> {
    fn json(&self) -> Value {
        let HostOptions { metric, path, threshold, .. } = self.options;
        let mut json = json!({
            "metric": metric.name(),
            "value": self.value.map(Level::figure),
            "state": self.state.word(),
            "threshold": threshold.figure(),
        });
        if *metric == Metric::DiskPercent
            && let Value::Object(json) = &mut json
        {
            json.insert("path".to_owned(), Value::from(path.display().to_string()));
        }
        json
    }
}

impl Event for Change<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "metric" => Value::from(self.options.metric.name()),
            "value" => Value::from(self.value.map(Level::figure)),
            "state" => Value::from(self.state.word()),
            "json" => self.json(),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        let metric = self.options.metric.name();
        match self.value {
            Some(value) => format!("{metric} {} at {}", self.state.word(), value.figure()),
            None => metric.to_owned(),
        }
    }
}

impl Host {
    async fn work(mut self, stopping: &mut Stopping) {
        let positions = self.outlet.positions(self.kitchen.source()).await;
        let kept = positions.iter().find(|(place, _)| place == PLACE);
        let kept = kept.and_then(|(_, at)| serde_json::from_slice(at).ok());
        let mut watch = Watch::new(&self.options, kept.unwrap_or_default());
        loop {
            stopping.pause(LOOK_EVERY).await;
            if stopping.is_near() {
                return;
            }
            let value = match self.gauge.read() {
                Ok(value) => value,
                Err(why) => {
                    let (options, state) = (&self.options, watch.state);
                    self.kitchen.complain(&Change { options, value: None, state }, &why);
                    continue;
                }
            };
            if let Some(state) = watch.look(value, clock::now())
                && !self.tell(value, state, stopping).await
            {
                return;
            }
        }
    }

    /// Stores the event with the state; says whether that was done before the source has to stop.
    async fn tell(&self, value: Level, state: State, stopping: &mut Stopping) -> bool {
        let change = Change { options: &self.options, value: Some(value), state };
        let mut load = Load::default();
        if let Some(draft) = self.kitchen.make(&change) {
            load.add(&self.outlet, &draft, change.json().to_string().as_bytes());
        }
        let at = serde_json::to_vec(&state).unwrap_or_default();
        load.come(self.kitchen.source(), PLACE.to_vec(), Some(at));
        load.store(self.kitchen.source(), &self.outlet, stopping).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(side: Side, threshold: f64, clear: f64, seconds: u64) -> Watch {
        let options = HostOptions {
            metric: Metric::Load1,
            path: PathBuf::from("/"),
            side,
            threshold: Level::of(threshold),
            clear: Level::of(clear),
            lasting: Duration::from_secs(seconds),
        };
        Watch::new(&options, State::Cleared)
    }

    /// What becomes of one figure a second.
    fn changes(watch: &mut Watch, figures: &[f64]) -> Vec<(usize, &'static str)> {
        let look = |(at, figure): (usize, &f64)| {
            let state = watch.look(Level::of(*figure), Millis(at as u64 * 1000))?;
            Some((at, state.word()))
        };
        figures.iter().enumerate().filter_map(look).collect()
    }

    #[test]
    fn a_figure_that_trembles_is_one_event_and_the_way_back_leads_over_clear() {
        let figures = [80.0, 90.0, 90.1, 89.0, 91.0, 80.1, 90.5, 80.0, 85.0, 90.0, 99.0];
        let mut above = watch(Side::Above, 90.0, 80.0, 0);
        let expected = [(2, "raised"), (7, "cleared"), (10, "raised")];
        assert_eq!(changes(&mut above, &figures), expected);
        let mut below = watch(Side::Below, 10.0, 20.0, 0);
        let mirrored: Vec<f64> = figures.iter().map(|figure| 100.0 - figure).collect();
        assert_eq!(changes(&mut below, &mirrored), expected);
    }

    #[test]
    fn what_does_not_last_is_no_event() {
        let mut watch = watch(Side::Above, 1.0, 1.0, 3);
        let figures = [2.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 2.0];
        assert_eq!(changes(&mut watch, &figures), [(7, "raised"), (9, "cleared")]);
    }

    #[test]
    fn the_figures_of_this_machine_are_sane() {
        for (metric, most) in [
            (Metric::CpuPercent, 100.0),
            (Metric::MemoryPercent, 100.0),
            (Metric::DiskPercent, 100.0),
            (Metric::Load1, 1_000_000.0),
        ] {
            let mut gauge = Gauge::new(metric, PathBuf::from("/")).unwrap();
            let figure = gauge.read().unwrap().figure();
            assert!((0.0..=most).contains(&figure), "{metric:?}: {figure}");
        }
        let nowhere =
            Gauge::new(Metric::DiskPercent, PathBuf::from("/nowhere/at/all")).unwrap().read();
        assert!(nowhere.unwrap_err().starts_with("/nowhere/at/all: "));
    }
}
