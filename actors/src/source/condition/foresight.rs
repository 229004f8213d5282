//! What can be said of a condition before there is an event.
//!
//! Decides what can never work: names that nothing has, functions that CEL does not have, values that
//! an operator or a function never takes, and an expression that is neither true nor false. What
//! depends on what an event holds is left to the event: `json` and all below it can be anything.

use cel::Program;
use cel::Value;
use cel::common::ast::operators::{
    CONDITIONAL, EQUALS, IN, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NOT_EQUALS,
    NOT_STRICTLY_FALSE, OPT_INDEX, OPT_SELECT,
};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, SelectExpr};

use super::oracle::{Oracle, Outcome, kind_of};
use crate::source::kinds::Kinds;

/// A longer part of an expression is not shown.
const SHOWN_CHARS_MAX: usize = 60;

/// Functions of which it is known what they yield, whatever is in a list or a map.
const PLAIN: [&str; 10] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
];

const FUNCTIONS: &str = "CEL has size(), int(), double(), string() and others, and behind a value \
                         .contains(), .startsWith(), .endsWith() and .matches()";

/// What an expression shows of itself.
pub(super) struct Foresight {
    /// The fields that it looks at.
    pub(super) fields: Vec<String>,
    /// What can be meant and hardly is.
    pub(super) doubts: Vec<String>,
}

/// Looks at an expression over `fields`.
///
/// # Errors
/// In words, what can never work.
pub(super) fn look(program: &Program, fields: &[&str]) -> Result<Foresight, String> {
    let seen = Foresight { fields: Vec::new(), doubts: Vec::new() };
    let mut look = Look { fields, oracle: Oracle::new(), scope: Vec::new(), seen };
    let yields = look.at(program.expression())?;
    if !yields.meets(Kinds::BOOL) {
        return Err(format!("it has to be true or false, and is {}", yields.in_words()));
    }
    look.seen.fields.sort_unstable();
    look.seen.fields.dedup();
    Ok(look.seen)
}

struct Look<'f> {
    fields: &'f [&'f str],
    oracle: Oracle,
    /// The names that macros such as `exists` make, the innermost last.
    scope: Vec<(String, Kinds)>,
    seen: Foresight,
}

impl Look<'_> {
    /// The kinds that an expression can be of.
    fn at(&mut self, expr: &IdedExpr) -> Result<Kinds, String> {
        match &expr.expr {
            Expr::Literal(_) => Ok(self.oracle.constant(expr).map_or(Kinds::ANY, |v| kind_of(&v))),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.at(element).map(drop))?;
                Ok(Kinds::LIST)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.at(&entry.key)?;
                        self.at(&entry.value)?;
                    }
                }
                Ok(Kinds::MAP)
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(message) => {
                Err(format!("`{}{{…}}` is a type that is not known here", message.type_name))
            }
            Expr::Unspecified => Ok(Kinds::ANY),
        }
    }

    fn name(&mut self, name: &str) -> Result<Kinds, String> {
        let name = name.trim_start_matches('.');
        if let Some((_, kinds)) = self.scope.iter().rev().find(|(made, _)| made == name) {
            return Ok(*kinds);
        }
        if self.fields.contains(&name) {
            self.seen.fields.push(name.to_owned());
            return Ok(Kinds::of_field(name));
        }
        if self.oracle.knows(name) {
            return Ok(Kinds::OTHER);
        }
        Err(format!("expected one of {}; found `{name}`", self.fields.join(", ")))
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Kinds, String> {
        let of = self.at(&select.operand)?;
        if !of.meets(Kinds::MAP.or(Kinds::OTHER)) {
            let shown = self.shown(&select.operand);
            let (what, field) = (of.in_words(), &select.field);
            return Err(format!("`{shown}` is {what}, which has no `.{field}`"));
        }
        Ok(if select.test { Kinds::BOOL } else { Kinds::ANY })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Kinds, String> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (CONDITIONAL, [condition, yes, no]) => {
                self.truth(condition, "?")?;
                Ok(self.at(yes)?.or(self.at(no)?))
            }
            (LOGICAL_AND | LOGICAL_OR, [left, right]) => {
                let operator = spelled(&call.func_name);
                self.truth(left, operator)?;
                self.truth(right, operator)?;
                Ok(Kinds::BOOL)
            }
            (LOGICAL_NOT, [operand]) => {
                self.truth(operand, "!")?;
                Ok(Kinds::BOOL)
            }
            (NOT_STRICTLY_FALSE, [operand]) => self.at(operand).map(|_| Kinds::BOOL),
            (EQUALS | NOT_EQUALS, [left, right]) => self.comparison(expr, left, right),
            (OPT_INDEX | OPT_SELECT, args) => {
                args.iter().try_for_each(|arg| self.at(arg).map(drop))?;
                Ok(Kinds::ANY)
            }
            (name, args) => {
                // `optional` is where functions are, and no value.
                let place = call.target.as_deref().filter(|target| self.is_value(target));
                let target = place.map(|target| self.at(target)).transpose()?;
                let mut kinds: Vec<Kinds> = target.into_iter().collect();
                for arg in args {
                    kinds.push(self.at(arg)?);
                }
                if call.target.is_some() && place.is_none() {
                    return Ok(Kinds::ANY);
                }
                self.outcome(expr, call, &kinds, name)
            }
        }
    }

    fn outcome(
        &self,
        expr: &IdedExpr,
        call: &CallExpr,
        kinds: &[Kinds],
        name: &str,
    ) -> Result<Kinds, String> {
        let is_plain = PLAIN.contains(&name) || name.starts_with(['_', '-', '@']);
        match self.oracle.ask(call, kinds) {
            Outcome::Yields(kinds) if is_plain && name != INDEX => Ok(kinds),
            Outcome::Yields(_) => Ok(Kinds::ANY),
            Outcome::Unknown => {
                Err(format!("`{}`: there is no function `{name}`; {FUNCTIONS}", self.shown(expr)))
            }
            Outcome::Never => {
                let takes: Vec<_> = kinds.iter().map(|kinds| kinds.in_words()).collect();
                let (shown, name) = (self.shown(expr), spelled(name));
                Err(format!("`{shown}`: `{name}` does not take {}", takes.join(" and ")))
            }
            Outcome::Fails(why) => Err(format!("`{}`: {why}", self.shown(expr))),
        }
    }

    /// Two values can always be compared; what is of two kinds is never equal.
    fn comparison(
        &mut self,
        expr: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Kinds, String> {
        let (left, right) = (self.at(left)?, self.at(right)?);
        let vague = left.or(right).meets(Kinds::OTHER);
        if !vague && !alike(left).meets(alike(right)) {
            let (shown, left, right) = (self.shown(expr), left.in_words(), right.in_words());
            let doubt = format!("`{shown}` compares {left} with {right}, which are never equal");
            self.seen.doubts.push(doubt);
        }
        Ok(Kinds::BOOL)
    }

    fn truth(&mut self, expr: &IdedExpr, operator: &str) -> Result<(), String> {
        let found = self.at(expr)?;
        if found.meets(Kinds::BOOL) {
            return Ok(());
        }
        let (shown, found) = (self.shown(expr), found.in_words());
        Err(format!("`{operator}` takes what is true or false, and `{shown}` is {found}"))
    }

    fn comprehension(&mut self, of: &ComprehensionExpr) -> Result<Kinds, String> {
        let range = self.at(&of.iter_range)?;
        if !range.meets(Kinds::LIST.or(Kinds::MAP).or(Kinds::OTHER)) {
            let (shown, found) = (self.shown(&of.iter_range), range.in_words());
            return Err(format!("`{shown}` is {found}, and neither a list nor a map"));
        }
        let begun = self.at(&of.accu_init)?;
        let names = [Some(&of.iter_var), of.iter_var2.as_ref()].into_iter().flatten();
        let outside = self.scope.len();
        self.scope.extend(names.map(|name| (name.clone(), Kinds::ANY)));
        self.scope.push((of.accu_var.clone(), begun));
        let inside = self.at(&of.loop_cond).and_then(|_| self.at(&of.loop_step));
        let result = inside.and_then(|step| {
            self.scope.push((of.accu_var.clone(), begun.or(step)));
            self.at(&of.result)
        });
        self.scope.truncate(outside);
        result
    }

    /// Whether a call's target is a value, and not a part of the function's name.
    fn is_value(&self, target: &IdedExpr) -> bool {
        let Expr::Ident(name) = &target.expr else { return true };
        let is_made = self.scope.iter().any(|(made, _)| made == name);
        name != "optional" || is_made || self.fields.contains(&name.as_str())
    }

    /// A part of an expression, for people.
    fn shown(&self, expr: &IdedExpr) -> String {
        let text = self.text(expr);
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
            None => text,
        }
    }

    fn text(&self, expr: &IdedExpr) -> String {
        let list =
            |of: &[IdedExpr]| of.iter().map(|part| self.text(part)).collect::<Vec<_>>().join(", ");
        match &expr.expr {
            Expr::Literal(_) => match self.oracle.constant(expr) {
                Some(Value::String(text)) => format!("{text:?}"),
                Some(Value::Int(number)) => number.to_string(),
                Some(Value::UInt(number)) => format!("{number}u"),
                Some(Value::Float(number)) => format!("{number:?}"),
                Some(Value::Bool(truth)) => truth.to_string(),
                Some(Value::Null) => "null".to_owned(),
                _ => "…".to_owned(),
            },
            Expr::Ident(name) if !name.starts_with('@') => name.clone(),
            Expr::Select(select) if select.test => {
                format!("has({}.{})", self.text(&select.operand), select.field)
            }
            Expr::Select(select) => format!("{}.{}", self.text(&select.operand), select.field),
            Expr::List(parts) => format!("[{}]", list(&parts.elements)),
            Expr::Call(call) => {
                let name = spelled(&call.func_name);
                match (&call.target, call.args.as_slice()) {
                    (Some(target), args) => format!("{}.{name}({})", self.text(target), list(args)),
                    (None, [of, at]) if call.func_name == INDEX => {
                        format!("{}[{}]", self.text(of), self.text(at))
                    }
                    (None, [left, right]) if name != call.func_name => {
                        format!("{} {name} {}", self.text(left), self.text(right))
                    }
                    (None, [operand]) if name != call.func_name => {
                        format!("{name}{}", self.text(operand))
                    }
                    (None, args) => format!("{name}({})", list(args)),
                }
            }
            _ => "…".to_owned(),
        }
    }
}

/// Numbers are equal whatever their kind.
fn alike(kinds: Kinds) -> Kinds {
    let numbers = Kinds::WHOLE.or(Kinds::NATURAL).or(Kinds::POINT);
    if kinds.meets(numbers) { kinds.or(numbers) } else { kinds }
}

/// An operator as it is written; a function's name as it is.
fn spelled(name: &str) -> &str {
    match name {
        IN => "in",
        INDEX => "[]",
        _ if name.starts_with('_') || name.ends_with('_') => name.trim_matches('_'),
        _ => name,
    }
}
