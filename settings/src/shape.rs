/// Reads a type by the shape of what is written: `text`, `number`, `table` or `list`, each with a
/// function that makes a value of what is read.
///
/// In place of serde's untagged enums, which say that no variant fits, not what is wrong with the
/// one that is meant.
///
/// ```text
/// settings::by_shape! { Train: "a table with `kind` or a list of tables";
///     table => Self::One,
///     list => Self::Many,
/// }
/// ```
#[macro_export]
macro_rules! by_shape {
    ($type:ty: $expected:literal; $($shape:ident => $make:expr),+ $(,)?) => {
        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                struct ByShape;

                impl<'de> $crate::serde::de::Visitor<'de> for ByShape {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }

                    $($crate::by_shape!(@visit $shape, $make);)+
                }

                deserializer.deserialize_any(ByShape)
            }
        }
    };
    (@visit text, $make:expr) => {
        fn visit_str<E: $crate::serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let text = $crate::serde::de::value::StrDeserializer::<E>::new(text);
            $crate::serde::Deserialize::deserialize(text).map($make)
        }
    };
    (@visit number, $make:expr) => {
        fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
            Ok($make(number))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok($make(number as f64))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok($make(number as f64))
        }
    };
    (@visit table, $make:expr) => {
        fn visit_map<A: $crate::serde::de::MapAccess<'de>>(
            self,
            table: A,
        ) -> Result<Self::Value, A::Error> {
            let table = $crate::serde::de::value::MapAccessDeserializer::new(table);
            $crate::serde::Deserialize::deserialize(table).map($make)
        }
    };
    (@visit list, $make:expr) => {
        fn visit_seq<A: $crate::serde::de::SeqAccess<'de>>(
            self,
            list: A,
        ) -> Result<Self::Value, A::Error> {
            let list = $crate::serde::de::value::SeqAccessDeserializer::new(list);
            $crate::serde::Deserialize::deserialize(list).map($make)
        }
    };
}
