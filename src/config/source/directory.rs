//! The keys of a source of kind `directory`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use paquebot_actors::source::{DIRECTORY_FIELDS, DirectoryOptions, Then};

use super::SourceKind;
use crate::config::kind;
use crate::config::loading::Reported;
use crate::config::problem::Fault;
use crate::config::recipe::Recipe;
use crate::config::section::Section;

const NAMES: &str = "a pattern of file names, such as \"*.json\"";
const NAMES_DEFAULT: &str = "*";
/// A writer who pauses for longer within a file has given it up.
const SETTLED: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
const SETTLED_DEFAULT: Duration = Duration::from_secs(1);
const THEN: [(&str, Word); 2] = [("delete", Word::Delete), ("move", Word::Move)];

#[derive(Debug, Clone, Copy)]
enum Word {
    Delete,
    Move,
}

pub(super) fn read(section: &mut Section<'_>, name: Option<&str>) -> Result<SourceKind, Reported> {
    let folder = section.loading().folder();
    let path = section.required("path", &kind::path(folder));
    let names =
        section.optional("match", &kind::checked(NAMES, check_names), NAMES_DEFAULT.to_owned());
    let settled = section.optional("settled", &kind::duration(SETTLED), SETTLED_DEFAULT);
    let then = match section.optional("then", &kind::choice(&THEN, &[]), Word::Delete) {
        Ok(Word::Delete) => {
            section.without_effect("done", "only then = \"move\" moves files");
            Ok(Then::Delete)
        }
        Ok(Word::Move) => read_done(section, path.as_ref().ok()).map(Then::Move),
        Err(reported) => {
            // It may have been meant, or not.
            drop(section.maybe("done", &kind::path(folder)));
            Err(reported)
        }
    };
    let recipe = Recipe::read(section, name, &DIRECTORY_FIELDS);
    let options = DirectoryOptions { path: path?, names: names?, settled: settled?, then: then? };
    Ok(SourceKind::Directory { options, recipe: recipe? })
}

/// Where files are moved to: anywhere but where they are.
fn read_done(section: &mut Section<'_>, path: Option<&PathBuf>) -> Result<PathBuf, Reported> {
    let done = section.required("done", &kind::path(section.loading().folder()))?;
    if path == Some(&done) {
        let (expected, found) = ("another directory than `path`", format!("{}", done.display()));
        return Err(section.complain("done", Fault::Value { expected: expected.into(), found }));
    }
    Ok(done)
}

fn check_names(text: &str) -> Result<(), String> {
    if text.contains('/') {
        return Err("a name has no '/'; subdirectories are left alone".to_owned());
    }
    glob::Pattern::new(text).map(drop).map_err(|error| error.msg.to_owned())
}
