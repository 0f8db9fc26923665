//! CSV: `step,time`, then a column a key; empty where a row lacks the key, `nan` where the value
//! was not finite.

use std::io::{self, Write};

use super::curves::columns;
use super::{Curves, Names, Row};

/// Writes the header.
pub(super) fn head(to: &mut dyn Write, curves: &Curves, names: Names) -> io::Result<()> {
    let columns = columns(&curves.keys(), names);
    let mut writer = ::csv::Writer::from_writer(to);
    let names = ["step", "time"].into_iter().chain(columns.iter().map(String::as_str));
    writer.write_record(names).map_err(of_system)?;
    writer.flush()
}

/// Writes rows.
pub(super) fn rows<'a>(
    to: &mut dyn Write,
    curves: &'a Curves,
    names: Names,
    rows: impl Iterator<Item = Row<'a>>,
) -> io::Result<()> {
    let keys = curves.keys();
    let columns = columns(&keys, names);
    // A column has the keys of its name: of each row, the first that has a value.
    let sources: Vec<Vec<&str>> = columns
        .iter()
        .map(|column| {
            keys.iter().copied().filter(|key| names.name(key) == column.as_str()).collect()
        })
        .collect();
    let mut writer = ::csv::Writer::from_writer(to);
    for row in rows {
        let values = sources.iter().map(|keys| keys.iter().find_map(|key| row.get(key)));
        let cells = [Some(row.step.to_string()), row.time().map(cell)]
            .into_iter()
            .chain(values.map(|value| value.map(cell)));
        writer.write_record(cells.map(Option::unwrap_or_default)).map_err(of_system)?;
    }
    writer.flush()
}

/// The system's own error, whose kind says whether the reader of a pipe has gone.
fn of_system(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn cell(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { serde_json::json!(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_shortest_that_reads_back_the_same() {
        for (value, text) in [(1.0, "1.0"), (0.1, "0.1"), (1e-300, "1e-300"), (f64::NAN, "nan")] {
            assert_eq!(cell(value), text);
        }
    }
}
