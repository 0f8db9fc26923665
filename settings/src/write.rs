use std::fmt::Display;

use serde::ser::{
    Error, Impossible, Serialize, SerializeStruct, SerializeStructVariant, Serializer,
};

/// Writes an enum as a table with `kind` first, or as the name of a kind without settings.
#[derive(Debug)]
pub struct Writer<S> {
    serializer: S,
    /// The kind of the struct that is to be written.
    kind: Option<&'static str>,
}

impl<S> Writer<S> {
    /// Writes to `serializer`.
    pub fn new(serializer: S) -> Self {
        Self { serializer, kind: None }
    }
}

/// The settings of one kind, on their way.
#[derive(Debug)]
pub enum Fields<S: Serializer> {
    /// There are none.
    Name(S, &'static str),
    /// A table, begun with `kind`.
    Table(S::SerializeStruct),
}

/// What only an enum has no need of.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $result:ty;)+) => {
        $(fn $method(self $(, _: $argument)*) -> Result<$result, S::Error> {
            Err(not_an_enum())
        })+
    };
}

fn not_an_enum<E: Error>() -> E {
    E::custom("a setting of several kinds is an enum of structs")
}

fn begin<S: Serializer>(
    serializer: S,
    name: &'static str,
    kind: &'static str,
    len: usize,
) -> Result<S::SerializeStruct, S::Error> {
    let mut table = serializer.serialize_struct(name, len + 1)?;
    table.serialize_field("kind", kind)?;
    Ok(table)
}

impl<S: Serializer> Serializer for Writer<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = S::SerializeStruct;
    type SerializeStructVariant = Fields<S>;

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.serializer.serialize_str(kind)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(Self { kind: Some(kind), ..self })
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<S::SerializeStruct, S::Error> {
        begin(self.serializer, name, self.kind.ok_or_else(not_an_enum)?, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        kind: &'static str,
        len: usize,
    ) -> Result<Fields<S>, S::Error> {
        if len == 0 {
            return Ok(Fields::Name(self.serializer, kind));
        }
        begin(self.serializer, name, kind, len).map(Fields::Table)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        Err(not_an_enum())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        Err(not_an_enum())
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        Err(not_an_enum())
    }

    refuse! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
    }
}

impl<S: Serializer> SerializeStructVariant for Fields<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        match self {
            Self::Name(..) => Err(not_an_enum()),
            Self::Table(table) => table.serialize_field(key, value),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(serializer, kind) => serializer.serialize_str(kind),
            Self::Table(table) => table.end(),
        }
    }
}
