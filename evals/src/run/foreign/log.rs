//! Logs of metrics, read as they grow.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::super::{Problem, Problems};
use super::grown::Grown;
use super::rows::Rows;

/// The logs of a run, and their values.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Read>>);

/// What was read of a log.
#[derive(Debug)]
struct Read {
    path: PathBuf,
    grown: Grown,
    rows: Rows,
    problems: Problems,
}

/// Takes up the values of a line, and says what is wrong with it.
pub(super) type Take = dyn Fn(&Path, u64, &Value, &mut Rows) -> Option<Problem>;

impl Log {
    /// The values of all lines of these logs; later logs count.
    pub(super) fn read(&self, paths: &[PathBuf], problems: &mut Vec<Problem>, take: &Take) -> Rows {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        let mut rows = Rows::default();
        for path in paths {
            let place = before.iter().position(|log| log.path == *path);
            let mut log = place.map_or_else(|| Read::new(path), |place| before.swap_remove(place));
            log.poll(take);
            rows.extend_rows(&log.rows);
            problems.extend(log.grown.told().kept().iter().cloned());
            problems.extend(log.problems.kept().iter().cloned());
            known.push(log);
        }
        rows
    }
}

impl Read {
    fn new(path: &Path) -> Self {
        let (rows, problems) = Default::default();
        Self { path: path.to_owned(), grown: Grown::new(path), rows, problems }
    }

    fn poll(&mut self, take: &Take) {
        let Self { path, grown, rows, problems } = self;
        let own = std::cell::RefCell::new((rows, problems));
        grown.read(
            &mut || {
                let (rows, problems) = &mut *own.borrow_mut();
                (**rows, **problems) = Default::default();
            },
            &mut |number, _, line| {
                let (rows, problems) = &mut *own.borrow_mut();
                problems.extend(take(path, number, &line, rows));
            },
        );
    }
}
