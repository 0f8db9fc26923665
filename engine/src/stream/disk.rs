//! Reading and writing a file in whole pages, through the page cache or past it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Mark;
use super::table::PAGE;
use crate::{Error, Result};

/// How a file is read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache, which keeps what there is room for.
    #[default]
    Buffered,
    /// Past the page cache (`O_DIRECT`), where the file system can; else through it, with a
    /// [note](super::Master::note).
    Direct,
}

/// Bytes that are read or written at a time.
pub(super) const PIECE: usize = 1 << 20;

/// An open file, from one thread.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    path: PathBuf,
    /// Set before the first write; none where nothing is written.
    mark: Option<Arc<Mark>>,
    /// Holds a piece that begins at a page of memory.
    buffer: Vec<u8>,
    aligned: usize,
}

impl Disk {
    /// Bytes of its buffer.
    pub(super) const BUFFER: usize = PIECE + PAGE;

    pub(super) fn open(path: &Path, direct: bool, mark: Option<Arc<Mark>>) -> Result<Self> {
        let buffer = vec![0; Self::BUFFER];
        let aligned = buffer.as_ptr().align_offset(PAGE);
        let file = open(path, direct, mark.is_some()).map_err(|source| at(path, source))?;
        Ok(Self { file, path: path.to_owned(), mark, buffer, aligned })
    }

    /// Whether a file can be read past the page cache.
    pub(super) fn is_direct(path: &Path) -> bool {
        let read = || {
            let mut disk = Self::open(path, true, None)?;
            disk.read(0, PAGE, &mut |_, _| ())
        };
        cfg!(target_os = "linux") && read().is_ok()
    }

    /// Lends `len` bytes from `first` on to `f`, piece by piece, each with where it begins among
    /// them.
    pub(super) fn read(
        &mut self,
        first: usize,
        len: usize,
        f: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let (end, mut start) = (first + len, first / PAGE * PAGE);
        self.seek(start)?;
        while start < end {
            let piece = PIECE.min((end - start).next_multiple_of(PAGE));
            let buffer = &mut self.buffer[self.aligned..][..piece];
            self.file.read_exact(buffer).map_err(|source| at(&self.path, source))?;
            let (from, to) = (first.max(start), end.min(start + piece));
            f(from - first, &buffer[from - start..to - start]);
            start += piece;
        }
        Ok(())
    }

    /// Writes numbers from a page on, and zeros up to the end of the last page.
    pub(super) fn write(&mut self, first: usize, from: &[f32]) -> Result<()> {
        if let Some(mark) = &self.mark {
            mark.set()?;
        }
        self.seek(first)?;
        for part in from.chunks(PIECE / size_of::<f32>()) {
            let len = size_of_val(part);
            let buffer = &mut self.buffer[self.aligned..][..len.next_multiple_of(PAGE)];
            buffer[len..].fill(0);
            for (to, from) in buffer.as_chunks_mut().0.iter_mut().zip(part) {
                *to = from.to_le_bytes();
            }
            self.file.write_all(buffer).map_err(|source| at(&self.path, source))?;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|source| at(&self.path, source))
    }

    fn seek(&mut self, to: usize) -> Result<()> {
        self.file.seek(SeekFrom::Start(to as u64)).map_err(|source| at(&self.path, source))?;
        Ok(())
    }
}

fn open(path: &Path, direct: bool, writes: bool) -> io::Result<File> {
    // A pipe would wait for its writer.
    drop(crate::file::open(path)?);
    let mut options = OpenOptions::new();
    options.read(true).write(writes);
    #[cfg(target_os = "linux")]
    if direct {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(nix::libc::O_DIRECT);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = direct;
    options.open(path)
}

fn at(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}
