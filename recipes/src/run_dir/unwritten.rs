use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use evals::hex;
use evals::run::{Sink, read_file};
use serde::{Deserialize, Serialize};

/// Writes to the record that failed, by file: kept in the checkpoint, and done by the run that goes
/// on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unwritten(BTreeMap<String, Write>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Write {
    Append(String),
    Replace(String),
    /// Of bytes that are no text, in hexadecimal.
    ReplaceBytes(String),
    Remove,
}

impl Unwritten {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what was to be added at the end of `file`.
    pub fn append(&mut self, file: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match self.0.entry(file.to_owned()).or_insert_with(|| Write::Append(String::new())) {
            Write::Append(all) | Write::Replace(all) => all.push_str(&text),
            Write::ReplaceBytes(all) => all.push_str(&hex::encode(bytes)),
            removed @ Write::Remove => *removed = Write::Replace(text.into_owned()),
        }
    }

    /// Keeps what was to be the whole of `file`.
    pub fn replace(&mut self, file: &str, bytes: &[u8]) {
        let write = match str::from_utf8(bytes) {
            Ok(text) => Write::Replace(text.to_owned()),
            Err(_) => Write::ReplaceBytes(hex::encode(bytes)),
        };
        self.0.insert(file.to_owned(), write);
    }

    /// Keeps that `file` was to be removed.
    pub fn remove(&mut self, file: &str) {
        self.0.insert(file.to_owned(), Write::Remove);
    }

    /// Does the writes, on the record under `root`; those that were done before are left out.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be done.
    pub fn write(&self, sink: &mut dyn Sink, root: &Path) -> evals::Result<()> {
        for (file, write) in &self.0 {
            let done = match write {
                Write::Append(text) if ends_with(&root.join(file), text) => Ok(()),
                Write::Append(text) => sink.append(file, text.as_bytes()),
                Write::Replace(text) => sink.replace(file, text.as_bytes()),
                Write::ReplaceBytes(text) => sink.replace(file, &hex::decode(text)),
                Write::Remove => sink.remove(file),
            };
            done.map_err(|source| evals::Error::Write { file: file.clone(), source })?;
        }
        Ok(())
    }
}

fn ends_with(path: &Path, text: &str) -> bool {
    read_file(path).is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.ends_with(text.as_bytes())))
}

/// A sink that buffers its failed writes. After the first failure it writes nothing more, so that
/// what is written stays what came first.
#[derive(Debug)]
pub struct BufferingSink<S> {
    sink: S,
    failed_writes: FailedWrites,
}

/// The failed writes of a [`BufferingSink`], and the first error.
#[derive(Debug, Clone, Default)]
pub struct FailedWrites(Arc<Mutex<Failure>>);

#[derive(Debug, Default)]
struct Failure {
    unwritten: Unwritten,
    first: Option<(String, io::Error)>,
}

impl<S> BufferingSink<S> {
    /// Writes to `sink`, and to `failed_writes` once that fails.
    pub fn new(sink: S, failed_writes: FailedWrites) -> Self {
        Self { sink, failed_writes }
    }
}

impl FailedWrites {
    /// What was not written, and nothing from then on.
    pub fn take(&self) -> Unwritten {
        std::mem::take(&mut self.lock().unwritten)
    }

    /// # Errors
    ///
    /// Fails with the first failure.
    pub fn check(&self) -> evals::Result<()> {
        match self.lock().first.take() {
            Some((file, source)) => Err(evals::Error::Write { file, source }),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Failure> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Failure {
    /// Whether a write is to be kept: `write` failed, or one before it.
    fn keeps(&mut self, file: &str, write: impl FnOnce() -> io::Result<()>) -> bool {
        if self.unwritten.is_empty()
            && let Err(error) = write()
        {
            self.first = Some((file.to_owned(), error));
            return true;
        }
        !self.unwritten.is_empty()
    }
}

impl Sink for BufferingSink<Box<dyn Sink>> {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        let mut failure = self.failed_writes.lock();
        if failure.keeps(file, || self.sink.append(file, bytes)) {
            failure.unwritten.append(file, bytes);
        }
        Ok(())
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        let mut failure = self.failed_writes.lock();
        if failure.keeps(file, || self.sink.replace(file, bytes)) {
            failure.unwritten.replace(file, bytes);
        }
        Ok(())
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        let mut failure = self.failed_writes.lock();
        if failure.keeps(file, || self.sink.remove(file)) {
            failure.unwritten.remove(file);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sink.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evals::run::Folder;

    use super::*;

    /// A folder that takes so many writes.
    #[derive(Debug)]
    struct Full(Folder, usize);

    impl Full {
        fn take(&mut self) -> io::Result<()> {
            self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(())
        }
    }

    impl Sink for Full {
        fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
            self.take()?;
            self.0.append(file, bytes)
        }

        fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
            self.take()?;
            self.0.replace(file, bytes)
        }

        fn remove(&mut self, file: &str) -> io::Result<()> {
            self.take()?;
            self.0.remove(file)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.0.sync()
        }
    }

    #[test]
    fn what_fails_is_written_later_and_once() {
        for room in 0..7 {
            let temp = tempfile::tempdir().unwrap();
            let failed_writes = FailedWrites::default();
            let full: Box<dyn Sink> = Box::new(Full(Folder::new(temp.path()), room));
            fs::create_dir(temp.path().join("folder")).unwrap();
            fs::write(temp.path().join("folder/gone"), "x").unwrap();
            let mut sink = BufferingSink::new(full, failed_writes.clone());
            sink.append("log", b"one\n").unwrap();
            sink.append("log", b"two\n").unwrap();
            sink.replace("folder/file", b"old").unwrap();
            sink.replace("folder/file", b"new").unwrap();
            sink.replace("bytes", &[0, 255, 16]).unwrap();
            sink.remove("folder/gone").unwrap();
            assert_eq!(failed_writes.check().is_err(), room < 6, "{room}");
            let unwritten = failed_writes.take();
            assert_eq!(unwritten.is_empty(), room == 6);
            let text = serde_json::to_string(&unwritten).unwrap();
            let read: Unwritten = serde_json::from_str(&text).unwrap();
            for _ in 0..2 {
                read.write(&mut Folder::new(temp.path()), temp.path()).unwrap();
            }
            assert_eq!(fs::read(temp.path().join("bytes")).unwrap(), [0, 255, 16]);
            assert!(!temp.path().join("folder/gone").exists());
            let file = |name| fs::read_to_string(temp.path().join(name)).unwrap();
            assert_eq!((file("log"), file("folder/file")), ("one\ntwo\n".into(), "new".into()));
        }
    }
}
