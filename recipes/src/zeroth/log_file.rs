//! The logs of a run, `zeroth/stage-0-000000.log`: one for each stage without gradients, and
//! another from where a resume changed its settings.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::file;
use evals::run::{sync_folder, write_whole};
use optim::zeroth::log::{Header, Log, Record, Writer};

/// The folder of the logs in a run directory.
const FOLDER: &str = "zeroth";

/// A log by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Logged {
    /// Its stage.
    pub stage: usize,
    /// Updates of the stage before its first record.
    pub first: u32,
    /// Where it is.
    pub path: PathBuf,
}

/// The logs of a run, in the order of its updates.
///
/// # Errors
///
/// Fails when the folder cannot be read.
pub fn logs(root: &Path) -> Result<Vec<Logged>> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        found.extend(Logged::of(path));
    }
    found.sort();
    Ok(found)
}

impl Logged {
    fn at(root: &Path, stage: usize, first: u32) -> Self {
        let path = root.join(FOLDER).join(format!("stage-{stage}-{first:06}.log"));
        Self { stage, first, path }
    }

    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (stage, first) = name.strip_prefix("stage-")?.strip_suffix(".log")?.split_once('-')?;
        let (stage, first) = (stage.parse().ok()?, first.parse().ok()?);
        Some(Self { stage, first, path })
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read, is damaged before its end, or has another first record than
    /// its name says.
    pub fn read(&self) -> Result<Log> {
        let path = self.path.display();
        let read = || -> Result<Log> {
            let log = Log::read(file::open(&self.path)?)?;
            let first = log.header.first_step;
            if first != self.first {
                bail!("expected update {} first, as its name says, got {first}", self.first);
            }
            Ok(log)
        };
        read().with_context(|| format!("reading {path}"))
    }
}

/// Removes the logs of a stage and of those after it, from an update on.
///
/// # Errors
///
/// Fails when one cannot be removed.
pub fn remove_from(root: &Path, stage: usize, update: u32) -> Result<()> {
    for log in logs(root)?.iter().filter(|log| (log.stage, log.first) >= (stage, update)) {
        fs::remove_file(&log.path).with_context(|| format!("removing {}", log.path.display()))?;
    }
    Ok(())
}

/// A log that is written. A record is on the disk before [`Self::append`] returns.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    writer: Writer<File>,
}

impl LogFile {
    /// A new log of a stage, in the place of those that begin there or later.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be written.
    pub fn begin(root: &Path, stage: usize, header: Header) -> Result<Self> {
        remove_from(root, stage, header.first_step)?;
        let Logged { path, .. } = Logged::at(root, stage, header.first_step);
        let write = || -> Result<Writer<File>> {
            let whole = Writer::new(Vec::new(), header)?.into_inner();
            write_whole(&path, &whole)?;
            let log = Log::read(&whole[..])?;
            Ok(Writer::resume(open(&path, log.end)?, &log))
        };
        let writer = write().with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, writer })
    }

    /// Goes on with the log of a stage after so many of its updates: later records and a torn end
    /// are cut off, and logs that begin later are removed. Returns what it said, and whether an end
    /// was torn.
    ///
    /// # Errors
    ///
    /// Fails when there is no log, or it lacks some of these updates, and when it cannot be read or
    /// written.
    pub fn resume(root: &Path, stage: usize, updates: u32) -> Result<(Self, Log)> {
        let own = |log: &Logged| log.stage == stage && log.first <= updates;
        let Some(last) = logs(root)?.into_iter().rfind(own) else {
            bail!(
                "there is no log of the updates of stage {stage} in {}: expected {}\n{RESTORE}",
                root.join(FOLDER).display(),
                Logged::at(root, stage, 0).path.display()
            );
        };
        let mut log = last.read().map_err(|error| anyhow::anyhow!("{error:#}\n{RESTORE}"))?;
        if log.next_step() < updates {
            bail!(
                "{}: expected {updates} updates, which the checkpoint has, got {}\n{RESTORE}",
                last.path.display(),
                log.next_step()
            );
        }
        log.cut(updates);
        let path = last.path;
        let writer = || -> Result<Writer<File>> {
            remove_from(root, stage, updates.saturating_add(1).max(last.first.saturating_add(1)))?;
            Ok(Writer::resume(open(&path, log.end)?, &log))
        };
        let writer = writer().with_context(|| format!("writing {}", path.display()))?;
        Ok((Self { path, writer }, log))
    }

    /// Writes a record, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// Fails where [`Writer::append`] does, and when the disk does.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut append = || -> Result<()> {
            self.writer.append(record)?;
            Ok(self.writer.get_ref().sync_data()?)
        };
        let path = self.path.display();
        append().with_context(|| format!("writing {path}"))
    }

    /// Bytes of the log so far.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes()
    }
}

const RESTORE: &str = "restore the file from a copy, or start a new run from the checkpoint in another \
                       --run-dir: --set model.path=";

/// Opens a log to write on at its end, which is at byte `end`.
fn open(path: &Path, end: u64) -> Result<File> {
    // Refuses what is no regular file.
    drop(file::open(path)?);
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(file)
}
