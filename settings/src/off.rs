//! Settings that can be off: `"off"` in a recipe, `None` in the program.
//!
//! `#[serde(with = "settings::off")]` and `#[schemars(with = "settings::OrOff<T>")]` on a field of
//! type `Option<T>`. It is always written, so that a resolved recipe shows what is off. What other
//! formats write for it, 0 and false, is refused with the word to write.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{self, MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The word.
pub const OFF: &str = "off";

/// Writes the value, or `"off"`.
///
/// # Errors
///
/// Fails where the serializer does.
pub fn serialize<T: Serialize, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(OFF),
    }
}

/// Reads a value or `"off"`.
///
/// # Errors
///
/// Fails on 0, false and an empty text, which stand for nothing here, and on what `T` refuses.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(ValueOrOff { zero_is_off: false, value: PhantomData })
}

/// For a field whose zero (0, or an empty text) is off in the program: `T` in place of `Option<T>`.
pub mod zero {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value, or `"off"` for zero.
    ///
    /// # Errors
    ///
    /// Fails where the serializer does.
    pub fn serialize<T: Serialize + Default + PartialEq, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(&Some(value).filter(|value| **value != T::default()), serializer)
    }

    /// Reads a value or `"off"`.
    ///
    /// # Errors
    ///
    /// Fails where [`off`](super::deserialize) does.
    pub fn deserialize<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        super::deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// As [`zero`], but that 0 is read as `"off"`, too.
pub mod zero_too {
    use super::{Deserialize, Deserializer};

    pub use super::zero::serialize;

    /// Reads a value, `"off"` or 0.
    ///
    /// # Errors
    ///
    /// Fails on false and an empty text, and on what `T` refuses.
    pub fn deserialize<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let visitor = super::ValueOrOff { zero_is_off: true, value: super::PhantomData };
        deserializer.deserialize_any(visitor).map(Option::unwrap_or_default)
    }
}

/// As [`zero`], for a field that can be left out, which is not the same as off.
pub mod zero_if_any {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value, or `"off"` for zero; a field that is left out is not to be written.
    ///
    /// # Errors
    ///
    /// Fails where the serializer does.
    pub fn serialize<T: Serialize + Default + PartialEq, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(&value.as_ref().filter(|value| **value != T::default()), serializer)
    }

    /// Reads a value or `"off"`.
    ///
    /// # Errors
    ///
    /// Fails where [`off`](super::deserialize) does.
    pub fn deserialize<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        super::zero::deserialize(deserializer).map(Some)
    }
}

/// For a text that may be empty: every text but `"off"` is one.
pub mod text {
    use super::{Deserialize, Deserializer, OFF};

    pub use super::serialize;

    /// Reads a text or `"off"`.
    ///
    /// # Errors
    ///
    /// Fails on anything but a text.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok((text != OFF).then_some(text))
    }
}

struct ValueOrOff<T> {
    zero_is_off: bool,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> ValueOrOff<T> {
    fn zero<E: Error>(&self, zero: impl fmt::Display) -> Result<Option<T>, E> {
        if self.zero_is_off { Ok(None) } else { Err(write_off(zero)) }
    }

    /// A value that is no table and no list.
    fn plain<E: Error>(value: impl IntoDeserializer<'de, value::Error>) -> Result<Option<T>, E> {
        let read = T::deserialize(value.into_deserializer());
        read.map(Some).map_err(|error| E::custom(format_args!("{error} or \"{OFF}\"")))
    }
}

fn write_off<E: Error>(got: impl fmt::Display) -> E {
    E::custom(format_args!("got {got}: write \"{OFF}\" to switch it off"))
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ValueOrOff<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value or \"{OFF}\"")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<T>, E> {
        if value { Self::plain(value) } else { Err(write_off(value)) }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<T>, E> {
        if value == 0 { self.zero(value) } else { Self::plain(value) }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<T>, E> {
        if value == 0 { self.zero(value) } else { Self::plain(value) }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<T>, E> {
        if value == 0.0 { self.zero(value) } else { Self::plain(value) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        match text {
            OFF => Ok(None),
            "" => Err(write_off("\"\"")),
            // Owned, for a `T` that would borrow from the recipe.
            _ => Self::plain(text.to_owned()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(list)).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(Some)
    }
}

/// The schema of a `T` that can be off.
#[derive(Debug)]
pub struct OrOff<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OrOff<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [value, { "const": OFF }] })
    }
}
