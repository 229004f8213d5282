//! Kinds of values: what a key takes, in words and in deed.
//!
//! Decides type, unit and range. Never decides whether two values fit together.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use paquebot_actors::handler::PathTemplate;
use paquebot_protocol::{ClientId, TargetId, TargetPattern};
use serde_json::{Value, json};

use super::address::{Address, Listen};
use super::describe;
use super::duration::{A_DURATION, duration_in_words, parse_duration};
use super::entry::{Entry, quoted};
use super::problem::Fault;
use super::size::{A_SIZE, parse_size, size_in_words};
use super::spelling;

/// The longest path of a Unix socket on Linux, in bytes (`sun_path` is 108 with its end mark).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const UNIX: &str = "unix:";
const LABEL: &str = "1 to 64 of A-Z a-z 0-9 . _ -";

/// How a value is read.
type Read<'f, T> = Box<dyn Fn(&Entry<'_>, &str) -> Result<T, Fault> + 'f>;

/// A kind of value.
pub(super) struct Kind<'f, T> {
    /// What it is, for people.
    pub(super) expected: String,
    /// The same for programs: a JSON Schema.
    form: Value,
    read: Read<'f, T>,
}

impl<'f, T> Kind<'f, T> {
    /// The same kind for a key that has no value by default.
    pub(super) fn or_none(self) -> Kind<'f, Option<T>>
    where
        T: 'f,
    {
        let read = self.read;
        let read =
            Box::new(move |entry: &Entry<'_>, expected: &str| read(entry, expected).map(Some));
        Kind { expected: self.expected, form: self.form, read }
    }

    /// Reads an entry as a value of this kind.
    pub(super) fn read(&self, entry: &Entry<'_>) -> Result<T, Fault> {
        (self.read)(entry, &self.expected)
    }

    /// The same with its values turned into others.
    pub(super) fn map<U>(self, turn: impl Fn(T) -> U + 'f) -> Kind<'f, U>
    where
        T: 'f,
    {
        let Self { expected, form, read } = self;
        Kind::new(expected, move |entry, expected| read(entry, expected).map(&turn)).shaped(form)
    }

    fn new(
        expected: impl Into<String>,
        read: impl Fn(&Entry<'_>, &str) -> Result<T, Fault> + 'f,
    ) -> Self {
        Self { expected: expected.into(), form: describe::text(), read: Box::new(read) }
    }

    /// The same with another look than any text.
    fn shaped(self, form: Value) -> Self {
        Self { form, ..self }
    }

    /// What it is, for programs.
    pub(super) fn schema(&self) -> Value {
        let mut schema = self.form.clone();
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), Value::from(self.expected.clone()));
        }
        schema
    }

    /// A kind whose only fault is to be something else.
    fn plain(expected: impl Into<String>, read: impl Fn(&Entry<'_>) -> Option<T> + 'f) -> Self {
        Self::new(expected, move |entry, expected| {
            read(entry).ok_or_else(|| entry.unexpected(expected))
        })
    }
}

/// A size in bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> Kind<'static, u64> {
    let limits = limits(&range, |bytes| size_in_words(*bytes), &u64::MAX);
    Kind::plain(format!("{A_SIZE}{limits}"), move |entry| {
        entry.text().and_then(|text| parse_size(text).ok()).filter(|size| range.contains(size))
    })
    .shaped(describe::text_like("^[0-9]+(\\.[0-9]+)? ?(B|kB|MB|GB|KiB|MiB|GiB)$"))
}

/// A duration.
pub(super) fn duration(range: RangeInclusive<Duration>) -> Kind<'static, Duration> {
    let limits = limits(&range, |duration| duration_in_words(*duration), &Duration::MAX);
    Kind::plain(format!("{A_DURATION}{limits}"), move |entry| {
        let parsed = entry.text().and_then(|text| parse_duration(text).ok());
        parsed.filter(|duration| range.contains(duration))
    })
    .shaped(describe::text_like("^[0-9]+(\\.[0-9]+)? ?(ms|s|min|h|day)$"))
}

/// A whole number.
pub(super) fn count(range: RangeInclusive<u64>) -> Kind<'static, u64> {
    let limits = limits(&range, u64::to_string, &u64::MAX);
    let form = json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() });
    Kind::plain(format!("a whole number{limits}"), move |entry| {
        entry.count().filter(|count| range.contains(count))
    })
    .shaped(form)
}

/// Any number, whole or not.
pub(super) fn number() -> Kind<'static, f64> {
    Kind::plain("a number", |entry| entry.number().filter(|number| number.is_finite()))
        .shaped(json!({ "type": "number" }))
}

/// `true` or `false`.
pub(super) fn flag() -> Kind<'static, bool> {
    Kind::new("true or false", |entry, expected| {
        entry.flag().ok_or_else(|| entry.unexpected(expected))
    })
    .shaped(json!({ "type": "boolean" }))
}

/// A name: what labels may hold.
pub(super) fn name() -> Kind<'static, String> {
    // The grammar of a client id is that of every label.
    let is_label = |text: &&str| text.parse::<ClientId>().is_ok();
    Kind::plain(format!("a name: {LABEL}"), move |entry| {
        entry.text().filter(is_label).map(str::to_owned)
    })
}

/// A client's id.
pub(super) fn client_id() -> Kind<'static, ClientId> {
    Kind::plain(format!("a client's id: {LABEL}"), |entry| entry.text()?.parse().ok())
}

/// A target id that a source may use.
pub(super) fn target() -> Kind<'static, TargetId> {
    Kind::new("a target id, such as \"orders.eu\"", |entry, expected| {
        let text = entry.text().ok_or_else(|| entry.unexpected(expected))?;
        let target: TargetId = text.parse().map_err(Fault::Pattern)?;
        if target.is_reserved() {
            Err(entry.unexpected("a target id without '$' at its start"))
        } else {
            Ok(target)
        }
    })
}

/// A text for which `check` says in words what is wrong with it.
pub(super) fn checked<'f>(
    expected: &str,
    check: impl Fn(&str) -> Result<(), String> + 'f,
) -> Kind<'f, String> {
    Kind::new(expected, move |entry, expected| {
        let text = entry.text().ok_or_else(|| entry.unexpected(expected))?;
        let found = || entry.found();
        check(text).map_err(|reason| Fault::Senseless {
            expected: expected.to_owned(),
            found: found(),
            reason,
        })?;
        Ok(text.to_owned())
    })
}

/// A target pattern.
pub(super) fn pattern() -> Kind<'static, TargetPattern> {
    Kind::new("a target pattern, such as \"orders.>\"", |entry, expected| {
        let text = entry.text().ok_or_else(|| entry.unexpected(expected))?;
        text.parse().map_err(Fault::Pattern)
    })
}

/// An address to listen at; port 0 lets the system choose.
pub(super) fn listening() -> Kind<'static, Address> {
    Kind::plain("an address: host:port, such as \"127.0.0.1:7035\"", |entry| {
        entry.text()?.parse().ok()
    })
}

/// An address to connect to.
pub(super) fn server() -> Kind<'static, Address> {
    let has_port = |address: &Address| address.port() != 0;
    Kind::plain("a server's address: host:port, with a port from 1 to 65535", move |entry| {
        entry.text()?.parse().ok().filter(has_port)
    })
}

/// An address or a Unix socket to listen at.
pub(super) fn listen(folder: &Path) -> Kind<'_, Listen> {
    let expected = "an address: host:port, or unix: and a path of at most 107 bytes";
    Kind::plain(expected, move |entry| {
        let text = entry.text()?;
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().ok().map(Listen::Tcp);
        };
        let path = absolute(folder, path)?;
        let fits = path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX;
        fits.then_some(Listen::Unix(path))
    })
}

/// A path, made absolute.
pub(super) fn path(folder: &Path) -> Kind<'_, PathBuf> {
    Kind::plain("a path", move |entry| absolute(folder, entry.text()?))
}

/// A pattern of paths, made absolute.
pub(super) fn glob(folder: &Path) -> Kind<'_, String> {
    Kind::plain("a pattern of paths, such as \"/var/log/app/*.log\"", move |entry| {
        let text = entry.text()?;
        glob::Pattern::new(text).ok()?;
        absolute(folder, text)?.into_os_string().into_string().ok()
    })
}

/// A program, or what it is told.
pub(super) fn argument() -> Kind<'static, String> {
    Kind::plain("a text without zero bytes", |entry| {
        entry.text().filter(|text| !text.contains('\0')).map(str::to_owned)
    })
}

/// A path in which a target or a client may have to be filled in.
pub(super) fn path_template(folder: &Path) -> Kind<'_, PathTemplate> {
    let path = path(folder);
    let expected = "a path, in which {target} and {client} may stand";
    Kind::new(expected, move |entry, expected| {
        let read = path.read(entry)?;
        PathTemplate::new(&read).map_err(|why| {
            let expected = format!("{expected}, and {why}");
            Fault::Value { expected, found: entry.found() }
        })
    })
}

/// The origin of a web page, in the lower case that browsers send.
pub(super) fn origin() -> Kind<'static, String> {
    let expected = "the origin of a web page: scheme://host or scheme://host:port";
    Kind::plain(expected, |entry| {
        let text = entry.text()?;
        let (scheme, host) = text.split_once("://")?;
        let scheme_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let host_byte = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'*' | b'?' | b'#');
        let good = !scheme.is_empty() && scheme.bytes().all(scheme_byte);
        let good = good && !host.is_empty() && host.bytes().all(host_byte);
        good.then(|| text.to_ascii_lowercase())
    })
}

/// The URL of a server that is spoken to without TLS.
pub(super) fn plain_url() -> Kind<'static, Uri> {
    Kind::new("a URL: http://host/path, with a port if need be", |entry, expected| {
        let text = entry.text().ok_or_else(|| entry.unexpected(expected))?;
        let url: Uri = text.parse().map_err(|_| entry.unexpected(expected))?;
        // Who is asking is said by a header; here it would be shown in every log.
        let host = url.authority().filter(|authority| !authority.as_str().contains('@'));
        match (url.scheme_str(), host) {
            (Some("http"), Some(_)) if !text.contains('#') => Ok(url),
            (Some("https"), Some(_)) => {
                let (expected, found) = (expected.to_owned(), entry.found());
                Err(Fault::ValueNotAvailable { expected, found })
            }
            _ => Err(entry.unexpected(expected)),
        }
    })
}

/// One of several words, some of which only a later version knows.
pub(super) fn choice<T: Copy + 'static>(
    words: &'static [(&'static str, T)],
    later: &'static [&'static str],
) -> Kind<'static, T> {
    let known: Vec<_> = words.iter().map(|(word, _)| quoted(word)).collect();
    let form = describe::text_of(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>());
    Kind::new(spelling::one_of(&known), move |entry, expected| {
        let text = entry.text().ok_or_else(|| entry.unexpected(expected))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        if later.contains(&text) {
            let (expected, found) = (expected.to_owned(), entry.found());
            return Err(Fault::ValueNotAvailable { expected, found });
        }
        Err(entry.unexpected(expected))
    })
    .shaped(form)
}

/// `path` as seen from `folder`, without `.`; none if no file can have it.
fn absolute(folder: &Path, path: &str) -> Option<PathBuf> {
    let possible = !path.is_empty() && !path.contains('\0');
    possible.then(|| folder.join(path).components().collect())
}

/// The range in words; a limit that no value can pass is not worth a word.
fn limits<T, D: Display>(range: &RangeInclusive<T>, words: impl Fn(&T) -> D, endless: &T) -> String
where
    T: PartialEq,
{
    let (least, most) = (words(range.start()), words(range.end()));
    if range.end() == endless {
        format!(", at least {least}")
    } else {
        format!(", from {least} to {most}")
    }
}
