//! Metrics of another trainer as rows, and the JSON that Python writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::super::MetricTable;

/// Values by step and key. NaN is a number that was not finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rows(BTreeMap<u64, BTreeMap<String, f64>>);

impl Rows {
    /// Sets a value; a later one of the same step and key counts.
    pub(super) fn set(&mut self, step: u64, key: impl Into<String>, value: f64) {
        let value = if value.is_finite() { value } else { f64::NAN };
        self.0.entry(step).or_default().insert(key.into(), value);
    }

    /// Sets the numbers of an object; `name` gives a key's name here, if it has one.
    pub(super) fn extend(
        &mut self,
        step: u64,
        values: &Map<String, Value>,
        name: impl Fn(&str) -> Option<String>,
    ) {
        for (key, value) in values {
            let number = match value {
                Value::Null => f64::NAN,
                value => match value.as_f64() {
                    Some(number) => number,
                    None => continue,
                },
            };
            if let Some(name) = name(key) {
                self.set(step, name, number);
            }
        }
    }

    /// Sets what others have set.
    pub(super) fn extend_rows(&mut self, others: &Self) {
        for (step, row) in &others.0 {
            self.0.entry(*step).or_default().extend(row.clone());
        }
    }

    /// The keys of all rows.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.0.values().flat_map(|row| row.keys().cloned()).collect()
    }

    /// Adds the keys of `others` that no row here has.
    pub(super) fn add_missing(&mut self, others: &Self) {
        let known = self.keys();
        for (step, row) in &others.0 {
            for (key, value) in row.iter().filter(|(key, _)| !known.contains(*key)) {
                self.set(*step, key.clone(), *value);
            }
        }
    }

    /// As a table that says `path` as its file.
    pub(super) fn table(&self, path: &Path) -> MetricTable {
        let line = |(step, row): (&u64, &BTreeMap<String, f64>)| {
            let mut line = Map::new();
            line.insert("step".into(), (*step).into());
            line.insert("stage".into(), "rl".into());
            let values = row.iter().filter(|(key, _)| !matches!(key.as_str(), "step" | "stage"));
            // A number that is not finite becomes null.
            line.extend(values.map(|(key, value)| (key.clone(), Value::from(*value))));
            Value::Object(line).to_string().into_bytes()
        };
        MetricTable::of_lines(path, self.0.iter().map(line))
    }
}

/// JSON as Python's `json` writes it, where NaN and infinities are words: these become null.
///
/// # Errors
///
/// Fails on text that is no such JSON.
pub(super) fn python(bytes: &[u8]) -> Result<Value, String> {
    let first = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let (mut text, mut at, mut quoted) = (Vec::with_capacity(bytes.len()), 0, false);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word: Option<&[u8]> = [b"-Infinity".as_slice(), b"Infinity", b"NaN"]
            .into_iter()
            .find(|word| !quoted && rest.starts_with(word));
        if let Some(word) = word {
            text.extend(b"null");
            at += word.len();
            continue;
        }
        match (rest[0], quoted) {
            (b'"', _) => quoted = !quoted,
            (b'\\', true) => {
                text.push(b'\\');
                at += 1;
            }
            _ => {}
        }
        text.extend(bytes.get(at));
        at += 1;
    }
    serde_json::from_slice(&text).map_err(|_| first.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_numbers_that_are_not_finite_become_null() {
        let read = |text: &str| python(text.as_bytes()).map(|value| value.to_string());
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1e3], "c": "NaN \" Infinity \\"}"#;
        let expected = r#"{"a":null,"b":[null,null,1000.0],"c":"NaN \" Infinity \\"}"#;
        assert_eq!(read(text).unwrap(), expected);
        assert!(read("{\"a\": Nan}").is_err() && read("{\"a\": \"\\").is_err());
        assert!(read("").is_err());
    }

    #[test]
    fn rows_become_a_table_with_null_for_what_is_not_finite() {
        let mut rows = Rows::default();
        rows.set(3, "b", f64::INFINITY);
        rows.set(1, "a", 0.5);
        rows.set(1, "a", 0.25);
        rows.set(1, "step", 9.0);
        let mut others = Rows::default();
        others.set(1, "b", 1.0);
        others.set(2, "c", 2.0);
        rows.add_missing(&others);
        let table = rows.table(Path::new("x"));
        assert_eq!(table.steps(), [1, 2, 3]);
        assert_eq!(
            (table.get(0, "a"), table.get(0, "b"), table.get(1, "c")),
            (Some(0.25), None, Some(2.0))
        );
        assert!(table.get(2, "b").unwrap().is_nan() && table.problems().is_empty());
        let mut both = Rows::default();
        both.extend_rows(&rows);
        assert_eq!(both.table(Path::new("x")).steps(), [1, 2, 3]);
    }
}
