//! Benchmarks by name, the protocols that they are run by, and prompt styles by name. All of them
//! are settings in the files of `benchmark/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::PromptStyle;

const REGISTRY: &str = include_str!("benchmark/registry.toml");
const PROMPTS: &str = include_str!("benchmark/prompts.toml");

/// A benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// Its name on the command line.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Its problems.
    pub problems: usize,
    /// Completions of a problem in the protocol `paper`.
    pub samples: usize,
    /// Who has rights to it.
    pub licence: String,
    /// The data set on the hub, `owner/name`.
    pub dataset: String,
    /// Revision of the data set: a commit.
    pub revision: String,
    /// File of the data set.
    pub file: String,
    /// Digest of the problems and answers of a local file; nothing where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Columns there that have no known name, or no value of that role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

/// Settings under a name. What is left out is as the command line has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// What it is for.
    pub about: String,
    /// Completions of a problem; left out, as the benchmark has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Temperature; 0 is greedy.
    pub temperature: f64,
    /// Smallest probability mass that is drawn from.
    pub top_p: f64,
    /// Problems of each benchmark; left out, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    benchmark: Vec<Benchmark>,
    protocol: BTreeMap<String, Protocol>,
}

static ALL: LazyLock<Registry> =
    LazyLock::new(|| toml::from_str(REGISTRY).expect("a test reads the registry"));
static STYLES: LazyLock<BTreeMap<String, PromptStyle>> =
    LazyLock::new(|| toml::from_str(PROMPTS).expect("a test reads the styles"));

/// All benchmarks.
pub fn all() -> &'static [Benchmark] {
    &ALL.benchmark
}

/// The benchmark of that name.
pub fn find(name: &str) -> Option<&'static Benchmark> {
    all().iter().find(|benchmark| benchmark.name == name)
}

/// All protocols, by name.
pub fn protocols() -> &'static BTreeMap<String, Protocol> {
    &ALL.protocol
}

/// All prompt styles, by name.
pub fn styles() -> &'static BTreeMap<String, PromptStyle> {
    &STYLES
}

impl Benchmark {
    /// Its address on the hub.
    pub fn address(&self) -> String {
        let Self { dataset, revision, file, .. } = self;
        format!("hf://datasets/{dataset}@{revision}/{file}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_registry_is_whole() {
        let names: BTreeSet<_> = all().iter().map(|one| one.name.as_str()).collect();
        let expected = ["aime24", "aime25", "amc23", "gsm8k", "math500", "minerva", "olympiad"];
        assert_eq!(names.iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(all().len(), names.len());
        for one in all() {
            assert!(one.problems > 0 && one.samples > 0, "{}", one.name);
            // Revisions are commits: a name such as `main` would move.
            let is_commit = one.revision.len() == 40
                && one.revision.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit, "{}", one.name);
        }
        let gsm8k = find("gsm8k").unwrap().address();
        assert!(gsm8k.starts_with("hf://datasets/openai/gsm8k@") && gsm8k.ends_with(".parquet"));
    }

    #[test]
    fn protocols_are_settings() {
        let names: Vec<_> = protocols().keys().map(String::as_str).collect();
        assert_eq!(names, ["diversity", "greedy", "paper", "quick", "stare-script"]);
        let [paper, script] = ["paper", "stare-script"].map(|name| &protocols()[name]);
        assert_eq!((paper.temperature, paper.top_p, script.top_p), (1.0, 1.0, 0.7));
        assert!(protocols()["greedy"].temperature.abs() < f64::EPSILON);
        assert_eq!((protocols()["quick"].limit, protocols()["quick"].samples), (Some(64), Some(1)));
    }

    #[test]
    fn styles_have_no_contradictions() {
        let names: Vec<_> = styles().keys().map(String::as_str).collect();
        assert_eq!(names, ["boxed", "minerva-4shot", "plain", "qwen-math", "r1-zero"]);
        for (name, style) in styles() {
            assert_eq!(style.problems(), Vec::<String>::new(), "{name}");
        }
    }
}
