//! prime-rl since August 2026: `monitors/file/metrics.jsonl`, episodes in
//! `monitors/file/traces/stream/NNNNN.jsonl`, sealed as `.jsonl.zst`, and what was learnt of them
//! later in `traces/annotations/PRODUCER/NNNNN.jsonl`.
//!
//! Source: prime-rl at #3444 and after, `src/prime_rl/monitors/file/monitor.py`,
//! `traces/{chunks,index,update}.py`; verifiers 0.4.0, `v1/graph.py`, `v1/trace.py`.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::super::{Problems, Seen, entries, is_folder};
use super::episode::{self, Marks};
use super::grown::{Grown, Records};
use super::log::Log;
use super::prime_rl::ABSENT;
use super::rows::Rows;
use super::spell::Speller;
use super::told::Told;
use super::{Absent, Origin, Problem, Reader};

/// The version of a trace and of an annotation that is known.
const VERSION: u64 = 1;

/// The files of a run.
#[derive(Debug)]
pub(super) struct Traces {
    root: PathBuf,
    known: Mutex<Known>,
    log: Log,
    speller: Speller,
}

/// What was read of the chunks: where each trace is, and its annotations.
#[derive(Debug, Default)]
struct Known {
    stream: Vec<Chunk>,
    annotations: Vec<Chunk>,
}

/// A chunk, of which only what is new is read.
#[derive(Debug)]
struct Chunk {
    path: PathBuf,
    grown: Grown,
    records: Vec<Record>,
    /// The first record of an unknown version.
    version: Option<Problem>,
}

/// An episode, or an annotation.
#[derive(Debug)]
struct Record {
    place: Range<u64>,
    /// The traces of it, or the one that is annotated; those without a name cannot be annotated.
    traces: Vec<(Option<String>, Marks)>,
}

/// Where the annotations of each trace are: the chunk and the record there.
type Places<'a> = HashMap<&'a str, Vec<(usize, &'a Record)>>;

/// A trace or an annotation, with the name of the trace.
type Named<'a> = (Option<String>, &'a Value);

impl Chunk {
    fn new(path: &Path) -> Self {
        let (records, version) = Default::default();
        Self { path: path.to_owned(), grown: Grown::new(path), records, version }
    }

    /// Reads on; `traces` gives those of a record, each with its name, and the values that say
    /// their version.
    fn poll(&mut self, traces: &dyn Fn(&Value) -> Vec<Named<'_>>) {
        let Self { path, grown, records, version } = self;
        let own = std::cell::RefCell::new((records, version));
        grown.read(
            &mut || {
                let (records, version) = &mut *own.borrow_mut();
                records.clear();
                **version = None;
            },
            &mut |number, place, value| {
                let (records, version) = &mut *own.borrow_mut();
                let found = traces(&value);
                let other = found.iter().find_map(|(_, one)| unknown(path, number, one));
                if version.is_none() {
                    **version = other;
                }
                let found = found.into_iter().map(|(name, one)| (name, Marks::of(one)));
                records.push(Record { place, traces: found.collect() });
            },
        );
    }
}

/// What is to be said of a record of another version.
fn unknown(path: &Path, line: u64, record: &Value) -> Option<Problem> {
    let version = record.get("version").and_then(Value::as_u64);
    if version == Some(VERSION) {
        return None;
    }
    let got = version.map_or("none".to_owned(), |own| own.to_string());
    let reason = format!("expected version {VERSION}, got {got}");
    let act = "only version 1 is known; what it has in common is shown";
    Some(Problem { act: act.into(), ..Problem::of_line(path, line, reason) })
}

/// The traces of an episode.
fn traces(episode: &Value) -> impl Iterator<Item = &Value> {
    episode.get("traces").and_then(Value::as_array).into_iter().flatten()
}

fn named(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The chunks of a stream; of one that is there sealed and plain, the plain one.
fn chunks(folder: &Path) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for (name, path) in entries(folder) {
        let plain = name.strip_suffix(".zst").unwrap_or(&name);
        let Some(number) = plain.strip_suffix(".jsonl").and_then(|own| own.parse::<u64>().ok())
        else {
            continue;
        };
        if plain.len() == name.len() {
            found.insert(number, path);
        } else {
            found.entry(number).or_insert(path);
        }
    }
    found.into_values().collect()
}

/// The chunks at these paths, those that are known as they are.
fn kept(known: &mut Vec<Chunk>, paths: Vec<PathBuf>) {
    let mut before: HashMap<PathBuf, Chunk> =
        known.drain(..).map(|chunk| (chunk.path.clone(), chunk)).collect();
    known.extend(
        paths.into_iter().map(|path| before.remove(&path).unwrap_or_else(|| Chunk::new(&path))),
    );
}

impl Known {
    /// Where annotations are, in the order in which they count.
    fn places(&self) -> Places<'_> {
        let mut places = Places::new();
        for (at, chunk) in self.annotations.iter().enumerate() {
            for record in &chunk.records {
                if let [(Some(name), _)] = &record.traces[..] {
                    places.entry(name.as_str()).or_default().push((at, record));
                }
            }
        }
        places
    }

    /// The step of a trace of this name and marks.
    fn step(name: Option<&String>, own: Marks, places: &Places<'_>) -> Option<u64> {
        let later = name.and_then(|name| places.get(name.as_str())).into_iter().flatten();
        later.fold(own, |own, (_, record)| own.then(record.traces[0].1)).step()
    }
}

impl Traces {
    /// The output directory at `root`.
    pub(super) fn find(root: &Path, speller: &Speller) -> Option<Self> {
        let folder = root.join("monitors/file");
        let is_there = folder.join("metrics.jsonl").is_file() || is_folder(&folder.join("traces"));
        let is_there = is_there && is_folder(&folder);
        is_there.then(|| Self {
            root: folder,
            known: Mutex::default(),
            log: Log::default(),
            speller: speller.clone(),
        })
    }

    /// The chunks, read on.
    fn read_on(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let producers = entries(&self.root.join("traces/annotations")).into_iter();
        kept(&mut known.stream, chunks(&self.root.join("traces/stream")));
        kept(&mut known.annotations, producers.flat_map(|(_, folder)| chunks(&folder)).collect());
        for chunk in &mut known.stream {
            chunk.poll(&|episode| traces(episode).map(|own| (named(own, "id"), own)).collect());
        }
        for chunk in &mut known.annotations {
            chunk.poll(&|update| vec![(named(update, "trace_id"), update)]);
        }
        known
    }
}

impl Reader for Traces {
    fn origin(&self) -> Origin {
        Origin::PrimeRl
    }

    fn steps(&self) -> BTreeMap<u64, Vec<Seen>> {
        let known = self.read_on();
        let places = known.places();
        // By step and file, the end of the last record that is of the step.
        let mut ends = BTreeMap::<u64, BTreeMap<&Path, u64>>::new();
        for chunk in &known.stream {
            for record in &chunk.records {
                for (name, own) in &record.traces {
                    let Some(step) = Known::step(name.as_ref(), *own, &places) else { continue };
                    let ends = ends.entry(step).or_default();
                    let mut take = |path, end: u64| {
                        let last: &mut u64 = ends.entry(path).or_default();
                        *last = end.max(*last);
                    };
                    take(&chunk.path, record.place.end);
                    let later = name.as_ref().and_then(|name| places.get(name.as_str()));
                    for (at, record) in later.into_iter().flatten() {
                        take(&known.annotations[*at].path, record.place.end);
                    }
                }
            }
        }
        let seen = |(path, end): (&Path, u64)| Seen::part(path, end);
        ends.into_iter().map(|(step, own)| (step, own.into_iter().map(seen).collect())).collect()
    }

    fn read(&self, step: u64, _: &[Seen], _: &mut Vec<Problem>) -> Vec<Told> {
        let known = self.read_on();
        let places = known.places();
        let mut files: Vec<Option<Records>> = known.annotations.iter().map(|_| None).collect();
        let mut updates = |name: Option<&String>| -> Vec<Value> {
            let own = name.and_then(|name| places.get(name.as_str())).into_iter().flatten();
            let get = |(at, record): &(usize, &Record)| {
                if files[*at].is_none() {
                    files[*at] = Records::open(&known.annotations[*at].path);
                }
                files[*at].as_mut()?.get(&record.place)
            };
            own.filter_map(get).collect()
        };
        let mut all = Vec::new();
        for chunk in &known.stream {
            let mut file = None;
            for record in &chunk.records {
                let of_step = |(name, own): &(Option<String>, Marks)| {
                    Known::step(name.as_ref(), *own, &places) == Some(step)
                };
                if !record.traces.iter().any(of_step) {
                    continue;
                }
                file = file.or_else(|| Records::open(&chunk.path));
                let episode = file.as_mut().and_then(|file| file.get(&record.place));
                let Some(episode) = episode else { continue };
                for (own, trace) in record.traces.iter().zip(traces(&episode)) {
                    if of_step(own) {
                        let later = updates(own.0.as_ref());
                        let is_annotated = !places.is_empty();
                        let speller = &self.speller;
                        all.extend(episode::told(&episode, trace, &later, is_annotated, speller));
                    }
                }
            }
        }
        all
    }

    fn logs(&self) -> Vec<PathBuf> {
        Some(self.root.join("metrics.jsonl")).filter(|path| path.is_file()).into_iter().collect()
    }

    fn rows(&self, problems: &mut Vec<Problem>) -> Rows {
        self.log.read(&self.logs(), problems, &|_, _, line, rows| {
            // Rows of the inference servers have a time and no step.
            let step = line.get("step").and_then(Value::as_u64)?;
            rows.extend(step, line.as_object()?, |key| {
                (!matches!(key, "step" | "time")).then(|| key.to_owned())
            });
            None
        })
    }

    fn problems(&self) -> Problems {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Problems::default();
        for chunk in known.stream.iter().chain(&known.annotations) {
            all.join(&chunk.grown.told());
            all.extend(chunk.version.clone());
        }
        all
    }

    fn absent(&self) -> &'static [Absent] {
        &ABSENT
    }
}
