//! Follows a log while it grows.

use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Problem;
use super::lines::{Cursor, Problems, reason};

/// A log that is read as it grows, whole lines alone.
#[derive(Debug, Clone)]
pub struct Tail<T> {
    cursor: Cursor,
    lines: PhantomData<T>,
}

/// What is new in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Polled<T> {
    /// The new lines, in their order.
    pub lines: Vec<T>,
    /// The byte of the file that reading began from.
    pub from: u64,
    /// Whether the log was cut or written again, so that the lines read before count no more.
    pub restarted: bool,
    /// Whether there is nothing more for now.
    pub at_end: bool,
    /// Lines that could not be read; they are left out above.
    pub problems: Problems,
    /// Lines above in which bytes that are no UTF-8 were replaced.
    pub replaced: u64,
}

impl<T: DeserializeOwned> Tail<T> {
    /// A log whose lines are at most `longest` bytes, from its start on. It need not be there yet.
    pub fn new(path: &Path, longest: usize) -> Self {
        Self { cursor: Cursor::new(path, longest), lines: PhantomData }
    }

    /// What is new, at most 64 MiB. `generation` is that of `status.json`: with another one than in
    /// the call before, or a file that is shorter than what was read, reading begins again from the
    /// start.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn poll(&mut self, generation: u64) -> Result<Polled<T>, Problem> {
        let (mut lines, mut problems, mut replaced) = (Vec::new(), Problems::default(), 0);
        let (path, before) = (self.cursor.path.clone(), self.cursor.offset);
        let moved = self.cursor.poll(generation, &mut || {}, &mut |number, bytes| {
            let read = bytes.and_then(read_line::<T>);
            match read {
                Ok((line, was_replaced)) => {
                    lines.push(line);
                    replaced += u64::from(was_replaced);
                }
                Err(reason) => problems.add(&path, number, reason),
            }
        })?;
        Ok(Polled {
            lines,
            from: if moved.restarted { 0 } else { before },
            restarted: moved.restarted,
            at_end: moved.at_end,
            problems,
            replaced,
        })
    }
}

/// A line, and whether bytes of it were replaced.
fn read_line<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, bool), String> {
    // From a list serde would read a struct field by field.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err("expected an object, got a list".into());
    }
    match serde_json::from_slice(bytes) {
        Ok(line) => Ok((line, false)),
        Err(error) if std::str::from_utf8(bytes).is_ok() => Err(reason(bytes, &error)),
        Err(error) => match serde_json::from_str(&String::from_utf8_lossy(bytes)) {
            Ok(line) => Ok((line, true)),
            Err(_) => Err(format!("no UTF-8: {}", reason(bytes, &error))),
        },
    }
}
