//! The values of a template: Python's, of which all but namespaces cannot be changed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::ast::{For, Macro};
use super::bounds::Budget;
use super::{Outcome, trouble};

/// How deep lists, tuples and dicts may hold each other.
const MAX_DEPTH: u16 = 200;

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Absent; what every operation on it answers.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    /// Text that counts as escaped for HTML.
    Safe(Arc<str>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    /// A pair of `groupby`, which also has names: `grouper` and `list`.
    Group(Rc<Seq>),
    Dict(Rc<Dict>),
    /// `items()`, `keys()` or `values()` of a dict.
    View(View, Rc<Dict>),
    /// Start, stop and step.
    Range(i128, i128, i128),
    /// What `map`, `select` and others give: it can be gone through once.
    Stream(Rc<Stream>),
    Namespace(Rc<RefCell<Fields>>),
    Callable(Rc<Callable>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
}

/// What a namespace holds.
pub(super) type Fields = BTreeMap<Arc<str>, Value>;

#[derive(Debug, Default)]
pub(super) struct Seq {
    pub(super) items: Vec<Value>,
    depth: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Items,
    Keys,
    Values,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) items: RefCell<Vec<Value>>,
    depth: u16,
}

/// Items in the order in which their keys were first given.
#[derive(Debug, Default)]
pub(super) struct Dict {
    items: Vec<(Value, Value)>,
    index: BTreeMap<Key, usize>,
    depth: u16,
}

/// What two keys must share to be the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Undefined,
    None,
    Int(i128),
    /// Bits of a float that is no integer.
    Float(u64),
    Str(Arc<str>),
    Tuple(Vec<Self>),
}

#[derive(Debug)]
pub(super) enum Callable {
    /// A function of the environment, by name.
    Global(&'static str),
    Method(Value, Arc<str>),
    /// The macro and the frame that it was defined in.
    Macro(Arc<Macro>, usize),
    /// A separator, which the first call leaves out.
    Joiner(Arc<str>, Cell<bool>),
    /// The recursive loop that is going on.
    Recurse(Rc<Loop>),
}

#[derive(Debug)]
pub(super) struct Cycler {
    pub(super) seq: Rc<Seq>,
    pub(super) at: Cell<usize>,
}

/// A loop that is going on.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) seq: Rc<Seq>,
    pub(super) at: Cell<usize>,
    /// Loops around it, by recursion.
    pub(super) depth: usize,
    /// Arguments of the last `changed`.
    pub(super) changed: RefCell<Option<Vec<Value>>>,
    /// Where it can be recursed into: the statement and the frame around it.
    pub(super) recursive: Option<(Arc<For>, usize)>,
}

impl Seq {
    pub(super) fn new(items: Vec<Value>) -> Outcome<Rc<Self>> {
        let depth = deeper(items.iter())?;
        Ok(Rc::new(Self { items, depth }))
    }
}

fn deeper<'a>(items: impl Iterator<Item = &'a Value>) -> Outcome<u16> {
    let depth = items.map(Value::depth).max().map_or(0, |depth| depth + 1);
    if depth > MAX_DEPTH {
        return Err(trouble(format!("values are nested more than {MAX_DEPTH} deep")));
    }
    Ok(depth)
}

impl Stream {
    pub(super) fn value(items: Vec<Value>) -> Outcome<Value> {
        let depth = deeper(items.iter())?;
        Ok(Value::Stream(Rc::new(Self { items: RefCell::new(items), depth })))
    }
}

impl Dict {
    /// Of several equal keys the first one's place and the last one's value count.
    pub(super) fn new(
        pairs: impl IntoIterator<Item = (Value, Value)>,
        budget: &Budget,
    ) -> Outcome<Rc<Self>> {
        let mut dict = Self::default();
        for (key, value) in pairs {
            let found =
                *dict.index.entry(key.key(dict.items.len(), budget)?).or_insert(dict.items.len());
            match dict.items.get_mut(found) {
                Some((_, old)) => *old = value,
                None => dict.items.push((key, value)),
            }
        }
        dict.depth = deeper(dict.items.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Rc::new(dict))
    }

    pub(super) fn items(&self) -> &[(Value, Value)] {
        &self.items
    }

    pub(super) fn get(&self, key: &Value, budget: &Budget) -> Outcome<Option<&Value>> {
        let found = self.index.get(&key.key(self.items.len(), budget)?);
        Ok(found.and_then(|&at| self.items.get(at)).map(|(_, value)| value))
    }

    /// A view's items.
    pub(super) fn view(&self, view: View) -> Outcome<Vec<Value>> {
        let one = |(key, value): &(Value, Value)| match view {
            View::Items => Value::tuple(vec![key.clone(), value.clone()]),
            View::Keys => Ok(key.clone()),
            View::Values => Ok(value.clone()),
        };
        self.items.iter().map(one).collect()
    }
}

impl Value {
    pub(super) fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    pub(super) fn list(items: Vec<Self>) -> Outcome<Self> {
        Seq::new(items).map(Self::List)
    }

    pub(super) fn tuple(items: Vec<Self>) -> Outcome<Self> {
        Seq::new(items).map(Self::Tuple)
    }

    pub(super) fn undefined(reason: impl Into<Arc<str>>) -> Self {
        Self::Undefined(reason.into())
    }

    pub(super) fn from_json(json: &Json, budget: &Budget) -> Outcome<Self> {
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
                .map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Json::String(text) => Self::str(text.as_str()),
            Json::Array(items) => {
                let items = items.iter().map(|item| Self::from_json(item, budget));
                Self::list(items.collect::<Outcome<_>>()?)?
            }
            Json::Object(items) => {
                let pair = |(key, value): (&String, &Json)| {
                    Ok((Self::str(key.as_str()), Self::from_json(value, budget)?))
                };
                let pairs = items.iter().map(pair).collect::<Outcome<Vec<_>>>()?;
                Self::Dict(Dict::new(pairs, budget)?)
            }
        })
    }

    fn depth(&self) -> u16 {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => seq.depth,
            Self::Dict(dict) | Self::View(_, dict) => dict.depth,
            Self::Stream(stream) => stream.depth,
            Self::Loop(state) => state.seq.depth,
            Self::Cycler(cycler) => cycler.seq.depth,
            Self::Callable(callable) => match &**callable {
                Callable::Method(receiver, _) => receiver.depth(),
                Callable::Recurse(state) => state.seq.depth,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Python's name of its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) | Self::Safe(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) | Self::Group(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(View::Items, _) => "dict_items",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::Range(..) => "range",
            Self::Stream(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Callable(_) => "function",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
        }
    }

    /// The text, escaped or not.
    pub(super) fn as_str(&self) -> Option<&Arc<str>> {
        match self {
            Self::Str(text) | Self::Safe(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub(super) fn as_seq(&self) -> Option<&[Self]> {
        match self {
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => Some(&seq.items),
            _ => None,
        }
    }

    /// An integer, or a truth value as one.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// Any number.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            other => other.as_int().map(|number| number as f64),
        }
    }

    /// Number of items or characters, where there is one.
    pub(super) fn len(&self) -> Option<usize> {
        Some(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) | Self::Safe(text) => text.chars().count(),
            Self::List(seq) | Self::Tuple(seq) | Self::Group(seq) => seq.items.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.items.len(),
            Self::Range(start, stop, step) => range_length(*start, *stop, *step),
            Self::Loop(state) => state.seq.items.len(),
            _ => return None,
        })
    }

    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) | Self::Safe(text) => !text.is_empty(),
            other => other.len() != Some(0),
        }
    }

    /// What makes it equal to other keys, of which it is to be looked up among so many.
    pub(super) fn key(&self, others: usize, budget: &Budget) -> Outcome<Key> {
        budget.spend(1)?;
        if let Some(text) = self.as_str() {
            let compared = (others + 1).ilog2() as usize + 1;
            budget.text(text.len().saturating_mul(compared))?;
        }
        Ok(match self {
            Self::Undefined(_) => Key::Undefined,
            Self::None => Key::None,
            Self::Str(text) | Self::Safe(text) => Key::Str(text.clone()),
            Self::Float(number) if number.fract() != 0.0 || number.abs() > 1e38 => {
                Key::Float(number.to_bits())
            }
            Self::Float(number) => Key::Int(*number as i128),
            Self::Tuple(seq) | Self::Group(seq) => {
                let keys = seq.items.iter().map(|item| item.key(others, budget));
                Key::Tuple(keys.collect::<Outcome<_>>()?)
            }
            other => match other.as_int() {
                Some(number) => Key::Int(number),
                None => return Err(trouble(format!("unhashable type: '{}'", self.kind()))),
            },
        })
    }

    /// That it is undefined, as an error.
    pub(super) fn defined(&self) -> Outcome<&Self> {
        match self {
            Self::Undefined(reason) => Err(trouble(&**reason)),
            _ => Ok(self),
        }
    }
}

pub(super) fn range_length(start: i128, stop: i128, step: i128) -> usize {
    let span = if step > 0 { stop - start } else { start - stop };
    if span <= 0 { 0 } else { ((span - 1) / step.abs() + 1) as usize }
}
