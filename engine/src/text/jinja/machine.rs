//! Runs a template: statements, scopes and output.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Applied, Expr, For, Kind, Statement, Target};
use super::bounds::Budget;
use super::calls::Given;
use super::clock::Date;
use super::order::iterate;
use super::value::{Callable, Fields, Loop, Seq, Value};
use super::{Outcome, calls, filters, printing, trouble};

/// What follows a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

/// Names that were set in a scope, and the scope around it.
#[derive(Debug)]
struct Frame {
    names: Vec<(Arc<str>, Value)>,
    outer: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) budget: Budget,
    pub(super) date: Date,
    /// What the template was given.
    given: BTreeMap<Arc<str>, Value>,
    /// Frames stay where they are while a macro may still look into them.
    frames: Vec<Frame>,
    pub(super) current: usize,
    /// Frames below are kept, since a macro was defined in one of them.
    kept: usize,
    /// Emptied at the end, for a namespace may hold itself.
    namespaces: Vec<Rc<RefCell<Fields>>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let fields = std::mem::take(&mut *namespace.borrow_mut());
            drop(fields);
        }
    }
}

impl Machine {
    pub(super) fn new(given: BTreeMap<Arc<str>, Value>, date: Date) -> Self {
        let frames = vec![Frame { names: Vec::new(), outer: None }];
        let namespaces = Vec::new();
        Self { budget: Budget::new(), date, given, frames, current: 0, kept: 0, namespaces }
    }

    pub(super) fn namespace(&mut self, fields: Fields) -> Value {
        let namespace = Rc::new(RefCell::new(fields));
        self.namespaces.push(namespace.clone());
        Value::Namespace(namespace)
    }

    pub(super) fn lookup(&self, name: &Arc<str>) -> Value {
        let mut frame = self.frames.get(self.current);
        while let Some(Frame { names, outer }) = frame {
            if let Some((_, value)) = names.iter().find(|(found, _)| found == name) {
                return value.clone();
            }
            frame = outer.and_then(|outer| self.frames.get(outer));
        }
        if let Some(value) = self.given.get(name) {
            return value.clone();
        }
        match calls::global(name) {
            Some(global) => Value::Callable(Rc::new(Callable::Global(global))),
            None => Value::undefined(format!("'{name}' is undefined")),
        }
    }

    pub(super) fn define(&mut self, name: &Arc<str>, value: Value) {
        let Some(frame) = self.frames.get_mut(self.current) else { return };
        match frame.names.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => frame.names.push((name.clone(), value)),
        }
    }

    /// Runs `inside` in a new scope within `outer`.
    pub(super) fn scope<T>(
        &mut self,
        outer: usize,
        inside: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        let (current, length) = (self.current, self.frames.len());
        self.budget.slots(4)?;
        self.frames.push(Frame { names: Vec::new(), outer: Some(outer) });
        self.current = length;
        let result = inside(self);
        self.frames.truncate(length.max(self.kept));
        self.current = current;
        result
    }

    /// A macro as a value: its frame is kept.
    pub(super) fn closure(&mut self, made: &Arc<super::ast::Macro>) -> Value {
        self.kept = self.kept.max(self.current + 1);
        Value::Callable(Rc::new(Callable::Macro(made.clone(), self.current)))
    }

    pub(super) fn body(&mut self, body: &[Statement], out: &mut String) -> Outcome<Flow> {
        for statement in body {
            self.budget.enter()?;
            let flow = self.statement(statement, out);
            self.budget.leave();
            match flow.map_err(|trouble| trouble.at(statement.line))? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, statement: &Statement, out: &mut String) -> Outcome<Flow> {
        match &statement.kind {
            Kind::Text(text) => {
                self.budget.text(text.len())?;
                out.push_str(text);
            }
            Kind::Print(value) => {
                let value = self.eval(value)?;
                printing::write(&value, &self.budget, out)?;
            }
            Kind::If { branches, otherwise } => return self.choose(branches, otherwise, out),
            Kind::For(node) => {
                let items = self.eval(&node.items)?;
                return self.run_loop(node, &items, 0, out);
            }
            Kind::Set(target, value) => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
            }
            Kind::SetBlock(target, filters, body) => {
                let (text, flow) = self.captured(body)?;
                let value = self.filtered(Value::str(text), filters)?;
                self.assign(target, value)?;
                return Ok(flow);
            }
            Kind::With(values, body) => return self.with(values, body, out),
            Kind::Macro(made) => {
                let value = self.closure(made);
                self.define(&made.name, value);
            }
            Kind::CallBlock(call, caller) => {
                let callee = self.eval(&call.callee)?;
                let mut given = self.given(&call.args)?;
                given.named.push(("caller".into(), self.closure(caller)));
                let value = self.call(&callee, given)?;
                printing::write(&value, &self.budget, out)?;
            }
            Kind::FilterBlock(filters, body) => {
                let (text, flow) = self.captured(body)?;
                let value = self.filtered(Value::str(text), filters)?;
                printing::write(&value, &self.budget, out)?;
                return Ok(flow);
            }
            Kind::Generation(body) => {
                self.scope(self.current, |machine| machine.body(body, out))?;
            }
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn choose(
        &mut self,
        branches: &[(Expr, Vec<Statement>)],
        otherwise: &[Statement],
        out: &mut String,
    ) -> Outcome<Flow> {
        for (test, body) in branches {
            if self.eval(test)?.truthy() {
                return self.body(body, out);
            }
        }
        self.body(otherwise, out)
    }

    fn with(
        &mut self,
        values: &[(Target, Expr)],
        body: &[Statement],
        out: &mut String,
    ) -> Outcome<Flow> {
        let given: Vec<_> =
            values.iter().map(|(_, value)| self.eval(value)).collect::<Outcome<_>>()?;
        self.scope(self.current, |machine| {
            for ((target, _), value) in values.iter().zip(given) {
                machine.assign(target, value)?;
            }
            machine.body(body, out)
        })
    }

    /// A body's text, run in a scope of its own.
    fn captured(&mut self, body: &[Statement]) -> Outcome<(String, Flow)> {
        let mut text = String::new();
        let flow = self.scope(self.current, |machine| machine.body(body, &mut text))?;
        Ok((text, flow))
    }

    fn filtered(&mut self, value: Value, filters: &[Applied]) -> Outcome<Value> {
        filters.iter().try_fold(value, |value, filter| {
            let given = self.given(&filter.args)?;
            filters::apply(self, &filter.name, &value, given)
        })
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.define(name, value),
            Target::Attribute(name, field) => {
                let Value::Namespace(fields) = self.lookup(name) else {
                    return Err(trouble(format!(
                        "cannot assign to an attribute of `{name}`, which is no namespace"
                    )));
                };
                calls::check_field(field)?;
                fields.borrow_mut().insert(field.clone(), value);
            }
            Target::Tuple(targets) => {
                let values = iterate(&value, &self.budget)?;
                if values.len() != targets.len() {
                    let (wanted, got) = (targets.len(), values.len());
                    return Err(trouble(format!("expected {wanted} values to unpack, got {got}")));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value)?;
                }
            }
        }
        Ok(())
    }

    /// A loop over `items`; `depth` loops recurse around it.
    pub(super) fn run_loop(
        &mut self,
        node: &Arc<For>,
        items: &Value,
        depth: usize,
        out: &mut String,
    ) -> Outcome<Flow> {
        let outer = self.current;
        let items = iterate(items, &self.budget)?;
        let items = self.wanted(node, items)?;
        let state = Rc::new(Loop {
            seq: Seq::new(items)?,
            at: Cell::new(0),
            depth,
            changed: RefCell::default(),
            recursive: node.recursive.then(|| (node.clone(), outer)),
        });
        let name: Arc<str> = "loop".into();
        let mut completed = false;
        for (at, item) in state.seq.items.iter().enumerate() {
            state.at.set(at);
            let flow = self.scope(outer, |machine| {
                machine.assign(&node.target, item.clone())?;
                machine.define(&name, Value::Loop(state.clone()));
                machine.body(&node.body, out)
            })?;
            completed |= flow == Flow::On;
            if flow == Flow::Break {
                break;
            }
        }
        // As in Jinja2, an iteration that `continue` or `break` cut short does not count.
        if completed {
            return Ok(Flow::On);
        }
        self.scope(outer, |machine| machine.body(&node.otherwise, out))
    }

    /// The items that pass the `if` of a loop.
    fn wanted(&mut self, node: &For, items: Vec<Value>) -> Outcome<Vec<Value>> {
        let Some(only) = &node.only else { return Ok(items) };
        let mut wanted = Vec::new();
        for item in items {
            let pass = self.scope(self.current, |machine| {
                machine.assign(&node.target, item.clone())?;
                machine.eval(only)
            })?;
            if pass.truthy() {
                wanted.push(item);
            }
        }
        Ok(wanted)
    }

    pub(super) fn given(&mut self, args: &super::ast::Args) -> Outcome<Given> {
        let mut given = Given::default();
        for arg in &args.positional {
            given.positional.push(self.eval(arg)?);
        }
        for (name, arg) in &args.named {
            given.name(name.clone(), self.eval(arg)?)?;
        }
        if let Some(star) = &args.star {
            let star = self.eval(star)?;
            given.positional.extend(iterate(&star, &self.budget)?);
        }
        if let Some(stars) = &args.stars {
            let Value::Dict(dict) = self.eval(stars)? else {
                return Err(trouble("the argument after ** must be a dict"));
            };
            for (key, value) in dict.items() {
                let name = key.as_str().ok_or_else(|| trouble("keywords must be text"))?;
                given.name(name.clone(), value.clone())?;
            }
        }
        Ok(given)
    }
}
