//! The one table of metric keys: what is measured, in which unit, and in which log.
//!
//! Keys are verl's where verl logs the same thing, and STARE's where its reference code has one. A
//! part in angle brackets stands for any name. Some keys of verl's have another meaning here:
//! `critic/score` is the share of correct completions, and the raw reward there;
//! `critic/rewards` is the reward before a KL is taken from it, and after that there;
//! `perf/total_num_tokens` and `perf/throughput` count the rows of the packs, where siblings share
//! their prompt, and all tokens of all sequences there.

mod page;
mod table;
mod trl;

use std::fmt;

pub use page::page;
pub use table::TABLE;
pub use trl::{TRL, our_name, trl_name};

use crate::{Error, Result};

/// Where a metric is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// `metrics.jsonl`: the same bytes for equal runs.
    Metrics,
    /// `timings.jsonl`: seconds, rates and memory, which differ from run to run.
    Timings,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metrics => "metrics.jsonl",
            Self::Timings => "timings.jsonl",
        })
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The key; a part in angle brackets stands for any name.
    pub key: &'static str,
    /// Unit of the value; `1` for a pure number.
    pub unit: &'static str,
    /// The log it belongs to.
    pub log: Log,
    /// What the value is, in a sentence.
    pub meaning: &'static str,
}

/// The row of the table for `key`.
pub fn spec(key: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| matches(spec.key, key))
}

/// Whether the table has a row for `key`.
pub const fn is_declared(key: &str) -> bool {
    let mut row = 0;
    while row < TABLE.len() {
        if matches(TABLE[row].key, key) {
            return true;
        }
        row += 1;
    }
    false
}

/// A key of the table, as a `&'static str`. A key that the table does not declare is an error of
/// compilation, so a reader cannot look for a metric that nothing writes:
/// `key!("actor/entropy")`.
#[macro_export]
macro_rules! key {
    ($key:literal) => {
        const {
            assert!(
                $crate::metrics::is_declared($key),
                concat!("the table of metrics does not declare ", $key)
            );
            $key
        }
    };
}

/// Whether `key` is `pattern` with a name in place of what stands in angle brackets up to the end
/// of its part.
const fn matches(pattern: &str, key: &str) -> bool {
    let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
    let (mut at, mut of_key) = (0, 0);
    while at < pattern.len() {
        if pattern[at] == b'<' {
            let name = of_key;
            while of_key < key.len() && key[of_key] != b'/' {
                of_key += 1;
            }
            if of_key == name {
                return false;
            }
            while at < pattern.len() && pattern[at] != b'/' {
                at += 1;
            }
        } else if of_key < key.len() && pattern[at] == key[of_key] {
            (at, of_key) = (at + 1, of_key + 1);
        } else {
            return false;
        }
    }
    of_key == key.len()
}

/// Values of one step for one log, in the order in which they were set.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    log: Log,
    entries: Vec<(String, f64)>,
}

impl Metrics {
    /// Without values.
    pub const fn new(log: Log) -> Self {
        Self { log, entries: Vec::new() }
    }

    /// Adds one value.
    ///
    /// # Errors
    ///
    /// Fails when the table does not declare `key` for this log.
    pub fn set(&mut self, key: impl Into<String>, value: f64) -> Result<()> {
        let key = key.into();
        match spec(&key) {
            Some(spec) if spec.log == self.log => {
                self.entries.push((key, value));
                Ok(())
            }
            found => {
                let hint = found.map(|spec| format!("; it belongs to {}", spec.log));
                Err(Error::Undeclared { key, log: self.log, hint })
            }
        }
    }

    /// Adds `prefix/mean`, `prefix/max` and `prefix/min`; nothing for no values.
    ///
    /// # Errors
    ///
    /// Fails when the table does not declare the three keys for this log.
    pub fn set_spread(&mut self, prefix: &str, values: &[f64]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        self.set(format!("{prefix}/mean"), mean)?;
        self.set(format!("{prefix}/max"), max)?;
        self.set(format!("{prefix}/min"), min)
    }

    /// Adds all of `other`'s values.
    pub fn extend(&mut self, other: Self) {
        debug_assert_eq!(self.log, other.log, "values move between metrics of one log");
        self.entries.extend(other.entries);
    }

    /// The log these values are for.
    pub const fn log(&self) -> Log {
        self.log
    }

    /// Keys and values, in the order in which they were set.
    pub fn entries(&self) -> &[(String, f64)] {
        &self.entries
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undeclared_key_is_refused() {
        let mut metrics = Metrics::new(Log::Metrics);
        let error = metrics.set("actor/entropie", 1.0).unwrap_err();
        assert_eq!(error.to_string(), "metric `actor/entropie` is not declared for metrics.jsonl");
        let error = metrics.set("timing_s/gen", 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metric `timing_s/gen` is not declared for metrics.jsonl; it belongs to timings.jsonl"
        );
        assert!(metrics.entries().is_empty());
    }

    #[test]
    fn a_bracketed_part_stands_for_any_name() {
        for key in ["reward/outcome/wrong", "val-core/heldout/acc/mean@8", "val-aux/a/pass@8/low"] {
            assert!(spec(key).is_some(), "{key}");
        }
        for key in ["reward/outcome/", "reward/outcome", "val-core/a/b/c/acc/mean@1", "health/a/b"]
        {
            assert!(spec(key).is_none(), "{key}");
        }
    }

    #[test]
    fn every_key_is_declared_once_and_explained() {
        for (at, spec) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.key != spec.key), "{}", spec.key);
            assert!(!spec.unit.is_empty() && !spec.meaning.is_empty(), "{}", spec.key);
        }
    }
}
