use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

/// A setting of several kinds; [`tagged!`](crate::tagged!) implements it.
pub trait Tagged<'de>: Sized {
    /// The kind of a table without `kind`.
    const DEFAULT: Option<&'static str>;

    /// The names of its kinds.
    fn kinds() -> Vec<&'static str>;

    /// Reads the settings of one kind.
    ///
    /// # Errors
    ///
    /// Fails on an unknown key, a missing one and a value of another kind.
    fn from_table<A: MapAccess<'de>>(table: Table<A>) -> Result<Self, A::Error>;
}

/// Reads a setting of several kinds from a name or a table.
///
/// # Errors
///
/// Fails on other values, on an unknown kind and where [`Tagged::from_table`] does.
pub fn read<'de, D: Deserializer<'de>, T: Tagged<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(NameOrTable(PhantomData))
}

struct NameOrTable<T>(PhantomData<T>);

impl<'de, T: Tagged<'de>> Visitor<'de> for NameOrTable<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a table with `kind`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        let kind = known(name, &T::kinds())?;
        T::from_table(Table { kind, first: None, rest: Nothing(PhantomData) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rest: A) -> Result<T, A::Error> {
        let missing = || {
            let kinds = one_of(&T::kinds());
            A::Error::custom(format_args!("missing field `kind`, expected {kinds}"))
        };
        let (kind, first) = match rest.next_key::<String>()? {
            Some(key) if key == "kind" => (rest.next_value_seed(Kind(&T::kinds()))?, None),
            first => (T::DEFAULT.ok_or_else(missing)?, first),
        };
        T::from_table(Table { kind, first, rest })
    }
}

/// The name of a kind, refused where it stands if there is none of that name.
struct Kind<'a>(&'a [&'static str]);

impl<'de> DeserializeSeed<'de> for Kind<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Kind<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variant identifier")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'static str, E> {
        known(name, self.0)
    }
}

fn known<E: Error>(name: &str, kinds: &[&'static str]) -> Result<&'static str, E> {
    let found = kinds.iter().find(|kind| **kind == name).copied();
    found.ok_or_else(|| {
        // In serde's words, whose error of this name wants a list that is static.
        E::custom(format_args!("unknown variant `{name}`, expected {}", one_of(kinds)))
    })
}

fn one_of(kinds: &[&str]) -> String {
    match kinds {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [one, other] => format!("`{one}` or `{other}`"),
        _ => format!("one of `{}`", kinds.join("`, `")),
    }
}

/// The settings of one kind, which are to be read.
#[derive(Debug)]
pub struct Table<A> {
    kind: &'static str,
    /// The key that stood where `kind` would, if the kind is the default one.
    first: Option<String>,
    rest: A,
}

impl<A> Table<A> {
    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Table<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Table<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), A::Error> {
        Ok((seed.deserialize(StrDeserializer::new(self.kind))?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Table<A> {
    type Error = A::Error;

    fn unit_variant(mut self) -> Result<(), A::Error> {
        self.next_key::<NoKey>().map(|_| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }
}

/// What is beside `kind`.
impl<'de, A: MapAccess<'de>> MapAccess<'de> for Table<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed.deserialize(StrDeserializer::new(&first)).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

/// A key where none is expected.
enum NoKey {}

impl<'de> Deserialize<'de> for NoKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Err(D::Error::unknown_field(&key, &[]))
    }
}

/// The table of a setting that is a name.
struct Nothing<E>(PhantomData<E>);

impl<'de, E: Error> MapAccess<'de> for Nothing<E> {
    type Error = E;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, E> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, E> {
        unreachable!("there is no key")
    }
}

/// Asks an enum for its variants: a deserializer that answers with [`Kinds`].
#[derive(Debug, Clone, Copy)]
pub struct KindsOf;

/// The variants of an enum, in place of an error.
#[derive(Debug)]
pub struct Kinds(pub &'static [&'static str]);

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_of(self.0))
    }
}

impl std::error::Error for Kinds {}

impl Error for Kinds {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for KindsOf {
    type Error = Kinds;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Kinds> {
        Err(Kinds(&[]))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Kinds> {
        Err(Kinds(variants))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
