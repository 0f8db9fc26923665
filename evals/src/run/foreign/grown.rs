//! Files of JSON lines that are read as they grow, and packed ones, which do not grow.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{Problem, Problems, Seen, open_file};
use super::rows::python;
use super::steps::{LARGEST, bytes, line_problem};
use super::zst::unpacked;

/// Bytes by which a file is known again.
const MARK: usize = 64;

/// How far a file was read.
#[derive(Debug)]
pub(super) struct Grown {
    path: PathBuf,
    seen: Option<Seen>,
    /// Bytes and lines that were read; of a packed file, unpacked.
    end: u64,
    lines: u64,
    /// The last of these bytes, by which the file is known again.
    mark: Vec<u8>,
    /// What could not be read.
    pub(super) problems: Problems,
    /// What is wrong with the line that is not whole.
    torn: Option<Problem>,
}

/// A line that is new: its number, counted from 1, its bytes in the file, and what it says.
pub(super) type OnLine<'a> = dyn FnMut(u64, Range<u64>, Value) + 'a;

impl Grown {
    pub(super) fn new(path: &Path) -> Self {
        let (seen, end, lines, mark, problems, torn) = Default::default();
        Self { path: path.to_owned(), seen, end, lines, mark, problems, torn }
    }

    /// What could not be read, that line included.
    pub(super) fn told(&self) -> Problems {
        let mut all = self.problems.clone();
        all.extend(self.torn.clone());
        all
    }

    /// Hands on the objects of the lines that are new. Calls `restart` first where the file is
    /// another than before, so that what was read of it counts no more.
    pub(super) fn read(&mut self, restart: &mut dyn FnMut(), line: &mut OnLine<'_>) {
        let seen = Seen::of(&self.path);
        if self.seen.as_ref() == Some(&seen) {
            return;
        }
        self.torn = None;
        let new = if is_packed(&self.path) { None } else { self.appended() };
        let new = new.unwrap_or_else(|| {
            // One that was written again, and a packed one, which is written at once.
            if self.seen.is_some() {
                *self = Self::new(&self.path);
                restart();
            }
            if is_packed(&self.path) {
                self.unpacked()
            } else {
                self.appended().unwrap_or_default()
            }
        });
        self.seen = Some(seen);
        let mut at = 0;
        for own in new.split_inclusive(|byte| *byte == b'\n') {
            let place = self.end + at..self.end + at + own.len() as u64;
            let number = self.lines + 1;
            match object(own) {
                Ok(Some(value)) => line(number, place, value),
                Ok(None) => {}
                Err(reason) if !own.ends_with(b"\n") => {
                    self.torn = Some(line_problem(&self.path, number, reason));
                    break;
                }
                Err(reason) => self.problems.push(line_problem(&self.path, number, reason)),
            }
            at += own.len() as u64;
            self.lines += 1;
        }
        self.end += at;
        self.mark.extend(&new[..at as usize]);
        self.mark.drain(..self.mark.len().saturating_sub(MARK));
    }

    fn unpacked(&mut self) -> Vec<u8> {
        let mut problems = Vec::new();
        let packed = bytes(&self.path, &mut problems);
        let read = packed.map_or(Ok(Vec::new()), |packed| unpacked(&packed));
        self.problems.extend(problems);
        read.unwrap_or_else(|reason| {
            let act = "the other chunks are shown; copy the file again";
            self.problems.push(Problem::of(&self.path, reason, act));
            Vec::new()
        })
    }

    /// What follows the bytes that were read; none where these are others now.
    fn appended(&mut self) -> Option<Vec<u8>> {
        let mut new = Vec::new();
        let from = self.end - self.mark.len() as u64;
        let read = open_file(&self.path).and_then(|file| {
            let Some(mut file) = file else { return Ok(()) };
            let read = file.seek(SeekFrom::Start(from));
            let read = read.and_then(|_| file.take(LARGEST).read_to_end(&mut new));
            read.map(drop).map_err(|error| Problem::of_system(&self.path, &error))
        });
        self.problems.extend(read.err());
        new.strip_prefix(&*self.mark).map(<[u8]>::to_vec)
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "zst")
}

/// The object of a line; none of an empty one.
fn object(line: &[u8]) -> Result<Option<Value>, String> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let own = line.strip_suffix(b"\n").unwrap_or(line);
    match python(own) {
        Ok(value) if value.is_object() => Ok(Some(value)),
        Ok(_) => Err("expected an object".into()),
        Err(_) if own.len() == line.len() => {
            Err("the line ends in the middle: it was cut, or is being written".into())
        }
        Err(error) => Err(error.replace(" at line 1 column ", " at byte ")),
    }
}

/// The lines of a file by their bytes.
pub(super) enum Records {
    /// On disk.
    File(File),
    /// Unpacked.
    Whole(Vec<u8>),
}

impl Records {
    /// Of the file at `path`; none where it cannot be read any more.
    pub(super) fn open(path: &Path) -> Option<Self> {
        if !is_packed(path) {
            return open_file(path).ok().flatten().map(Self::File);
        }
        let packed = bytes(path, &mut Vec::new())?;
        unpacked(&packed).ok().map(Self::Whole)
    }

    /// A line; none where there is no object any more.
    pub(super) fn get(&mut self, place: &Range<u64>) -> Option<Value> {
        let [from, to] = [place.start, place.end].map(|at| usize::try_from(at).ok());
        match self {
            Self::Whole(bytes) => object(bytes.get(from?..to?)?).ok()?,
            Self::File(file) => {
                let mut bytes = vec![0; to?.checked_sub(from?)?];
                file.seek(SeekFrom::Start(place.start)).ok()?;
                file.read_exact(&mut bytes).ok()?;
                object(&bytes).ok()?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_new_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.jsonl");
        let mut grown = Grown::new(&path);
        let read = |grown: &mut Grown| {
            let (mut restarts, mut found) = (0, Vec::new());
            grown.read(&mut || restarts += 1, &mut |number, place, value| {
                found.push((number, place.start, value["a"].as_u64().unwrap_or(99)));
            });
            (restarts, found)
        };
        assert_eq!(read(&mut grown), (0, vec![]));
        let first = format!("{{\"a\":1,\"b\":\"{}\"}}\n", "x".repeat(100));
        let start = first.len() as u64 + 3;
        fs::write(&path, format!("{first}[]\n{{\"a\"")).unwrap();
        assert_eq!(read(&mut grown), (0, vec![(1, 0, 1)]));
        assert_eq!(
            grown.told().kept().iter().map(|one| one.line).collect::<Vec<_>>(),
            [Some(2), Some(3)]
        );
        // What stands before is not looked at again.
        let other = first.replacen("{\"a\":1", "garbag", 1);
        fs::write(&path, format!("{other}[]\n{{\"a\":2}}\n{{\"a\":3}}")).unwrap();
        assert_eq!(read(&mut grown), (0, vec![(3, start, 2), (4, start + 8, 3)]));
        assert_eq!(grown.told().kept().len(), 1);
        assert_eq!(Records::open(&path).unwrap().get(&(start..start + 8)).unwrap()["a"], 2);
        for (text, expected) in [("{\"a\":4}\n", 4), ("{\"a\":5,\"b\":\"c\"}\n", 5)] {
            // Shorter, and then longer with other bytes.
            fs::write(&path, text).unwrap();
            assert_eq!(read(&mut grown), (1, vec![(1, 0, expected)]));
            assert_eq!(grown.told().kept(), []);
        }
    }
}
