//! How a setting is written in a recipe: by name, as a table with `kind`, or `"off"`.
//!
//! Reading order: [`tagged!`] for settings of several kinds, [`off`] for those that can be off,
//! [`by_shape!`] for those that take a text, a number, a table or a list. Nothing is buffered while
//! it is read, so that an error keeps its line and column.

#![forbid(unsafe_code)]

pub mod off;
mod read;
mod schema;
mod shape;
mod write;

pub use off::OrOff;
pub use read::{Kinds, KindsOf, Table, Tagged, read};
pub use schema::{by_name, by_name_or};
#[doc(hidden)]
pub use serde;
pub use write::Writer;

/// A number as people write it: a very large or small one with an exponent, in place of hundreds of
/// digits. It is read back to the same number.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let is_plain = size == 0.0 || (1e-5..1e16).contains(&size) || !value.is_finite();
    if is_plain { value.to_string() } else { format!("{value:e}") }
}

/// Reads and writes an enum as a table with `kind`, or as the name of the kind alone where that
/// needs no other key. A kind without settings is written as its name.
///
/// The enum has these attributes; the rest of serde's may be added:
///
/// ```text
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
/// #[schemars(tag = "kind", transform = settings::by_name)]
/// ```
///
/// `kind` is read where it comes first; the loader of recipes puts it there. `tagged!(Advantage,
/// "grpo")` names the kind of a table without one, as does `transform =
/// settings::by_name_or("grpo")`.
#[macro_export]
macro_rules! tagged {
    ($type:ty) => {
        $crate::tagged!(@of $type, None);
    };
    ($type:ty, $default:literal) => {
        $crate::tagged!(@of $type, Some($default));
    };
    (@of $type:ty, $default:expr) => {
        impl<'de> $crate::Tagged<'de> for $type {
            const DEFAULT: Option<&'static str> = $default;

            fn kinds() -> Vec<&'static str> {
                match <$type>::deserialize($crate::KindsOf) {
                    Err($crate::Kinds(kinds)) => kinds.to_vec(),
                    Ok(_) => unreachable!("an enum asks for its variants first"),
                }
            }

            fn from_table<A: $crate::serde::de::MapAccess<'de>>(
                table: $crate::Table<A>,
            ) -> Result<Self, A::Error> {
                <$type>::deserialize(table)
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                $crate::read(deserializer)
            }
        }

        impl $crate::serde::Serialize for $type {
            fn serialize<S: $crate::serde::Serializer>(
                &self,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, $crate::Writer::new(serializer))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use schemars::{JsonSchema, schema_for};
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    /// A setting of four kinds.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
    #[schemars(tag = "kind", transform = crate::by_name_or("some"))]
    enum Setting {
        Off,
        Some {
            #[serde(default)]
            most: f64,
        },
        Needy {
            least: u32,
        },
        Whole(Parts),
    }

    /// What one of them holds.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Parts {
        #[serde(with = "crate::off")]
        #[schemars(with = "crate::OrOff<u32>")]
        limit: Option<u32>,
        #[serde(with = "crate::off::zero_too")]
        #[schemars(with = "crate::OrOff<u64>")]
        every: u64,
    }

    crate::tagged!(Setting, "some");

    fn read(text: &str) -> Result<Setting, String> {
        #[derive(Deserialize)]
        struct At {
            at: Setting,
        }
        toml::from_str::<At>(text).map(|at| at.at).map_err(|error| {
            let at = error.span().map_or("", |span| &text[span]);
            format!("{at}: {}", error.message())
        })
    }

    #[test]
    fn a_number_is_short_and_read_back() {
        for (value, text) in [
            (0.0, "0"),
            (8.0, "8"),
            (0.1, "0.1"),
            (1e15, "1000000000000000"),
            (1e300, "1e300"),
            (-1e300, "-1e300"),
            (f64::MAX, "1.7976931348623157e308"),
            (1e-5, "0.00001"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(crate::number(value), text);
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
        }
    }

    #[test]
    fn a_name_is_its_table_and_a_table_needs_no_default_kind() {
        assert_eq!(read("at = \"off\""), Ok(Setting::Off));
        assert_eq!(read("at = { kind = \"off\" }"), Ok(Setting::Off));
        assert_eq!(read("at = { most = 2 }"), Ok(Setting::Some { most: 2.0 }));
        assert_eq!(read("at = {}"), read("at = \"some\""));
        let parts = |limit, every| Ok(Setting::Whole(Parts { limit, every }));
        assert_eq!(read("at = \"whole\""), parts(None, 0));
        assert_eq!(read("at = { kind = \"whole\", limit = 3, every = 0 }"), parts(Some(3), 0));
    }

    #[test]
    fn a_mistake_is_named_where_it_stands() {
        for (text, error) in [
            ("{ kind = \"of\" }", "\"of\": unknown variant `of`, expected one of `off`, `some`"),
            ("\"of\"", "\"of\": unknown variant `of`"),
            ("{ kind = \"off\", most = 1 }", "most: unknown field `most`, there are no fields"),
            ("{ kind = \"some\", least = 1 }", "least: unknown field `least`"),
            ("{ most = \"x\" }", "\"x\": invalid type: string \"x\", expected f64"),
            ("\"needy\"", "\"needy\": missing field `least`"),
            ("5", "5: invalid type: integer `5`, expected a name or a table with `kind`"),
            ("{ kind = \"whole\", limit = 0 }", "0: got 0: write \"off\" to switch it off"),
            ("{ kind = \"whole\", limit = false }", "false: got false: write \"off\""),
            (
                "{ kind = \"whole\", limit = \"x\" }",
                "\"x\": invalid type: string \"x\", expected u32 or \"off\"",
            ),
        ] {
            let found = read(&format!("at = {text}")).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }

    #[test]
    fn what_is_written_is_the_shortest_form_and_shows_what_is_off() {
        let written = |setting| serde_json::to_value::<Setting>(setting).unwrap();
        assert_eq!(written(Setting::Off), json!("off"));
        assert_eq!(written(Setting::Some { most: 0.5 }), json!({ "kind": "some", "most": 0.5 }));
        let whole = Setting::Whole(Parts::default());
        let expected = json!({ "kind": "whole", "limit": "off", "every": "off" });
        assert_eq!(written(whole), expected);
    }

    #[test]
    fn the_schema_has_both_forms() {
        let schema = schema_for!(Setting).to_value();
        let kinds = schema["oneOf"].as_array().unwrap();
        let names = kinds.iter().find_map(|kind| kind.get("enum"));
        assert_eq!(names, Some(&json!(["off", "some", "whole"])), "{schema}");
        let of = |name: &str| {
            kinds.iter().find(|kind| kind["properties"]["kind"]["const"] == name).unwrap()
        };
        assert_eq!(of("some")["required"], json!([]));
        assert_eq!(of("needy")["required"], json!(["kind", "least"]));
        let limit = &of("whole")["properties"]["limit"]["anyOf"];
        assert_eq!(limit.as_array().and_then(|of| of.last()), Some(&json!({ "const": "off" })));
        assert_ne!(limit[0], Value::Null);
    }
}
