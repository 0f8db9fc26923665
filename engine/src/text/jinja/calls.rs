//! Calls: arguments, macros, and the functions of the environment.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::Macro;
use super::bounds::Budget;
use super::machine::Machine;
use super::order::iterate;
use super::value::{Callable, Cycler, Dict, Seq, Value};
use super::{Outcome, clock, loops, methods, trouble};

/// Functions that every template has.
const GLOBALS: [&str; 8] =
    ["cycler", "dict", "joiner", "lipsum", "namespace", "raise_exception", "range", "strftime_now"];
/// The longest range that the sandbox makes.
const MAX_RANGE: usize = 100_000;

pub(super) fn global(name: &str) -> Option<&'static str> {
    GLOBALS.into_iter().find(|global| *global == name)
}

/// The arguments of a call.
#[derive(Debug, Default, Clone)]
pub(super) struct Given {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Given {
    pub(super) fn name(&mut self, name: Arc<str>, value: Value) -> Outcome<()> {
        if self.named.iter().any(|(given, _)| *given == name) {
            return Err(trouble(format!("the argument `{name}` is given twice")));
        }
        self.named.push((name, value));
        Ok(())
    }

    /// Before the arguments are looked through.
    pub(super) fn charge(&self, budget: &Budget) -> Outcome<()> {
        let values = self.positional.iter().chain(self.named.iter().map(|(_, value)| value));
        values.filter_map(Value::as_str).try_for_each(|text| budget.text(text.len()))
    }

    pub(super) fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(given, _)| &**given == name)?;
        Some(self.named.remove(at).1)
    }

    /// The arguments by the parameters of `what`, of which the first `required` must be given.
    pub(super) fn bind<const N: usize>(
        mut self,
        what: &str,
        names: [&str; N],
        required: usize,
    ) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(trouble(format!("`{what}` takes at most {N} arguments, got {given}")));
        }
        for (slot, value) in bound.iter_mut().zip(std::mem::take(&mut self.positional)) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let slot = names.iter().position(|known| **known == *name);
            let slot = slot.and_then(|at| bound.get_mut(at)).ok_or_else(|| {
                trouble(format!("`{what}` has no argument `{name}`{}", expected(&names)))
            })?;
            if slot.replace(value).is_some() {
                return Err(trouble(format!("`{what}`: the argument `{name}` is given twice")));
            }
        }
        match bound.iter().take(required).position(Option::is_none) {
            Some(at) => Err(trouble(format!("`{what}` needs the argument `{}`", names[at]))),
            None => Ok(bound),
        }
    }

    pub(super) fn only_positional(self, what: &str) -> Outcome<Vec<Value>> {
        match self.named.first() {
            Some((name, _)) => Err(trouble(format!("`{what}` has no argument `{name}`"))),
            None => Ok(self.positional),
        }
    }

    pub(super) fn nothing(self, what: &str) -> Outcome<()> {
        self.bind(what, [], 0).map(|_: [Option<Value>; 0]| ())
    }
}

fn expected(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(", expected one of {}", names.join(", ")) }
}

/// Fields of a namespace must not start with an underscore.
pub(super) fn check_field(name: &str) -> Outcome<()> {
    if name.starts_with('_') {
        return Err(trouble(format!(
            "a namespace cannot store `{name}`: it starts with an underscore"
        )));
    }
    Ok(())
}

pub(super) fn macro_field(made: &Macro, name: &str) -> Outcome<Option<Value>> {
    Ok(match name {
        "name" => Some(Value::Str(made.name.clone())),
        "arguments" => {
            let names = made.parameters.iter().map(|(name, _)| Value::Str(name.clone()));
            Some(Value::tuple(names.collect())?)
        }
        "catch_varargs" => Some(Value::Bool(made.takes.varargs)),
        "catch_kwargs" => Some(Value::Bool(made.takes.kwargs)),
        "caller" => Some(Value::Bool(made.takes.caller)),
        _ => None,
    })
}

impl Machine {
    pub(super) fn call(&mut self, callee: &Value, given: Given) -> Outcome<Value> {
        let callable = match callee.defined()? {
            Value::Callable(callable) => callable.clone(),
            Value::Loop(state) if state.recursive.is_some() => {
                Rc::new(Callable::Recurse(state.clone()))
            }
            Value::Loop(_) => return Err(trouble("the loop is not marked `recursive`")),
            other => return Err(trouble(format!("'{}' cannot be called", other.kind()))),
        };
        self.budget.enter()?;
        let result = match &*callable {
            Callable::Global(name) => self.global(name, given),
            Callable::Method(receiver, name) => match receiver {
                Value::Loop(state) => loops::method(state, name, given, &self.budget),
                other => methods::call(other, name, given, &self.budget),
            },
            Callable::Macro(made, frame) => self.call_macro(made, *frame, given),
            Callable::Joiner(separator, used) => given.nothing("joiner").map(|()| {
                let first = !used.replace(true);
                if first { Value::str("") } else { Value::Str(separator.clone()) }
            }),
            Callable::Recurse(state) => self.recurse(state, given),
        };
        self.budget.leave();
        result
    }

    fn recurse(&mut self, state: &super::value::Loop, given: Given) -> Outcome<Value> {
        let [items] = given.bind("loop", ["iterable"], 1)?;
        let Some((node, frame)) = &state.recursive else {
            return Err(trouble("the loop is not marked `recursive`"));
        };
        let items = items.unwrap_or(Value::None);
        let mut text = String::new();
        self.scope(*frame, |machine| {
            machine.run_loop(node, &items, state.depth + 1, &mut text).map(|_| ())
        })?;
        Ok(Value::str(text))
    }

    fn call_macro(&mut self, made: &Macro, frame: usize, mut given: Given) -> Outcome<Value> {
        let name = &made.name;
        let mut text = String::new();
        self.scope(frame, |machine| {
            let mut positional = std::mem::take(&mut given.positional).into_iter();
            for (parameter, default) in &made.parameters {
                let named = given.take_named(parameter);
                let value = match (positional.next(), named) {
                    (Some(_), Some(_)) => {
                        return Err(trouble(format!(
                            "`{name}`: the argument `{parameter}` is given twice"
                        )));
                    }
                    (Some(value), None) | (None, Some(value)) => value,
                    (None, None) => match default {
                        Some(default) => machine.eval(default)?,
                        None => {
                            Value::undefined(format!("parameter '{parameter}' was not provided"))
                        }
                    },
                };
                machine.define(parameter, value);
            }
            machine.special(made, given, positional.collect())?;
            machine.body(&made.body, &mut text).map(|_| ())
        })?;
        Ok(Value::str(text))
    }

    /// `caller`, `varargs` and `kwargs`, for macros that read them.
    fn special(&mut self, made: &Macro, mut given: Given, rest: Vec<Value>) -> Outcome<()> {
        let name = &made.name;
        if made.takes.caller {
            let caller = given.take_named("caller");
            let caller = caller.unwrap_or_else(|| Value::undefined("no caller defined"));
            self.define(&"caller".into(), caller);
        }
        if made.takes.varargs {
            self.define(&"varargs".into(), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            let (most, got) = (made.parameters.len(), made.parameters.len() + rest.len());
            return Err(trouble(format!(
                "macro `{name}` takes at most {most} arguments, got {got}"
            )));
        }
        if made.takes.kwargs {
            let pairs = given.named.into_iter().map(|(name, value)| (Value::Str(name), value));
            self.define(&"kwargs".into(), Value::Dict(Dict::new(pairs, &self.budget)?));
        } else if let Some((unknown, _)) = given.named.first() {
            return Err(trouble(format!("macro `{name}` has no argument `{unknown}`")));
        }
        Ok(())
    }

    fn global(&mut self, name: &'static str, given: Given) -> Outcome<Value> {
        match name {
            "range" => range(given),
            "dict" => self.dict_of(given).map(Value::Dict),
            "namespace" => {
                let dict = self.dict_of(given)?;
                let mut fields = BTreeMap::new();
                for (name, value) in dict.items() {
                    let name = name
                        .as_str()
                        .ok_or_else(|| trouble("fields of a namespace are named by text"))?;
                    check_field(name)?;
                    fields.insert(name.clone(), value.clone());
                }
                Ok(self.namespace(fields))
            }
            "cycler" => {
                let items = given.only_positional(name)?;
                if items.is_empty() {
                    return Err(trouble("`cycler` needs at least one item"));
                }
                let cycler = Cycler { seq: Seq::new(items)?, at: Cell::new(0) };
                Ok(Value::Cycler(Rc::new(cycler)))
            }
            "joiner" => {
                let [separator] = given.bind(name, ["sep"], 0)?;
                let separator = separator.unwrap_or_else(|| Value::str(", "));
                let text = separator.as_str().ok_or_else(|| trouble("`joiner` wants a text"))?;
                Ok(Value::Callable(Rc::new(Callable::Joiner(text.clone(), Cell::new(false)))))
            }
            "raise_exception" => {
                let [message] = given.bind(name, ["message"], 1)?;
                let message = super::printing::text(&message.unwrap_or(Value::None), &self.budget)?;
                Err(trouble(message))
            }
            "strftime_now" => {
                let [format] = given.bind(name, ["format"], 1)?;
                let format = format.as_ref().and_then(Value::as_str);
                let format = format.ok_or_else(|| trouble("`strftime_now` wants a text"))?;
                clock::strftime(self.date, format, &self.budget).map(Value::str)
            }
            other => {
                Err(trouble(format!("the function `{other}` is not supported in a chat template")))
            }
        }
    }

    /// What `dict(...)` makes of its arguments.
    fn dict_of(&mut self, mut given: Given) -> Outcome<Rc<Dict>> {
        let named = std::mem::take(&mut given.named);
        let [from] = given.bind("dict", ["mapping"], 0)?;
        let mut pairs = match from {
            None => Vec::new(),
            Some(Value::Dict(dict)) => dict.items().to_vec(),
            Some(other) => {
                let items = iterate(&other, &self.budget)?;
                let pair = |item: Value| match <[Value; 2]>::try_from(iterate(&item, &self.budget)?)
                {
                    Ok([key, value]) => Ok((key, value)),
                    Err(_) => Err(trouble("`dict` wants pairs")),
                };
                items.into_iter().map(pair).collect::<Outcome<Vec<_>>>()?
            }
        };
        pairs.extend(named.into_iter().map(|(name, value)| (Value::Str(name), value)));
        self.budget.slots(2 * pairs.len())?;
        Dict::new(pairs, &self.budget)
    }
}

fn range(given: Given) -> Outcome<Value> {
    let args = given.only_positional("range")?;
    let int = |value: &Value| {
        let number = value.defined()?.as_int();
        number.ok_or_else(|| trouble(format!("`range` wants integers, got '{}'", value.kind())))
    };
    let (start, stop, step) = match args.as_slice() {
        [stop] => (0, int(stop)?, 1),
        [start, stop] => (int(start)?, int(stop)?, 1),
        [start, stop, step] => (int(start)?, int(stop)?, int(step)?),
        other => {
            return Err(trouble(format!("`range` takes 1 to 3 arguments, got {}", other.len())));
        }
    };
    let large = |number: i128| number.unsigned_abs() > 1 << 100;
    if step == 0 || large(start) || large(stop) || large(step) {
        return Err(trouble("`range` wants a step other than 0 and bounds below 2^100"));
    }
    let range = Value::Range(start, stop, step);
    if range.len().is_some_and(|length| length > MAX_RANGE) {
        return Err(trouble(format!("a range of more than {MAX_RANGE} numbers")));
    }
    Ok(range)
}
