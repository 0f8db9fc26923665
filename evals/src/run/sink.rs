//! Where the record's bytes go.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::open_to_append;

/// What the name of a file ends in until it is whole.
pub(super) const PARTIAL: &str = ".partial";

/// Takes the record's bytes. A trait, so that a test can let a write fail.
pub trait Sink: Debug + Send {
    /// Adds `bytes` at the end of `file`, all or nothing.
    ///
    /// # Errors
    ///
    /// Fails when the system does; the file is then as before.
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes `bytes` the whole of `file`; a reader sees the old or the new, never a part.
    ///
    /// # Errors
    ///
    /// Fails when the system does; the file is then as before.
    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes `file`, if there is one.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    fn remove(&mut self, file: &str) -> io::Result<()>;

    /// Returns once everything appended is on the disk.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder: the sink of every real run.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    open: BTreeMap<String, File>,
}

impl Folder {
    /// Files under `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: BTreeMap::new() }
    }
}

impl Sink for Folder {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(file) {
            let path = self.root.join(file);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let opened = open_to_append(&path).map_err(|problem| problem.into_io(&path))?;
            self.open.insert(file.to_owned(), opened);
        }
        let log = self.open.get_mut(file).expect("opened above");
        let before = log.seek(SeekFrom::End(0))?;
        log.write_all(bytes).inspect_err(|_| {
            // The first error is the one to report; a line that stays torn is cut on resume.
            let _ = log.set_len(before);
        })
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        // What is appended from now on belongs to the new file.
        self.open.remove(file);
        write_whole(&self.root.join(file), bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.open.remove(file);
        match fs::remove_file(self.root.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.open.values().try_for_each(File::sync_all)?;
        sync_folder(&self.root)
    }
}

/// Writes `bytes` under a temporary name, syncs, and renames: the old file or the new, never a
/// part.
///
/// # Errors
///
/// Fails when the system does; `path` is then as before and no temporary file stays.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, &mut |file| file.write_all(bytes))
}

/// The same with what `write` writes.
pub(super) fn replace_with(
    path: &Path,
    write: &mut dyn FnMut(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // That of a bare name is empty, which cannot be opened.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    let partial = folder.join(name);
    let written = (|| {
        // Not what a crash left, and not what a link of that name leads to.
        let _ = fs::remove_file(&partial);
        let mut file = File::create_new(&partial)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync_folder(folder)
}

/// Makes a rename in `folder` lasting, where the system lets folders be synced.
///
/// # Errors
///
/// Fails when the system does.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_partial() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("evals/step-000001/set.json");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_of_the_temporary_name_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("mine"), "kept").unwrap();
        let partial = root.path().join("status.json.partial");
        std::os::unix::fs::symlink("mine", &partial).unwrap();
        write_whole(&root.path().join("status.json"), b"one").unwrap();
        assert_eq!(fs::read(root.path().join("mine")).unwrap(), b"kept");
        assert!(partial.symlink_metadata().is_err());
    }

    #[test]
    fn what_is_appended_after_a_replace_goes_to_the_new_file() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(root.path());
        folder.append("a/b.jsonl", b"one\n").unwrap();
        folder.replace("a/b.jsonl", b"two\n").unwrap();
        folder.append("a/b.jsonl", b"three\n").unwrap();
        assert_eq!(fs::read(root.path().join("a/b.jsonl")).unwrap(), b"two\nthree\n");
    }

    #[test]
    fn a_failed_replace_leaves_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("status.json");
        write_whole(&path, b"one").unwrap();
        // A folder under the temporary name: creating the file must fail.
        fs::create_dir(root.path().join("status.json.partial")).unwrap();
        assert!(write_whole(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
