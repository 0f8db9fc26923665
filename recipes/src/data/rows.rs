//! The rows of one file, whatever its format.
//!
//! Every format hands its rows on as JSON objects, so that columns are read in one way.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use evals::run::Digest;
use flate2::bufread::MultiGzDecoder;
use rewards::rows::{Fields, delimiter, foreign, items_of};

use super::row::{At, Take, within};
use super::{csv, parquet};
use crate::identity::{Digesting, digest};

/// Bytes at the start of a file that its format is told by.
const HEAD: u64 = 4096;
/// Longest JSON array that is read, in bytes: all of it is in memory while it is.
const MAX_ARRAY: u64 = 4 << 30;

const GZIP: &[u8] = b"\x1f\x8b";
const PARQUET: &[u8] = b"PAR1";

/// Extensions of files that are read, without `.gz`.
const EXTENSIONS: [&str; 6] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet"];

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// JSON lines.
    Lines,
    /// Any known format.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Array,
    Table(u8),
}

/// Whether a file's name ends as those of a known format.
pub(super) fn is_known(name: &str) -> bool {
    extension(name).is_some_and(|own| EXTENSIONS.contains(&own.as_str()))
}

/// The extension in lower case, without `.gz`.
fn extension(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned())
}

/// Hands the rows of a file to `take`, and returns the file's digest.
///
/// # Errors
///
/// Fails when the file cannot be read, is of no known or another format, at the first row that is
/// malformed or refused, and when there is none. Where a row is at fault, the message begins with
/// its place.
pub(super) fn read(path: &Path, accept: Accept, take: &mut Take<'_>) -> Result<Digest> {
    let mut file = Digesting::open(path, "a file of rows")?;
    let mut source = BufReader::new(&mut file);
    let head = head(&mut source)?;
    if head.starts_with(PARQUET) && accept == Accept::Any {
        drop(file);
        parquet::read(path, take)?;
        return digest(path);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whole = head.as_slice().chain(source);
    if head.starts_with(GZIP) && accept == Accept::Any {
        text(BufReader::new(MultiGzDecoder::new(BufReader::new(whole))), &name, accept, take)?;
    } else {
        text(BufReader::new(whole), &name, accept, take)?;
    }
    // A format may end before its file.
    std::io::copy(&mut file, &mut std::io::sink()).context("reading to the end")?;
    Ok(file.digest())
}

/// The first bytes of `source`.
fn head(source: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(HEAD).read_to_end(&mut head).context("reading its start")?;
    Ok(head)
}

fn text(mut source: impl BufRead, name: &str, accept: Accept, take: &mut Take<'_>) -> Result<()> {
    let head = head(&mut source)?;
    let format = if accept == Accept::Any { format(&head, name) } else { Format::Lines };
    let source = head.as_slice().chain(source);
    match format {
        Format::Lines => {
            rewards::rows::read_rows(source, "with the columns of a problem", |line, row| {
                take(At::Line(line), row)
            })
            .map_err(|error| advise(error, &head, name, accept))
        }
        Format::Array => array(source, take),
        Format::Table(delimiter) => csv::read(source, delimiter, take),
    }
}

/// The error of a file read as JSON lines, with the key that would read it where there is one.
fn advise(error: rewards::Error, head: &[u8], name: &str, accept: Accept) -> anyhow::Error {
    let packed = head.starts_with(GZIP) || head.starts_with(PARQUET);
    let readable = packed || format(head, name) != Format::Lines;
    let error = anyhow::Error::from(error);
    if accept == Accept::Lines && readable {
        return anyhow!("{error:#}\nor set kind = \"file\", which reads it as it is");
    }
    error
}

/// The format of a text: by its name where that says a table, else by its first bytes.
fn format(head: &[u8], name: &str) -> Format {
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
    let is_table = matches!(extension(name).as_deref(), Some("csv" | "tsv"));
    let other = foreign(head).is_some();
    match (text.first(), delimiter(head)) {
        (Some(b'{'), _) if !is_table => Format::Lines,
        (Some(b'['), _) if !is_table => Format::Array,
        (_, Some(delimiter)) => Format::Table(delimiter),
        // One column, or names that are not plain.
        _ if is_table && !other => {
            Format::Table(if extension(name).as_deref() == Some("tsv") { b'\t' } else { b',' })
        }
        _ => Format::Lines,
    }
}

fn array(source: impl Read, take: &mut Take<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    source.take(MAX_ARRAY + 1).read_to_end(&mut bytes).context("reading a JSON array")?;
    if bytes.len() as u64 > MAX_ARRAY {
        bail!(
            "a JSON array of more than {} GiB: `jq -c '.[]' FILE > rows.jsonl` writes it as JSON \
             lines, which are read one by one",
            MAX_ARRAY >> 30
        );
    }
    let rows = items_of(&bytes).map_err(|problem| anyhow!("a JSON array: {problem}"))?;
    if rows.is_empty() {
        bail!("no rows: the array is empty");
    }
    for (at, row) in (1..).zip(rows) {
        within(At::Row(at), row.len(), || {
            Fields::read_item(row.as_bytes()).and_then(|fields| take(At::Row(at), &fields))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_the_name_of_a_table_or_by_the_first_bytes() {
        for (head, name, expected) in [
            ("{\"a\":1}", "rows.json", Format::Lines),
            (" \n[{\"a\":1}]", "rows.jsonl", Format::Array),
            ("\u{feff}[", "rows", Format::Array),
            ("a,b\n1,2", "rows", Format::Table(b',')),
            ("a\tb\n1\t2", "rows.csv", Format::Table(b'\t')),
            ("a;b\n", "rows.csv", Format::Table(b';')),
            ("a\n1", "rows.csv", Format::Table(b',')),
            ("a\n1", "rows.TSV.gz", Format::Table(b'\t')),
            ("[a],{b}\n", "rows.csv", Format::Table(b',')),
            ("word", "rows.txt", Format::Lines),
            ("", "rows.json", Format::Lines),
        ] {
            assert_eq!(format(head.as_bytes(), name), expected, "{head:?} {name}");
        }
        assert!(is_known("a.jsonl") && is_known("A.Parquet") && is_known("a.csv.gz"));
        assert!(!is_known("README.md") && !is_known("jsonl") && !is_known("a.gz"));
    }
}
