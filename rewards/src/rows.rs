//! Rows of JSON, one object a line: how files of problems and of predictions are read.
//!
//! Reading order: this file; [`Fields`] is one object, [`foreign`] tells other kinds of files
//! apart.

mod fields;
mod foreign;

use std::io::{BufRead, Read as _};

pub use fields::{Fields, brief, items, items_of};
pub use foreign::{Foreign, delimiter, foreign};

use crate::{Error, Result};

/// Bytes at the start of a file that its kind is told by.
const HEAD: u64 = 4096;

/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// The mark that some editors put before UTF-8 text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Hands each row to `take`, in order, with the number of its line from 1.
///
/// Lines end in `\n`, `\r\n` or `\r`. Empty lines and a byte order mark at the start of a line are
/// skipped. What `take` returns as an error is about that line.
///
/// # Errors
///
/// Fails when the file is of another kind, at the first line that cannot be read, is not a JSON
/// object or is refused by `take`, and when there is no row at all; `expected` then names the
/// fields.
pub fn read_rows(
    mut file: impl BufRead,
    expected: &'static str,
    mut take: impl FnMut(usize, &Fields<'_>) -> Result<(), String>,
) -> Result<()> {
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(|source| Error::Io { line: 1, source })?;
    if let Some(kind) = foreign(&head) {
        return Err(Error::Foreign(kind));
    }
    let mut file = head.as_slice().chain(file);
    let (mut chunk, mut line, mut is_empty) = (Vec::new(), 0, true);
    loop {
        chunk.clear();
        let read = file.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut chunk);
        let read = read.map_err(|source| Error::Io { line: line + 1, source })?;
        if read == 0 {
            break;
        }
        if read as u64 > MAX_LINE {
            let problem = format!("a line of more than {} MiB, expected less", MAX_LINE >> 20);
            return Err(Error::Row { line: line + 1, problem });
        }
        let text = chunk.strip_suffix(b"\n").unwrap_or(&chunk);
        // Raw carriage returns are never part of a JSON text, so that they can end lines by
        // themselves.
        for row in text.strip_suffix(b"\r").unwrap_or(text).split(|&byte| byte == b'\r') {
            line += 1;
            let row = without_bom(row);
            if row.trim_ascii().is_empty() {
                continue;
            }
            is_empty = false;
            Fields::read(row)
                .map_err(|problem| advise(row, problem))
                .and_then(|fields| take(line, &fields))
                .map_err(|problem| Error::Row { line, problem })?;
        }
    }
    if is_empty { Err(Error::NoRows { expected }) } else { Ok(()) }
}

/// A problem with the next act, where a command converts such files.
fn advise(row: &[u8], problem: String) -> String {
    let act = if problem == fields::NOT_CLOSED {
        "expected a whole object a line: `jq -c . FILE > rows.jsonl` writes indented objects so; if \
         they are not indented, the file is cut short"
    } else if problem.starts_with(fields::ARRAY) {
        "expected one object a line: `jq -c '.[]' FILE > rows.jsonl` writes the objects of an array so"
    } else if std::str::from_utf8(row).is_err() {
        "if it is text of Windows, `iconv -f WINDOWS-1252 -t UTF-8 FILE > rows.jsonl` converts it"
    } else {
        return problem;
    };
    format!("{problem}\n{act}")
}

/// `bytes` without the byte order marks that they begin with.
fn without_bom(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(BOM) {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let mut rows = Vec::new();
        read_rows(file, "{a}", |line, fields| {
            rows.push((line, fields.text_or_number("a")?));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(rows)
    }

    #[track_caller]
    fn rows(file: &[u8], expected: &[(usize, &str)]) {
        let found = read(file).unwrap();
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_line_end_counts_lines_alike() {
        for end in ["\n", "\r\n", "\r"] {
            let file = ["{\"a\":1}", "", "  ", "{\"a\":2}", "{\"a\":3}"].join(end);
            let expected = [(1, "1"), (4, "2"), (5, "3")];
            rows(file.as_bytes(), &expected);
            rows((file + end).as_bytes(), &expected);
        }
        // An escaped carriage return is text and ends no line.
        rows(br#"{"a":"x\ry"}"#, &[(1, "x\ry")]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_of_any_line() {
        rows("\u{feff}{\"a\":1}\n\u{feff}{\"a\":2}".as_bytes(), &[(1, "1"), (2, "2")]);
        rows("\u{feff}\u{feff}\r\n{\"a\":2}\r\n".as_bytes(), &[(2, "2")]);
        // In a text it is text.
        rows("{\"a\":\"\u{feff}x\"}".as_bytes(), &[(1, "\u{feff}x")]);
        let joined = "{\"a\":1}\u{feff}{\"a\":2}";
        let error = read(joined.as_bytes()).unwrap_err();
        assert!(error.starts_with("line 1: a second value after the object at column "), "{error}");
    }

    #[test]
    fn a_file_without_rows_names_what_it_should_hold() {
        for file in ["", " \n\t\r\n", "\u{feff}", "\n\n\n"] {
            let error = read(file.as_bytes()).unwrap_err();
            assert_eq!(error, "no rows: expected one JSON object a line, {a}", "{file:?}");
        }
    }

    #[test]
    fn a_row_longer_than_any_buffer_is_read() {
        let long = "x".repeat(3 << 20);
        let file = format!("{{\"a\":\"{long}\"}}\n{{\"a\":2}}");
        rows(file.as_bytes(), &[(1, &long), (2, "2")]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_is_in_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b' '));
        let error = read_rows(endless, "{a}", |_, _| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "line 1: a line of more than 64 MiB, expected less");
    }

    #[test]
    fn an_error_has_one_line_number_and_stays_short() {
        let long = format!("{{\"a\":1}}\n{{\"a\":[{}]}}", "1,".repeat(9999));
        for (file, line) in [
            ("{\"a\":1}\n\n{\"a\":", 3),
            ("{\n  \"a\": 1\n}", 1),
            ("{\"a\":1}\r{\"b\":1}\r", 2),
            ("{\"a\":1}\n[1]", 2),
            (long.as_str(), 2),
        ] {
            let error = read(file.as_bytes()).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
            assert_eq!(
                error.matches("line ").count() - error.matches("a line ").count(),
                1,
                "{error}"
            );
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn what_a_command_converts_is_said_with_it() {
        let said = |file: &[u8]| read(file).unwrap_err();
        for array in ["[\n  {\"a\": 1},\n  {\"a\": 2}\n]\n", "[{\"a\": 1}, {\"a\": 2}]", "[]"] {
            let error = said(array.as_bytes());
            assert!(error.starts_with("line 1: a JSON array, expected an object"), "{error}");
            assert!(error.contains("\nexpected one object a line: `jq -c '.[]' FILE"), "{error}");
        }
        let indented = said(b"{\n  \"a\": 1\n}\n");
        assert!(indented.starts_with("line 1: the object is not closed"), "{indented}");
        assert!(indented.contains("`jq -c . FILE > rows.jsonl`"), "{indented}");
        let latin = said(b"{\"a\":1}\n{\"a\":\"caf\xe9\"}");
        assert!(latin.starts_with("line 2: column 10 is not UTF-8\n"), "{latin}");
        assert!(latin.contains("`iconv -f WINDOWS-1252"), "{latin}");
        // As when one program wrote UTF-8 and the next appended UTF-16.
        let mixed = said(b"{\"a\":1}\n{\0\"\0a\0");
        assert_eq!(
            mixed,
            "line 2: a NUL byte at column 2: expected UTF-8, the text is UTF-16 or damaged"
        );
        for plain in [&b"{\"a\":}"[..], b"{\"a\":true}", b"word", b"[1, {\"a\":1}]"] {
            assert_eq!(said(plain).lines().count(), 1);
        }
    }
}
