use std::io;
use std::path::Path;

use evals::run::{Folder, Sink, cut, read_log};
use evals::{Log, Metrics, Record};

/// A disk that is full after so many bytes.
#[derive(Debug)]
struct FullAfter {
    bytes: usize,
    folder: Folder,
}

impl FullAfter {
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Sink for FullAfter {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.take(bytes.len())?;
        self.folder.append(file, bytes)
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.take(bytes.len())?;
        self.folder.replace(file, bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }
}

fn row(step: u64) -> Metrics {
    let mut metrics = Metrics::new(Log::Metrics);
    metrics.set("training/global_step", step as f64).unwrap();
    metrics.set("actor/entropy", 1.0 / step as f64).unwrap();
    metrics
}

fn write(root: &Path, steps: std::ops::RangeInclusive<u64>) {
    let mut record = Record::new(Box::new(Folder::new(root)));
    for step in steps {
        record.values(step, "rl", &row(step)).unwrap();
    }
    record.sync().unwrap();
}

#[test]
fn a_line_has_step_stage_and_values_in_order() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), 4..=4);
    let text = std::fs::read_to_string(root.path().join("metrics.jsonl")).unwrap();
    assert_eq!(
        text,
        "{\"step\":4,\"stage\":\"rl\",\"training/global_step\":4.0,\"actor/entropy\":0.25}\n"
    );
}

#[test]
fn cut_and_written_again_is_the_same_file() {
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(whole.path(), 1..=6);
    write(resumed.path(), 1..=5);
    let log = resumed.path().join("metrics.jsonl");
    let torn = std::fs::read(&log).unwrap();
    std::fs::write(&log, &torn[..torn.len() - 9]).unwrap();
    cut(resumed.path(), Some(3)).unwrap();
    write(resumed.path(), 4..=6);
    assert_eq!(
        std::fs::read(log).unwrap(),
        std::fs::read(whole.path().join("metrics.jsonl")).unwrap()
    );
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_whole_lines() {
    let root = tempfile::tempdir().unwrap();
    let sink = FullAfter { bytes: 200, folder: Folder::new(root.path()) };
    let mut record = Record::new(Box::new(sink));
    let error = (1..10).find_map(|step| record.values(step, "rl", &row(step)).err()).unwrap();
    assert_eq!(error.to_string(), "writing metrics.jsonl of the run record");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "no storage space");
    assert_eq!(read_log(&root.path().join("metrics.jsonl")).unwrap().len(), 2);
}
