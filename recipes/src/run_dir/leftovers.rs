//! What writers leave when they are killed, under the names that only they give.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use evals::run::{step_name, step_of_name};

use super::changes::{CHANGES, kept_recipe};
use super::status::STATUS;
use super::{EVALUATION, FACTS, RECIPE, entries};

/// What the name of a folder ends in while another is put in its place.
const REPLACED: &str = ".replaced";
/// What the name of a file or a folder ends in until it is whole.
const PARTIAL: &str = ".partial";

/// Renames the folder `partial` to `path`, in the place of one that may be there.
pub(super) fn put(partial: &Path, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return fs::rename(partial, path);
    }
    let mut old = path.as_os_str().to_owned();
    old.push(REPLACED);
    let old = PathBuf::from(old);
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    fs::rename(path, &old)?;
    fs::rename(partial, path).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::rename(&old, path);
    })?;
    fs::remove_dir_all(&old)
}

/// A temporary name beside `path` that nobody else has.
pub(super) fn partial(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}{PARTIAL}", std::process::id()));
    path.with_file_name(name)
}

/// The name of which [`partial`] made this one.
pub(super) fn name_of_partial(name: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, own) = name.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    let (pid, count) = own.split_once('-')?;
    (is_number(pid) && is_number(count)).then_some(name)
}

/// Removes what the writers of the run at `root` left half-written, and puts a folder back that was
/// to be replaced. What else is there is of others.
pub(super) fn remove(root: &Path) -> io::Result<()> {
    for path in entries(root)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_whole = |name: &str| {
            [RECIPE, FACTS, EVALUATION, STATUS, CHANGES].contains(&name) || kept_recipe(name)
        };
        let is_own = name.strip_suffix(PARTIAL).is_some_and(is_whole)
            || name_of_partial(name).is_some_and(|name| name == STATUS);
        if is_own && path.is_file() {
            fs::remove_file(&path)?;
        }
    }
    remove_folders(&root.join("checkpoints"), |name| {
        step_of_name(name).is_some_and(|step| step_name(step) == name)
    })?;
    remove_folders(&root.join("reference"), |name| {
        let stage = name.strip_prefix("stage-").and_then(|stage| stage.parse::<usize>().ok());
        stage.is_some_and(|stage| format!("stage-{stage}") == name)
    })
}

/// The same for a folder of folders, whose names are those that `is_own` takes.
fn remove_folders(folder: &Path, is_own: impl Fn(&str) -> bool) -> io::Result<()> {
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(name) = name.strip_suffix(REPLACED).filter(|name| is_own(name)) {
            let replaced = folder.join(name);
            if replaced.exists() {
                fs::remove_dir_all(&path)
            } else {
                fs::rename(&path, replaced)
            }?;
        } else if name_of_partial(name).is_some_and(&is_own) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::run_dir::{RunDir, of_this_process};

    fn create(root: &Path) -> Result<RunDir> {
        RunDir::create(root, "seed = 1\n", &of_this_process(2))
    }

    fn write(run: &RunDir, text: &str) -> Result<()> {
        run.write_folder("reference/stage-0", |folder| Ok(fs::write(folder.join("text"), text)?))
    }

    #[test]
    fn an_interrupted_replacement_goes_back_to_the_old_folder_or_on_to_the_new() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let run = create(&root).unwrap();
        write(&run, "old").unwrap();
        drop(run);
        let (folder, old) =
            (root.join("reference/stage-0"), root.join("reference/stage-0.replaced"));
        // Ended between the two renames.
        fs::rename(&folder, &old).unwrap();
        let run = RunDir::open(&root).unwrap();
        assert_eq!(fs::read_to_string(folder.join("text")).unwrap(), "old");
        drop(run);
        // Ended before the old folder was removed.
        fs::create_dir(&old).unwrap();
        drop(RunDir::open(&root).unwrap());
        assert!(!old.exists() && folder.exists());
    }

    #[test]
    fn what_a_crash_left_half_written_goes_on_open() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        drop(create(&root).unwrap());
        fs::create_dir_all(root.join("reference")).unwrap();
        let own = [
            "checkpoints/step-000003.41-7.partial",
            "checkpoints/step-000002.replaced",
            "reference/stage-1.41-7.partial",
            "status.json.partial",
            "status.json.41-0.partial",
            "recipe-0001.toml.partial",
        ];
        let others = [
            "data.json.partial",
            "data.json.41-7.partial",
            "recipe-1.toml.partial",
            "mine.replaced",
            "checkpoints/step-000003.partial",
            "checkpoints/best.41-7.partial",
            "checkpoints/step-3.41-7.partial",
            "checkpoints/status.json.partial",
            "reference/notes.replaced",
        ];
        for name in own.iter().chain(&others) {
            if name.ends_with("son.partial") || name.contains("toml") || name.starts_with("status")
            {
                fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
                fs::write(root.join(name), "{").unwrap();
            } else {
                fs::create_dir_all(root.join(name)).unwrap();
            }
        }
        fs::create_dir(root.join("checkpoints/step-000002")).unwrap();
        let run = RunDir::open(&root).unwrap();
        for name in own {
            assert!(!run.root().join(name).exists(), "{name}");
        }
        for name in others {
            assert!(run.root().join(name).exists(), "{name}");
        }
    }
}
