//! prime-rl since August 2026: `monitors/file/metrics.jsonl`, episodes in
//! `monitors/file/traces/stream/NNNNN.jsonl`, sealed as `.jsonl.zst`, and what was learnt of them
//! later in `traces/annotations/PRODUCER/NNNNN.jsonl`.
//!
//! Source: prime-rl at #3444 and after, `src/prime_rl/monitors/file/monitor.py`,
//! `traces/{chunks,index,update}.py`; verifiers 0.4.0, `v1/graph.py`, `v1/trace.py`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::episode;
use super::prime_rl::ABSENT;
use super::rows::Rows;
use super::steps::{Seen, bytes, entries, lines, lines_of};
use super::told::Told;
use super::zst::unpacked;
use super::{Absent, Origin, Problem, Reader};

/// The version of a trace and of an annotation that is known.
const VERSION: u64 = 1;

/// The files of a run.
#[derive(Debug)]
pub(super) struct Traces {
    root: PathBuf,
    known: Mutex<Known>,
}

/// Which chunks have episodes of which steps.
#[derive(Debug, Default)]
struct Known {
    seen: Vec<Seen>,
    steps: BTreeMap<u64, Vec<PathBuf>>,
}

/// Annotations by the trace that they are of, in the order in which they were written.
type Updates = HashMap<String, Vec<Value>>;

impl Traces {
    /// The output directory at `root`.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let folder = root.join("monitors/file");
        let is_there = folder.join("metrics.jsonl").is_file() || folder.join("traces").is_dir();
        is_there.then(|| Self { root: folder, known: Mutex::default() })
    }

    fn stream(&self) -> Vec<PathBuf> {
        chunks(&self.root.join("traces/stream"))
    }

    fn annotations(&self) -> Vec<PathBuf> {
        let producers = entries(&self.root.join("traces/annotations")).into_iter();
        producers.flat_map(|(_, folder)| chunks(&folder)).collect()
    }

    /// All annotations; of an unknown version those that look like one.
    fn updates(&self, problems: &mut Vec<Problem>) -> Updates {
        let mut updates = Updates::new();
        for path in self.annotations() {
            let mut versions = Versions::default();
            for (number, update) in records(&path, problems) {
                problems.extend(versions.check(&path, number, &update));
                if let Some(id) = update.get("trace_id").and_then(Value::as_str) {
                    updates.entry(id.to_owned()).or_default().push(update);
                }
            }
        }
        updates
    }
}

/// Tells of the first record of a file that has an unknown version.
#[derive(Default)]
struct Versions {
    told: bool,
}

impl Versions {
    fn check(&mut self, path: &Path, line: u64, record: &Value) -> Option<Problem> {
        let version = record.get("version").and_then(Value::as_u64);
        if version == Some(VERSION) || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let got = version.map_or("none".to_owned(), |own| own.to_string());
        let reason = format!("expected version {VERSION}, got {got}");
        let act = "only version 1 is known; what it has in common is shown";
        Some(Problem { act: act.into(), ..Problem::of_line(path, line, reason) })
    }
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

/// The records of a chunk with their lines.
fn records(path: &Path, problems: &mut Vec<Problem>) -> Vec<(u64, Value)> {
    if path.extension().is_none_or(|end| end != "zst") {
        return lines(path, problems);
    }
    let Some(packed) = bytes(path, problems) else { return Vec::new() };
    match unpacked(&packed) {
        Ok(bytes) => lines_of(path, &bytes, problems),
        Err(reason) => {
            let act = "the other chunks are shown; copy the file again";
            problems.push(Problem::of(path, reason, act));
            Vec::new()
        }
    }
}

fn traces(episode: &Value) -> impl Iterator<Item = &Value> {
    episode.get("traces").and_then(Value::as_array).into_iter().flatten()
}

impl Reader for Traces {
    fn origin(&self) -> Origin {
        Origin::PrimeRl
    }

    fn steps(&self) -> BTreeMap<u64, Vec<PathBuf>> {
        let (stream, annotations) = (self.stream(), self.annotations());
        let seen: Vec<_> = stream.iter().chain(&annotations).map(|path| Seen::of(path)).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.seen == seen {
            return known.steps.clone();
        }
        // What cannot be read is told of where a step is read.
        let updates = self.updates(&mut Vec::new());
        let mut steps = BTreeMap::<u64, BTreeSet<PathBuf>>::new();
        for path in stream {
            for (_, record) in records(&path, &mut Vec::new()) {
                for trace in traces(&record) {
                    let own = episode::updates_of(trace, &updates);
                    if let Some(step) = episode::step(trace, own) {
                        steps.entry(step).or_default().insert(path.clone());
                    }
                }
            }
        }
        let steps = steps.into_iter().map(|(step, paths)| {
            (step, paths.into_iter().chain(annotations.iter().cloned()).collect())
        });
        *known = Known { seen, steps: steps.collect() };
        known.steps.clone()
    }

    fn read(&self, step: u64, files: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<Told> {
        let updates = self.updates(problems);
        let mut all = Vec::new();
        for path in files.iter().filter(|path| path.starts_with(self.root.join("traces/stream"))) {
            let mut versions = Versions::default();
            for (number, record) in records(path, problems) {
                for trace in traces(&record) {
                    if episode::step(trace, episode::updates_of(trace, &updates)) == Some(step) {
                        problems.extend(versions.check(path, number, trace));
                        all.extend(episode::told(&record, trace, &updates));
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
        let mut rows = Rows::default();
        for path in self.logs() {
            for (_, line) in lines(&path, problems) {
                // Rows of the inference servers have a time and no step.
                let Some(step) = line.get("step").and_then(Value::as_u64) else { continue };
                let values = line.as_object().expect("lines are objects");
                rows.extend(step, values, |key| {
                    (!matches!(key, "step" | "time")).then(|| key.to_owned())
                });
            }
        }
        rows
    }

    fn absent(&self) -> &'static [Absent] {
        &ABSENT
    }
}
