//! Reads `samples/step-*.safetensors` by ranges: the header first, then only what is asked for.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::problem::DAMAGED;
use super::tokens::{Number, StepTokens, TokensAbout};
use super::{Problem, open_file};

/// Largest header, in bytes: a hundred times that of a file with every column.
const LARGEST_HEADER: u64 = 1 << 20;

/// What columns are read from.
trait Source: Read + Seek + Debug + Send {}

impl<T: Read + Seek + Debug + Send> Source for T {}

/// The token columns of a step, on disk or in memory.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    file: Box<dyn Source>,
    metadata: Metadata,
    /// Where the columns begin.
    data: u64,
    about: TokensAbout,
}

impl TokenFile {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    ///
    /// Fails where there is no such file, or it is not whole: cut, longer than its columns, with
    /// columns that overlap or lack their layout.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| Problem::of_system(path, &error);
        let act = "read the step from samples/index.jsonl, which names those that are there";
        let file =
            open_file(path)?.ok_or_else(|| Problem::of(path, "there is no such file", act))?;
        let length = file.metadata().map_err(failed)?.len();
        Self::of(path, Box::new(file), length)
    }

    /// Columns in memory, in the form of the file; problems name `path`.
    pub(super) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Problem> {
        let length = bytes.len() as u64;
        Self::of(path, Box::new(Cursor::new(bytes)), length)
    }

    fn of(path: &Path, mut file: Box<dyn Source>, length: u64) -> Result<Self, Problem> {
        let damaged = |reason: String| Problem::of(path, reason, DAMAGED);
        let failed = |error: std::io::Error| Problem::of_system(path, &error);
        let mut start = [0; 8];
        if length < 8 {
            return Err(damaged(format!("expected a header, got a file of {length} bytes")));
        }
        file.read_exact(&mut start).map_err(failed)?;
        let header = u64::from_le_bytes(start);
        if header > LARGEST_HEADER || header > length - 8 {
            let reason = "its header has a length of";
            return Err(damaged(format!("{reason} {header} bytes, and the file {length}")));
        }
        let mut text = vec![0; header as usize];
        file.read_exact(&mut text).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("its header is no safetensors header: {error}")))?;
        let data = 8 + header;
        let expected = data.saturating_add(metadata.data_len() as u64);
        if expected != length {
            let reason =
                format!("its header speaks of {expected} bytes, and the file has {length}");
            return Err(damaged(reason));
        }
        let fields: BTreeMap<_, _> = metadata.metadata().clone().into_iter().flatten().collect();
        let about = TokensAbout::of_metadata(&fields).map_err(damaged)?;
        Ok(Self { path: path.to_owned(), file, metadata, data, about })
    }

    /// Step, stage and thresholds.
    pub const fn about(&self) -> &TokensAbout {
        &self.about
    }

    /// Names of the columns, in their order.
    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Values of a column; none where there is no such column.
    pub fn len(&self, name: &str) -> Option<usize> {
        self.metadata.info(name).map(|info| info.shape.iter().product())
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len("token").unwrap_or_default() == 0
    }

    /// Rows of a column of ids: `token`, `text_end`, `completion_group`, `prompt`.
    ///
    /// # Errors
    ///
    /// Fails where there is no such column of u32, or it has not so many rows.
    pub fn ids(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<u32>, Problem> {
        self.rows(name, rows)
    }

    /// Rows of a column of numbers: `log_prob`, `entropy`, `weight` and their like.
    ///
    /// # Errors
    ///
    /// Fails where there is no such column of f32, or it has not so many rows.
    pub fn numbers(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, Problem> {
        self.rows(name, rows)
    }

    /// Rows of `flags`.
    ///
    /// # Errors
    ///
    /// Fails where there is no such column of u8, or it has not so many rows.
    pub fn flags(&mut self, rows: Range<usize>) -> Result<Vec<u8>, Problem> {
        self.rows("flags", rows)
    }

    /// The k likeliest tokens of each position of some rows, as ids and log-probs, row by row; none
    /// where they were not recorded.
    ///
    /// # Errors
    ///
    /// Fails where one of the columns is missing, of another type or shape, or has not so many
    /// rows.
    #[expect(clippy::type_complexity, reason = "two columns that belong together")]
    pub fn alternatives(
        &mut self,
        rows: Range<usize>,
    ) -> Result<Option<(Vec<u32>, Vec<f32>)>, Problem> {
        if self.metadata.info("alt_token").is_none() {
            return Ok(None);
        }
        let (ids, log_probs) =
            (self.block("alt_token", rows.clone())?, self.block("alt_log_prob", rows)?);
        Ok(Some((ids, log_probs)))
    }

    /// Rows of a column of places: `completion_start`, `prompt_start`.
    ///
    /// # Errors
    ///
    /// Fails where there is no such column of u64, or it has not so many rows.
    pub fn places(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<u64>, Problem> {
        self.rows(name, rows)
    }

    /// Names of the columns with one value a token, in their order.
    pub fn token_columns(&self) -> Vec<String> {
        let of_tokens = |name: &String| {
            let info = self.metadata.info(name);
            let is_layout = name.starts_with("completion_") || name.starts_with("prompt");
            !is_layout && info.is_some_and(|info| info.shape.len() == 1)
        };
        self.names().into_iter().filter(of_tokens).collect()
    }

    /// Rows of a column with one value a token, whatever its type.
    ///
    /// # Errors
    ///
    /// Fails where there is no such column, or it has not so many rows.
    pub fn values_of(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f64>, Problem> {
        Ok(match self.metadata.info(name).map(|info| info.dtype) {
            Some(Dtype::U8) => self.rows::<u8>(name, rows)?.into_iter().map(f64::from).collect(),
            Some(Dtype::U32) => self.rows::<u32>(name, rows)?.into_iter().map(f64::from).collect(),
            _ => self.rows::<f32>(name, rows)?.into_iter().map(f64::from).collect(),
        })
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> Problem {
        Problem::of(&self.path, reason, DAMAGED)
    }

    fn rows<T: Number>(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<T>, Problem> {
        self.values(name, rows, 1)
    }

    /// Rows of a column with several values a row.
    fn block<T: Number>(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<T>, Problem> {
        self.values(name, rows, 2)
    }

    /// Rows of a column of so many dimensions.
    fn values<T: Number>(
        &mut self,
        name: &str,
        rows: Range<usize>,
        dimensions: usize,
    ) -> Result<Vec<T>, Problem> {
        let Some(TensorInfo { dtype, shape, data_offsets }) = self.metadata.info(name) else {
            return Err(self.damaged(format!("there is no column `{name}`")));
        };
        if *dtype != T::DTYPE || shape.len() != dimensions {
            let (expected, shape) = (T::DTYPE, shape.len());
            let reason =
                format!("column `{name}`: expected {expected:?} in {dimensions} dimensions");
            return Err(self.damaged(format!("{reason}, got {dtype:?} in {shape}")));
        }
        let row = T::BYTES * shape[1..].iter().product::<usize>();
        if rows.start > rows.end || rows.end > shape[0] {
            let (Range { start, end }, count) = (rows, shape[0]);
            return Err(
                self.damaged(format!("column `{name}` has {count} rows, not {start}..{end}"))
            );
        }
        let from = self.data + (data_offsets.0 + rows.start * row) as u64;
        let mut bytes = vec![0; rows.len() * row];
        let read = self.file.seek(SeekFrom::Start(from));
        let read = read.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| Problem::of_system(&self.path, &error))?;
        Ok(bytes.chunks_exact(T::BYTES).map(T::take).collect())
    }

    fn whole<T: Number>(&mut self, name: &str) -> Result<Vec<T>, Problem> {
        let rows = self.len(name).unwrap_or_default();
        self.rows(name, 0..rows)
    }

    fn optional(&mut self, name: &str) -> Result<Option<Vec<f32>>, Problem> {
        self.metadata.info(name).is_some().then(|| self.whole(name)).transpose()
    }

    /// Everything.
    ///
    /// # Errors
    ///
    /// Fails where a column is missing, of another type, or does not fit the layout.
    pub fn read(&mut self) -> Result<StepTokens, Problem> {
        let count = self.metadata.info("alt_token").and_then(|info| info.shape.first().copied());
        let count = count.unwrap_or_default();
        let alternatives = self.alternatives(0..count)?;
        let tokens = StepTokens {
            token: self.whole("token")?,
            text_end: self.whole("text_end")?,
            flags: self.whole("flags")?,
            log_prob: self.whole("log_prob")?,
            entropy: self.whole("entropy")?,
            phi_sum: self.whole("phi_sum")?,
            weight: self.whole("weight")?,
            train_log_prob: self.whole("train_log_prob")?,
            new_log_prob: self.optional("new_log_prob")?,
            old_log_prob: self.optional("old_log_prob")?,
            ref_log_prob: self.optional("ref_log_prob")?,
            importance: self.optional("importance")?,
            penalty: self.optional("penalty")?,
            alt_token: alternatives.as_ref().map(|(ids, _)| ids.clone()),
            alt_log_prob: alternatives.map(|(_, log_probs)| log_probs),
            completion_start: self.whole("completion_start")?,
            completion_group: self.whole("completion_group")?,
            completion_advantage: self.whole("completion_advantage")?,
            prompt_start: self.whole("prompt_start")?,
            prompt: self.whole("prompt")?,
        };
        tokens.check().map_err(|reason| self.damaged(reason))?;
        Ok(tokens)
    }
}

impl StepTokens {
    /// Fails where columns do not fit one another.
    fn check(&self) -> Result<(), String> {
        let tokens = self.token.len();
        let of_updates = [&self.new_log_prob, &self.old_log_prob, &self.ref_log_prob];
        let further = of_updates.into_iter().chain([&self.importance, &self.penalty]);
        let lengths = [self.text_end.len(), self.flags.len()].into_iter();
        let scores = [&self.log_prob, &self.entropy, &self.phi_sum, &self.weight];
        let scores = scores.into_iter().chain([&self.train_log_prob]);
        let scores = scores.chain(further.flatten()).map(Vec::len);
        if let Some(other) = lengths.chain(scores).find(|length| *length != tokens) {
            return Err(format!("expected {tokens} rows in each column of tokens, got {other}"));
        }
        let (completions, groups) =
            (self.completion_group.len(), self.prompt_start.len().saturating_sub(1));
        let of_alternatives =
            [self.alt_token.as_ref().map(Vec::len), self.alt_log_prob.as_ref().map(Vec::len)];
        if of_alternatives[0] != of_alternatives[1]
            || of_alternatives[0].is_some_and(|all| all % tokens.max(1) != 0)
        {
            return Err(format!(
                "expected as many `alt_token` and `alt_log_prob` for each of {tokens} rows"
            ));
        }
        layout("completion_start", &self.completion_start, completions, tokens)?;
        layout("prompt_start", &self.prompt_start, groups, self.prompt.len())?;
        if self.completion_advantage.len() != completions {
            return Err(format!("expected {completions} rows in `completion_advantage`"));
        }
        match self.completion_group.iter().find(|group| **group as usize >= groups) {
            Some(group) => Err(format!("a completion is of group {group} of {groups}")),
            None => Ok(()),
        }
    }
}

/// Fails unless `starts` divides `all` into `parts`.
fn layout(name: &str, starts: &[u64], parts: usize, all: usize) -> Result<(), String> {
    let whole = starts.first() == Some(&0) && starts.last() == Some(&(all as u64));
    if whole && starts.is_sorted() && starts.len() == parts + 1 {
        return Ok(());
    }
    Err(format!("`{name}` does not divide {all} rows into {parts} parts"))
}
