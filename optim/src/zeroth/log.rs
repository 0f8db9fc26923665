//! The log of a run: a header that fixes every direction, and a record of some bytes for each step.
//! With the weights of the start it gives those of any step, bit for bit.
//!
//! All numbers are little-endian. The file begins with eight bytes, [`MAGIC`], a `u32` version, a
//! `u32` number of bytes, that many bytes of JSON (a [`Header`]), and the CRC-32C of all before it.
//! Then come records of `19 + 4 N` bytes:
//!
//! | field | type |
//! |---|---|
//! | step | `u32` |
//! | kind: 0 update, 1 skip, 2 rebase | `u8` |
//! | learning rate, weight decay | `f32`, `f32` |
//! | N | `u16` |
//! | coefficients | N x `f32` |
//! | CRC-32C of the record's other bytes | `u32` |
//!
//! An update or a skip has the step after the last one. A rebase has the last step again: the
//! weights after it were saved. Records are written before they are applied, so a crash leaves a
//! log that has all that the weights have.

mod header;
mod reader;
mod record;
mod writer;

pub use header::{Header, MAGIC, VERSION};
pub use reader::{Log, Torn};
pub use record::{Kind, Record};
pub use writer::Writer;

use crc::{CRC_32_ISCSI, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An error of a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read or written.
    #[error("log: {0}")]
    Io(#[from] std::io::Error),
    /// The file does not begin as a log does, or its header is damaged or of another program.
    #[error("header of the log: {problem}")]
    Header {
        /// Expected and found.
        problem: String,
    },
    /// A record is damaged, and no crash at the end of the log explains it.
    #[error(
        "record of step {step} at byte {offset} of the log is damaged: {problem}; restore the log \
         from a copy, or go on from a snapshot of a later step"
    )]
    Damaged {
        /// The step that the record should be of.
        step: u32,
        /// Where it begins.
        offset: u64,
        /// What does not fit.
        problem: String,
    },
    /// A record that does not follow the last one or does not fit the header.
    #[error("record of step {step}: {problem}")]
    Record {
        /// The step of the record.
        step: u32,
        /// Expected and found.
        problem: String,
    },
}
