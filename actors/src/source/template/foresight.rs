//! What can be said of a template before there is an event.
//!
//! Decides what can never be filled in: filters and tests that are not there, calls, and parts of what
//! has none. Filters and tests are looked for by asking the engine. What depends on what an event
//! holds is left to the event: `json` and all below it can be anything.

use minijinja::machinery::ast::{CallArg, Const, Expr, Stmt};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::source::kinds::Kinds;

/// What stands in a template as it is, outside of any condition or loop.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// What it begins with, if that is always the same.
    pub(super) first: Option<String>,
    /// What it ends with.
    pub(super) last: Option<String>,
    pub(super) between: Vec<String>,
}

/// Looks at a template over `fields`.
///
/// # Errors
/// In words, what can never work.
pub(super) fn look(source: &str, fields: &[&str]) -> Result<Plain, String> {
    let parsed = minijinja::machinery::parse(source, "text", Default::default());
    let template = parsed.map_err(|error| error.to_string())?;
    let mut look = Look { fields, own: vec!["loop".to_owned()], environment: Environment::new() };
    look.environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let Stmt::Template(template) = &template else { return Ok(Plain::default()) };
    look.all(&template.children)?;
    let raw = |stmt: &Stmt<'_>| match stmt {
        Stmt::EmitRaw(raw) => Some(raw.raw.to_owned()),
        _ => None,
    };
    match template.children.as_slice() {
        [] => Ok(Plain::default()),
        [first, rest @ ..] => {
            let (last, between) =
                rest.split_last().map_or((None, rest), |(last, between)| (Some(last), between));
            Ok(Plain {
                first: raw(first),
                last: last.and_then(raw),
                between: between.iter().filter_map(raw).collect(),
            })
        }
    }
}

struct Look<'f> {
    fields: &'f [&'f str],
    /// Names that the template makes; what they stand for is not known.
    own: Vec<String>,
    environment: Environment<'static>,
}

impl Look<'_> {
    fn all(&mut self, body: &[Stmt<'_>]) -> Result<(), String> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt<'_>) -> Result<(), String> {
        match stmt {
            Stmt::Template(template) => self.all(&template.children),
            Stmt::EmitExpr(emit) => self.expr(&emit.expr),
            Stmt::ForLoop(found) => {
                self.expr(&found.iter)?;
                self.made(&found.target);
                found.filter_expr.iter().try_for_each(|expr| self.expr(expr))?;
                self.all(&found.body)?;
                self.all(&found.else_body)
            }
            Stmt::IfCond(found) => {
                self.expr(&found.expr)?;
                self.all(&found.true_body)?;
                self.all(&found.false_body)
            }
            Stmt::WithBlock(with) => {
                for (name, value) in &with.assignments {
                    self.expr(value)?;
                    self.made(name);
                }
                self.all(&with.body)
            }
            Stmt::Set(set) => {
                self.expr(&set.expr)?;
                self.made(&set.target);
                Ok(())
            }
            Stmt::SetBlock(set) => {
                self.made(&set.target);
                set.filter.iter().try_for_each(|filter| self.expr(filter))?;
                self.all(&set.body)
            }
            Stmt::AutoEscape(escape) => self.all(&escape.body),
            Stmt::FilterBlock(block) => {
                self.expr(&block.filter)?;
                self.all(&block.body)
            }
            _ => Ok(()),
        }
    }

    /// Names stay made to the end: rather one fault too few than one too many.
    fn made(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(var) => self.own.push(var.id.to_owned()),
            Expr::List(names) => names.items.iter().for_each(|name| self.made(name)),
            Expr::Tuple(names) => names.items.iter().for_each(|name| self.made(name)),
            _ => {}
        }
    }

    fn expr(&self, expr: &Expr<'_>) -> Result<(), String> {
        match expr {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::Slice(slice) => {
                self.expr(&slice.expr)?;
                let bounds = [&slice.start, &slice.stop, &slice.step];
                bounds.into_iter().flatten().try_for_each(|bound| self.expr(bound))
            }
            Expr::UnaryOp(op) => self.expr(&op.expr),
            Expr::BinOp(op) => {
                self.expr(&op.left)?;
                self.expr(&op.right)
            }
            Expr::Compare(found) => {
                self.expr(&found.expr)?;
                found.ops.iter().try_for_each(|op| self.expr(&op.expr))
            }
            Expr::IfExpr(found) => {
                self.expr(&found.test_expr)?;
                self.expr(&found.true_expr)?;
                found.false_expr.iter().try_for_each(|expr| self.expr(expr))
            }
            Expr::Filter(filter) => {
                filter.expr.iter().try_for_each(|expr| self.expr(expr))?;
                self.args(&filter.args)?;
                self.is_there("filter", &format!("x|{}", filter.name), filter.name)
            }
            Expr::Test(test) => {
                self.args(&test.args)?;
                self.is_there("test", &format!("x is {}", test.name), test.name)?;
                // What is asked whether it is there may be missing.
                if matches!(test.name, "defined" | "undefined") {
                    return Ok(());
                }
                self.expr(&test.expr)
            }
            Expr::GetAttr(part) => self.part(&part.expr, part.name),
            Expr::GetItem(part) => match &part.subscript_expr {
                Expr::Const(name) if text_of(name).is_some() => {
                    self.part(&part.expr, &text_of(name).unwrap_or_default())
                }
                at => {
                    self.expr(&part.expr)?;
                    self.expr(at)
                }
            },
            Expr::Call(call) => self.call(&call.expr, &call.args),
            Expr::List(list) => list.items.iter().try_for_each(|item| self.expr(item)),
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.expr(item)),
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).try_for_each(|part| self.expr(part))
            }
        }
    }

    fn args(&self, args: &[CallArg<'_>]) -> Result<(), String> {
        args.iter().try_for_each(|arg| match arg {
            CallArg::Pos(expr)
            | CallArg::Kwarg(_, expr)
            | CallArg::PosSplat(expr)
            | CallArg::KwargSplat(expr) => self.expr(expr),
        })
    }

    /// The part `name` of something.
    fn part(&self, of: &Expr<'_>, name: &str) -> Result<(), String> {
        if let Some(field) = self.field(of) {
            let kinds = Kinds::of_field(field);
            if !kinds.meets(Kinds::MAP) {
                let kinds = kinds.in_words();
                return Err(format!("`{field}` is {kinds}, which has no `.{name}`"));
            }
        }
        self.expr(of)
    }

    /// Data has no functions, and there are none beside it.
    fn call(&self, function: &Expr<'_>, args: &[CallArg<'_>]) -> Result<(), String> {
        let (of, name) = match function {
            Expr::GetAttr(part) => (Some(&part.expr), part.name),
            Expr::Var(name) => (None, name.id),
            _ => return Err("what is in an event cannot be called".to_owned()),
        };
        let root = of.map_or(name, root_of);
        if !self.own.iter().any(|own| own == root) {
            let why = "what is in an event has no functions; an expression in `when` has some";
            return Err(format!("`{name}()`: {why}"));
        }
        self.args(args)
    }

    /// Whether the engine has such a filter or test.
    fn is_there(&self, what: &str, sample: &str, name: &str) -> Result<(), String> {
        let asked = self.environment.compile_expression_owned(sample.to_owned());
        let failed = asked.and_then(|sample| sample.eval(())).err();
        let unknown = [ErrorKind::UnknownFilter, ErrorKind::UnknownTest];
        match failed {
            Some(error) if unknown.contains(&error.kind()) => {
                Err(format!("there is no {what} `{name}` in this version"))
            }
            _ => Ok(()),
        }
    }

    /// The field that an expression is, if it is one.
    fn field<'e>(&self, expr: &'e Expr<'_>) -> Option<&'e str> {
        let Expr::Var(name) = expr else { return None };
        let is_field = self.fields.contains(&name.id) && !self.own.iter().any(|own| own == name.id);
        is_field.then_some(name.id)
    }
}

/// The name on which an expression stands.
fn root_of<'e>(expr: &'e Expr<'_>) -> &'e str {
    match expr {
        Expr::Var(name) => name.id,
        Expr::GetAttr(part) => root_of(&part.expr),
        Expr::GetItem(part) => root_of(&part.expr),
        _ => "",
    }
}

fn text_of(constant: &Const) -> Option<String> {
    Value::as_str(&constant.value).map(str::to_owned)
}
