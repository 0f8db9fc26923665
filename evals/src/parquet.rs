//! Parquet files, by the row interface of the crate `parquet`.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::basic::Compression;
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use engine::file;
use serde_json::{Number, Value};

/// Hands the rows of a file to `take` as JSON objects, each with its number, counted from 1, until
/// it breaks. Nested columns are objects and lists, dates are text. Gives the number of rows that
/// were handed on.
///
/// # Errors
///
/// Fails when the file cannot be read, is damaged, or is packed with a codec that this build lacks.
pub fn read(
    path: &Path,
    take: &mut dyn FnMut(usize, Value) -> ControlFlow<()>,
) -> Result<usize, String> {
    // The crate panics on some damaged files.
    let rows = catch_unwind(AssertUnwindSafe(|| read_rows(path, take)));
    rows.unwrap_or_else(|_| Err("the Parquet file is damaged: fetch or write it again".into()))
}

fn read_rows(
    path: &Path,
    take: &mut dyn FnMut(usize, Value) -> ControlFlow<()>,
) -> Result<usize, String> {
    let damaged = |error: ::parquet::errors::ParquetError| {
        format!("a Parquet file that is damaged or not whole: {error}")
    };
    let file = file::open(path).map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let groups = reader.metadata().row_groups();
    for column in groups.iter().flat_map(RowGroupMetaData::columns) {
        check(column.compression())?;
    }
    let mut count = 0;
    for row in reader.get_row_iter(None).map_err(damaged)? {
        count += 1;
        let row = row.map_err(|error| format!("row {count}: {}", damaged(error)))?;
        if take(count, object(&row)).is_break() {
            break;
        }
    }
    Ok(count)
}

fn check(codec: Compression) -> Result<(), String> {
    match codec {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) => Ok(()),
        Compression::ZSTD(_) if cfg!(feature = "zstd") => Ok(()),
        Compression::ZSTD(_) => Err("the Parquet file is packed with zstd, which this build \
                                     lacks\nbuild it with `--features zstd`, or write the file \
                                     with snappy"
            .into()),
        other => Err(format!("the Parquet file is packed with {other}: write it with snappy")),
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
