//! The figures on the screen: the last answer, and rates made of the counters of one answer and the next.
//!
//! It draws nothing and asks nobody. A counter that goes back is a process that was started anew: there is
//! no rate then, rather than a wrong one.

use std::collections::{BTreeMap, VecDeque};

use super::answer::Status;
use super::asking::Answer;

/// Points of a sparkline that are kept, and drawn where there is room.
const HISTORY_MAX: usize = 240;

/// Everything that is drawn.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    /// Whom they are of.
    pub door: String,
    /// The last answer.
    pub status: Status,
    /// Packets that came in at the client.
    pub accepted: Rate,
    /// Packets that it sent.
    pub sent: Rate,
    /// Packets that it sent once more, since the process started.
    pub resent: u64,
    /// Packets that it knows as handled.
    pub handled: Rate,
    /// What each handler does.
    pub handlers: BTreeMap<String, HandlerRates>,
    /// Since when no answer comes, and why.
    pub silent: Option<Silence>,
    last: Answer,
}

/// No answer comes.
#[derive(Debug, Clone)]
pub(super) struct Silence {
    /// Since then, by the wall clock.
    pub since_ms: u64,
    /// Why.
    pub why: String,
}

/// A handler's rates.
#[derive(Debug, Clone, Default)]
pub(super) struct HandlerRates {
    /// Packets handled.
    pub handled: Rate,
    /// Attempts that failed.
    pub retried: Rate,
}

/// A counter and how fast it goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    /// All that was counted.
    pub total: u64,
    /// How fast it went between the last two answers; nothing when that is not known.
    pub per_second: Option<f64>,
    /// Thousandths per second, the latest first.
    pub history: VecDeque<u64>,
}

impl Figures {
    /// The figures of a first answer; there are no rates yet.
    #[must_use]
    pub(super) fn new(door: String, first: Answer) -> Self {
        let counters = &first.counters;
        let rate = |total| Rate { total, ..Rate::default() };
        let of_handler = |work: &super::counters::Work| HandlerRates {
            handled: rate(work.handled),
            retried: rate(work.retried),
        };
        let handlers = counters.handlers.iter();
        Self {
            door,
            status: first.status.clone(),
            accepted: rate(counters.client.accepted),
            sent: rate(counters.client.sent),
            resent: counters.client.resent,
            handled: rate(counters.client.handled),
            handlers: handlers.map(|(name, work)| (name.clone(), of_handler(work))).collect(),
            silent: None,
            last: first,
        }
    }

    /// A further answer came.
    pub(super) fn answered(&mut self, answer: Answer) {
        // Over a silence the mean would be drawn as the rate of its last second.
        let known = self.silent.is_none();
        let seconds = answer.at.saturating_duration_since(self.last.at).as_secs_f64();
        let seconds = Some(seconds).filter(|seconds| known && *seconds > 0.0);
        let client = answer.counters.client;
        self.accepted.go_on(client.accepted, seconds);
        self.sent.go_on(client.sent, seconds);
        self.handled.go_on(client.handled, seconds);
        self.resent = client.resent;
        for (name, work) in &answer.counters.handlers {
            let rates = self.handlers.entry(name.clone()).or_default();
            rates.handled.go_on(work.handled, seconds);
            rates.retried.go_on(work.retried, seconds);
        }
        self.silent = None;
        self.status = answer.status.clone();
        self.last = answer;
    }

    /// No answer came; what was known last stays to be seen.
    pub(super) fn unanswered(&mut self, now_ms: u64, why: String) {
        let since_ms = self.silent.as_ref().map_or(now_ms, |silence| silence.since_ms);
        self.silent = Some(Silence { since_ms, why });
        for rate in [&mut self.accepted, &mut self.sent, &mut self.handled] {
            rate.is_unknown();
        }
        for rates in self.handlers.values_mut() {
            rates.handled.is_unknown();
            rates.retried.is_unknown();
        }
    }
}

impl Rate {
    fn go_on(&mut self, total: u64, seconds: Option<f64>) {
        let more = total.checked_sub(self.total);
        self.per_second = more.zip(seconds).map(|(more, seconds)| more as f64 / seconds);
        self.total = total;
        self.history.push_front((self.per_second.unwrap_or_default() * 1000.0) as u64);
        self.history.truncate(HISTORY_MAX);
    }

    fn is_unknown(&mut self) {
        self.per_second = None;
        self.history.push_front(0);
        self.history.truncate(HISTORY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paquebot_actors::clock;

    use super::super::counters::Counters;
    use super::*;

    fn answer(after: Duration, accepted: u64) -> Answer {
        let mut counters = Counters::default();
        counters.client.accepted = accepted;
        Answer { at: clock::instant() + after, status: Status::default(), counters }
    }

    #[test]
    fn a_rate_is_the_difference_over_the_time_that_really_went_by() {
        let first = answer(Duration::ZERO, 100);
        let (start, mut further) = (first.at, answer(Duration::ZERO, 600));
        let mut figures = Figures::new(String::new(), first);
        assert_eq!(figures.accepted.per_second, None);
        further.at = start + Duration::from_secs(2);
        figures.answered(further);
        assert_eq!(figures.accepted.per_second, Some(250.0));
        assert_eq!(figures.accepted.history, [250_000]);
    }

    #[test]
    fn a_process_that_starts_anew_has_no_rate_at_first() {
        let mut figures = Figures::new(String::new(), answer(Duration::ZERO, 100));
        figures.answered(answer(Duration::from_secs(1), 3));
        assert_eq!(figures.accepted.per_second, None);
        assert_eq!(figures.accepted.total, 3);
    }

    #[test]
    fn a_silence_is_told_from_its_beginning_and_gives_no_rate() {
        let mut figures = Figures::new(String::new(), answer(Duration::ZERO, 100));
        figures.unanswered(1_000, "gone".into());
        figures.unanswered(2_000, "still gone".into());
        let silence = figures.silent.clone().unwrap();
        assert_eq!((silence.since_ms, silence.why.as_str()), (1_000, "still gone"));
        figures.answered(answer(Duration::from_secs(60), 900));
        assert!(figures.silent.is_none());
        assert_eq!(figures.accepted.per_second, None);
    }
}
