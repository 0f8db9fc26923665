//! The run directory: the only interface between a run and those who look at it.
//!
//! ```text
//! recipe.toml        resolved; runs as it is       environment.json  machine and build
//! status.json        running, finished, ...        lock              held while a trainer lives
//! reference/stage-1  a stage's first weights, where its loss looks back at them
//! checkpoints/step-000100/{Hugging Face files, optimizer.safetensors, trainer.json}
//! ```
//!
//! and the record of [`evals::record`]. Everything is written under a temporary name, synced and
//! renamed: what has its name is whole.

mod checkpoints;
mod environment;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use evals::record::{sync_folder, write_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::Files;

pub(crate) use checkpoints::best_of;
pub use checkpoints::{Saved, StageState, TrainerState, checkpoints};
pub use environment::{Accepted, Environment};

/// Version of the JSON files written here.
pub const FORMAT: u32 = 1;

/// What a run is doing, for its readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this file.
    pub format: u32,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

/// Where a run is in its life. A run that says `running` while nobody holds its lock was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Training.
    Running,
    /// All steps are done.
    Finished,
    /// Asked to stop, and saved; `--resume` goes on.
    Interrupted,
    /// Stopped by an error.
    Failed {
        /// The error.
        reason: String,
    },
}

/// An open run directory. Holds the run's lock as long as it lives.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    _lock: File,
}

pub(crate) const RECIPE: &str = "recipe.toml";
pub(crate) const ENVIRONMENT: &str = "environment.json";
const STATUS: &str = "status.json";

impl RunDir {
    /// A new run directory at `root` with its resolved recipe and environment.
    ///
    /// # Errors
    ///
    /// Fails when `root` exists and is not an empty folder, or cannot be written.
    pub fn create(root: &Path, recipe: &str, environment: &Environment) -> Result<Self> {
        Self::check_new(root)?;
        build(root, recipe, environment).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self { root: root.to_owned(), _lock: lock(root)? })
    }

    /// # Errors
    ///
    /// Fails when `root` exists and is not an empty folder.
    pub fn check_new(root: &Path) -> Result<()> {
        if root.exists() && !is_empty_folder(root) {
            bail!(
                "{} exists already\nuse --resume to go on with it, or --run-dir for another place",
                root.display()
            );
        }
        Ok(())
    }

    /// The run directory at `root`, to go on with; what a crash left half-written is removed.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or a trainer is at work in it.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join(RECIPE).is_file() {
            bail!(
                "nothing to resume: {} is not a run directory\nrun without --resume to start a new run",
                root.display()
            );
        }
        let run = Self { root: root.to_owned(), _lock: lock(root)? };
        run.remove_partial().with_context(|| format!("cleaning {}", root.display()))?;
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
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// The environment of the run's start.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub fn environment(&self) -> Result<Environment> {
        read_json(&self.root.join(ENVIRONMENT))
    }

    /// Puts `files` in the place of those of the run's start, and keeps what was accepted.
    ///
    /// # Errors
    ///
    /// Fails when the environment cannot be read or written.
    pub fn accept(&self, files: Files, accepted: Accepted) -> Result<()> {
        let mut environment = self.environment()?;
        environment.files = Some(files);
        environment.accepted.push(accepted);
        write_json(&self.root.join(ENVIRONMENT), &environment)
    }

    /// Tells readers what the run is doing.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn set_status(&self, state: State, step: u64, total_steps: u64) -> Result<()> {
        let status = Status { format: FORMAT, state, step, total_steps };
        write_json(&self.root.join(STATUS), &status)
    }

    /// Writes the folder `name` whole: `fill` gets a temporary one.
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
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::rename(&partial, &path)?;
            Ok(sync_folder(&parent)?)
        };
        write()
            .inspect_err(|_| {
                let _ = fs::remove_dir_all(&partial);
            })
            .with_context(|| format!("writing {}", path.display()))
    }

    fn remove_partial(&self) -> io::Result<()> {
        for folder in
            [self.root.clone(), self.root.join("checkpoints"), self.root.join("reference")]
        {
            for path in entries(&folder)? {
                if path.extension().is_some_and(|extension| extension == "partial") {
                    if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }?;
                }
            }
        }
        Ok(())
    }
}

/// Reads what a run is doing.
///
/// # Errors
///
/// Fails when `root` is no run directory that has begun.
pub fn status(root: &Path) -> Result<Status> {
    read_json(&root.join(STATUS))
}

/// Makes the folder under a temporary name first: one that exists has its recipe.
fn build(root: &Path, recipe: &str, environment: &Environment) -> Result<()> {
    let partial = partial(root);
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    write_whole(&partial.join(RECIPE), recipe.as_bytes())?;
    write_json(&partial.join(ENVIRONMENT), environment)?;
    fs::rename(&partial, root)?;
    Ok(sync_folder(match root.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    })?)
}

/// The system lets go of the lock when the process ends, however it ends.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process is training in {}", root.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// The temporary name beside `path`.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
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
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let value = serde_json::from_slice(&text).map_err(|error| error.to_string());
    let read = value.and_then(|value| rewards::json::read(&value));
    read.map_err(|problem| anyhow!("reading {}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(root: &Path) -> Result<RunDir> {
        RunDir::create(root, "seed = 1\n", &Environment::of_this_process(2))
    }

    #[test]
    fn an_existing_folder_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("mine"), "x").unwrap();
        let error = create(temp.path()).unwrap_err().to_string();
        assert!(error.contains("exists already") && error.contains("--resume"), "{error}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
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
        assert!(!run.root().join("reference/stage-0.partial").exists());
    }

    #[test]
    fn what_a_crash_left_half_written_goes_on_open() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        drop(create(&root).unwrap());
        fs::create_dir_all(root.join("checkpoints/step-000003.partial")).unwrap();
        fs::write(root.join("status.json.partial"), "{").unwrap();
        let run = RunDir::open(&root).unwrap();
        assert_eq!(run.checkpoints().unwrap(), []);
        assert!(!root.join("checkpoints/step-000003.partial").exists());
        assert!(!root.join("status.json.partial").exists());
    }

    #[test]
    fn a_list_is_no_status() {
        let temp = tempfile::tempdir().unwrap();
        let run = create(&temp.path().join("a")).unwrap();
        let path = run.root().join(ENVIRONMENT);
        let environment: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let listed: serde_json::Value =
            environment.as_object().unwrap().values().cloned().collect();
        fs::write(&path, listed.to_string()).unwrap();
        let error = run.environment().unwrap_err().to_string();
        assert!(error.ends_with("environment.json: expected an object, got a list"), "{error}");
    }

    #[test]
    fn a_status_says_why_a_run_failed() {
        let temp = tempfile::tempdir().unwrap();
        let run = create(&temp.path().join("a")).unwrap();
        run.set_status(State::Failed { reason: "disk full".into() }, 3, 9).unwrap();
        let read = status(run.root()).unwrap();
        assert_eq!(read.state, State::Failed { reason: "disk full".into() });
        assert_eq!((read.step, read.total_steps), (3, 9));
    }
}
