//! The steps of a run, read when they are asked for.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::super::{GroupEntry, Problem, SampleGroup, Seen, TokenFile, open_file};
use super::Reader;
use super::rows::python;
use super::told::StepRead;

/// Longest file that is read at once, in bytes.
pub(super) const LARGEST: u64 = 1 << 30;
const SKIPPED: &str = "this line is skipped and the others are shown";

/// A step, and what could not be read of it.
pub(super) fn read_step(
    reader: &dyn Reader,
    step: u64,
    files: &[Seen],
) -> (StepRead, Vec<Problem>) {
    let mut problems = Vec::new();
    let told = reader.read(step, files, &mut problems);
    (StepRead::of(step, told), problems)
}

/// The last step that was asked for.
type Last = Option<(Vec<Seen>, Arc<StepRead>)>;

/// The steps of a run, of which the last one that was asked for is kept.
#[derive(Debug)]
pub(in super::super) struct Steps {
    root: PathBuf,
    reader: Arc<dyn Reader>,
    last: Mutex<Last>,
}

impl Steps {
    pub(super) fn new(root: &Path, reader: &Arc<dyn Reader>) -> Self {
        Self { root: root.to_owned(), reader: Arc::clone(reader), last: Mutex::default() }
    }

    fn step(&self, step: u64) -> Result<Arc<StepRead>, Problem> {
        let seen = self.reader.steps().remove(&step).ok_or_else(|| self.changed(step))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, read)) = &*last
            && *known == seen
        {
            return Ok(Arc::clone(read));
        }
        let read = Arc::new(read_step(&*self.reader, step, &seen).0);
        *last = Some((seen, Arc::clone(&read)));
        Ok(read)
    }

    fn changed(&self, step: u64) -> Problem {
        let reason = format!("step {step} is not as it was when it was listed");
        Problem::of(&self.root, reason, "list the groups again")
    }

    /// Texts of a group.
    pub(in super::super) fn group(&self, entry: &GroupEntry) -> Result<SampleGroup, Problem> {
        let read = self.step(entry.step)?;
        read.groups.get(entry.group).cloned().ok_or_else(|| self.changed(entry.step))
    }

    /// Columns of a step.
    pub(in super::super) fn tokens(&self, step: u64) -> Result<TokenFile, Problem> {
        let read = self.step(step)?;
        TokenFile::of_bytes(&self.root, read.tokens.to_bytes(&read.about))
    }
}

/// The bytes of a file; none where there is no such file or it cannot be read.
pub(super) fn bytes(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    let read = open_file(path).and_then(|file| file.map(|file| all(path, file)).transpose());
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    })
}

fn all(path: &Path, file: File) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::of_system(path, &error))?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!("expected at most {} MiB, got more", LARGEST >> 20);
        return Err(Problem::of(path, reason, "split the file by its lines"));
    }
    Ok(bytes)
}

/// The lines of a file as JSON objects, with their numbers, counted from 1.
pub(super) fn lines(path: &Path, problems: &mut Vec<Problem>) -> Vec<(u64, Value)> {
    let bytes = bytes(path, problems).unwrap_or_default();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let own = line.strip_suffix(b"\n").unwrap_or(line);
        let reason = match python(own) {
            Ok(value) if value.is_object() => {
                found.push((number, value));
                continue;
            }
            _ if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(_) => "expected an object".to_owned(),
            Err(_) if !line.ends_with(b"\n") => "the line ends in the middle: it was cut, or is \
                                                 being written"
                .to_owned(),
            Err(error) => error.replace(" at line 1 column ", " at byte "),
        };
        problems.push(line_problem(path, number, reason));
    }
    found
}

/// Of a line that is skipped.
pub(super) fn line_problem(path: &Path, number: u64, reason: String) -> Problem {
    Problem { act: SKIPPED.into(), ..Problem::of_line(path, number, reason) }
}
