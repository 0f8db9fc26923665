//! Parquet files, by the row interface of the crate `parquet`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::basic::Compression;
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use anyhow::{Context as _, Result, anyhow, bail};
use rewards::rows::Fields;
use serde_json::{Number, Value};

use super::row::{At, Take, within};

/// Hands the rows to `take`; nested columns are objects and lists, dates are text.
///
/// # Errors
///
/// Fails when the file is damaged or packed with a codec that this build lacks, at the first row
/// that is refused, and when there is none.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<()> {
    // The crate panics on some damaged files.
    let rows = catch_unwind(AssertUnwindSafe(|| read_rows(path, take)));
    rows.unwrap_or_else(|_| Err(anyhow!("the Parquet file is damaged: fetch it again")))
}

fn read_rows(path: &Path, take: &mut Take<'_>) -> Result<()> {
    let damaged = "a Parquet file that is damaged or not whole";
    let reader = SerializedFileReader::new(File::open(path)?).context(damaged)?;
    let groups = reader.metadata().row_groups();
    for column in groups.iter().flat_map(RowGroupMetaData::columns) {
        check(column.compression())?;
    }
    let mut is_empty = true;
    for (at, row) in (1..).zip(reader.get_row_iter(None).context(damaged)?) {
        is_empty = false;
        let row = row.with_context(|| format!("row {at}: {damaged}"))?;
        let json = object(&row).to_string();
        within(At::Row(at), json.len(), || {
            Fields::read(json.as_bytes()).and_then(|fields| take(At::Row(at), &fields))
        })?;
    }
    if is_empty {
        bail!("no rows in the Parquet file");
    }
    Ok(())
}

fn check(codec: Compression) -> Result<()> {
    match codec {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) => Ok(()),
        Compression::ZSTD(_) if cfg!(feature = "zstd") => Ok(()),
        Compression::ZSTD(_) => bail!(
            "the Parquet file is packed with zstd, which this build lacks\nbuild it with `--features \
             zstd`, or write the file with snappy"
        ),
        other => bail!("the Parquet file is packed with {other}: write it with snappy"),
    }
}

fn object(row: &Row) -> Value {
    Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
}

fn value(field: &Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(own) => Value::Bool(*own),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float16(number) => float(f64::from(number.to_f32())),
        // By its shortest decimal form, as it was written.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, float),
        Field::Double(number) => float(*number),
        Field::Str(text) => Value::from(text.as_str()),
        // Old writers do not say that their text is UTF-8.
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_or(Value::Null, Value::from),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let name = |field: &Field| match value(field) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(map.entries().iter().map(|(key, own)| (name(key), value(own))).collect())
        }
        other => Value::from(other.to_string()),
    }
}
