//! How the events of a source become packets: the keys that all sources have.
//!
//! Decides that expressions and templates compile, look at fields that the source has, and can work
//! with what those hold; and that what is said about their failing can come true.

use paquebot_actors::source::{Condition, Template};
use paquebot_protocol::TargetId;
use paquebot_protocol::target::TargetError;

use super::entry::Entry;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;

const ON_ERROR: [(&str, OnError); 2] = [("send", OnError::Send), ("drop", OnError::Drop)];
const HEADERS: &str = "a table of headers, each a name and a text or template";
const HEADER_NAME: &str = "a name of 1 to 64 of a-z 0-9 . _ -";
/// What a request is addressed to.
const TARGET_OF_REQUEST: &str = "{{ target }}";
const HEADER_NAME_BYTES_MAX: usize = 64;

/// How events become packets. Every text has been compiled once, so that it will compile again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Which events become packets, in CEL; all of them, without it.
    pub when: Option<String>,
    /// Whom they are addressed to: a text or a template.
    pub target: String,
    /// Their headers: texts or templates.
    pub headers: Vec<(String, String)>,
    /// Their content type: a text or a template.
    pub content_type: Option<String>,
    /// What becomes of an event for which `when` fails.
    pub on_error: OnError,
    /// Whom a packet is addressed to for which a template fails.
    pub target_on_error: TargetId,
}

/// What becomes of an event for which `when` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It becomes a packet.
    Send,
    /// It becomes none.
    Drop,
}

impl Recipe {
    /// Reads the recipe of the source `name`, whose events have `fields`.
    pub(super) fn read(
        section: &mut Section<'_>,
        name: Option<&str>,
        fields: &'static [&'static str],
    ) -> Result<Self, Reported> {
        let target = section.required(
            "target",
            &kind::checked("a target id, or a template of one", move |text| {
                Template::parse(text, fields)?.check_target()
            }),
        );
        Self::read_for(section, name, fields, target, true)
    }

    /// Reads the recipe of a source whose events say themselves whom they are addressed to; nothing
    /// when it changes nothing.
    pub(super) fn read_of_requests(
        section: &mut Section<'_>,
        name: Option<&str>,
        fields: &'static [&'static str],
    ) -> Result<Option<Self>, Reported> {
        let recipe =
            Self::read_for(section, name, fields, Ok(TARGET_OF_REQUEST.to_owned()), false)?;
        let says =
            recipe.when.is_some() || !recipe.headers.is_empty() || recipe.content_type.is_some();
        Ok(says.then_some(recipe))
    }

    fn read_for(
        section: &mut Section<'_>,
        name: Option<&str>,
        fields: &'static [&'static str],
        target: Result<String, Reported>,
        of_its_own: bool,
    ) -> Result<Self, Reported> {
        let when = section.maybe(
            "when",
            &kind::checked("an expression in CEL", move |text| {
                Condition::parse(text, fields).map(drop)
            }),
        );
        let template = |text: &str| Template::parse(text, fields).map(drop);
        let content_type = section.maybe(
            "content_type",
            &kind::checked("a content type, or a template of one", template),
        );
        let headers =
            section.pairs("headers", HEADERS, |name, entry| read_header(name, entry, fields));
        warn_of_doubts(section, when.as_ref().ok().and_then(Option::as_deref), fields);
        let on_error = section.optional("on_error", &kind::choice(&ON_ERROR, &[]), OnError::Send);
        if let Ok(None) = when
            && section.has("on_error")
        {
            let reason = "there is no `when` that could fail";
            section.complain("on_error", Fault::NoEffect { reason });
        }
        let target_on_error = match section.maybe("target_on_error", &kind::target()) {
            Ok(None) => unroutable(name.unwrap_or("source"))
                .map_err(|error| section.complain("name", Fault::Pattern(error))),
            Ok(Some(target)) => Ok(target),
            Err(reported) => Err(reported),
        };
        let headers = headers.into_values();
        if let (Ok(target), Ok(headers), Ok(content_type)) = (&target, &headers, &content_type)
            && section.has("target_on_error")
        {
            let headers = headers.iter().map(|(_, text)| text);
            let mut texts =
                headers.chain(content_type).chain([target].into_iter().filter(|_| of_its_own));
            if texts.all(|text| is_plain(text)) {
                let reason = "there is no template that could fail";
                section.complain("target_on_error", Fault::NoEffect { reason });
            }
        }
        Ok(Self {
            when: when?,
            target: target?,
            headers: headers?,
            content_type: content_type?,
            on_error: on_error?,
            target_on_error: target_on_error?,
        })
    }
}

/// Whether a text, which has been compiled, is the same for each event.
fn is_plain(text: &str) -> bool {
    !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// What an expression says and hardly means.
fn warn_of_doubts(section: &Section<'_>, when: Option<&str>, fields: &[&str]) {
    let Some(Ok(condition)) = when.map(|when| Condition::parse(when, fields)) else { return };
    for doubt in condition.doubts() {
        let help =
            "compare it with a value of its own kind, or convert it: int(), double(), string()";
        section.warn("when", Fault::Doubtful { doubt: doubt.clone() }, help);
    }
}

/// Whom a packet of the source `name` is addressed to for which a template fails.
fn unroutable(name: &str) -> Result<TargetId, TargetError> {
    let target = format!("unroutable.{name}").parse();
    // A name may have dots where a target id must not.
    target.or_else(|_| format!("unroutable.{}", name.replace('.', "_")).parse())
}

fn read_header(
    name: &str,
    entry: &Entry<'_>,
    fields: &'static [&'static str],
) -> Result<(String, String), Fault> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if name.is_empty() || name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        let (expected, found) = (HEADER_NAME.to_owned(), format!("{name:?}"));
        return Err(Fault::Value { expected, found });
    }
    let check = |text: &str| Template::parse(text, fields).map(drop);
    let text = kind::checked("a text or a template", check).read(entry)?;
    Ok((name.to_owned(), text))
}
