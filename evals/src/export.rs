//! The metrics of a run as other programs read them: CSV, JSON lines, TensorBoard's event files.
//!
//! [`Curves`] joins `metrics.jsonl` and `timings.jsonl` by their steps, and [`Export`] writes the
//! rows to a file, once or as they come. It reads the record like any other reader, so that a run
//! under way is not disturbed, and runs of before can be exported.

mod csv;
mod curves;
mod file;
mod jsonl;
mod tensorboard;

use std::borrow::Cow;

pub use curves::{Curves, Row};
pub use file::{Export, Update};

use crate::metrics::trl_name;

/// A form of the exported metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table: `step,time` and a column a key.
    Csv,
    /// An event file of TensorBoard's, in a folder.
    Tensorboard,
    /// A flat JSON object a step, with the keys `_step` and `_timestamp` of W&B's histories.
    Jsonl,
}

/// Whose names metrics are exported under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// The record's own, which are verl's where verl logs the same thing.
    Verl,
    /// TRL's, where TRL logs the same thing, and else the record's own.
    Trl,
}

impl Names {
    /// The name of a key of the record.
    fn name(self, key: &str) -> Cow<'_, str> {
        match self {
            Self::Verl => Cow::Borrowed(key),
            Self::Trl => trl_name(key).map_or(Cow::Borrowed(key), Cow::Owned),
        }
    }
}
