//! Tables as text: CSV with commas, semicolons or tabs, quotes as in RFC 4180.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::{Context as _, Result, anyhow, bail};
use rewards::rows::{Fields, brief};

use super::row::{At, Take, within};

/// Hands the rows to `take`; an empty cell is null, every other one is text.
///
/// # Errors
///
/// Fails when the first line is no row of different names, at a row with another number of cells or
/// with bytes that are not UTF-8, at a quote that is not closed, and when there is no row.
pub(super) fn read(source: impl Read, delimiter: u8, take: &mut Take<'_>) -> Result<()> {
    let mut table =
        ::csv::ReaderBuilder::new().delimiter(delimiter).from_reader(Quotes::of(source));
    let names = names(&table.byte_headers().map_err(|error| plain(error, 0))?.clone())?;
    let mut record = ::csv::ByteRecord::new();
    let (mut row, mut has_line_end) = (0, false);
    while table.read_byte_record(&mut record).map_err(|error| plain(error, row + 1))? {
        row += 1;
        has_line_end = record.iter().any(|cell| cell.contains(&b'\n'));
        within(At::Row(row), record.as_slice().len(), || {
            let json = json(&names, &record)?;
            Fields::read(json.as_bytes()).and_then(|fields| take(At::Row(row), &fields))
        })?;
    }
    if row == 0 {
        bail!("no rows: expected a line of names and rows below it");
    }
    // Nothing but the count tells a quote that swallowed the rest of the file from a long text.
    if table.get_ref().count % 2 == 1 && has_line_end {
        bail!("row {row}: a quote that is not closed: the rest of the file is in one cell");
    }
    Ok(())
}

fn names(header: &::csv::ByteRecord) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let name = |cell: &[u8]| {
        let cell = cell.strip_prefix("\u{feff}".as_bytes()).unwrap_or(cell);
        let name = std::str::from_utf8(cell).context("line 1: not UTF-8")?.trim().to_owned();
        if !seen.insert(name.clone()) {
            bail!("line 1: column `{}` occurs twice: expected different names", brief(&name));
        }
        Ok(name)
    };
    header.iter().map(name).collect()
}

/// A row as a JSON object.
fn json(names: &[String], record: &::csv::ByteRecord) -> Result<String, String> {
    let mut json = String::from("{");
    for (at, (name, cell)) in names.iter().zip(record).enumerate() {
        let cell = std::str::from_utf8(cell)
            .map_err(|_| format!("column `{}` is not UTF-8", brief(name)))?;
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let value = if cell.is_empty() { "null".to_owned() } else { text(cell) };
        let comma = if at == 0 { "" } else { "," };
        json.extend([comma, &text(name), ":", &value]);
    }
    json.push('}');
    Ok(json)
}

/// An error of the reader at a row, in our words.
fn plain(error: ::csv::Error, row: usize) -> anyhow::Error {
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            anyhow!("row {row}: {len} cells, expected {expected_len} as in the first line")
        }
        _ => anyhow::Error::from(error).context(format!("row {row}")),
    }
}

/// Counts the quotes that go by.
struct Quotes<R> {
    source: R,
    count: u64,
}

impl<R> Quotes<R> {
    fn of(source: R) -> Self {
        Self { source, count: 0 }
    }
}

fn quotes(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte == b'"')).sum()
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count += quotes(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], delimiter: u8) -> Result<Vec<(At, String)>, String> {
        let mut rows = Vec::new();
        read(text, delimiter, &mut |at, row| {
            let all: Vec<_> = row.all().map(|(name, value)| format!("{name}={value}")).collect();
            rows.push((at, all.join(" ")));
            Ok(())
        })
        .map_err(|error| format!("{error:#}"))?;
        Ok(rows)
    }

    #[test]
    fn cells_keep_commas_quotes_and_line_ends() {
        let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\nz\",1.50\r\n,\" \"\n";
        let expected = [
            (At::Row(1), r#"a="x, \"y\"\nz" b="1.50""#.to_owned()),
            (At::Row(2), r#"a=null b=" ""#.to_owned()),
        ];
        assert_eq!(rows(text.as_bytes(), b',').unwrap(), expected);
        assert_eq!(rows(b"a;b\n1,5;2", b';').unwrap()[0].1, r#"a="1,5" b="2""#);
    }

    #[test]
    fn a_broken_table_is_refused_by_its_line() {
        let refused = |text: &[u8], words: &str| {
            let error = rows(text, b',').unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused(b"a,b\n1,2\n1,2,3\n", "row 2: 3 cells, expected 2 as in the first line");
        refused(b"a,a\n1,2\n", "line 1: column `a` occurs twice");
        refused(b"a,b\n", "no rows");
        refused(b"", "no rows");
        refused(b"a,b\n1,caf\xe9\n", "row 1: column `b` is not UTF-8");
        refused(b"a,b\n1,\"2\n3,4\n5,6\n", "a quote that is not closed");
        // A stray quote inside of a cell ends nothing.
        assert_eq!(rows(b"a,b\n5\" pipe,2\n1,2\n", b',').unwrap().len(), 2);
    }
}
