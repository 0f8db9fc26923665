//! Logs: files of one JSON object a line, read from any place on, as far as lines are whole.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::tail::Tail;
use super::{Problem, open_file};

/// Everything of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines<T> {
    /// Its lines, in their order.
    pub lines: Vec<T>,
    /// Lines that could not be read; they are left out above.
    pub problems: Vec<Problem>,
}

impl<T> Lines<T> {
    /// Longest line of a log, in bytes.
    pub const SHORT: usize = 1 << 20;
    /// Longest line with texts, in bytes.
    pub const LONG: usize = 64 << 20;
}

impl<T: DeserializeOwned> Lines<T> {
    /// Reads a log whose lines are at most `longest` bytes; a last line without its end is still
    /// being written, or torn, and is left out. No file is no lines.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn read(path: &Path, longest: usize) -> Result<Self, Problem> {
        let mut tail = Tail::new(path, longest);
        let (mut lines, mut problems) = (Vec::new(), Problems::default());
        loop {
            let polled = tail.poll(0)?;
            lines.extend(polled.lines);
            problems.join(&polled.problems);
            if polled.at_end {
                return Ok(Self { lines, problems: problems.into_vec() });
            }
        }
    }
}

/// A place in a log, from which reading goes on.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) path: PathBuf,
    longest: usize,
    /// Bytes read.
    pub(super) offset: u64,
    /// Lines read.
    line: u64,
    generation: u64,
    /// What was read of a line that is not whole.
    partial: Vec<u8>,
    /// Whether that line is too long, so that its rest is left out.
    skips: bool,
}

/// How far a cursor moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// Whether it began again from the start of the file, which was cut or written again.
    pub(super) restarted: bool,
    /// Whether it has read all that is there.
    pub(super) at_end: bool,
}

/// Takes a line with its number, counted from 1: its bytes, or why there are none.
type OnLine<'a> = dyn FnMut(u64, Result<&[u8], String>) + 'a;

impl Cursor {
    /// Bytes that are read at a time.
    const PIECE: u64 = 1 << 20;
    /// Bytes that are read in a call.
    const MOST: u64 = 64 << 20;

    pub(super) fn new(path: &Path, longest: usize) -> Self {
        let path = path.to_owned();
        let (offset, line, generation, partial, skips) = Default::default();
        Self { path, longest, offset, line, generation, partial, skips }
    }

    /// Whether the file ended within a line when it was read last.
    pub(super) fn is_torn(&self) -> bool {
        self.skips || !self.partial.is_empty()
    }

    /// Whether the next call of [`Cursor::poll`] begins from the start of a file of `length`.
    fn restarts(&mut self, length: u64, generation: u64) -> bool {
        let is_other = generation != self.generation || length < self.offset;
        self.generation = generation;
        if !is_other || self.offset == 0 {
            return false;
        }
        (self.offset, self.line, self.skips) = (0, 0, false);
        self.partial.clear();
        true
    }

    /// Reads what is there beyond the cursor, at most 64 MiB. `restart` is called before the first
    /// line where reading begins again.
    pub(super) fn poll(
        &mut self,
        generation: u64,
        restart: &mut dyn FnMut(),
        line: &mut OnLine<'_>,
    ) -> Result<Moved, Problem> {
        let Some(mut file) = open_file(&self.path)? else {
            let restarted = self.restarts(0, generation);
            if restarted {
                restart();
            }
            return Ok(Moved { restarted, at_end: true });
        };
        let failed = |error| Problem::of_system(&self.path, &error);
        let length = file.metadata().map_err(failed)?.len();
        let restarted = self.restarts(length, generation);
        if restarted {
            restart();
        }
        let failed = |error| Problem::of_system(&self.path, &error);
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        let end = length.min(self.offset + Self::MOST);
        let mut piece = Vec::new();
        while self.offset < end {
            piece.clear();
            let most = Self::PIECE.min(end - self.offset);
            let read = (&mut file).take(most).read_to_end(&mut piece);
            let read = read.map_err(|error| Problem::of_system(&self.path, &error))?;
            if read == 0 {
                break;
            }
            self.offset += read as u64;
            self.split(&piece, line);
        }
        Ok(Moved { restarted, at_end: self.offset >= length })
    }

    /// Hands on the lines that `bytes` completes.
    fn split(&mut self, bytes: &[u8], line: &mut OnLine<'_>) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let Some(own) = piece.strip_suffix(b"\n") else {
                self.keep(piece);
                return;
            };
            self.line += 1;
            if self.partial.is_empty() && !self.skips && own.len() <= self.longest {
                line(self.line, Ok(own));
                continue;
            }
            self.keep(own);
            if std::mem::take(&mut self.skips) {
                let most = self.longest >> 20;
                line(self.line, Err(format!("expected at most {most} MiB, got a longer line")));
            } else {
                line(self.line, Ok(&self.partial));
            }
            self.partial.clear();
        }
    }

    /// Adds to the line that is not whole; one that is too long is let go.
    fn keep(&mut self, bytes: &[u8]) {
        self.skips |= self.partial.len() + bytes.len() > self.longest;
        if self.skips {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }
}

/// Problems, of which the first few are kept and the others are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    more: u64,
}

impl Problems {
    /// Problems that are kept.
    pub const MOST: usize = 20;

    /// Those that are kept.
    pub fn kept(&self) -> &[Problem] {
        &self.kept
    }

    /// How many more there were.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.extend([problem]);
    }

    /// Adds what others have kept and counted.
    pub fn join(&mut self, others: &Self) {
        self.extend(others.kept.iter().cloned());
        self.more += others.more;
    }

    pub(super) fn add(&mut self, path: &Path, line: u64, reason: impl Into<String>) {
        if self.kept.len() < Self::MOST {
            self.kept.push(Problem::of_line(path, line, reason));
        } else {
            self.more += 1;
        }
    }

    /// The problems, and how many more there were.
    pub(super) fn into_vec(mut self) -> Vec<Problem> {
        if let (1.., Some(last)) = (self.more, self.kept.last().cloned()) {
            let reason = format!("{} lines after this one cannot be read either", self.more);
            self.kept.push(Problem { reason, ..last });
        }
        self.kept
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        for problem in problems {
            if self.kept.len() < Self::MOST {
                self.kept.push(problem);
            } else {
                self.more += 1;
            }
        }
    }
}

/// What is wrong with a line, in words about this line alone.
pub(super) fn reason(line: &[u8], error: &serde_json::Error) -> String {
    if line.iter().all(u8::is_ascii_whitespace) {
        return "expected an object, got an empty line".into();
    }
    if line.contains(&0) {
        return "expected an object, got NUL bytes, as a power failure leaves them".into();
    }
    error.to_string().replace(" at line 1 column ", " at byte ")
}
