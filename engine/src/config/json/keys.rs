//! Typed access to the keys of a JSON object.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// An object whose nulls count as absent, as in `transformers`.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Keys<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn size(self, name: &str) -> Result<usize> {
        let value = self
            .get(name)
            .ok_or_else(|| Error::Config(format!("{name} is missing in config.json")))?;
        // Some writers put whole numbers as 8192.0.
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64))
            .map(|size| size as usize)
            .ok_or_else(|| Error::Config(format!("{name} is {value}, expected a whole number")))
    }

    pub(super) fn size_or(self, name: &str, default: usize) -> Result<usize> {
        if self.get(name).is_some() { self.size(name) } else { Ok(default) }
    }

    pub(super) fn number(self, name: &str) -> Result<Option<f64>> {
        self.get(name)
            .map(|value| {
                value
                    .as_f64()
                    .ok_or_else(|| Error::Config(format!("{name} is {value}, expected a number")))
            })
            .transpose()
    }

    pub(super) fn number_or(self, name: &str, default: f64) -> Result<f64> {
        Ok(self.number(name)?.unwrap_or(default))
    }

    pub(super) fn flag_or(self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(Error::Config(format!("{name} is {other}, expected true or false"))),
        }
    }
}
