//! Which kinds of values a function or an operator of CEL takes: the engine itself is asked.
//!
//! A call is made with one value of each kind that its arguments can have. So nothing is said here
//! about CEL that a later version of the engine would make untrue.

use std::collections::HashMap;
use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, Value};

use crate::source::kinds::Kinds;

/// With more ways to call something nothing is said about it.
const WAYS_MAX: usize = 512;

/// The pattern is the one argument whose value, not only its kind, decides whether a call can work.
const OF_PATTERNS: &str = "matches";

/// The engine, with nothing in it but what CEL has.
pub(super) struct Oracle {
    context: Context<'static, 'static>,
}

/// What can come of a call.
pub(super) enum Outcome {
    /// Values of these kinds.
    Yields(Kinds),
    /// The engine has no such function.
    Unknown,
    /// Nothing ever: it does not take such values.
    Never,
    /// Nothing ever, for a reason of its own.
    Fails(String),
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self { context: Context::default() }
    }

    /// What an expression without fields is, if it is anything: a constant, or the name of a type.
    pub(super) fn constant(&self, expr: &IdedExpr) -> Option<Value> {
        Value::resolve(expr, &self.context).ok()
    }

    /// Whether CEL has such a name.
    pub(super) fn knows(&self, name: &str) -> bool {
        let name = IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) };
        Value::resolve_val(&name, &self.context).is_ok()
    }

    /// What comes of `call` when its target, if it has one, and its arguments are of these kinds.
    pub(super) fn ask(&self, call: &CallExpr, kinds: &[Kinds]) -> Outcome {
        let given: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let choices: Vec<Vec<Option<Kinds>>> = given
            .iter()
            .zip(kinds)
            .map(|(expr, kinds)| match expr.expr {
                Expr::Literal(_) => vec![None],
                _ => kinds.each().filter(|kind| *kind != Kinds::OTHER).map(Some).collect(),
            })
            .collect();
        let ways: usize = choices.iter().map(Vec::len).product();
        let vague = kinds.iter().any(|kinds| kinds.meets(Kinds::OTHER));
        if ways > WAYS_MAX || ways == 0 {
            return Outcome::Yields(Kinds::ANY);
        }
        let (mut yields, mut unknown, mut reason) = (Kinds::NONE, false, None);
        for way in 0..ways {
            match self.call(call, &given, &choices, way) {
                Ok(kind) => yields = yields.or(kind),
                Err(ExecutionError::UndeclaredReference(_)) => unknown = true,
                Err(error) if is_of_kinds(&error) => {}
                Err(error) => reason = Some(error),
            }
        }
        let mut deciding = given.iter().skip(usize::from(call.func_name == OF_PATTERNS));
        let is_fixed = deciding.all(|expr| matches!(expr.expr, Expr::Literal(_)));
        match reason {
            _ if unknown => Outcome::Unknown,
            Some(error) if yields == Kinds::NONE && is_fixed && !vague => {
                Outcome::Fails(error.to_string().replace('\n', " "))
            }
            // Other values of the same kinds may do.
            Some(_) => Outcome::Yields(Kinds::ANY),
            None if yields == Kinds::NONE && !vague => Outcome::Never,
            None if vague => Outcome::Yields(Kinds::ANY),
            None => Outcome::Yields(yields),
        }
    }

    fn call(
        &self,
        call: &CallExpr,
        given: &[&IdedExpr],
        choices: &[Vec<Option<Kinds>>],
        way: usize,
    ) -> Result<Kinds, ExecutionError> {
        let mut context = self.context.new_inner_scope();
        let (mut rest, mut arguments) = (way, Vec::new());
        for (at, (expr, choices)) in given.iter().zip(choices).enumerate() {
            let chosen = choices.get(rest % choices.len()).copied().flatten();
            rest /= choices.len();
            let Some(kind) = chosen else {
                arguments.push((*expr).clone());
                continue;
            };
            let name = format!("_{at}");
            context.add_variable_from_value(name.as_str(), sample(kind));
            arguments.push(IdedExpr { id: expr.id, expr: Expr::Ident(name) });
        }
        let target = call.target.as_ref().map(|_| Box::new(arguments.remove(0)));
        let func_name = call.func_name.clone();
        let call = Expr::Call(CallExpr { func_name, target, args: arguments });
        let call = IdedExpr { id: 0, expr: call };
        let found = Value::resolve_val(&call, &context)?;
        Ok(Value::try_from(found.as_ref()).map_or(Kinds::OTHER, |value| kind_of(&value)))
    }
}

/// A value of a kind, for which as much works as can.
fn sample(kind: Kinds) -> Value {
    let text = || Arc::new("1".to_owned());
    match kind {
        Kinds::BOOL => Value::Bool(true),
        Kinds::WHOLE => Value::Int(1),
        Kinds::NATURAL => Value::UInt(1),
        Kinds::POINT => Value::Float(1.0),
        Kinds::TEXT => Value::String(text()),
        Kinds::BYTES => Value::Bytes(Arc::new(b"1".to_vec())),
        Kinds::LIST => Value::List(Arc::new(vec![Value::Int(1)])),
        Kinds::MAP => {
            let map = HashMap::from([(Key::String(text()), Value::Int(1))]);
            Value::Map(Map { map: Arc::new(map) })
        }
        _ => Value::Null,
    }
}

/// The kind of a value.
pub(super) fn kind_of(value: &Value) -> Kinds {
    match value {
        Value::Null => Kinds::NULL,
        Value::Bool(_) => Kinds::BOOL,
        Value::Int(_) => Kinds::WHOLE,
        Value::UInt(_) => Kinds::NATURAL,
        Value::Float(_) => Kinds::POINT,
        Value::String(_) => Kinds::TEXT,
        Value::Bytes(_) => Kinds::BYTES,
        Value::List(_) => Kinds::LIST,
        Value::Map(_) => Kinds::MAP,
        _ => Kinds::OTHER,
    }
}

/// Whether other values of the same kinds would fail in the same way.
fn is_of_kinds(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::InvalidArgumentCount { .. }
            | ExecutionError::UnsupportedTargetType { .. }
            | ExecutionError::NotSupportedAsMethod { .. }
            | ExecutionError::UnsupportedKeyType(_)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::NoSuchOverload(_)
            | ExecutionError::MissingArgumentOrTarget
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UnsupportedIndex(..)
    )
}
