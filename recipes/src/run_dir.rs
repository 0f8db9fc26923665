//! The run directory: the only interface between a run and those who look at it.
//!
//! ```text
//! recipe.toml        resolved; runs as it is       run.json          what it is; machine and build
//! status.json        running, finished, ...        lock              held while a trainer lives
//! changes.jsonl      settings that a resume changed, recipe-0001.toml the recipe before the first
//! log.txt            what the console said
//! reference/stage-1  a stage's first weights, where its loss looks back at them
//! zeroth/stage-0-000000.log the updates of a stage without gradients
//! checkpoints/step-000100/{Hugging Face files, optimizer.safetensors, trainer.json}
//!                    of a run with an adapter: the files of PEFT in their place
//! ```
//!
//! and the record of [`evals::run`]. Everything is written under a temporary name, synced and
//! renamed: what has its name is whole.

mod adapter_files;
mod base;
mod changes;
mod checkpoints;
mod claim;
mod damaged;
mod facts;
mod kept;
mod leftovers;
mod pending;
mod planned;
mod status;
mod tensors;
mod unwritten;
mod way_back;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use engine::file;
use evals::run::{Accepted, Facts, Files, sync_folder, write_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use adapter_files::{BASE_NOTE, adapter_sha256, reference_folder};
pub use base::Base;
pub(crate) use checkpoints::best_of;
pub use checkpoints::{Saved, Score, StageState, TrainerState, base_of, is_checkpoint};
pub use claim::Claim;
pub use damaged::Damaged;
pub use facts::{
    computing, of_model, of_this_process, printable_command, tokenizer_sha256, trained,
};
pub use pending::Pending;
pub(crate) use planned::first_due;
pub(crate) use status::STATUS;
pub use status::{Heartbeat, status, steps_done};
pub use tensors::{PartOf, TensorFile};
pub use unwritten::{BufferingSink, FailedWrites, Unwritten};
pub use way_back::checkpoints;
pub(crate) use way_back::{steps_lost, way_back};

use claim::lock;
use leftovers::{partial, put};

/// An open run directory. Holds the run's lock as long as it lives.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    /// None where it is only read.
    lock: Option<File>,
}

pub(crate) const RECIPE: &str = "recipe.toml";
/// The settings of an evaluation by itself.
pub(crate) const EVALUATION: &str = "eval.toml";
pub(crate) const FACTS: &str = "run.json";
/// Where the lines of the console are kept.
pub(crate) const LOG: &str = "log.txt";
const LOCK: &str = "lock";

impl RunDir {
    /// A new run directory at `root` with its resolved recipe and its facts.
    ///
    /// # Errors
    ///
    /// Fails where [`Claim::take`] and [`Claim::create`] do.
    pub fn create(root: &Path, recipe: &str, facts: &Facts) -> Result<Self> {
        Claim::take(root)?.create(recipe, facts)
    }

    /// The run directory at `root`, to go on with; what a crash left half-written is removed.
    ///
    /// # Errors
    ///
    /// Fails when there is none, when something else is in the place of one of its folders, or a
    /// trainer is at work in it.
    pub fn open(root: &Path) -> Result<Self> {
        check_run(root)?;
        Self::locked(root, "training")
    }

    /// The run directory at `root`, to see how it goes on; nothing in it is touched.
    ///
    /// # Errors
    ///
    /// Fails where [`RunDir::open`] does.
    pub fn look(root: &Path) -> Result<Self> {
        check_run(root)?;
        let lock = file::open(&root.join(LOCK)).ok();
        if lock.is_some_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
        {
            bail!("another process is training in {}", root.display());
        }
        Ok(Self { root: root.to_owned(), lock: None })
    }

    /// The directory of an evaluation at `root`, to go on with; nothing where there is none.
    ///
    /// # Errors
    ///
    /// Fails when an evaluation is at work in it.
    pub fn open_evaluation(root: &Path) -> Result<Option<Self>> {
        if root.join(EVALUATION).is_file() {
            Self::locked(root, "evaluating").map(Some)
        } else {
            Ok(None)
        }
    }

    fn locked(root: &Path, working: &str) -> Result<Self> {
        let path = root.join(LOCK);
        let lock = lock(&path).with_context(|| format!("locking {}", path.display()))?;
        let Some(lock) = lock else {
            bail!("another process is {working} in {}", root.display());
        };
        let run = Self { root: root.to_owned(), lock: Some(lock) };
        leftovers::remove(root).with_context(|| format!("cleaning {}", root.display()))?;
        Ok(run)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved recipe's text.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub fn recipe(&self) -> Result<String> {
        let path = self.root.join(RECIPE);
        file::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What the run is, and what it began with.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub fn facts(&self) -> Result<Facts> {
        let path = self.root.join(FACTS);
        if !path.exists() && self.root.join("environment.json").exists() {
            bail!(
                "an earlier version of stearin began {}\nresume with that version, or start a new \
                 run from its checkpoint: --set model.path=",
                self.root.display()
            );
        }
        read_json(&path).map_err(|error| anyhow!("{error:#}\n{}", self.damaged()))
    }

    /// What is to be done where one of its files is missing or damaged.
    fn damaged(&self) -> String {
        let checkpoint = self.root.join("checkpoints/step-NNNNNN");
        format!(
            "restore the file from a copy, or start a new run from a checkpoint in another \
             --run-dir: --set model.path={}",
            checkpoint.display()
        )
    }

    /// Keeps what was accepted, and puts `files`, where some are given, in the place of those of
    /// the run's start.
    ///
    /// # Errors
    ///
    /// Fails when `run.json` cannot be read or written.
    pub fn accept(&self, files: Option<Files>, accepted: Accepted) -> Result<()> {
        let mut facts = self.facts()?;
        facts.files = files.or(facts.files);
        facts.accepted.push(accepted);
        write_json(&self.root.join(FACTS), &facts)
    }

    /// Writes the folder `name` whole: `fill` gets a temporary one. A folder of that name is
    /// replaced; if the system ends in between, [`RunDir::open`] puts the old one back.
    ///
    /// # Errors
    ///
    /// Fails when `fill` or the system does; no part of the folder stays.
    pub fn write_folder(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let path = self.root.join(name);
        let parent = path.parent().expect("a name has the root above it").to_owned();
        let partial = partial(&path);
        let write = || -> Result<()> {
            fs::create_dir_all(&partial)?;
            fill(&partial)?;
            sync_files(&partial)?;
            put(&partial, &path)?;
            Ok(sync_folder(&parent)?)
        };
        write()
            .inspect_err(|_| {
                let _ = fs::remove_dir_all(&partial);
            })
            .with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for RunDir {
    /// Unlocks it. Closing the file would do so only once no child has a copy of it, and a child
    /// that another thread starts has one until its program begins.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}

/// Fails where no run is.
fn check_run(root: &Path) -> Result<()> {
    if root.join(RECIPE).is_file() {
        return ["checkpoints", "reference"]
            .iter()
            .try_for_each(|name| check_folder(&root.join(name)));
    }
    if root.join(FACTS).is_file() {
        bail!(
            "nothing to resume: {} has no {RECIPE}, which was the run's recipe\n\
             restore the file from a copy, or start a new run in another --run-dir",
            root.display()
        );
    }
    let act = if claim::is_free(root) {
        "run without --resume to start a new run"
    } else {
        "name the folder of the run with --run-dir, or another place for a new run without --resume"
    };
    bail!("nothing to resume: {} is not a run directory\n{act}", root.display());
}

/// Fails where something else than a folder is in the place of one that a run writes; a link may
/// lead to one.
fn check_folder(path: &Path) -> Result<()> {
    let got = match (fs::metadata(path), path.is_symlink()) {
        (Ok(about), _) if about.is_dir() => return Ok(()),
        (Ok(about), _) if about.is_file() => "a file".to_owned(),
        (Ok(_), _) => "a pipe or a device".to_owned(),
        (Err(error), false) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        (Err(error), true) => format!("a link that leads to none ({error})"),
        (Err(error), false) => error.to_string(),
    };
    bail!(
        "{}: expected a folder, got {got}\nrestore the folder from a copy, or move away what is in its \
         place: what belongs here is what the run has saved",
        path.display()
    )
}

/// Paths in `folder`, in the order of their names; none if it does not exist.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let mut paths = read.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn sync_files(folder: &Path) -> io::Result<()> {
    for path in entries(folder)? {
        if path.is_dir() { sync_files(&path) } else { File::open(&path)?.sync_all() }?;
    }
    sync_folder(folder)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).expect("plain fields become JSON");
    write_whole(path, &text).with_context(|| format!("writing {}", path.display()))
}

/// Reads a JSON file of a run.
pub(crate) fn read_json<T: Serialize + DeserializeOwned>(path: &Path) -> Result<T> {
    let text = file::read(path).with_context(|| format!("reading {}", path.display()))?;
    let value = serde_json::from_slice(&text).map_err(|error| error.to_string());
    let read = value.and_then(|value: serde_json::Value| {
        // Whatever its items are: serde would name the first that does not fit.
        if value.is_array() {
            return Err("expected an object, got a list".into());
        }
        rewards::json::read(&value)
    });
    read.map_err(|problem| anyhow!("reading {}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(root: &Path) -> Result<RunDir> {
        RunDir::create(root, "seed = 1\n", &of_this_process(2))
    }

    #[test]
    fn a_run_that_lacks_a_file_is_told_from_none() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let run = create(&root).unwrap();
        fs::write(root.join(FACTS), "{").unwrap();
        let error = run.facts().unwrap_err().to_string();
        assert!(error.contains("run.json: EOF while"), "{error}");
        assert!(error.contains("\nrestore the file from a copy, or start a new run"), "{error}");
        fs::remove_file(root.join(RECIPE)).unwrap();
        let error = RunDir::look(&root).unwrap_err().to_string();
        assert!(error.contains("has no recipe.toml, which was the run's recipe\n"), "{error}");
        fs::remove_file(root.join(FACTS)).unwrap();
        let error = RunDir::look(&root).unwrap_err().to_string();
        assert!(error.contains("is not a run directory\n"), "{error}");
    }

    #[test]
    fn an_existing_folder_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("mine");
        fs::write(&file, "x").unwrap();
        // The advice of one error is not to lead to the other.
        for (root, what) in
            [(temp.path(), "exists already and is not a run"), (&file, "not a folder")]
        {
            let error = create(root).unwrap_err().to_string();
            assert!(
                error.contains(what) && error.ends_with("use --run-dir for another place"),
                "{error}"
            );
            let error = RunDir::open(root).unwrap_err().to_string();
            assert!(error.contains("name the folder of the run with --run-dir"), "{error}");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        let root = temp.path().join("a");
        assert!(RunDir::open(&root).unwrap_err().to_string().ends_with("to start a new run"));
        drop(create(&root).unwrap());
        let error = create(&root).unwrap_err().to_string();
        assert!(error.ends_with("use --resume to go on with it, or --run-dir for another place"));
    }

    #[test]
    fn an_empty_folder_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("made");
        fs::create_dir(&root).unwrap();
        assert_eq!(create(&root).unwrap().recipe().unwrap(), "seed = 1\n");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn two_trainers_cannot_share_a_run() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("runs/a");
        let first = create(&root).unwrap();
        let error = RunDir::open(&root).unwrap_err().to_string();
        assert!(error.starts_with("another process is training in"), "{error}");
        drop(first);
        assert_eq!(RunDir::open(&root).unwrap().recipe().unwrap(), "seed = 1\n");
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let run = create(&temp.path().join("a")).unwrap();
        let failed = run.write_folder("reference/stage-0", |folder| {
            fs::write(folder.join("half"), "x")?;
            bail!("disk full")
        });
        assert!(format!("{:#}", failed.unwrap_err()).ends_with("disk full"));
        assert!(!run.root().join("reference/stage-0").exists());
        assert_eq!(entries(&run.root().join("reference")).unwrap(), [""; 0].map(PathBuf::from));
    }

    fn write(run: &RunDir, text: &str) -> Result<()> {
        run.write_folder("reference/stage-0", |folder| {
            fs::write(folder.join("text"), text)?;
            if text == "fails" {
                bail!("disk full");
            }
            Ok(())
        })
    }

    #[test]
    fn a_folder_is_replaced_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let run = create(&temp.path().join("a")).unwrap();
        let read = || fs::read_to_string(run.root().join("reference/stage-0/text")).unwrap();
        write(&run, "one").unwrap();
        assert!(write(&run, "fails").is_err());
        assert_eq!(read(), "one");
        write(&run, "two").unwrap();
        assert_eq!(read(), "two");
        assert_eq!(entries(&run.root().join("reference")).unwrap().len(), 1);
    }

    #[test]
    fn a_list_is_no_status() {
        let temp = tempfile::tempdir().unwrap();
        let run = create(&temp.path().join("a")).unwrap();
        let path = run.root().join(FACTS);
        let facts: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let listed: serde_json::Value = facts.as_object().unwrap().values().cloned().collect();
        fs::write(&path, listed.to_string()).unwrap();
        let error = run.facts().unwrap_err().to_string();
        assert!(error.contains("run.json: expected an object, got a list\n"), "{error}");
    }
}
