//! Templates: texts in which `{{ }}` is filled in from the fields of an event.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::event::Event;

/// A longer template is a program, and belongs into one.
const SOURCE_BYTES_MAX: usize = 4 * 1024;

/// What a template may do before it is given up: it works on one event, not on a data set.
const FUEL: u64 = 20_000;

/// The one template of an environment.
const NAME: &str = "text";

/// A text with places to fill in.
pub struct Template {
    source: String,
    /// Nothing when there is nothing to fill in.
    environment: Option<Environment<'static>>,
    fields: Vec<String>,
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
            let (environment, fields) = (None, Vec::new());
            return Ok(Self { source: source.to_owned(), environment, fields });
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| error.detail().map_or(error.to_string(), str::to_owned))?;
        let template = environment.get_template(NAME).map_err(|error| error.to_string())?;
        let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        used.retain(|name| !environment.globals().any(|(global, _)| global == name));
        used.sort_unstable();
        if let Some(unknown) = used.iter().find(|name| !fields.contains(&name.as_str())) {
            return Err(format!("expected one of {}; found `{unknown}`", fields.join(", ")));
        }
        Ok(Self { source: source.to_owned(), environment: Some(environment), fields: used })
    }

    /// Whether there is nothing to fill in.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.environment.is_none()
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
        filled.map_err(|error| error.detail().map_or(error.to_string(), str::to_owned))
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}
