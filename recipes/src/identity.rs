//! What a run depends on that lies in files: its data, its model and its verifiers, by digest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, bail};
use engine::{adapter, file};
use evals::hex;
use evals::run::{Digest, Files};
use sha2::{Digest as _, Sha256};

/// Files in a checkpoint of a run that are not of its model.
const TRAINERS: [&str; 2] = ["optimizer.safetensors", "trainer.json"];

/// The files that a model is read from: a file by itself, or of a folder every `.json`, `.jinja`
/// and `.safetensors` file but the optimizer's and the trainer's.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn model_files(path: &Path) -> Result<Files> {
    if !path.is_dir() {
        return digests(vec![(Files::MODEL.to_owned(), path.to_owned())]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut named = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", path.display()))?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let counts = matches!(kind, Some("json" | "jinja" | "safetensors"));
        if counts && !path.is_dir() && is_there(&path) && !TRAINERS.contains(&name.as_str()) {
            named.push((format!("{}/{name}", Files::MODEL), path));
        }
    }
    digests(named)
}

/// The files that an adapter is read from, with names that begin with `what`: a file by itself, or
/// of a folder the two of PEFT. What else lies there, such as a tokenizer for vLLM, is no part of
/// the adapter.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn adapter_files(what: &str, path: &Path) -> Result<Files> {
    if path.is_dir() {
        return files_in(path, what, &[adapter::CONFIG, adapter::TENSORS]);
    }
    digests(vec![(what.to_owned(), path.to_owned())])
}

/// Those files of a folder that have one of these names, with names that begin with `what`.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn files_in(folder: &Path, what: &str, names: &[&str]) -> Result<Files> {
    let named = names.iter().map(|name| (format!("{what}/{name}"), folder.join(name)));
    digests(named.filter(|(_, path)| is_there(path)).collect())
}

/// Whether something of a name is there, also what is no file: a pipe is not missing, and a link
/// that leads to itself is not either. A link that leads nowhere is as good as no file.
fn is_there(path: &Path) -> bool {
    !fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The digests of named files, on as many threads as there are processors.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn digests(named: Vec<(String, PathBuf)>) -> Result<Files> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(named.len());
    let (left, done) = (Mutex::new(named.into_iter()), Mutex::new(BTreeMap::new()));
    let work = || -> Result<()> {
        loop {
            let next = left.lock().expect("a worker does not panic").next();
            let Some((name, path)) = next else { return Ok(()) };
            let digest = digest(&path)?;
            done.lock().expect("a worker does not panic").insert(name, digest);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|one| one.join().expect("a worker does not panic"))
    })?;
    Ok(Files(done.into_inner().expect("a worker does not panic")))
}

/// The digest of a file.
///
/// # Errors
///
/// Fails when it cannot be read.
pub fn digest(path: &Path) -> Result<Digest> {
    let mut file = Digesting::open(path, "a file")?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))? > 0 {}
    Ok(file.digest())
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

/// A file whose digest is taken while it is read.
#[derive(Debug)]
pub struct Digesting {
    path: PathBuf,
    file: File,
    bytes: u64,
    sha256: Sha256,
}

impl Digesting {
    /// Opens a file that is `expected`.
    ///
    /// # Errors
    ///
    /// Fails when there is none, when it may not be read, and unless it is a regular file.
    pub fn open(path: &Path, expected: &str) -> Result<Self> {
        refuse_folder(path, expected)?;
        let file = file::open(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, bytes: 0, sha256: Sha256::new() })
    }

    /// The digest of what was read.
    pub fn digest(self) -> Digest {
        let sha256 = hex::encode(&self.sha256.finalize());
        Digest { path: self.path.display().to_string(), bytes: self.bytes, sha256 }
    }
}

impl Read for Digesting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Opens a file that is `expected` and read once, from its beginning to its end: so it may be a
/// pipe, as a shell makes one of a command.
///
/// # Errors
///
/// Fails when there is none, when it may not be read, and on a folder, which the system opens and
/// then does not read.
pub fn open(path: &Path, expected: &str) -> Result<File> {
    refuse_folder(path, expected)?;
    File::open(path).with_context(|| format!("reading {}", path.display()))
}

/// Fails on a folder in the place of a file that is `expected`, with what it holds.
fn refuse_folder(path: &Path, expected: &str) -> Result<()> {
    const LISTED: usize = 5;
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        let more = if names.len() > LISTED { ", ..." } else { "" };
        names.truncate(LISTED);
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        bail!("{} is a folder, expected {expected}\nit holds {names}{more}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(folder: &Path, contents: &str) -> Digest {
        let path = folder.join("file");
        fs::write(&path, contents).unwrap();
        super::digest(&path).unwrap()
    }

    fn files(named: &[(&str, &str)]) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let named =
            named.iter().map(|(name, text)| (name.to_string(), digest(folder.path(), text)));
        Files(named.collect())
    }

    #[test]
    fn a_digest_is_of_all_bytes() {
        let folder = tempfile::tempdir().unwrap();
        // From the standard, FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let found = digest(folder.path(), "abc");
        assert_eq!((found.sha256.as_str(), found.bytes), (abc, 3));
        let long = "x".repeat(3 << 20);
        let last = long[1..].to_owned() + "y";
        let (one, other) = (digest(folder.path(), &long), digest(folder.path(), &last));
        assert_eq!(one.bytes, other.bytes);
        assert_ne!(one.sha256, other.sha256);
    }

    #[test]
    fn a_model_is_what_is_read_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model-1.safetensors",
            "model-2.safetensors",
            "README.md",
            "pytorch_model.bin",
            "optimizer.safetensors",
            "trainer.json",
        ] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("more.json")).unwrap();
        let found = model_files(folder.path()).unwrap();
        let names: Vec<_> = found.0.keys().map(String::as_str).collect();
        let expected = ["chat_template.jinja", "config.json", "model-1.safetensors"]
            .into_iter()
            .chain(["model-2.safetensors", "tokenizer.json"])
            .map(|name| format!("model/{name}"));
        assert_eq!(names, expected.collect::<Vec<_>>());
        let one = model_files(&folder.path().join("config.json")).unwrap();
        assert_eq!(one.0.keys().collect::<Vec<_>>(), ["model"]);
        assert_eq!(one.0["model"].sha256, found.0["model/config.json"].sha256);
    }

    #[test]
    fn changes_are_of_contents_not_of_places() {
        let then = files(&[("data.train", "a"), ("model/config.json", "b")]);
        let mut moved = then.clone();
        moved.0.get_mut("data.train").unwrap().path = "elsewhere".into();
        assert_eq!(moved.changes_since(&then), [""; 0]);
        let now = files(&[("data.train", "c"), ("model/added_tokens.json", "d")]);
        let changes = now.changes_since(&then);
        let begins: Vec<_> = changes.iter().map(|c| c.split(": ").next().unwrap()).collect();
        assert_eq!(begins, ["data.train", "model/added_tokens.json", "model/config.json"]);
        assert!(changes[0].contains("has other contents, sha256 "), "{}", changes[0]);
        assert!(changes[1].ends_with("was not there then"), "{}", changes[1]);
        assert!(changes[2].ends_with("is no longer there"), "{}", changes[2]);
    }

    #[test]
    fn what_a_verifier_wrote_since_is_no_change() {
        let (script, log) = ("eval.rewards.0.command.1", "eval.rewards.0.command.2");
        let then = files(&[(script, "a")]);
        assert_eq!(files(&[(script, "a"), (log, "x")]).changes_since(&then), [""; 0]);
        assert_eq!(files(&[(script, "b"), (log, "x")]).changes_since(&then).len(), 1);
        assert_eq!(files(&[(log, "x")]).changes_since(&then).len(), 1);
    }

    #[test]
    fn a_folder_is_named_as_one_with_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let said = || open(folder.path(), "rows").unwrap_err().to_string();
        assert!(said().ends_with("is a folder, expected rows\nit holds nothing"), "{}", said());
        for name in ["b.jsonl", "a.jsonl", "c", "d", "e", "f"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(said().ends_with("it holds a.jsonl, b.jsonl, c, d, e, ..."), "{}", said());
        let error = open(&folder.path().join("none"), "rows").unwrap_err();
        assert_eq!(format!("{error:#}").matches("os error").count(), 1, "{error:#}");
    }
}
