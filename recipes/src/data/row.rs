//! One row of a file: its place, its size, and who takes it.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use rewards::rows::Fields;

/// Longest row that is read, in bytes.
const MAX_ROW: usize = 64 << 20;

/// Where a row stands in its file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Line(usize),
    Row(usize),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What takes rows, one after the other; an error is about the row.
pub(super) type Take<'a> = dyn FnMut(At, &Fields<'_>) -> Result<(), String> + 'a;

/// Reads one row of `length` bytes as JSON, or says where it stands.
pub(super) fn within(
    at: At,
    length: usize,
    read: impl FnOnce() -> Result<(), String>,
) -> Result<()> {
    if length > MAX_ROW {
        bail!("{at}: {length} bytes, expected at most {} MiB a row", MAX_ROW >> 20);
    }
    read().map_err(|problem| anyhow!("{at}: {problem}"))
}
