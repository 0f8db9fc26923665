//! Files that get their names together, once all are complete.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use candle::Tensor;
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
        self.write(name, |out| Ok(out.write_all(contents)?))
    }

    /// Tensors as a safetensors file that `transformers` takes for one of its own.
    pub(crate) fn tensors(&mut self, name: &str, tensors: &[(&str, Tensor)]) -> Result<()> {
        let mut end = 0;
        let infos = tensors.iter().map(|(name, tensor)| {
            let start = end;
            end += tensor.elem_count() * tensor.dtype().size_in_bytes();
            let info = TensorInfo {
                dtype: tensor.dtype().into(),
                shape: tensor.dims().to_vec(),
                data_offsets: (start, end),
            };
            ((*name).to_owned(), info)
        });
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let metadata = Metadata::new(Some(format), infos.collect())
            .expect("the offsets follow from the shapes");
        let mut header = serde_json::to_vec(&metadata).expect("a head is writable as JSON");
        // Readers that map the file want the data aligned.
        header.resize(header.len().next_multiple_of(8), b' ');
        self.write(name, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            tensors.iter().try_for_each(|(_, tensor)| tensor.write_bytes(out))
        })
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
        fill: impl FnOnce(&mut BufWriter<File>) -> candle::Result<()>,
    ) -> Result<()> {
        let path = self.partial(name);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
        self.names.push(name.to_owned());
        fill(&mut out).map_err(|e| match e {
            candle::Error::Io(source) => io(source),
            other => Error::Tensor(other),
        })?;
        let file = out.into_inner().map_err(|e| io(io::Error::from(e)))?;
        file.sync_all().map_err(io)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}.partial"))
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
