//! Files and folders of a record: the one way to open and to list them, to read and to write.
//!
//! Nothing of a record is a link, and nothing of it is read that is no regular file: a link leads
//! out of the record, and a pipe or a device is read for ever. The folder of the run itself may be
//! reached by links, for whoever names it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::problem::DAMAGED;
use super::{Problem, step_of_name};

/// Folders of a record, ours and those of other trainers.
const FOLDERS: [&str; 12] = [
    "samples",
    "evals",
    "tokens",
    "checkpoints",
    "reference",
    "completions",
    "token_exports",
    "monitors",
    "file",
    "traces",
    "stream",
    "annotations",
];
/// Levels of folders in a checkpoint, at most.
const DEPTH: usize = 8;

/// The folder of the record at or above `path` that is a link.
fn linked(path: &Path) -> Option<&Path> {
    let is_of_record = |folder: &&Path| {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| FOLDERS.contains(&name) || step_of_name(name).is_some())
    };
    path.ancestors().take_while(is_of_record).find(|folder| folder.is_symlink())
}

fn is_link(path: &Path, got: &str) -> Problem {
    let act = "put the file or folder itself in its place, or read the run where it was written: nothing in \
               it is a link";
    Problem::of(path, format!("expected {got}, got a link"), act)
}

/// What is wrong with a file of a record that is there.
fn misfit(path: &Path, about: &fs::Metadata) -> Option<Problem> {
    let act = "move it away; what belongs here is a file that the run writes";
    if about.is_symlink() {
        return Some(is_link(path, "a file"));
    }
    if about.is_dir() {
        return Some(Problem::of(path, "expected a file, got a folder", act));
    }
    let other = "expected a file, got a pipe or a device";
    (!about.is_file()).then(|| Problem::of(path, other, act))
}

/// Opens a file of a record; none where there is no such file.
///
/// # Errors
///
/// Fails where it may not be read, is no regular file, or is reached by a link within the record.
pub fn open_file(path: &Path) -> Result<Option<File>, Problem> {
    open_as(path, OpenOptions::new().read(true))
}

/// Opens a file of a record to add to its end; it is made where it is missing.
///
/// # Errors
///
/// Fails where it may not be written, is no regular file, or is reached by a link within the
/// record.
pub fn open_to_append(path: &Path) -> Result<File, Problem> {
    there(path, open_as(path, OpenOptions::new().append(true).create(true))?)
}

/// Cuts a file of a record to its first `length` bytes, on the disk.
///
/// # Errors
///
/// Fails where [`open_to_append`] does, and where there is no such file.
pub fn cut_file(path: &Path, length: u64) -> Result<(), Problem> {
    let file = there(path, open_as(path, OpenOptions::new().write(true))?)?;
    let cut = file.set_len(length).and_then(|()| file.sync_all());
    cut.map_err(|error| Problem::of_system(path, &error))
}

fn there(path: &Path, file: Option<File>) -> Result<File, Problem> {
    file.ok_or_else(|| Problem::of_system(path, &io::ErrorKind::NotFound.into()))
}

/// The bytes of a file of a record; none where there is no such file.
///
/// # Errors
///
/// Fails where [`open_file`] does, and where it cannot be read.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    let Some(mut file) = open_file(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Problem::of_system(path, &error))?;
    Ok(Some(bytes))
}

/// Opens a file of a record with these options; none where there is no such file.
fn open_as(path: &Path, options: &OpenOptions) -> Result<Option<File>, Problem> {
    let failed = |error: io::Error| Problem::of_system(path, &error);
    if let Some(folder) = path.parent().and_then(linked) {
        return Err(is_link(folder, "a folder"));
    }
    // Before it is opened: opening a pipe waits for whoever is at its other end.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        about => {
            if let Some(problem) = misfit(path, &about.map_err(failed)?) {
                return Err(problem);
            }
        }
    }
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    // What was put in its place since.
    match misfit(path, &file.metadata().map_err(failed)?) {
        Some(problem) => Err(problem),
        None => Ok(Some(file)),
    }
}

/// The text of a file of a record of at most `most` bytes; none where there is no such file.
///
/// # Errors
///
/// Fails where [`open_file`] does, where it is longer, and where it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<Option<String>, Problem> {
    let Some(file) = open_file(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::of_system(path, &error))?;
    if bytes.len() as u64 > most {
        let reason = format!("expected at most {} KiB, got more", most >> 10);
        return Err(Problem::of(path, reason, DAMAGED));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Problem::of(path, "expected text, got no UTF-8", DAMAGED))
}

/// Names and paths of what is in a folder, in the order of their names, without links. Nothing
/// where it is no folder, or is reached by a link within the record.
pub fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    if linked(folder).is_some() {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter(|one| one.file_type().is_ok_and(|kind| !kind.is_symlink()));
    let named = entries.filter_map(|one| Some((one.file_name().into_string().ok()?, one.path())));
    let mut found: Vec<_> = named.collect();
    found.sort();
    found
}

/// Whether there is such a folder in a record, and no link leads to it.
pub fn is_folder(folder: &Path) -> bool {
    folder.is_dir() && !folder.is_symlink() && linked(folder).is_none()
}

/// What is wrong with a folder of a record, if it is there.
pub fn folder_problem(folder: &Path) -> Option<Problem> {
    let about = fs::symlink_metadata(folder).ok()?;
    if about.is_symlink() {
        return Some(is_link(folder, "a folder"));
    }
    let act = "move it away; what belongs here is a folder that the run writes";
    (!about.is_dir()).then(|| Problem::of(folder, "expected a folder, got something else", act))
}

/// Fails unless all of a folder are regular files and folders of them, as of a checkpoint that is
/// to be loaded.
///
/// # Errors
///
/// Fails on a link, a pipe, a device or a socket, and on folders that are too deep to be ours.
pub fn check_files(folder: &Path) -> Result<(), Problem> {
    match linked(folder) {
        Some(link) => Err(is_link(link, "a folder")),
        None => check_below(folder, DEPTH),
    }
}

fn check_below(folder: &Path, depth: usize) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::of_system(folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let about = fs::symlink_metadata(&path).map_err(failed)?;
        match (about.is_dir(), depth) {
            (true, 0) => return Err(Problem::of(&path, "expected no folders this deep", DAMAGED)),
            (true, _) => check_below(&path, depth - 1)?,
            (false, _) => misfit(&path, &about).map_or(Ok(()), Err)?,
        }
    }
    Ok(())
}

/// A file as it was when it was read: with another length or time it is read again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The file.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub length: u64,
    modified: Option<SystemTime>,
}

impl Seen {
    /// The file at `path` as it is now; a length of 0 where there is none.
    pub fn of(path: &Path) -> Self {
        let about = fs::symlink_metadata(path).ok();
        let length = about.as_ref().map_or(0, fs::Metadata::len);
        let modified = about.and_then(|about| about.modified().ok());
        Self { path: path.to_owned(), length, modified }
    }

    /// A part of a file that is only appended to: its first bytes.
    pub(super) fn part(path: &Path, length: u64) -> Self {
        Self { path: path.to_owned(), length, modified: None }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_of_the_record_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("run/samples")).unwrap();
        fs::write(at("run/samples/index.jsonl"), "x").unwrap();
        assert!(open_file(&at("run/samples/index.jsonl")).unwrap().is_some());
        assert_eq!(read_text(&at("run/samples/index.jsonl"), 1).unwrap().as_deref(), Some("x"));
        assert!(read_text(&at("run/samples/index.jsonl"), 0).is_err());
        assert!(open_file(&at("run/nothing")).unwrap().is_none());
        symlink(at("run/samples/index.jsonl"), at("run/link")).unwrap();
        let _socket = UnixListener::bind(at("run/socket")).unwrap();
        for name in ["run/link", "run/socket", "run/samples"] {
            assert!(open_file(&at(name)).is_err(), "{name}");
        }
        // A folder of the record that leads elsewhere; the run itself may be named by a link.
        symlink(at("run"), at("named")).unwrap();
        assert!(open_file(&at("named/samples/index.jsonl")).unwrap().is_some());
        fs::create_dir(at("other")).unwrap();
        symlink(at("run/samples"), at("other/samples")).unwrap();
        let problem = open_file(&at("other/samples/index.jsonl")).unwrap_err();
        assert_eq!(problem.reason, "expected a folder, got a link");
        assert_eq!(entries(&at("other/samples")), []);
        assert!(!is_folder(&at("other/samples")) && is_folder(&at("run/samples")));
        assert!(folder_problem(&at("other/samples")).is_some());
        assert_eq!(folder_problem(&at("run/samples")), None);
    }

    /// Opening a pipe to write waits for a reader: a test that hangs would say nothing.
    #[test]
    fn only_regular_files_of_the_record_are_written() {
        use std::io::Write as _;
        use std::process::Command;
        use std::sync::mpsc::channel;
        use std::time::Duration;

        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        open_to_append(&at("log")).unwrap().write_all(b"one\n").unwrap();
        open_to_append(&at("log")).unwrap().write_all(b"two\n").unwrap();
        cut_file(&at("log"), 4).unwrap();
        assert_eq!(read_file(&at("log")).unwrap().as_deref(), Some(&b"one\n"[..]));
        assert_eq!(read_file(&at("none")), Ok(None));
        assert_eq!(cut_file(&at("none"), 0).unwrap_err().file, at("none").display().to_string());
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        symlink("log", at("link")).unwrap();
        symlink("made", at("dangling")).unwrap();
        symlink("pipe", at("to a pipe")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for name in ["pipe", "link", "dangling", "to a pipe", "loop", "folder"] {
            let (said, hears) = channel();
            let path = at(name);
            std::thread::spawn(move || {
                let refusals =
                    [open_to_append(&path).err(), cut_file(&path, 0).err(), read_file(&path).err()];
                said.send(refusals.map(|refusal| refusal.map(|problem| problem.reason)))
            });
            let refusals = hears.recv_timeout(Duration::from_secs(20)).expect(name);
            for reason in refusals {
                assert!(reason.unwrap().starts_with("expected a file, got a "), "{name}");
            }
        }
        assert_eq!(fs::read(at("log")).unwrap(), b"one\n");
        assert!(!at("made").exists());
        // A folder of the record that leads elsewhere.
        fs::create_dir(at("elsewhere")).unwrap();
        symlink("elsewhere", at("samples")).unwrap();
        assert!(open_to_append(&at("samples/index.jsonl")).is_err());
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    }

    #[test]
    fn a_checkpoint_is_of_files_alone() {
        let root = tempfile::tempdir().unwrap();
        let step = root.path().join("checkpoints/step-000001");
        fs::create_dir_all(step.join("policy")).unwrap();
        fs::write(step.join("policy/model"), "x").unwrap();
        assert_eq!(check_files(&step), Ok(()));
        let _socket = UnixListener::bind(step.join("policy/socket")).unwrap();
        let problem = check_files(&step).unwrap_err();
        assert!(problem.file.ends_with("socket"), "{problem}");
        fs::remove_file(step.join("policy/socket")).unwrap();
        symlink("model", step.join("policy/link")).unwrap();
        assert!(check_files(&step).is_err());
        fs::rename(root.path().join("checkpoints"), root.path().join("elsewhere")).unwrap();
        symlink("elsewhere", root.path().join("checkpoints")).unwrap();
        assert!(check_files(&step).is_err());
    }
}
