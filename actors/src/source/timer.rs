//! The source `timer`: that some time has passed, or has come, is an event.
//!
//! How many events there were, and when the last one was, stands in the transaction of its packet. So
//! the count never repeats or leaves out a number, and a period goes on over a restart where it was.
//! A tick that comes while the process is down, or while the spool is full, is left out.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::template::Template;
use super::worker::Worker;
use crate::clock;

/// What `when` and templates can look at.
pub const TIMER_FIELDS: [&str; 2] = ["now", "count"];

/// The wall clock may be set, and a machine may sleep: it is looked at that often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So far a clock is corrected without a word.
const NEAR_MS: u64 = 60_000;

/// The one place of such a source.
const PLACE: &[u8] = b"ticks";

/// When there is an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ticks {
    /// Each time that so much has passed.
    Every(Duration),
    /// At the times of a cron expression, in the time zone of this machine.
    Cron(String),
}

/// How the source is configured.
#[derive(Debug)]
pub struct TimerOptions {
    /// When there is an event.
    pub ticks: Ticks,
    /// The data of its packet.
    pub data: Template,
}

/// Starts a timer.
///
/// # Errors
/// When no thread can be started for it, or the cron expression is none.
pub fn start(options: TimerOptions, recipe: Recipe, outlet: Outlet) -> std::io::Result<Worker> {
    let name = recipe.source.clone();
    let schedule = Schedule::new(&options.ticks)
        .map_err(|why| std::io::Error::new(std::io::ErrorKind::InvalidInput, why))?;
    Worker::start(&name, async move |mut stopping| {
        let kitchen = Kitchen::new(recipe, &outlet);
        Timer { schedule, data: options.data, kitchen, outlet }.work(&mut stopping).await;
    })
}

/// Whether a text is a cron expression.
///
/// # Errors
/// In words, what is wrong with it.
pub fn check_cron(text: &str) -> Result<(), String> {
    let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
    let next = cron.find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), false);
    next.map(drop).map_err(|_| "there is no such time".to_owned())
}

/// When the next tick is.
enum Schedule {
    Every { every_ms: u64 },
    Cron { cron: Box<Cron>, zone: TimeZone },
}

/// The source at work.
struct Timer {
    schedule: Schedule,
    data: Template,
    kitchen: Kitchen,
    outlet: Outlet,
}

/// What outlives a restart.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Come {
    /// How many events there were.
    count: u64,
    /// When the last tick was due, in milliseconds since 1970.
    last_ms: Option<u64>,
}

struct Tick {
    now_ms: u64,
    count: u64,
}

impl Event for Tick {
    fn field(&self, name: &str) -> Value {
        match name {
            "now" => Value::from(clock::rfc3339(self.now_ms)),
            "count" => Value::from(self.count),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        format!("event {} at {}", self.count, clock::rfc3339(self.now_ms))
    }
}

impl Schedule {
    fn new(ticks: &Ticks) -> Result<Self, String> {
        match ticks {
            Ticks::Every(every) => {
                let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
                Ok(Self::Every { every_ms })
            }
            Ticks::Cron(text) => {
                let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
                Ok(Self::Cron { cron: Box::new(cron), zone: TimeZone::system() })
            }
        }
    }

    /// The first tick after `now_ms`; `last_ms` is the one before, if there was one.
    fn next_ms(&self, last_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        match self {
            Self::Every { every_ms } => {
                // A clock that was set back begins a new row of ticks.
                let last_ms = last_ms.filter(|last_ms| *last_ms <= now_ms).unwrap_or(now_ms);
                let passed = (now_ms - last_ms) / every_ms;
                Some(last_ms.saturating_add(every_ms.saturating_mul(passed + 1)))
            }
            Self::Cron { cron, zone } => {
                // A clock that was set back a little does not make the same tick come twice.
                let is_near = |last_ms: &u64| last_ms.saturating_sub(now_ms) < NEAR_MS;
                let from_ms = last_ms.filter(is_near).map_or(now_ms, |last_ms| last_ms.max(now_ms));
                let now = Timestamp::from_millisecond(i64::try_from(from_ms).ok()?).ok()?;
                let next: Zoned =
                    cron.find_next_occurrence(&now.to_zoned(zone.clone()), false).ok()?;
                u64::try_from(next.timestamp().as_millisecond()).ok()
            }
        }
    }
}

impl Timer {
    async fn work(&mut self, stopping: &mut Stopping) {
        let positions = self.outlet.positions(self.kitchen.source()).await;
        let kept = positions.iter().find(|(place, _)| place == PLACE);
        let kept = kept.and_then(|(_, at)| serde_json::from_slice(at).ok());
        let is_new = kept.is_none();
        let mut come: Come = kept.unwrap_or_default();
        if let (Schedule::Every { .. }, true) = (&self.schedule, is_new) {
            // The row of ticks begins now, and goes on over restarts.
            come.last_ms = Some(clock::wall_ms());
            if !self.keep(Load::default(), come, stopping).await {
                return;
            }
        }
        while let Some(due_ms) = self.wait(come.last_ms, stopping).await {
            let now_ms = clock::wall_ms();
            come = Come { count: come.count + 1, last_ms: Some(due_ms) };
            let mut load = Load::default();
            self.add(&Tick { now_ms, count: come.count }, &mut load);
            if !self.keep(load, come, stopping).await {
                return;
            }
        }
    }

    /// Waits for the next tick; says when it was due. Nothing when the source is to stop.
    async fn wait(&self, last_ms: Option<u64>, stopping: &mut Stopping) -> Option<u64> {
        let mut seen_ms = clock::wall_ms();
        let mut due_ms = self.schedule.next_ms(last_ms, seen_ms);
        while !stopping.is_near() {
            let now_ms = clock::wall_ms();
            if now_ms < seen_ms {
                // The clock was set back: what was due by the old one may be years away.
                due_ms = self.schedule.next_ms(last_ms, now_ms);
            }
            seen_ms = now_ms;
            let left = match due_ms {
                Some(due_ms) if due_ms <= now_ms => return Some(due_ms),
                Some(due_ms) => Duration::from_millis(due_ms - now_ms).min(LOOK_EVERY),
                None => LOOK_EVERY,
            };
            stopping.pause(left).await;
        }
        None
    }

    fn add(&self, tick: &Tick, load: &mut Load) {
        let Some(draft) = self.kitchen.make(tick) else { return };
        let data = self.data.fill(tick).unwrap_or_else(|why| {
            self.kitchen.complain(tick, &format!("`data`: {why}"));
            String::new()
        });
        let most = self.outlet.packet_bytes_max();
        if data.len() > most {
            let found = data.len();
            let why = format!("`data`: expected at most {most} bytes, found {found}: not sent");
            return self.kitchen.complain(tick, &why);
        }
        load.add(&self.outlet, &draft, data.as_bytes());
    }

    /// Stores a tick with its count.
    async fn keep(&self, mut load: Load, come: Come, stopping: &mut Stopping) -> bool {
        let at = serde_json::to_vec(&come).unwrap_or_default();
        load.come(self.kitchen.source(), PLACE.to_vec(), Some(at));
        load.store(self.kitchen.source(), &self.outlet, stopping).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        let zone = TimeZone::get(zone).unwrap();
        Schedule::Cron { cron: Box::new(Cron::from_str(text).unwrap()), zone }
    }

    #[test]
    fn a_period_goes_on_where_it_was_and_makes_nothing_up_for() {
        let schedule = Schedule::new(&Ticks::Every(Duration::from_millis(100))).unwrap();
        assert_eq!(schedule.next_ms(None, 1_000), Some(1_100));
        assert_eq!(schedule.next_ms(Some(1_000), 1_000), Some(1_100));
        assert_eq!(schedule.next_ms(Some(1_000), 1_099), Some(1_100));
        assert_eq!(schedule.next_ms(Some(1_000), 9_950), Some(10_000));
        // The clock was set back.
        assert_eq!(schedule.next_ms(Some(50_000), 1_000), Some(1_100));
    }

    #[test]
    fn cron_goes_by_the_zone_and_its_summer_time() {
        let daily = cron("30 2 * * *", "Europe/Berlin");
        let next = |schedule: &Schedule, now: &str| schedule.next_ms(None, ms(now)).unwrap();
        assert_eq!(next(&daily, "2026-01-10T12:00:00Z"), ms("2026-01-11T01:30:00Z"));
        assert_eq!(next(&daily, "2026-07-10T12:00:00Z"), ms("2026-07-11T00:30:00Z"));
        // Half past two is not there on this day, and twice on that one.
        let skipped = next(&daily, "2026-03-28T12:00:00Z");
        assert!(skipped <= ms("2026-03-30T00:30:00Z"), "{skipped}");
        let first = next(&daily, "2026-10-24T12:00:00Z");
        let second = daily.next_ms(None, first).unwrap();
        assert_eq!(first, ms("2026-10-25T00:30:00Z"));
        assert_eq!(second, ms("2026-10-26T01:30:00Z"));
        assert_eq!(
            next(&cron("* * * * * *", "UTC"), "2026-01-01T00:00:00.5Z"),
            ms("2026-01-01T00:00:01Z")
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "x", "61 * * * *", "* * * *", "0 0 31 2 *"] {
            assert!(check_cron(text).is_err(), "{text}");
        }
        for text in ["*/5 * * * *", "0 4 * * MON", "@daily", "0 0 29 2 *"] {
            check_cron(text).unwrap();
        }
    }
}
