//! The runs below some folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evals::hex;
use evals::run::Spell;
use sha2::{Digest as _, Sha256};

use crate::trouble::Trouble;
use crate::watched::{Watched, is_run};

/// Levels of folders below a given one that are searched.
const DEPTH: usize = 2;
/// Runs at most.
const MOST: usize = 10_000;

/// The runs below some folders: these themselves, their children, and one level more. The
/// logs of a run are read when it is first asked for.
#[derive(Debug)]
pub struct Runs {
    folders: Vec<PathBuf>,
    follows: bool,
    /// Gives the ids of another trainer's run their texts.
    tokenizer: Option<Arc<dyn Spell>>,
    /// By folder, each with its id.
    open: Mutex<BTreeMap<PathBuf, (String, Shared)>>,
}

/// A run in use.
pub(crate) type Shared = Arc<Mutex<Watched>>;

impl Runs {
    /// The runs below `folders`.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders, follows: true, tokenizer: None, open: Mutex::default() }
    }

    /// The same, each as it is when it is first asked for: later changes and the time of day change
    /// no answer.
    pub(crate) fn at_rest(folders: Vec<PathBuf>) -> Self {
        Self { follows: false, ..Self::new(folders) }
    }

    /// The same with a tokenizer, for runs that have ids without texts.
    #[must_use]
    pub fn with_tokenizer(self, tokenizer: Option<Arc<dyn Spell>>) -> Self {
        Self { tokenizer, ..self }
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.roots().len()
    }

    /// All runs with their ids, in the order of their folders.
    pub(crate) fn all(&self) -> Vec<(String, Shared)> {
        let roots = self.roots();
        let mut open = lock(&self.open);
        let mut all = Vec::new();
        for root in roots {
            if let Some(known) = open.get(&root) {
                all.push(known.clone());
            } else if let Ok(run) = Watched::open(&root, self.follows, self.tokenizer.clone()) {
                let known = (id(&run, &open), Arc::new(Mutex::new(run)));
                all.push(known.clone());
                open.insert(root, known);
            }
        }
        all
    }

    /// The run with this id.
    pub(crate) fn get(&self, id: &str) -> Result<Shared, Trouble> {
        let named = |(own, run): &(String, Shared)| (own == id).then(|| Arc::clone(run));
        let known = lock(&self.open).values().find_map(named);
        let found = known.or_else(|| self.all().iter().find_map(named));
        found.ok_or_else(|| {
            Trouble::missing("there is no such run").act("choose one of /api/v1/runs")
        })
    }

    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        self.folders.iter().for_each(|folder| search(folder, DEPTH, &mut found));
        found
    }
}

/// What holds even where another thread ended in a panic: values are replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if found.len() >= MOST {
        return;
    }
    if is_run(folder) {
        if !found.iter().any(|known| known == folder) {
            found.push(folder.to_owned());
        }
        return;
    }
    if depth == 0 {
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // A link may lead anywhere, also back here.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut folders: Vec<_> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    for folder in &folders {
        search(folder, depth - 1, found);
    }
}

/// The run's own id, unless a copy of it has that already; then, and without one, its folder's.
fn id(run: &Watched, open: &BTreeMap<PathBuf, (String, Shared)>) -> String {
    let own = run.run.facts.as_ref().map(|facts| facts.id.clone()).unwrap_or_default();
    let is_id = own.len() == 16 && own.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id && open.values().all(|(taken, _)| *taken != own) {
        return own;
    }
    let path = run.root().as_os_str().as_encoded_bytes();
    hex::encode(&Sha256::digest(path)[..8])
}
