//! `run.json`: what a run is, written once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run is, and what its numbers may depend on besides its recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// Version of the record.
    pub format: u32,
    /// What it does: `train` or `eval`.
    pub kind: String,
    /// The recipe's name.
    #[serde(default)]
    pub name: String,
    /// 16 hexadecimal digits, drawn when the run began: another folder with these is a copy.
    #[serde(default)]
    pub id: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub created: u64,
    /// The command that began it.
    #[serde(default)]
    pub command: String,
    /// The recipe's seed.
    #[serde(default)]
    pub seed: u64,
    /// Version of stearin.
    pub stearin: String,
    /// Commit it was built from; empty where it was not known.
    pub commit: String,
    /// Whether its sources were other ones than that commit's.
    #[serde(default)]
    pub dirty: bool,
    /// The compiler.
    pub rustc: String,
    /// Version of Candle.
    pub candle: String,
    /// Operating system.
    pub os: String,
    /// Processor family.
    pub arch: String,
    /// What the processor can do, of that which chooses between kernels.
    pub cpu_features: Vec<String>,
    /// Threads that share a matrix product; no result depends on it.
    pub threads: usize,
    /// Where it computes: `cpu` or `cuda`.
    #[serde(default)]
    pub device: String,
    /// What multiplies in bf16, where the run does so on a CPU; sums depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_kernel: Option<String>,
    /// The model that it began from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFacts>,
    /// Problems by the list that they are in: `train`, and each held-out set.
    #[serde(default)]
    pub problems: BTreeMap<String, usize>,
    /// Groups that a recorded step keeps, at most, by stage: what `record.samples.groups` of the
    /// recipe comes to. 0 for a stage that samples none; empty where nothing is recorded. Groups
    /// that were not learnt from are kept in addition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recorded_groups: Vec<usize>,
    /// What the run read from files; none where it read none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Files that were other ones when the run was resumed, as its user accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFacts {
    /// As the recipe names it.
    pub path: String,
    /// Its family.
    pub family: String,
    /// Numbers in its weights, without those of an adapter.
    pub parameters: u64,
    /// Its adapter, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterFacts>,
    /// SHA-256 of the tokenizer's own JSON form, in hexadecimal. The samples of a step have it as
    /// well.
    #[serde(default)]
    pub tokenizer_sha256: String,
    /// Tokens that end a turn, as they are written, by id.
    pub stop_tokens: BTreeMap<u32, String>,
}

/// An adapter on a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterFacts {
    /// Where it was read from; none if it began afresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Rows of each `A`.
    pub rank: usize,
    /// Numerator of its scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// What `alpha` is divided by: `rank`, or `sqrt-rank` for its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<String>,
    /// The linear maps that it adapts, in every block.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Numbers in it. A training changes these alone.
    pub parameters: u64,
}

/// Changed files that a resume was told to accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Steps done before.
    pub step: u64,
    /// What differed, one line a file.
    pub changes: Vec<String>,
}

/// The contents of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// Where the file was found; another place with the same contents is the same file.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of all of it, in hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

impl Digest {
    /// As much of the digest as tells two files apart for a reader.
    fn short(&self) -> &str {
        self.sha256.get(..12).unwrap_or(&self.sha256)
    }
}

/// Digests by what the file is to the run: `data.train`, `model/tokenizer.json`, or the key of the
/// recipe that names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Files(pub BTreeMap<String, Digest>);

impl Files {
    /// What the names of a model's files begin with.
    pub const MODEL: &str = "model";
    /// What the names of an adapter's files begin with.
    pub const ADAPTER: &str = "adapter";

    /// Adds the files of another list.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The model's files of this list.
    #[must_use]
    pub fn model(&self) -> Self {
        self.of(Self::MODEL)
    }

    /// The adapter's files of this list.
    #[must_use]
    pub fn adapter(&self) -> Self {
        self.of(Self::ADAPTER)
    }

    fn of(&self, what: &str) -> Self {
        let files = self.0.iter().filter(|(name, _)| name.split('/').next() == Some(what));
        Self(files.map(|(name, digest)| (name.clone(), digest.clone())).collect())
    }

    /// What differs from the files `then`, one line a file with all that it is to the run.
    ///
    /// A verifier's argument that named no file `then` is one that the verifier wrote since.
    pub fn changes_since(&self, then: &Self) -> Vec<String> {
        let is_input = |name: &str| !name.contains("rewards.");
        let mut names: Vec<_> = then.0.keys().collect();
        names.extend(self.0.keys().filter(|name| !then.0.contains_key(*name) && is_input(name)));
        names.sort_unstable();
        let mut changes: Vec<(String, Vec<&str>)> = Vec::new();
        for name in names {
            let Some(change) = change(then.0.get(name), self.0.get(name)) else { continue };
            match changes.iter_mut().find(|(known, _)| *known == change) {
                Some((_, names)) => names.push(name),
                None => changes.push((change, vec![name])),
            }
        }
        let line = |(change, names): (String, Vec<&str>)| format!("{}: {change}", names.join(", "));
        changes.into_iter().map(line).collect()
    }
}

/// What became of a file; `None` if it is the same.
fn change(then: Option<&Digest>, now: Option<&Digest>) -> Option<String> {
    match (then, now) {
        (Some(then), Some(now)) if then.sha256 == now.sha256 => None,
        (Some(then), Some(now)) => Some(format!(
            "{} has other contents, sha256 {} then, {} now",
            now.path,
            then.short(),
            now.short()
        )),
        (Some(then), None) => Some(format!("{} is no longer there", then.path)),
        (None, now) => now.map(|now| format!("{} was not there then", now.path)),
    }
}

impl Facts {
    /// What else than threads, kernel and files is not as it was `then`: a run that goes on under
    /// it may differ in its last digits.
    pub fn changes_since(&self, then: &Self) -> Vec<String> {
        let now_then = [
            ("stearin", &self.stearin, &then.stearin),
            ("commit", &self.commit, &then.commit),
            ("rustc", &self.rustc, &then.rustc),
            ("candle", &self.candle, &then.candle),
            ("os", &self.os, &then.os),
            ("arch", &self.arch, &then.arch),
            ("cpu_features", &self.cpu_features.join(" "), &then.cpu_features.join(" ")),
        ];
        now_then
            .into_iter()
            .filter(|(_, now, then)| now != then)
            .map(|(name, now, then)| format!("{name}: {then} then, {now} now"))
            .collect()
    }
}
