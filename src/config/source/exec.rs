//! The keys of a source of kind `exec`.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use paquebot_actors::source::{EXEC_FIELDS, EXEC_LINE_FIELDS, ExecOptions, Output, Runs};

use super::{SourceKind, read_lines};
use crate::config::kind;
use crate::config::loading::Reported;
use crate::config::problem::Fault;
use crate::config::recipe::Recipe;
use crate::config::section::Section;

const PART: &str = "a program or an argument";
/// A process is not free; a year is as good as never.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(365 * 24);
const RESTART: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
const PACKET: [(&str, Word); 2] = [("line", Word::Line), ("output", Word::Output)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Line,
    Output,
}

pub(super) fn read(
    section: &mut Section<'_>,
    name: Option<&str>,
    packet_bytes_max: u64,
) -> Result<SourceKind, Reported> {
    let command = section.full_list("command", &kind::checked(PART, check_part)).into_values();
    if let Ok(command) = &command
        && command.first().is_some_and(String::is_empty)
    {
        let (expected, found) = ("a program as the first entry".to_owned(), "none".to_owned());
        section.complain("command", Fault::Value { expected, found });
    }
    let runs = read_runs(section);
    let word = section.optional("packet", &kind::choice(&PACKET, &[]), Word::Line);
    if matches!(word, Ok(Word::Output))
        && let Ok(Runs::Restart(_)) = runs
    {
        let expected = "\"line\" with `restart`, for that output has no end".to_owned();
        section.complain("packet", Fault::Value { expected, found: "\"output\"".to_owned() });
    }
    let output = match word {
        Ok(Word::Output) => {
            for key in ["max_line_bytes", "long_line"] {
                section.without_effect(key, "packet = \"output\" cuts no lines");
            }
            Ok(Output::Whole)
        }
        _ => read_lines(section, packet_bytes_max).map(Output::Line),
    };
    let fields = output.as_ref().map_or(&EXEC_FIELDS[..], fields_of);
    let recipe = Recipe::read(section, name, fields);
    word?;
    let command = found(section.loading().folder(), command?);
    Ok(SourceKind::Exec {
        options: ExecOptions { command, runs: runs?, output: output? },
        recipe: recipe?,
    })
}

/// What events offer: a line is there before its program has ended.
pub(super) fn fields_of(output: &Output) -> &'static [&'static str] {
    match output {
        Output::Line(_) => &EXEC_LINE_FIELDS,
        Output::Whole => &EXEC_FIELDS,
    }
}

fn read_runs(section: &mut Section<'_>) -> Result<Runs, Reported> {
    let every = section.maybe("every", &kind::duration(EVERY));
    let restart = section.maybe("restart", &kind::duration(RESTART));
    match (every?, restart?) {
        (Some(every), None) => Ok(Runs::Every(every)),
        (None, Some(after)) => Ok(Runs::Restart(after)),
        (None, None) => {
            let expected = "`every` or `restart`".to_owned();
            Err(section.complain("every", Fault::Missing { expected }))
        }
        (Some(_), Some(_)) => {
            let reason = "there is `every`, and a command is run now and then or all the time";
            Err(section.complain("restart", Fault::NoEffect { reason }))
        }
    }
}

fn check_part(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("it has a zero byte".to_owned()) } else { Ok(()) }
}

/// A program with a '/' in its name stands beside the config; others are looked for in `PATH`.
fn found(folder: &Path, mut command: Vec<String>) -> Vec<String> {
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        *program = folder.join(&*program).display().to_string();
    }
    command
}
