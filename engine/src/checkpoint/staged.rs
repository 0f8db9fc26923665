//! Files that get their names together, once all are complete.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use candle::{DType, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{Error, Result};

/// Files written beside their final names; dropped without [`Staged::commit`], they are removed.
#[derive(Debug)]
pub(crate) struct Staged {
    folder: PathBuf,
    made_folder: bool,
    names: Vec<String>,
}

impl Staged {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let made_folder = !folder.exists();
        fs::create_dir_all(folder)
            .map_err(|source| Error::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), made_folder, names: Vec::new() })
    }

    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        self.write(name, |out| out.bytes(contents))
    }

    /// A safetensors file that `transformers` takes for one of its own. `tensors` has names, shapes
    /// and types; `data` writes the values of the one of a number.
    pub(crate) fn tensors(
        &mut self,
        name: &str,
        tensors: &[(String, Vec<usize>, DType)],
        mut data: impl FnMut(&mut Out, usize) -> Result<()>,
    ) -> Result<()> {
        let mut end = 0;
        let infos = tensors.iter().map(|(name, shape, dtype)| {
            let start = end;
            end += shape.iter().product::<usize>() * dtype.size_in_bytes();
            let info = TensorInfo {
                dtype: (*dtype).into(),
                shape: shape.clone(),
                data_offsets: (start, end),
            };
            (name.clone(), info)
        });
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let metadata = Metadata::new(Some(format), infos.collect())
            .expect("the offsets follow from the shapes");
        let mut header = serde_json::to_vec(&metadata).expect("a head is writable as JSON");
        // Readers that map the file want the data aligned.
        header.resize(header.len().next_multiple_of(8), b' ');
        self.write(name, |out| {
            out.bytes(&(header.len() as u64).to_le_bytes())?;
            out.bytes(&header)?;
            (0..tensors.len()).try_for_each(|index| data(out, index))
        })
    }

    /// [`Self::tensors`] of tensors that are there.
    pub(crate) fn whole_tensors(&mut self, name: &str, tensors: &[(String, Tensor)]) -> Result<()> {
        let of = |(name, tensor): &(String, Tensor)| {
            (name.clone(), tensor.dims().to_vec(), tensor.dtype())
        };
        let declared: Vec<_> = tensors.iter().map(of).collect();
        self.tensors(name, &declared, |out, index| out.tensor(&tensors[index].1))
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let sizes = self.names.iter().map(|name| {
            let path = self.partial(name);
            let size = fs::metadata(&path).map(|facts| facts.len());
            size.map_err(|source| Error::Io { path, source })
        });
        sizes.sum()
    }

    /// Gives all files their names, in the order in which they were written.
    pub(crate) fn commit(mut self) -> Result<()> {
        for name in &self.names {
            let path = self.folder.join(name);
            fs::rename(self.partial(name), &path).map_err(|source| Error::Io { path, source })?;
        }
        self.names.clear();
        self.made_folder = false;
        Ok(())
    }

    /// A file of what `fill` writes.
    pub(crate) fn write(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut Out) -> Result<()>,
    ) -> Result<()> {
        let path = self.partial(name);
        let io = |source| Error::Io { path: path.clone(), source };
        let file = File::create(&path).map_err(io)?;
        self.names.push(name.to_owned());
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut out = Out { file, path: path.clone() };
        fill(&mut out)?;
        let file = out.file.into_inner().map_err(|e| io(io::Error::from(e)))?;
        file.sync_all().map_err(io)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}.partial"))
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Out {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Out {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// The values of a tensor, little-endian.
    pub(crate) fn tensor(&mut self, tensor: &Tensor) -> Result<()> {
        tensor.write_bytes(&mut self.file).map_err(|e| match e {
            candle::Error::Io(source) => Error::Io { path: self.path.clone(), source },
            other => Error::Tensor(other),
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = fs::remove_file(self.partial(name));
            if self.made_folder {
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
        if self.made_folder {
            // Fails where somebody else put a file into it, and then it has to stay.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
