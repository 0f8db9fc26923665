//! Reads and sorts `evals/step-NNNNNN/NAME.jsonl`, a line at a time: texts may take gigabytes, and
//! no figure needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{
    self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _,
};
use std::path::Path;

use serde::Deserialize;

use super::sink::replace_with;
use super::summary::SHOWN;
use super::{ProblemLine, open_file};
use crate::{Error, Result};

/// The problems in a file, in the order of their numbers, and the length of its whole lines, in
/// bytes. A last line without its end is left out, as while it is being written or after a kill. No
/// file is no problems.
///
/// # Errors
///
/// Fails when the file cannot be read, on a whole line that is no [`ProblemLine`] or contradicts
/// itself, and on a second line of a problem.
pub fn read(path: &Path) -> Result<(Vec<ProblemLine>, u64)> {
    read_with(path, &mut Vec::push)
}

/// The same without texts, but for those that a summary shows.
///
/// # Errors
///
/// Fails where [`read`] does.
pub fn read_without_texts(path: &Path) -> Result<(Vec<ProblemLine>, u64)> {
    let mut shown = ShownTexts::default();
    read_with(path, &mut |lines, line| shown.add(lines, line))
}

/// The problems whose texts are kept for the summary: the first that were judged.
#[derive(Debug, Clone, Default)]
pub struct ShownTexts(BTreeSet<u64>);

impl ShownTexts {
    /// Those of lines that were read by [`read_without_texts`].
    pub fn of(lines: &[ProblemLine]) -> Self {
        let with_texts = lines.iter().filter(|line| !line.texts.is_empty());
        Self(with_texts.map(|line| line.number).collect())
    }

    /// Adds a line, without texts that the summary does not show.
    pub fn add(&mut self, lines: &mut Vec<ProblemLine>, mut line: ProblemLine) {
        if let Some(greedy) = &mut line.greedy {
            greedy.text = None;
        }
        line.texts.truncate(usize::from(!line.unjudged()));
        if !line.texts.is_empty() {
            self.0.insert(line.number);
        }
        if self.0.len() > SHOWN
            && let Some(late) = self.0.pop_last()
        {
            // From the end: lines come in about the order of their numbers, or against it.
            let mut all = std::iter::once(&mut line).chain(lines.iter_mut().rev());
            if let Some(late) = all.find(|one| one.number == late) {
                late.texts = Vec::new();
            }
        }
        lines.push(line);
    }
}

/// Reads the file; `add` adds a line to those before.
fn read_with(
    path: &Path,
    add: &mut dyn FnMut(&mut Vec<ProblemLine>, ProblemLine),
) -> Result<(Vec<ProblemLine>, u64)> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let Some(file) = open(path).map_err(failed)? else { return Ok((Vec::new(), 0)) };
    let mut file = BufReader::new(file);
    let (mut lines, mut bytes) = (Vec::<ProblemLine>::new(), Vec::new());
    let (mut whole, mut seen) = (0, BTreeMap::new());
    for at in 1.. {
        bytes.clear();
        file.read_until(b'\n', &mut bytes).map_err(failed)?;
        if !bytes.ends_with(b"\n") {
            break;
        }
        whole += bytes.len() as u64;
        let read = problem_line(&bytes).and_then(|line| match seen.insert(line.number, at) {
            Some(earlier) => Err(format!("problem number {} has line {earlier}, too", line.number)),
            None => Ok(line),
        });
        let line = read.map_err(|problem| Error::Line {
            path: path.to_owned(),
            line: at,
            problem: format!(
                "expected what became of a problem: {problem}\nthe file is damaged: without this \
                 line, and without the figures beside it, the same command judges its problem again"
            ),
        })?;
        add(&mut lines, line);
    }
    lines.sort_by_key(|line| line.number);
    Ok((lines, whole))
}

/// Opens the file; nothing where there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    open_file(path).map_err(|problem| problem.into_io(path))
}

fn problem_line(line: &[u8]) -> std::result::Result<ProblemLine, String> {
    let line: ProblemLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    line.contradiction().map_or(Ok(line), Err)
}

/// Puts the lines of a file in the order of their numbers. A last line without its end goes.
///
/// # Errors
///
/// Fails when the file cannot be read or written, and on a whole line without a number; the file is
/// then as before.
pub fn sort(path: &Path) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Numbered {
        number: u64,
    }
    let Some(file) = open(path)? else { return Ok(()) };
    let mut file = BufReader::new(file);
    let (mut places, mut bytes, mut from) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        bytes.clear();
        let length = file.read_until(b'\n', &mut bytes)? as u64;
        if !bytes.ends_with(b"\n") {
            break;
        }
        let Numbered { number } = serde_json::from_slice(&bytes)?;
        places.push((number, from, length));
        from += length;
    }
    places.sort_unstable();
    replace_with(path, &mut |to| {
        let mut to = BufWriter::new(to);
        for &(_, from, length) in &places {
            file.seek(SeekFrom::Start(from))?;
            io::copy(&mut (&mut file).take(length), &mut to)?;
        }
        to.flush()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::evaluate::tests::{group, lines};
    use crate::run::Summary;
    use rewards::Outcome;
    use rollout::Finish;

    #[test]
    fn texts_are_left_out_and_the_figures_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.jsonl");
        let groups: Vec<_> = (0..20)
            .map(|at| {
                let outcome =
                    [Outcome::Correct, Outcome::GoldUnparseable][usize::from(at % 5 == 1)];
                let mut one = group(Finish::Stop, &[outcome, Outcome::Wrong]);
                one.greedy = one.completions.first().cloned();
                one
            })
            .collect();
        let all = lines(&groups);
        // As they come, and with a part of a line at the end.
        let line = |one: &ProblemLine| serde_json::to_string(one).unwrap() + "\n";
        let written: String = all.iter().rev().map(line).collect();
        fs::write(&path, written.clone() + "{\"number\":3").unwrap();
        let (read_all, whole) = read(&path).unwrap();
        assert_eq!((read_all.len(), whole), (20, written.len() as u64));
        let (few, _) = read_without_texts(&path).unwrap();
        let with: Vec<_> =
            few.iter().filter(|one| !one.texts.is_empty()).map(|one| one.number).collect();
        assert_eq!(with, [0, 2, 3, 4, 5, 7, 8, 9]);
        assert!(
            few.iter()
                .all(|one| one.texts.len() < 2 && one.greedy.as_ref().unwrap().text.is_none())
        );
        let [all_figures, figures] =
            [&read_all, &few].map(|lines| Summary::default().with_figures(lines));
        assert_eq!(all_figures, figures);
        assert_eq!(figures.shown.len(), SHOWN);
        sort(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), all.iter().map(line).collect::<String>());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
