//! `metrics.jsonl` and `timings.jsonl` as columns of numbers.

mod column;
mod lacks;
mod memory;
mod order;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use self::column::Column;
use super::Problem;
use super::lines::{Cursor, Problems, reason};

/// Longest line, in bytes.
const LONGEST: usize = 1 << 20;
/// Most keys: a record has some hundreds.
const MOST_KEYS: usize = 1 << 14;

/// Most kinds of stages; further ones are taken for the last.
const MOST_KINDS: usize = 64;

/// A log of metrics: a row a step, a column a key, filled as the log grows.
///
/// A value is absent where a row has no such key. It is NaN where the row says `null`, which is how
/// a number that is not finite is written.
#[derive(Debug, Clone)]
pub struct MetricTable {
    cursor: Cursor,
    steps: Vec<u64>,
    /// Kinds of stages, and which of them each row is of.
    kinds: Vec<String>,
    stages: Vec<usize>,
    keys: Vec<String>,
    places: HashMap<String, usize>,
    columns: Vec<Column>,
    problems: Problems,
    /// The line of each of the last rows.
    recent: Vec<u64>,
    /// Values of the row that is being read, by their columns.
    row: Vec<(usize, f64)>,
}

impl MetricTable {
    /// The log at `path`, of which nothing is read yet. It need not be there yet.
    pub fn new(path: &Path) -> Self {
        let cursor = Cursor::new(path, LONGEST);
        let (steps, kinds, stages, keys) = Default::default();
        let (places, columns, problems, recent, row) = Default::default();
        Self { cursor, steps, kinds, stages, keys, places, columns, problems, recent, row }
    }

    /// All of the log at `path`.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let mut table = Self::new(path);
        while !table.poll(0)? {}
        Ok(table)
    }

    /// Takes up what is new, at most 64 MiB, and says whether there is nothing more for now. With
    /// another `generation` than in the call before, that of `status.json`, and where the file is
    /// shorter than what was read, the table is filled again from the start.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn poll(&mut self, generation: u64) -> Result<bool, Problem> {
        let path = self.cursor.path.clone();
        let mut cursor = std::mem::replace(&mut self.cursor, Cursor::new(&path, LONGEST));
        let table = std::cell::RefCell::new(&mut *self);
        let moved = cursor.poll(
            generation,
            &mut || {
                **table.borrow_mut() = Self::new(&path);
            },
            &mut |number, bytes| {
                let mut table = table.borrow_mut();
                if let Err(reason) = bytes.and_then(|bytes| table.add(number, bytes)) {
                    table.problems.add(&path, number, reason);
                }
            },
        );
        self.cursor = cursor;
        Ok(moved?.at_end)
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step of each row, ascending.
    pub fn steps(&self) -> &[u64] {
        &self.steps
    }

    /// The kind of the stage that a row is of; `start` before the first step.
    pub fn stage(&self, row: usize) -> &str {
        &self.kinds[self.stages[row]]
    }

    /// The keys, in the order in which they first came.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The value of a key in a row.
    pub fn get(&self, row: usize, key: &str) -> Option<f64> {
        self.columns[*self.places.get(key)?].get(row)
    }

    /// The values of a key with their steps; nothing for a key that no row has.
    pub fn points(&self, key: &str) -> impl DoubleEndedIterator<Item = (u64, f64)> {
        let column = self.places.get(key).map(|&place| &self.columns[place]);
        let count = column.map_or(0, |own| own.cells.len());
        (0..count).filter_map(move |at| Some((self.steps[column?.row(at)], column?.cells[at])))
    }

    /// Lines that could not be read, and how many more of them there are; they are no rows.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.clone().into_vec()
    }

    /// The same, with the number of those that are not kept.
    pub fn damage(&self) -> &Problems {
        &self.problems
    }

    /// Adds the row of a line with this number.
    fn add(&mut self, number: u64, line: &[u8]) -> Result<(), String> {
        self.row.clear();
        let mut row = Row { table: self, step: None, stage: None, next: 0 };
        let mut reader = serde_json::Deserializer::from_slice(line);
        let read = reader.deserialize_map(&mut row).and_then(|()| reader.end());
        let Row { step, stage, .. } = row;
        read.map_err(|error| reason(line, &error))?;
        let step = step.ok_or("expected a `step`, got none")?;
        self.make_way(step)?;
        self.note_line(number);
        let at = self.steps.len();
        self.steps.push(step);
        let stage = stage.unwrap_or_else(|| self.kind(""));
        self.stages.push(stage);
        for &(place, value) in &self.row {
            self.columns[place].set(at, value);
        }
        Ok(())
    }

    /// The place of a kind of stages.
    fn kind(&mut self, name: &str) -> usize {
        let known = self.kinds.iter().position(|kind| kind == name);
        known.unwrap_or_else(|| {
            if self.kinds.len() < MOST_KINDS {
                self.kinds.push(name.to_owned());
            }
            self.kinds.len() - 1
        })
    }

    /// The place of a key; `next` is that of the key that was beside it in the row before.
    fn place(&mut self, key: &str, next: usize) -> Option<usize> {
        if self.keys.get(next).is_some_and(|expected| expected == key) {
            return Some(next);
        }
        if let Some(&place) = self.places.get(key) {
            return Some(place);
        }
        let place = self.keys.len();
        if place == MOST_KEYS {
            return None;
        }
        self.keys.push(key.to_owned());
        self.places.insert(key.to_owned(), place);
        self.columns.push(Column::default());
        Some(place)
    }
}

/// A row that is being read. Values are taken off the text without a tree of it.
struct Row<'a> {
    table: &'a mut MetricTable,
    step: Option<u64>,
    stage: Option<usize>,
    next: usize,
}

impl<'de> Visitor<'de> for &mut Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeyOf { row: &mut *self })? {
            match key {
                Key::Step => self.step = Some(map.next_value()?),
                Key::Stage => self.stage = Some(map.next_value_seed(KindOf(&mut *self.table))?),
                Key::Column(place) => {
                    if let Some(value) = map.next_value_seed(Number)? {
                        self.table.row.push((place, value));
                    }
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

enum Key {
    Step,
    Stage,
    Column(usize),
    /// One key too many.
    Other,
}

struct KeyOf<'a, 'b> {
    row: &'a mut Row<'b>,
}

impl<'de> DeserializeSeed<'de> for KeyOf<'_, '_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf<'_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "step" => Key::Step,
            "stage" => Key::Stage,
            _ => match self.row.table.place(key, self.row.next) {
                Some(place) => {
                    self.row.next = place + 1;
                    Key::Column(place)
                }
                None => Key::Other,
            },
        })
    }
}

/// The place of a kind of stages.
struct KindOf<'a>(&'a mut MetricTable);

impl<'de> DeserializeSeed<'de> for KindOf<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KindOf<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind of stages")
    }

    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        Ok(self.0.kind(name))
    }
}

/// A number, NaN for `null`, nothing for anything else.
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<f64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<f64>, E> {
        Ok(Some(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }

    fn visit_unit<E>(self) -> Result<Option<f64>, E> {
        Ok(Some(f64::NAN))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Option<f64>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<f64>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
