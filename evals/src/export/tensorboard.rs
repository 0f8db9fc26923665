//! TensorBoard's event files: TFRecords of `Event` messages, a message a step.
//!
//! A record is the length of its data as a little-endian u64, the masked CRC-32C of those eight
//! bytes, the data, and the masked CRC-32C of the data (`tensorflow/core/lib/io/record_writer.cc`,
//! `tensorflow/core/util/event.proto`, `tensorflow/core/framework/summary.proto`).

use std::io::{self, Write};

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::{Curves, Names, Row};

/// CRC-32C, which others call CRC-32/ISCSI.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Version of the file, which its first event names. From 2 on a start of a session cuts what came
/// before.
const VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970-01-01 UTC.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1: the start of a session.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Writes the first event.
pub(super) fn head(to: &mut dyn Write, time: f64) -> io::Result<()> {
    let what = Some(What::FileVersion(VERSION.into()));
    record(to, &Event { wall_time: time, step: 0, what })
}

/// Writes that everything from `step` on, in the file so far, does not count any more.
pub(super) fn cut(to: &mut dyn Write, step: u64, time: f64) -> io::Result<()> {
    let what = Some(What::SessionLog(SessionLog { status: 1 }));
    record(to, &Event { wall_time: time, step: step.cast_signed(), what })
}

/// Writes rows; one without a time of its own has that of the row before, the first one `time`.
pub(super) fn rows<'a>(
    to: &mut dyn Write,
    curves: &'a Curves,
    names: Names,
    rows: impl Iterator<Item = Row<'a>>,
    mut time: f64,
) -> io::Result<()> {
    let keys = curves.keys();
    for row in rows {
        time = row.time().unwrap_or(time);
        let mut value: Vec<Scalar> = Vec::new();
        for (key, number) in row.values(&keys) {
            let tag = names.name(key);
            if !value.iter().any(|other| other.tag == tag) {
                value.push(Scalar { tag: tag.into_owned(), simple_value: Some(number as f32) });
            }
        }
        let what = Some(What::Summary(Summary { value }));
        record(to, &Event { wall_time: time, step: row.step.cast_signed(), what })?;
    }
    Ok(())
}

/// Writes one record.
fn record(to: &mut dyn Write, event: &Event) -> io::Result<()> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    to.write_all(&length)?;
    to.write_all(&masked(&length).to_le_bytes())?;
    to.write_all(&data)?;
    to.write_all(&masked(&data).to_le_bytes())
}

/// The CRC of a record, masked, since a CRC of bytes that hold CRCs is weak.
fn masked(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first event of a file as `tensorboard.summary.writer.event_file_writer` of TensorBoard
    /// writes it, but for its time, which is 1.5 here.
    #[test]
    fn the_first_record_is_known_to_the_byte() {
        let mut bytes = Vec::new();
        head(&mut bytes, 1.5).unwrap();
        let length = 9 + 2 + VERSION.len() as u64;
        assert_eq!(bytes[..8], length.to_le_bytes());
        assert_eq!(bytes.len() as u64, 8 + 4 + length + 4);
        assert_eq!(bytes[12..21], [&[0x09][..], &1.5_f64.to_le_bytes()].concat());
        assert_eq!(bytes[21..23], [0x1a, 0x0d]);
        assert_eq!(&bytes[23..36], VERSION.as_bytes());
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }
}
