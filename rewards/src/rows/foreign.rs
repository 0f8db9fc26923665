/// A kind of file that is not what was expected, and how to get from it to JSON lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What the file is.
    pub what: &'static str,
    /// A command that writes it as lines of JSON, `rows.jsonl`, from `FILE`; or the next step.
    pub act: &'static str,
}

/// Kinds by their first bytes. Sources: the formats' specifications and the `file` program's table.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "a gzip file", "`gzip -dc FILE > rows.jsonl` unpacks it"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "`zstd -dc FILE > rows.jsonl` unpacks it"),
    (b"\xfd7zXZ\0", "an xz file", "`xz -dc FILE > rows.jsonl` unpacks it"),
    (b"BZh", "a bzip2 file", "`bzip2 -dc FILE > rows.jsonl` unpacks it"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "`lz4 -dc FILE > rows.jsonl` unpacks it"),
    (b"\xff\x06\0\0sNaPpY", "a snappy file", "unpack it first"),
    (b"LZIP", "an lzip file", "`lzip -dc FILE > rows.jsonl` unpacks it"),
    (b"\x1f\x9d", "a file packed by compress", "`gzip -dc FILE > rows.jsonl` unpacks it"),
    (b"PK\x03\x04", "a zip archive", ZIP),
    (b"PK\x05\x06", "an empty zip archive", ZIP),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "`7z x FILE` unpacks it"),
    (b"Rar!\x1a\x07", "a rar archive", "`unrar x FILE` unpacks it"),
    (b"PAR1", "a Parquet file", PARQUET),
    (b"PARE", "an encrypted Parquet file", PARQUET),
    (b"ARROW1", "an Arrow file", ARROW_FILE),
    (b"FEA1", "a Feather file", ARROW_FILE),
    (b"\xff\xff\xff\xff", "a stream of Arrow", ARROW_STREAM),
    (b"ORC", "an ORC file", ORC),
    (b"Obj\x01", "an Avro file", "convert it first, for example with `avro-tools tojson FILE`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "convert it first, for example with pandas"),
    (b"\x93NUMPY", "a NumPy array", "convert it first, for example with Python"),
    (
        b"SQLite format 3\0",
        "an SQLite database",
        "`sqlite3 -json` writes the rows of a query as JSON",
    ),
    (b"%PDF-", "a PDF document", "data has to be written as JSON lines"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office document",
        "save it as CSV and convert that",
    ),
    (b"GGUF", "a GGUF model", "name a model in `model.path` and problems in `data`"),
    (b"\x7fELF", "a program", "name a file of problems"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "name a file of problems"),
    (b"\xff\xd8\xff", "a JPEG image", "name a file of problems"),
    (b"\x80\x02", "a Python pickle", PICKLE),
    (b"\x80\x03", "a Python pickle", PICKLE),
    (b"\x80\x04", "a Python pickle", PICKLE),
    (b"\x80\x05", "a Python pickle", PICKLE),
    (b"\0\0\xfe\xff", "UTF-32 text", "`iconv -f UTF-32 -t UTF-8 FILE > rows.jsonl` converts it"),
    (b"\xff\xfe\0\0", "UTF-32 text", "`iconv -f UTF-32 -t UTF-8 FILE > rows.jsonl` converts it"),
    (b"\xff\xfe", "UTF-16 text", "`iconv -f UTF-16 -t UTF-8 FILE > rows.jsonl` converts it"),
    (b"\xfe\xff", "UTF-16 text", "`iconv -f UTF-16 -t UTF-8 FILE > rows.jsonl` converts it"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a pointer of Git LFS, not the file itself",
        "`git lfs pull` fetches it",
    ),
];

const ZIP: &str = "`unzip -p FILE > rows.jsonl` unpacks the file in it";
const PARQUET: &str = "`python3 -c \"import pandas; pandas.read_parquet('FILE')\
                       .to_json('rows.jsonl', orient='records', lines=True)\"` converts it";
const ARROW_FILE: &str = "`python3 -c \"import pandas; pandas.read_feather('FILE')\
                          .to_json('rows.jsonl', orient='records', lines=True)\"` converts it";
const ARROW_STREAM: &str = "`python3 -c \"import datasets; datasets.Dataset.from_file('FILE')\
                            .to_json('rows.jsonl')\"` converts it";
const ORC: &str = "`python3 -c \"import pandas; pandas.read_orc('FILE')\
                   .to_json('rows.jsonl', orient='records', lines=True)\"` converts it";
const PICKLE: &str = "convert it first, with the program that wrote it";

/// What a file is that begins with `head`, where it is told by its first bytes not to be rows of
/// JSON or another text in UTF-8 that has no kind of its own.
///
/// A few hundred bytes are enough; of fewer, less is told.
pub fn foreign(head: &[u8]) -> Option<Foreign> {
    let of = |what, act| Some(Foreign { what, act });
    if let Some((_, what, act)) = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return of(what, act);
    }
    if head.get(257..262) == Some(b"ustar") {
        return of("a tar archive", "`tar -xf FILE` unpacks it");
    }
    if is_safetensors(head) {
        return of("a safetensors file", "name a model in `model.path` and problems in `data`");
    }
    if let Some(encoding) = wide(head) {
        return Some(encoding);
    }
    let text = super::without_bom(head).trim_ascii_start();
    if text.first() == Some(&b'<') {
        return of(
            "HTML or XML",
            "a page that was saved in place of the file? fetch the file itself",
        );
    }
    table(text)
}

/// Eight bytes with the length of the header, and the header, which is an object.
fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<8>() else { return false };
    rest.starts_with(b"{\"") && u64::from_le_bytes(*length) < 1 << 32
}

/// Text of two or four bytes a character without a mark: the first one is ASCII in every JSON text.
fn wide(head: &[u8]) -> Option<Foreign> {
    let is_ascii = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let (what, act) = match head {
        [a, 0, 0, 0, ..] if is_ascii(*a) => {
            ("UTF-32 text", "`iconv -f UTF-32LE -t UTF-8 FILE > rows.jsonl` converts it")
        }
        [0, 0, 0, a, ..] if is_ascii(*a) => {
            ("UTF-32 text", "`iconv -f UTF-32BE -t UTF-8 FILE > rows.jsonl` converts it")
        }
        [a, 0, ..] if is_ascii(*a) => {
            ("UTF-16 text", "`iconv -f UTF-16LE -t UTF-8 FILE > rows.jsonl` converts it")
        }
        [0, a, ..] if is_ascii(*a) => {
            ("UTF-16 text", "`iconv -f UTF-16BE -t UTF-8 FILE > rows.jsonl` converts it")
        }
        _ => return None,
    };
    Some(Foreign { what, act })
}

/// What is between the cells of a table as text, told by a first line of names.
pub fn delimiter(head: &[u8]) -> Option<u8> {
    let text = super::without_bom(head).trim_ascii_start();
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    let line = std::str::from_utf8(line).ok()?;
    let is_name = |cell: &str| {
        let cell = cell.trim();
        let cell = cell.strip_prefix('"').and_then(|c| c.strip_suffix('"')).unwrap_or(cell);
        let known = |c: char| c.is_alphanumeric() || "_- .".contains(c);
        (1..=40).contains(&cell.len()) && cell.chars().all(known)
    };
    let named = |separator: &u8| {
        let separator = char::from(*separator);
        line.contains(separator) && line.split(separator).all(is_name)
    };
    [b'\t', b',', b';'].into_iter().find(named)
}

/// A table as text, told by a first line of names.
fn table(text: &[u8]) -> Option<Foreign> {
    let (what, act) = match delimiter(text)? {
        b'\t' => (
            "a table with tabs (TSV)",
            "`python3 -c \"import csv, json; [print(json.dumps(row)) for row in csv.DictReader(\
             open('FILE', encoding='utf-8-sig', newline=''), delimiter='\\t')]\" > rows.jsonl` \
             converts it",
        ),
        b',' => (
            "a table with commas (CSV)",
            "`python3 -c \"import csv, json; [print(json.dumps(row)) for row in csv.DictReader(\
             open('FILE', encoding='utf-8-sig', newline=''))]\" > rows.jsonl` converts it",
        ),
        _ => (
            "a table with semicolons (CSV)",
            "`python3 -c \"import csv, json; [print(json.dumps(row)) for row in csv.DictReader(\
             open('FILE', encoding='utf-8-sig', newline=''), delimiter=';')]\" > rows.jsonl` \
             converts it",
        ),
    };
    Some(Foreign { what, act })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn told(head: &[u8], what: &str, act: &str) {
        let found = foreign(head).unwrap();
        assert!(found.what.contains(what) && found.act.contains(act), "{what}: {found:?}");
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn packed_and_binary_files_are_told_by_their_first_bytes() {
        told(b"\x1f\x8b\x08\0\0\0\0\0", "gzip", "gzip -dc");
        told(b"\x28\xb5\x2f\xfd\x24", "zstd", "zstd -dc");
        told(b"\xfd7zXZ\0\0\x04", "xz", "xz -dc");
        told(b"BZh91AY&SY", "bzip2", "bzip2 -dc");
        told(b"PK\x03\x04\x14\0", "zip", "unzip -p");
        told(b"PAR1\x15\x04", "Parquet", "read_parquet");
        told(b"ARROW1\0\0", "Arrow", "read_feather");
        told(b"\xff\xff\xff\xff\x80\x01\0\0", "Arrow", "datasets");
        told(b"%PDF-1.7", "PDF", "JSON lines");
        told(b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS", "git lfs pull");
        told(b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}", "safetensors", "model.path");
        let mut tar = vec![b'a'; 257];
        tar.extend(b"ustar\0");
        told(&tar, "tar", "tar -xf");
        told(b"\n<!DOCTYPE html>\n<html>", "HTML", "fetch");
    }

    #[test]
    fn wide_text_is_told_with_and_without_its_mark() {
        let row = "{\"id\": \"é\"}";
        told(&utf16(row, u16::to_le_bytes), "UTF-16", "UTF-16LE");
        told(&utf16(row, u16::to_be_bytes), "UTF-16", "UTF-16BE");
        told(&utf16(&format!("\u{feff}{row}"), u16::to_le_bytes), "UTF-16", "-f UTF-16 ");
        told(&utf16(&format!("\u{feff}{row}"), u16::to_be_bytes), "UTF-16", "-f UTF-16 ");
        told(&utf16("\n \n{", u16::to_le_bytes), "UTF-16", "UTF-16LE");
        let utf32 = |order: fn(u32) -> [u8; 4]| -> Vec<u8> {
            row.chars().flat_map(|c| order(c as u32)).collect()
        };
        told(&utf32(u32::to_le_bytes), "UTF-32", "UTF-32LE");
        told(&utf32(u32::to_be_bytes), "UTF-32", "UTF-32BE");
    }

    #[test]
    fn tables_are_told_by_a_line_of_names() {
        told(b"id,problem,answer,source\na,1+1,2,us\n", "CSV", "newline=''))]");
        told(b"\xef\xbb\xbf\"id\",\"the problem\"\r\n", "CSV", "csv");
        told(b"id\tproblem\tanswer\n", "TSV", "delimiter='\\t'");
        told(b"id;problem;answer\n", "semicolons", "delimiter=';'");
    }

    #[test]
    fn json_and_other_text_have_no_kind_of_their_own() {
        for head in [
            &b""[..],
            b" \n\t",
            b"{\"id\": \"a\", \"problem\": \"1,2\"}",
            b"\xef\xbb\xbf{\"id\": 1}",
            b"[{\"id\": 1}, {\"id\": 2}]",
            b"[\"a\", \"b\"]",
            b"\"a\", \"b\"]",
            b"{",
            b"seed = 1\n[model]\n",
            b"A sentence, with a comma: no table.",
            b"word",
            b"BZ is no bzip2",
            b"PARis",
            b"key: value, other\n",
            b"PK",
        ] {
            assert_eq!(foreign(head), None, "{head:?}");
        }
    }
}
