//! Templates: texts in which `{{ }}` is filled in from the fields of an event.

mod foresight;

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use paquebot_protocol::TargetId;

use self::foresight::Plain;
use super::event::Event;
use super::kinds::Kinds;

/// A longer template is a program, and belongs into one.
const SOURCE_BYTES_MAX: usize = 4 * 1024;

/// What a template may do before it is given up: it works on one event, not on a data set.
const FUEL: u64 = 20_000;

/// The one template of an environment.
const NAME: &str = "text";

/// Texts that an event may hold: what fails with each of them fails with every other.
const SAMPLES: [&str; 3] = ["1", "one two=3/4.5", ""];

/// A text with places to fill in.
pub struct Template {
    source: String,
    /// Nothing when there is nothing to fill in.
    environment: Option<Environment<'static>>,
    fields: Vec<String>,
    plain: Plain,
}

impl Template {
    /// Compiles `source`, which may look at `fields`.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(source: &str, fields: &[&str]) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            let found = source.len();
            return Err(format!("expected at most {SOURCE_BYTES_MAX} bytes, found {found}"));
        }
        let plain = !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark));
        if plain {
            let (environment, fields, plain) = (None, Vec::new(), Plain::default());
            return Ok(Self { source: source.to_owned(), environment, fields, plain });
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| in_words(&error))?;
        let template = environment.get_template(NAME).map_err(|error| error.to_string())?;
        let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        used.retain(|name| !environment.globals().any(|(global, _)| global == name));
        used.sort_unstable();
        if let Some(unknown) = used.iter().find(|name| !fields.contains(&name.as_str())) {
            return Err(format!("expected one of {}; found `{unknown}`", fields.join(", ")));
        }
        let plain = foresight::look(source, fields)?;
        let environment = Some(environment);
        let template = Self { source: source.to_owned(), environment, fields: used, plain };
        template.try_samples()?;
        Ok(template)
    }

    /// Whether it can ever become a target id.
    ///
    /// # Errors
    /// In words, what is in the way.
    pub fn check_target(&self) -> Result<(), String> {
        let parse = |text: &str| text.parse::<TargetId>().map_err(|error| error.to_string());
        if self.is_plain() {
            return not_reserved(&parse(&self.source)?);
        }
        let Plain { first, last, between } = &self.plain;
        let filled = |text: String| {
            parse(&text)
                .map_err(|error| format!("{error}, where an x stands for what is filled in"))
        };
        first.iter().try_for_each(|text| not_reserved(&filled(format!("{text}x"))?))?;
        last.iter().try_for_each(|text| filled(format!("x{text}")).map(drop))?;
        between.iter().try_for_each(|text| filled(format!("x{text}x")).map(drop))
    }

    /// Whether there is nothing to fill in.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.environment.is_none()
    }

    /// Fills it in with samples. What depends on what an event holds shows at run time; this is about
    /// fields whose kind is always the same.
    fn try_samples(&self) -> Result<(), String> {
        let kinds: Vec<Kinds> = self.fields.iter().map(|field| Kinds::of_field(field)).collect();
        if kinds.iter().any(|kinds| kinds.meets(Kinds::MAP.or(Kinds::NULL))) {
            return Ok(());
        }
        let Some(environment) = &self.environment else { return Ok(()) };
        let mut why = String::new();
        for text in SAMPLES {
            let sample = |kinds: &Kinds| match kinds.meets(Kinds::TEXT) {
                true => minijinja::Value::from(text),
                false => minijinja::Value::from(1),
            };
            let names = self.fields.iter().map(String::as_str);
            let fields: BTreeMap<_, _> = names.zip(kinds.iter().map(sample)).collect();
            let filled = environment.get_template(NAME).and_then(|found| found.render(fields));
            match filled {
                Err(error) if error.kind() == ErrorKind::InvalidOperation => why = in_words(&error),
                _ => return Ok(()),
            }
        }
        Err(why)
    }

    /// The text for an event.
    ///
    /// # Errors
    /// When something that it asks for is not there.
    pub(super) fn fill(&self, event: &impl Event) -> Result<String, String> {
        let Some(environment) = &self.environment else { return Ok(self.source.clone()) };
        let value = |field: &String| minijinja::Value::from(Serde(event.field(field)));
        let fields: BTreeMap<_, _> =
            self.fields.iter().map(|field| (field.as_str(), value(field))).collect();
        let filled = environment.get_template(NAME).and_then(|template| template.render(fields));
        filled.map_err(|error| in_words(&error))
    }
}

fn not_reserved(target: &TargetId) -> Result<(), String> {
    if target.is_reserved() { Err("expected no '$' at the start".to_owned()) } else { Ok(()) }
}

fn in_words(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned)
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}
