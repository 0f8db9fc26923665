//! The exported file: written whole, and kept up to date while the run goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Curves, Format, Names, Row, csv, jsonl, tensorboard};

/// Writes the rows of a run to a file.
#[derive(Debug)]
pub struct Export {
    format: Format,
    names: Names,
    path: PathBuf,
    /// When the run began, for rows without a time, in seconds since 1970-01-01 UTC.
    began: f64,
    done: Done,
}

/// What the file holds.
#[derive(Debug, Default)]
struct Done {
    /// Whether it was written.
    any: bool,
    generation: u64,
    /// Steps and digests of its rows.
    rows: Vec<(u64, u64)>,
    /// Time of the last one.
    time: Option<f64>,
    /// Keys, of which CSV has a column each.
    keys: Vec<String>,
}

/// What a call of [`Export::update`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// Rows that were written.
    pub rows: usize,
    /// The step from which on earlier rows were replaced: the run was cut there and goes on.
    pub cut: Option<u64>,
}

impl Export {
    /// To the file `path`, in TensorBoard's format a folder. `began` is when the run began, in
    /// seconds since 1970-01-01 UTC.
    pub fn new(format: Format, names: Names, path: &Path, began: u64) -> Self {
        let path = match format {
            // Its readers take every file with this beginning for a part of the folder's run, so
            // that a second export has to replace the first.
            Format::Tensorboard => path.join(format!("events.out.tfevents.{began:010}.stearin")),
            Format::Csv | Format::Jsonl => path.to_owned(),
        };
        Self { format, names, path, began: began as f64, done: Done::default() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes rows to anything, whole.
    ///
    /// # Errors
    ///
    /// Fails when a write does.
    pub fn write(
        format: Format,
        names: Names,
        curves: &Curves,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        Self::new(format, names, Path::new(""), 0).whole(to, curves, curves.rows().len())
    }

    /// Writes what is new of the first `rows` rows; the first call replaces the file.
    ///
    /// # Errors
    ///
    /// Fails when a write does. A file that is replaced is then as before; of one that grows, what
    /// is torn is cut off where the system lets it.
    pub fn update(&mut self, curves: &Curves, rows: usize) -> io::Result<Update> {
        let kept = self.kept(curves, rows);
        let cut = self.done.rows.get(kept).map(|(step, _)| *step);
        let keys: Vec<String> = curves.keys().into_iter().map(str::to_owned).collect();
        let is_table = self.format == Format::Csv && keys != self.done.keys;
        let is_cut = self.format != Format::Tensorboard && cut.is_some();
        if !self.done.any || is_table || is_cut {
            self.replace(curves, rows)?;
        } else if kept < rows || cut.is_some() {
            self.append(curves, kept, rows, cut)?;
        }
        let new: Vec<Row<'_>> = curves.rows().take(rows).skip(kept).collect();
        self.done.rows.truncate(kept);
        self.done.rows.extend(new.iter().map(|row| (row.step, row.digest())));
        self.done.time = new.iter().rev().find_map(Row::time).or(self.done.time);
        (self.done.any, self.done.keys) = (true, keys);
        self.done.generation = curves.generation();
        Ok(Update { rows: new.len(), cut })
    }

    /// How many rows of the file are those of the run: all, unless its log was cut.
    fn kept(&self, curves: &Curves, rows: usize) -> usize {
        let Done { rows: done, generation, .. } = &self.done;
        if *generation == curves.generation() && done.len() <= rows {
            return done.len();
        }
        let same = curves.rows().take(rows).zip(done);
        same.take_while(|(row, (_, digest))| row.digest() == *digest).count()
    }

    fn replace(&self, curves: &Curves, rows: usize) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = self.path.with_file_name(name);
        let written = (|| {
            let mut to = BufWriter::new(File::create(&partial)?);
            self.whole(&mut to, curves, rows)?;
            to.into_inner()?.sync_all()?;
            fs::rename(&partial, &self.path)
        })();
        written.inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })
    }

    fn append(&self, curves: &Curves, from: usize, to: usize, cut: Option<u64>) -> io::Result<()> {
        let mut bytes = Vec::new();
        if let Some(step) = cut {
            tensorboard::cut(&mut bytes, step, self.done.time.unwrap_or(self.began))?;
        }
        self.rows(&mut bytes, curves, curves.rows().take(to).skip(from))?;
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let before = file.metadata()?.len();
        file.write_all(&bytes).inspect_err(|_| {
            // The first error is the one to report.
            let _ = file.set_len(before);
        })
    }

    fn whole(&self, to: &mut dyn Write, curves: &Curves, rows: usize) -> io::Result<()> {
        match self.format {
            Format::Csv => csv::head(to, curves, self.names)?,
            Format::Tensorboard => tensorboard::head(to, self.began)?,
            Format::Jsonl => {}
        }
        self.rows(to, curves, curves.rows().take(rows))
    }

    fn rows<'a>(
        &self,
        to: &mut dyn Write,
        curves: &'a Curves,
        rows: impl Iterator<Item = Row<'a>>,
    ) -> io::Result<()> {
        match self.format {
            Format::Csv => csv::rows(to, curves, self.names, rows),
            Format::Jsonl => jsonl::rows(to, curves, self.names, rows),
            Format::Tensorboard => {
                let time = self.done.time.unwrap_or(self.began);
                tensorboard::rows(to, curves, self.names, rows, time)
            }
        }
    }
}
