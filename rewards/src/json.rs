//! JSON read by derived readers, without their leniency: serde takes a list for a struct, field by
//! field in the order of the declaration, wherever it meets one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value that [`Serialize`] wrote.
///
/// # Errors
///
/// Says what does not fit, and where a list stands in place of an object.
pub fn read<T: Serialize + DeserializeOwned>(value: &Value) -> Result<T, String> {
    let read: T = T::deserialize(value).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match list_for_object(value, &written) {
        Some(path) if path.is_empty() => Err("expected an object, got a list".into()),
        Some(path) => Err(format!("{path}: expected an object, got a list")),
        None => Ok(read),
    }
}

/// Where `given` has a list and what was read from it is `written` as an object: names and numbers
/// of items, with dots between.
pub fn list_for_object(given: &Value, written: &Value) -> Option<String> {
    let below = |key: &str, given, written| {
        let path = list_for_object(given, written)?;
        Some(if path.is_empty() { key.to_owned() } else { format!("{key}.{path}") })
    };
    match (given, written) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(given), Value::Array(written)) => (0..)
            .zip(given.iter().zip(written))
            .find_map(|(at, (given, written)): (usize, _)| below(&at.to_string(), given, written)),
        (Value::Object(given), Value::Object(written)) => {
            given.iter().find_map(|(name, given)| below(name, given, written.get(name)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    enum Kind {
        One { size: u8 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        a: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        inner: Inner,
        list: Vec<Inner>,
        pair: (u8, u8),
        named: BTreeMap<String, Inner>,
        kind: Kind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more: Option<Inner>,
    }

    fn whole() -> Value {
        json!({
            "inner": {"a": 1}, "list": [{"a": 2}], "pair": [3, 4], "named": {"x": {"a": 5}},
            "kind": {"kind": "one", "size": 6}, "extra": [7]
        })
    }

    #[test]
    fn objects_and_true_lists_are_read() {
        let read: Outer = read(&whole()).unwrap();
        assert_eq!((read.inner.a, read.pair, read.kind), (1, (3, 4), Kind::One { size: 6 }));
    }

    #[test]
    fn a_list_in_place_of_an_object_is_refused_wherever_it_stands() {
        let cases = [
            ("inner", json!([1]), "inner: "),
            ("list", json!([{"a": 1}, [2]]), "list.1: "),
            ("named", json!({"x": [5]}), "named.x: "),
            ("kind", json!(["one", 6]), "kind: "),
            ("more", json!([8]), "more: "),
        ];
        for (name, value, path) in cases {
            let mut given = whole();
            given[name] = value;
            // Serde itself takes each of them.
            Outer::deserialize(&given).unwrap();
            let error = read::<Outer>(&given).unwrap_err();
            assert_eq!(error, format!("{path}expected an object, got a list"));
        }
        assert_eq!(read::<Inner>(&json!([1])).unwrap_err(), "expected an object, got a list");
        assert!(read::<Inner>(&json!({})).unwrap_err().contains("missing field `a`"));
    }
}
