//! Which files a path of a recipe names: one, those of a folder, those of a pattern, those of a
//! data set on a hub.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::hub::{DATASETS, Hub};

use super::rows::is_known;
use crate::search_path::SearchPath;

/// Names that a message lists.
const LISTED: usize = 8;

/// The files of a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// At least one.
    pub(super) files: Vec<PathBuf>,
    /// What to know about where they are from.
    pub(super) note: Option<String>,
}

/// Whether the path is an address on a hub.
pub(super) fn is_remote(path: &str) -> bool {
    path.starts_with(DATASETS)
}

/// Finds the files of a path; `one` where only a single file will do.
///
/// # Errors
///
/// Fails when there is none, when a folder or a pattern holds files of several splits, and where a
/// hub does.
pub(super) fn find(path: &str, search_path: &SearchPath, one: bool) -> Result<Found> {
    if is_remote(path) {
        return fetch(&Hub::from_env()?, path);
    }
    if path.starts_with("hf://") {
        bail!("`{path}` is no data set: expected {DATASETS}owner/name[@revision][/path]");
    }
    let Some(found) = local(path, search_path, one)? else {
        let hub = if search_path.may_be_on_hub(path) {
            format!("\nfor the data set of that name on Hugging Face: path = \"{DATASETS}{path}\"")
        } else {
            String::new()
        };
        bail!(
            "there is no file `{path}` in {}; set STEARIN_DATA to the folder that has it{hub}",
            search_path.describe()
        );
    };
    Ok(Found { files: found, note: None })
}

/// Whether a path names a file that is here.
pub(super) fn is_here(path: &str, search_path: &SearchPath) -> bool {
    if is_remote(path) {
        let hub = Hub::from_env();
        return hub.is_ok_and(|hub| hub.dataset_in_cache(path).is_ok_and(|found| found.is_some()));
    }
    // What else is wrong with a path is said when it is read.
    !matches!(local(path, search_path, false), Ok(None))
}

/// The files of a path on this machine; none where it is an address on a hub or wrong.
pub(super) fn here(path: &str, search_path: &SearchPath) -> Vec<PathBuf> {
    let found = if is_remote(path) { Ok(None) } else { local(path, search_path, false) };
    found.ok().flatten().unwrap_or_default()
}

fn local(path: &str, search_path: &SearchPath, one: bool) -> Result<Option<Vec<PathBuf>>> {
    let exact = search_path.find(path);
    if let Some(found) = exact.as_ref().filter(|found| one || !found.is_dir()) {
        return Ok(Some(vec![found.clone()]));
    }
    if let Some(folder) = exact {
        let names: Vec<_> = listed(&folder)?.into_iter().filter(|name| is_known(name)).collect();
        if names.is_empty() {
            bail!(
                "{} holds no file with rows: expected .jsonl, .json, .csv, .tsv or .parquet",
                folder.display()
            );
        }
        one_split(path, &names)?;
        return Ok(Some(names.iter().map(|name| folder.join(name)).collect()));
    }
    let (folder, pattern) = match path.rsplit_once('/') {
        Some(("", pattern)) => ("/", pattern),
        Some(parts) => parts,
        None => (".", path),
    };
    if !pattern.contains('*') {
        return Ok(None);
    }
    let mut misses = Vec::new();
    for folder in search_path.find_all(folder) {
        let all = listed(&folder)?;
        let names: Vec<_> = all.iter().filter(|name| matches(pattern, name)).cloned().collect();
        if names.is_empty() {
            misses.push(format!("{} holds {}", folder.display(), short(&all)));
            continue;
        }
        one_split(path, &names)?;
        return Ok(Some(names.iter().map(|name| folder.join(name)).collect()));
    }
    // The folder of a recipe may be the working directory, too.
    misses.dedup();
    if misses.is_empty() {
        return Ok(None);
    }
    bail!("no file matches `{path}`: {}", misses.join("; "))
}

/// Names of the files in a folder, sorted; hidden ones are not among them.
fn listed(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() && !name.starts_with(['.', '_']) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn fetch(hub: &Hub, address: &str) -> Result<Found> {
    let dataset = hub.dataset(address)?;
    let names = chosen(&dataset.files, &dataset.path).with_context(|| address.to_owned())?;
    if dataset.is_offline {
        whole(&names).with_context(|| format!("{address}: the hub cannot be reached"))?;
    }
    let files = hub.fetch_files(&dataset, &names)?;
    let from = if dataset.is_offline { " in the cache (the hub cannot be reached)" } else { "" };
    let (count, commit) = (files.len(), &dataset.commit);
    let files_are = if count == 1 { "file" } else { "files" };
    let note = format!("{address}: {count} {files_are} of revision {commit}{from}");
    Ok(Found { files, note: Some(note) })
}

/// The files of a data set that `path` names: itself, those of a folder, those of a pattern.
fn chosen<'a>(files: &'a [String], path: &str) -> Result<Vec<&'a str>> {
    if let Some(name) = files.iter().find(|name| *name == path) {
        return Ok(vec![name]);
    }
    let (folder, pattern) = path.rsplit_once('/').unwrap_or(("", path));
    let inside = |name: &str, folder: &str| match name.rsplit_once('/') {
        Some((own, _)) => own == folder,
        None => folder.is_empty(),
    };
    let of = |name: &'a str| name.rsplit('/').next().unwrap_or(name);
    let known: Vec<_> = files.iter().map(String::as_str).filter(|name| is_known(name)).collect();
    let names: Vec<_> = if pattern.contains('*') {
        known.iter().copied().filter(|n| inside(n, folder) && matches(pattern, of(n))).collect()
    } else if path.is_empty() {
        known.clone()
    } else {
        known.iter().copied().filter(|name| inside(name, path)).collect()
    };
    if names.is_empty() {
        let all: Vec<_> = files.to_vec();
        bail!("no file with rows at `{path}`: it has {}", short(&all));
    }
    let folders: BTreeSet<_> =
        names.iter().map(|name| name.rsplit_once('/').map_or("", |(folder, _)| folder)).collect();
    if folders.len() > 1 {
        let folders: Vec<_> = folders.into_iter().map(str::to_owned).collect();
        bail!(
            "files with rows in several folders: name one behind the address, of {}",
            short(&folders)
        );
    }
    let owned: Vec<_> = names.iter().map(|name| of(name).to_owned()).collect();
    one_split(path, &owned)?;
    Ok(names)
}

/// Refuses numbered files of which some are not there.
fn whole(names: &[&str]) -> Result<()> {
    for name in names {
        let Some((count, of)) = shard(name) else { continue };
        let there = names.iter().filter(|other| shard(other).is_some_and(|(_, o)| o == of)).count();
        if there != of {
            bail!("the cache has {there} of {of} files such as {name} (number {count})");
        }
    }
    Ok(())
}

/// The numbers in `train-00000-of-00002.parquet`.
fn shard(name: &str) -> Option<(usize, usize)> {
    let stem = name.rsplit('/').next()?.split('.').next()?;
    let (rest, of) = stem.rsplit_once("-of-")?;
    Some((rest.rsplit('-').next()?.parse().ok()?, of.parse().ok()?))
}

/// Refuses names of several splits: nobody wants to train on what tests.
fn one_split(path: &str, names: &[String]) -> Result<()> {
    let mut splits: Vec<(&str, &String)> = Vec::new();
    for name in names {
        if let Some(split) = split(name)
            && splits.iter().all(|(other, _)| *other != split)
        {
            splits.push((split, name));
        }
    }
    if let [(_, one), (_, other), ..] = splits.as_slice() {
        bail!(
            "`{path}` names files of several splits, {one} and {other}: name one by a pattern such \
             as `{}train*`",
            if path.is_empty() {
                String::new()
            } else {
                format!("{}/", path.trim_end_matches('/'))
            }
        );
    }
    Ok(())
}

/// The split that a file's name begins with.
fn split(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let word = name.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    match word {
        "train" | "training" => Some("train"),
        "test" | "testing" => Some("test"),
        "validation" | "valid" | "val" | "dev" | "eval" => Some("validation"),
        _ => None,
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn short(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "nothing".into(),
        n if n > LISTED => format!("{shown}, ..."),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (pattern, name, holds) in [
            ("train*", "train-1.parquet", true),
            ("*.parquet", "train-1.parquet", true),
            ("t*-*.p*t", "train-1.parquet", true),
            ("train", "train-1.parquet", false),
            ("*1", "train-1.parquet", false),
            ("*", "x", true),
            ("a*a", "a", false),
            ("a*b*c", "abxc", true),
        ] {
            assert_eq!(matches(pattern, name), holds, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_names_files_beside_the_recipe_and_below_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        for name in ["a.csv", "b.csv", "sub/c.csv"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        let search_path = SearchPath::of_recipe(root.path());
        let found = |pattern: &str| -> Vec<String> {
            let files = local(pattern, &search_path, false).unwrap().unwrap();
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            files.iter().map(name).collect()
        };
        assert_eq!(found("*.csv"), ["a.csv", "b.csv"]);
        assert_eq!(found("./b*"), ["b.csv"]);
        assert_eq!(found("sub/*.csv"), ["c.csv"]);
        assert_eq!(found(&format!("{}/a*", root.path().display())), ["a.csv"]);
        let error = local("sub/*.json", &search_path, false).unwrap_err().to_string();
        assert!(error.contains("no file matches `sub/*.json`") && error.contains("holds c.csv"));
        assert!(local("none/*.csv", &search_path, false).unwrap().is_none());
    }

    #[test]
    fn splits_are_never_mixed() {
        assert!(one_split("d", &names(&["train-0.parquet", "train-1.parquet", "x.json"])).is_ok());
        let error = one_split("d", &names(&["dev.json", "train.json"])).unwrap_err().to_string();
        assert!(error.contains("several splits, dev.json and train.json"), "{error}");
        assert!(error.contains("`d/train*`"), "{error}");
    }

    #[test]
    fn an_address_names_a_file_a_folder_or_a_pattern() {
        let files =
            names(&["README.md", "main/test-0.parquet", "main/train-0.parquet", "s/train-0.json"]);
        assert_eq!(chosen(&files, "main/test-0.parquet").unwrap(), ["main/test-0.parquet"]);
        assert_eq!(chosen(&files, "s").unwrap(), ["s/train-0.json"]);
        assert_eq!(chosen(&files, "main/train*").unwrap(), ["main/train-0.parquet"]);
        let refused = |path: &str| format!("{:#}", chosen(&files, path).unwrap_err());
        assert!(refused("").contains("several folders: name one behind the address, of main, s"));
        assert!(refused("main").contains("several splits"), "{}", refused("main"));
        assert!(refused("none").contains("it has README.md, main/test-0.parquet"));
    }

    #[test]
    fn a_part_of_numbered_files_is_not_taken_for_all() {
        let all = ["d/train-00000-of-00002.parquet", "d/train-00001-of-00002.parquet"];
        assert!(whole(&all).is_ok());
        assert!(whole(&all[1..]).unwrap_err().to_string().contains("has 1 of 2 files"));
        assert!(whole(&["a.json"]).is_ok());
    }
}
