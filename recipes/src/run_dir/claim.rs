//! The beginning of a run directory: one starter takes the place, the others get an error.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use evals::run::{Facts, sync_folder, write_whole};

use super::leftovers::{name_of_partial, partial};
use super::{FACTS, LOCK, RECIPE, RunDir, entries, write_json};

/// The right to make the run directory at a place, from before the model is loaded until the folder
/// is there. It is a lock on a file beside that place, which goes when the claim does.
#[derive(Debug)]
pub struct Claim {
    root: PathBuf,
    parent: PathBuf,
    /// Whether the folder around the place was made for the claim.
    made_parent: bool,
    path: PathBuf,
    _lock: File,
}

/// Tries to lock a file that starters before may remove. Where no file can be made, as below
/// `/proc`, the system says the same as where the folder is gone.
const MOST_ROUNDS: usize = 1000;

impl Claim {
    /// Takes the place `root`.
    ///
    /// # Errors
    ///
    /// Fails when `root` exists and is not an empty folder, when another process has the claim, and
    /// when the lock cannot be written.
    pub fn take(root: &Path) -> Result<Self> {
        check_new(root)?;
        let parent = match root.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let made_parent = !parent.exists();
        let path = parent.join(format!(".{}.lock", name(root)));
        let mut rounds = 0..MOST_ROUNDS;
        let lock = loop {
            fs::create_dir_all(&parent)
                .with_context(|| format!("creating {}", parent.display()))?;
            let is_last = rounds.next().is_none();
            match lock(&path) {
                Ok(Some(lock)) if is_at(&lock, &path) => break lock,
                // The starter before removed the file, or the folder around it, in between.
                Ok(Some(_)) if !is_last => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_last => {}
                Ok(_) => bail!(
                    "another process is starting a run in {}\nwait for it, or name another folder",
                    root.display()
                ),
                Err(error) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        };
        let claim = Self { root: root.to_owned(), parent, made_parent, path, _lock: lock };
        // The starter before may have made the folder while this one waited for its turn.
        check_new(root)?;
        Ok(claim)
    }

    /// Makes the run directory, locked: whoever sees it sees its recipe, and that it is taken.
    ///
    /// # Errors
    ///
    /// Fails when `root` exists by now, or cannot be written; no part of it stays.
    pub fn create(self, recipe: &str, facts: &Facts) -> Result<RunDir> {
        self.create_with(RECIPE, recipe, facts)
    }

    /// As [`Claim::create`], with its settings in the file `name`.
    ///
    /// # Errors
    ///
    /// Fails where [`Claim::create`] does.
    pub fn create_with(self, name: &str, settings: &str, facts: &Facts) -> Result<RunDir> {
        self.remove_leftovers();
        let partial = partial(&self.root);
        let build = || -> Result<File> {
            fs::create_dir(&partial)?;
            write_whole(&partial.join(name), settings.as_bytes())?;
            write_json(&partial.join(FACTS), facts)?;
            let lock = lock(&partial.join(LOCK))?.ok_or_else(|| anyhow!("its lock is taken"))?;
            check_new(&self.root)?;
            fs::rename(&partial, &self.root)?;
            sync_folder(&self.parent)?;
            Ok(lock)
        };
        let lock = build()
            .inspect_err(|_| {
                let _ = fs::remove_dir_all(&partial);
            })
            .with_context(|| format!("creating {}", self.root.display()))?;
        Ok(RunDir { root: self.root.clone(), lock: Some(lock) })
    }

    /// Removes what starters of this place left when they were killed: while the claim is held,
    /// nobody else is at work on it.
    fn remove_leftovers(&self) {
        let name = name(&self.root);
        let is_own = |path: &Path| {
            let file = path.file_name().and_then(|file| file.to_str());
            file.and_then(name_of_partial) == Some(&name)
        };
        for path in entries(&self.parent).unwrap_or_default() {
            if is_own(&path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Where files have no number to compare, a file that is removed could be locked by two.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
        if self.made_parent {
            // Fails, as it should, where it holds something.
            let _ = fs::remove_dir(&self.parent);
        }
    }
}

/// Whether a run directory can be made at `root`: there is nothing, or an empty folder.
pub(super) fn is_free(root: &Path) -> bool {
    !root.exists() || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none())
}

/// # Errors
///
/// Fails when `root` exists and is not an empty folder.
pub(super) fn check_new(root: &Path) -> Result<()> {
    if is_free(root) {
        return Ok(());
    }
    let is_run = root.join(RECIPE).is_file();
    let (what, act) = match root.is_dir() {
        true if is_run => ("exists already", "use --resume to go on with it, or --run-dir for"),
        true => ("exists already and is not a run directory", "use --run-dir for"),
        false => ("is not a folder", "use --run-dir for"),
    };
    bail!("{} {what}\n{act} another place", root.display())
}

/// The file at `path`, made and locked, with what it holds; nothing where another process has
/// locked it. The system lets go of the lock when the process ends, however it ends.
///
/// # Errors
///
/// Fails when the file cannot be made or locked, and where something else than a file is at `path`:
/// a link may lead to a file of others, and a pipe is opened for ever.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
        return Err(io::Error::other(
            "expected a file, got a folder, a link or a pipe\nmove it away: what belongs here is a \
             file that is made when it is missing",
        ));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `file` is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let numbers = |found: io::Result<Metadata>| found.ok().map(|metadata| number(&metadata));
    let found = numbers(fs::metadata(path));
    found.is_some() && found == numbers(file.metadata())
}

#[cfg(unix)]
fn number(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

fn name(root: &Path) -> String {
    root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::run_dir::of_this_process;

    fn names(folder: &Path) -> Vec<String> {
        let paths = entries(folder).unwrap();
        paths.iter().map(|path| name(path)).collect()
    }

    fn facts() -> Facts {
        of_this_process(1)
    }

    #[test]
    fn the_second_starter_gets_an_error_at_once_and_the_first_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("runs/a");
        let first = Claim::take(&root).unwrap();
        let error = Claim::take(&root).unwrap_err().to_string();
        assert!(error.starts_with("another process is starting a run in "), "{error}");
        let run = first.create("seed = 1\n", &facts()).unwrap();
        let error = Claim::take(&root).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(names(&temp.path().join("runs")), ["a"]);
        assert!(RunDir::open(&root).unwrap_err().to_string().starts_with("another process"));
        drop(run);
        RunDir::open(&root).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_that_is_no_file_is_refused_and_what_it_leads_to_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("precious"), "kept").unwrap();
        let made = |name: &str| std::process::Command::new("mkfifo").arg(at(name)).status();
        std::os::unix::fs::symlink("precious", at(".link.lock")).unwrap();
        std::os::unix::fs::symlink("no/such/file", at(".dangling.lock")).unwrap();
        fs::create_dir(at(".folder.lock")).unwrap();
        assert!(made(".pipe.lock").unwrap().success());
        for name in ["link", "dangling", "folder", "pipe"] {
            let error = format!("{:#}", Claim::take(&at(name)).unwrap_err());
            let names = error.contains(&format!(".{name}.lock: expected a file, got"));
            assert!(names && error.contains("move it away"), "{error}");
        }
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "kept");
        // Of a run that is there.
        let run = Claim::take(&at("run")).unwrap().create("", &facts()).unwrap();
        drop(run);
        fs::remove_file(at("run").join(LOCK)).unwrap();
        std::os::unix::fs::symlink("../precious", at("run").join(LOCK)).unwrap();
        let error = format!("{:#}", RunDir::open(&at("run")).unwrap_err());
        assert!(error.contains("run/lock: expected a file, got"), "{error}");
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "kept");
        // A file is locked with what it holds.
        fs::write(at(".full.lock"), "kept").unwrap();
        let full = File::open(at(".full.lock")).unwrap();
        let claim = Claim::take(&at("full")).unwrap();
        assert_eq!(full.metadata().unwrap().len(), 4);
        drop(claim);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn where_no_file_can_be_made_is_an_error() {
        let error = format!("{:#}", Claim::take(Path::new("/proc/x")).unwrap_err());
        assert!(error.contains("locking /proc/.x.lock"), "{error}");
    }

    #[test]
    fn a_claim_that_is_given_up_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("runs/a");
        drop(Claim::take(&root).unwrap());
        assert!(names(temp.path()).is_empty());
        drop(Claim::take(&root).unwrap());
    }

    #[test]
    fn leftovers_of_killed_starters_go_and_other_folders_stay() {
        let temp = tempfile::tempdir().unwrap();
        let others = ["a.b.1-2.partial", "a.partial", "a.x-2.partial", "b.1-2.partial"];
        for name in others.iter().chain(&["a.1-2.partial"]) {
            fs::create_dir(temp.path().join(name)).unwrap();
        }
        let claim = Claim::take(&temp.path().join("a")).unwrap();
        drop(claim.create("", &facts()).unwrap());
        assert_eq!(names(temp.path()), ["a"].iter().chain(&others).copied().collect::<Vec<_>>());
    }

    #[test]
    fn of_many_starters_one_gets_the_folder_whole() {
        for round in 0..60 {
            let temp = tempfile::tempdir().unwrap();
            let root = temp.path().join("runs/a");
            let barrier = Barrier::new(4);
            let start = |starter: usize| {
                barrier.wait();
                let claim = Claim::take(&root)?;
                if (starter + round).is_multiple_of(2) {
                    thread::yield_now();
                }
                claim.create(&format!("seed = {starter}\n"), &facts())
            };
            let started: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|starter| scope.spawn(move || (starter, start(starter)))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) =
                started.into_iter().partition(|(_, run)| run.is_ok());
            assert_eq!(won.len(), 1, "round {round}");
            let recipe = fs::read_to_string(root.join(RECIPE)).unwrap();
            assert_eq!(recipe, format!("seed = {}\n", won[0].0), "it is the winner's");
            assert_eq!(names(&root), [LOCK, RECIPE, FACTS]);
            assert_eq!(names(&temp.path().join("runs")), ["a"], "nothing stays beside it");
            for (_, error) in lost {
                let error = format!("{:#}", error.unwrap_err());
                let is_clear =
                    error.contains("another process") || error.contains("exists already");
                assert!(is_clear, "round {round}: {error}");
            }
        }
    }
}
