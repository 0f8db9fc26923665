//! A report: the page with the answers on some runs, as one file that asks nobody.
//!
//! ```text
//! answers  what the routes answer, as elements of data
//! part     one run of it: what is always in, evaluations, groups
//! choose   which recorded groups come first
//! bundle   the page's modules as one script
//! page     the file
//! ```

mod answers;
mod bundle;
mod choose;
mod page;
mod part;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evals::run::Spell;

use self::answers::{Asker, Elements, escaped};
use self::page::page;
use self::part::Part;
use crate::runs::Runs;

/// What a report is of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The run.
    pub run: PathBuf,
    /// Another run to compare it with.
    pub against: Option<PathBuf>,
    /// What gives the ids of another trainer's run their texts.
    pub tokenizer: Option<Arc<dyn Spell>>,
    /// Recorded groups of each run, besides those of alarms.
    pub groups: usize,
    /// Length of the file at most, in bytes.
    pub most: usize,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub html: String,
    /// What is in it and what was left out, in sentences; the page has them as well.
    pub notes: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The folder holds no run, or several.
    #[error(
        "{}: expected one run, found {found}\nname the folder of the run itself",
        folder.display()
    )]
    NotOne {
        /// The folder.
        folder: PathBuf,
        /// Runs in it.
        found: usize,
    },
    /// A run is compared with itself.
    #[error("{}: expected another run to compare with, got the same", .0.display())]
    Same(PathBuf),
    /// The curves alone are longer than the file may be.
    #[error(
        "the curves and the index alone take {} MB, more than the {} MB that are allowed\nuse \
         --max-mb {0}",
        megabytes(*needed),
        megabytes(*most)
    )]
    TooLarge {
        /// Bytes of what is always in it.
        needed: usize,
        /// Bytes that are allowed.
        most: usize,
    },
    /// The run cannot be read.
    #[error("{0}")]
    Unread(String),
    /// The system failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn megabytes(bytes: usize) -> usize {
    bytes.div_ceil(1_000_000)
}

/// The report on a run. Two reports of a run at rest are the same bytes.
///
/// # Errors
///
/// Fails where there is no such run, and where not even the curves fit.
pub fn report(wanted: &Wanted) -> Result<Report, Unwritten> {
    let mut folders = vec![one_run(&wanted.run)?];
    if let Some(against) = &wanted.against {
        let other = one_run(against)?;
        if folders[0].canonicalize()? == other.canonicalize()? {
            return Err(Unwritten::Same(against.clone()));
        }
        folders.push(other);
    }
    let runs = Runs::at_rest(folders).with_tokenizer(wanted.tokenizer.clone());
    let runs = Arc::new(runs);
    let mut draft = Draft { asker: Asker::new(&runs)?, elements: Elements::default(), room: 0 };
    let mut parts = draft.open(&runs)?;
    draft.make_room(&parts, wanted.most)?;
    // Groups are the first to be left out, yet half of the file is theirs to have.
    let kept = draft.room / 2;
    for part in &mut parts {
        part.add_evaluations(&mut draft, kept);
    }
    for part in &mut parts {
        part.add_groups(&mut draft, wanted.groups);
    }
    // What the groups did not take is for the evaluations that were left out.
    for part in &mut parts {
        part.add_more_evaluations(&mut draft);
    }
    let mut notes = vec![format!(
        "A report by stearin {}: the page of `stearin dash`, with what the record held when it was \
         written. Forks need the program itself.",
        env!("CARGO_PKG_VERSION")
    )];
    for part in parts {
        notes.extend(part.finish(&mut draft));
    }
    Ok(Report { html: page(&draft.elements, &notes), notes })
}

/// The folder of the only run at or below `folder`.
fn one_run(folder: &Path) -> Result<PathBuf, Unwritten> {
    let mut roots = Runs::new(vec![folder.to_owned()]).roots();
    match (roots.pop(), roots.len()) {
        (Some(root), 0) => Ok(root),
        (last, rest) => {
            let found = rest + usize::from(last.is_some());
            Err(Unwritten::NotOne { folder: folder.to_owned(), found })
        }
    }
}

/// A report under way.
struct Draft {
    asker: Asker,
    elements: Elements,
    /// Bytes that are left.
    room: usize,
}

impl Draft {
    /// The runs, with everything that is always in.
    fn open(&mut self, runs: &Arc<Runs>) -> Result<Vec<Part>, Unwritten> {
        self.elements.answer("/runs", &self.asker.ask("/runs"));
        let all = runs.all();
        let ids: Vec<_> = all.iter().map(|(id, _)| escaped(id)).collect();
        for (at, id) in ids.iter().enumerate() {
            for other in ids[..at].iter().chain(&ids[at + 1..]) {
                for what in ["diff", "paired"] {
                    let path = format!("/{what}?a={id}&b={other}");
                    self.elements.answer(&path, &self.asker.ask(&path));
                }
            }
        }
        let open = |((_, run), id)| Part::open(self, format!("/runs/{id}"), run);
        all.into_iter().zip(ids).map(open).collect()
    }

    /// Finds out how many bytes are left.
    fn make_room(&mut self, parts: &[Part], most: usize) -> Result<(), Unwritten> {
        let of_parts: usize = parts.iter().map(Part::size).sum();
        // The sentences at the end.
        let needed = page(&self.elements, &[]).len() + of_parts + 4096;
        self.room = most.checked_sub(needed).ok_or(Unwritten::TooLarge { needed, most })?;
        Ok(())
    }

    /// Takes these in, if there is room for them and `kept` bytes more.
    fn take(&mut self, own: Elements, kept: usize) -> bool {
        let size = own.size_beside(&self.elements);
        let fits = size + kept <= self.room;
        if fits {
            self.room -= size;
            self.elements.extend(own);
        }
        fits
    }
}
