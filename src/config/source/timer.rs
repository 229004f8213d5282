//! The keys of a source of kind `timer`.

use std::ops::RangeInclusive;
use std::time::Duration;

use paquebot_actors::source::timer::check_cron;
use paquebot_actors::source::{TIMER_FIELDS, Template, Ticks};

use super::SourceKind;
use crate::config::kind;
use crate::config::loading::Reported;
use crate::config::problem::Fault;
use crate::config::recipe::Recipe;
use crate::config::section::Section;

/// Each tick is a commit of its own.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(3650 * 24);
const CRON: &str = "a cron expression of 5 or 6 fields, such as \"0 4 * * MON\"";
const DATA: &str = "a text or a template";

pub(super) fn read(section: &mut Section<'_>, name: Option<&str>) -> Result<SourceKind, Reported> {
    let ticks = read_ticks(section);
    let check = |text: &str| Template::parse(text, &TIMER_FIELDS).map(drop);
    let data = section.optional("data", &kind::checked(DATA, check), String::new());
    let recipe = Recipe::read(section, name, &TIMER_FIELDS);
    Ok(SourceKind::Timer { ticks: ticks?, data: data?, recipe: recipe? })
}

fn read_ticks(section: &mut Section<'_>) -> Result<Ticks, Reported> {
    let every = section.maybe("every", &kind::duration(EVERY));
    let cron = section.maybe("cron", &kind::checked(CRON, check_cron));
    match (every?, cron?) {
        (Some(every), None) => Ok(Ticks::Every(every)),
        (None, Some(cron)) => Ok(Ticks::Cron(cron)),
        (None, None) => {
            let expected = "`every` or `cron`".to_owned();
            Err(section.complain("every", Fault::Missing { expected }))
        }
        (Some(_), Some(_)) => {
            let reason = "there is `every`, and a timer goes by one of both";
            Err(section.complain("cron", Fault::NoEffect { reason }))
        }
    }
}
