//! The file of a master: a header, then regions that begin at pages.
//!
//! The first bytes are: what kind of file it is (8), the version of the layout (4), the length of
//! the list of tensors (4), whether the file is in use (1), 15 zeros, and the SHA-256 of the
//! tensors (32), all little endian. Then comes the list of tensors as JSON: name, shape, format,
//! first byte and number of bytes of each. Numbers are little endian.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::disk::{Access, Disk};
use super::master::put;
use super::table::{PAGE, Table};
use crate::weights::{Spec, Weights};
use crate::{Error, Result};
use kernels::blocks::Format;

const KIND: &[u8; 8] = b"stearinW";
const VERSION: u32 = 1;
/// Bytes before the list of tensors.
const FIXED: usize = 64;
/// Where it says whether the file is in use, and the digest after it.
const STATE: usize = 16;
const DIGEST: usize = 32;

/// A tensor in the list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    shape: Vec<usize>,
    format: String,
    start: usize,
    bytes: usize,
}

/// A file whose header was read.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    direct: bool,
    /// Where it may be written.
    mark: Option<Arc<Mark>>,
    digest: [u8; 32],
    note: Option<String>,
}

/// What says that the blocks of a file may be of different steps. It is set before the first write,
/// so a file that nothing was written to is not in use.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    header: Mutex<Header>,
}

#[derive(Debug)]
struct Header {
    file: fs::File,
    is_set: bool,
}

/// Returns the format and the bytes of a weight.
pub(super) type GetBytes<'a> = &'a mut dyn FnMut(&Spec) -> Result<(Format, Vec<u8>)>;

impl File {
    /// Writes the weights that `get` returns, one after another. The file gets its name when it is
    /// complete.
    pub(super) fn create(path: &Path, specs: &Weights<Spec>, get: GetBytes<'_>) -> Result<()> {
        let partial = path.with_added_extension("partial");
        let written = Self::fill(&partial, specs, get).and_then(|()| {
            let failed = |source| Error::Io { path: path.to_owned(), source };
            fs::rename(&partial, path).map_err(failed)
        });
        if written.is_err() {
            // The first error is what counts.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    fn fill(path: &Path, specs: &Weights<Spec>, get: GetBytes<'_>) -> Result<()> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let mut file = fs::File::create(path).map_err(failed)?;
        // An upper bound of the list, whose formats are not known yet.
        let mut listed = 2;
        specs.visit(|spec| listed += spec.name.len() + 200);
        let start = (FIXED + listed).next_multiple_of(PAGE);
        let mut digest = Sha256::new();
        let table = Table::new(start, specs, &mut |spec, at| {
            let (format, bytes) = get(spec)?;
            digest.update(&bytes);
            file.seek(SeekFrom::Start(at as u64)).map_err(failed)?;
            put(&mut file, path, &bytes)?;
            Ok(format)
        })?;
        file.set_len(table.end() as u64).map_err(failed)?;
        let json = serde_json::to_vec(&list(&table)).expect("names and numbers");
        let mut header = Vec::with_capacity(FIXED + json.len());
        header.extend(KIND);
        header.extend(VERSION.to_le_bytes());
        header.extend((json.len() as u32).to_le_bytes());
        header.resize(DIGEST, 0);
        header.extend(digest.finalize());
        header.extend(json);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        put(&mut file, path, &header)?;
        file.sync_all().map_err(failed)
    }

    /// Reads the header of a file of a model of these weights.
    pub(super) fn open(
        path: &Path,
        specs: &Weights<Spec>,
        access: Access,
        trained: bool,
    ) -> Result<(Self, Table)> {
        let problem = |problem: String| Error::File { path: path.to_owned(), problem };
        let length =
            fs::metadata(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let (length, mut disk) = (length.len() as usize, Disk::open(path, false, None)?);
        let mut fixed = Vec::new();
        let again = "write it again from the checkpoint";
        if length < PAGE {
            return Err(problem(format!("{length} bytes are no streamed weights: {again}")));
        }
        disk.read(0, FIXED, &mut |_, bytes| fixed.extend_from_slice(bytes))?;
        let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four"));
        if fixed[..8] != KIND[..] || number(8) != VERSION {
            return Err(problem(format!("no streamed weights of version {VERSION}: {again}")));
        }
        if fixed[STATE] != 0 {
            return Err(problem(format!(
                "it was in use when its process ended, so its blocks may be of different steps: \
                 {again}, and replay the log"
            )));
        }
        let mut json = Vec::new();
        let listed = (number(12) as usize).min(length - FIXED);
        disk.read(FIXED, listed, &mut |_, bytes| json.extend_from_slice(bytes))?;
        let listed: Vec<Listed> = serde_json::from_slice(&json).map_err(|error| {
            problem(format!("its list of tensors is damaged ({error}): {again}"))
        })?;
        let table = table(&listed, specs).map_err(|error| problem(format!("{error}: {again}")))?;
        if length < table.end() {
            let problem = format!("{length} bytes, expected {}", table.end());
            return Err(Error::CutShort { path: path.to_owned(), problem });
        }
        let direct = access == Access::Direct && Disk::is_direct(path);
        let note = (access == Access::Direct && !direct).then(|| {
            format!(
                "{}: the file system has no O_DIRECT, so blocks are read through the page cache",
                path.display()
            )
        });
        let digest = fixed[DIGEST..FIXED].try_into().expect("32 bytes");
        let mark = trained.then(|| Mark::new(path)).transpose()?.map(Arc::new);
        Ok((Self { path: path.to_owned(), direct, mark, digest, note }, table))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Fails when the file was opened to be read only.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.mark {
            Some(_) => Ok(()),
            None => Err(Error::ReadOnly { path: self.path.clone() }),
        }
    }

    /// One thread's way to the file, to write, too, where `writes`.
    pub(super) fn disk(&self, writes: bool) -> Result<Disk> {
        if writes {
            self.check_writable()?;
        }
        Disk::open(&self.path, self.direct, self.mark.clone().filter(|_| writes))
    }

    /// Marks the file as complete, with the digest of its tensors, which is asked for where
    /// something was written.
    pub(super) fn seal(&self, digest: impl FnOnce() -> Result<[u8; 32]>) -> Result<()> {
        self.mark.as_ref().map_or(Ok(()), |mark| mark.clear(digest))
    }

    /// Compares the digest of the tensors with that of the header.
    pub(super) fn compare(&self, digest: &[u8; 32]) -> Result<()> {
        if *digest == self.digest {
            return Ok(());
        }
        Err(Error::File {
            path: self.path.clone(),
            problem: "its weights are not those that were written: the file is damaged, write it \
                      again from the checkpoint"
                .into(),
        })
    }
}

impl Mark {
    fn new(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let header = Mutex::new(Header { file, is_set: false });
        Ok(Self { path: path.to_owned(), header })
    }

    /// Marks the file as in use, on the medium.
    pub(super) fn set(&self) -> Result<()> {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        if !header.is_set {
            self.put(&mut header.file, STATE, &[1])?;
            header.is_set = true;
        }
        Ok(())
    }

    fn clear(&self, digest: impl FnOnce() -> Result<[u8; 32]>) -> Result<()> {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        if header.is_set {
            self.put(&mut header.file, DIGEST, &digest()?)?;
            self.put(&mut header.file, STATE, &[0])?;
            header.is_set = false;
        }
        Ok(())
    }

    /// Writes bytes of the header.
    fn put(&self, file: &mut fs::File, at: usize, bytes: &[u8]) -> Result<()> {
        let failed = |source| Error::Io { path: self.path.clone(), source };
        file.seek(SeekFrom::Start(at as u64)).map_err(failed)?;
        put(file, &self.path, bytes)?;
        file.sync_all().map_err(failed)
    }
}

fn list(table: &Table) -> Vec<Listed> {
    let listed = table.tensors().map(|(start, place)| Listed {
        name: place.spec.name.clone(),
        shape: place.spec.shape.clone(),
        format: format!("{:?}", place.format),
        start,
        bytes: place.bytes.len(),
    });
    listed.collect()
}

/// The layout that a list describes, if it is that of these weights.
fn table(listed: &[Listed], specs: &Weights<Spec>) -> Result<Table, String> {
    let start = listed.first().map_or(0, |first| first.start);
    if start == 0 || !start.is_multiple_of(PAGE) {
        return Err(format!("its first tensor begins at byte {start}"));
    }
    let mut next = listed.iter();
    let mut place = |spec: &Spec, at: usize| {
        let found = next
            .next()
            .filter(|own| own.name == spec.name && own.shape == spec.shape && own.start == at);
        let format = found.and_then(|own| {
            Format::ALL.into_iter().find(|format| format!("{format:?}") == own.format)
        });
        format.ok_or_else(|| Error::Weight {
            name: spec.name.clone(),
            problem: format!("expected {:?} at byte {at}, the file has another tensor", spec.shape),
        })
    };
    let table = Table::new(start, specs, &mut place).map_err(|error| error.to_string())?;
    if list(&table) == listed {
        return Ok(table);
    }
    Err("it lists tensors that the model does not have".into())
}
