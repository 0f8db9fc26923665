//! prime-rl until August 2026: `token_exports/step_N/rank_R.jsonl`, a sequence a line with columns
//! of its tokens, whole when `STABLE` stands beside it.
//!
//! Source: prime-rl 004274e, `src/prime_rl/trainer/rl/token_export.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::tokens::flag;
use super::super::{Seen, entries, is_folder};
use super::rows::Rows;
use super::spell::{self, Speller};
use super::steps::lines;
use super::told::{Told, ToldTokens};
use super::verl::outcome;
use super::{Absent, Origin, Problem, Reader};

/// The version of a line that is known.
const SCHEMA: u64 = 1;

/// What neither form of prime-rl's files has.
pub(super) const ABSENT: [Absent; 2] = [
    Absent {
        name: "no_phi",
        why: "prime-rl records neither the sum behind Φ nor weights and selection of tokens: Φ, the \
              quadrants by Φ, weight and credit of tokens are absent",
        act: "read the quadrants by quantile, which follow from log-probs and advantages",
    },
    Absent {
        name: "tokens_as_ids",
        why: "the files have ids of tokens and not their texts; a completion counts as correct \
              where its reward is above 0",
        act: "name the model's tokenizer with `--tokenizer`, to read texts",
    },
];

/// The files of a run.
#[derive(Debug)]
pub(super) struct Exports {
    root: PathBuf,
    speller: Speller,
}

impl Exports {
    /// The output directory at `root`.
    pub(super) fn find(root: &Path, speller: &Speller) -> Option<Self> {
        let own = || Self { root: root.to_owned(), speller: speller.clone() };
        is_folder(&root.join("token_exports")).then(own)
    }
}

/// A column of `count` numbers; NaN where it says null, nothing where there is none.
pub(super) fn numbers(value: Option<&Value>, count: usize) -> Option<Vec<f32>> {
    let list = value?.as_array().filter(|list| list.len() == count)?;
    Some(list.iter().map(|one| one.as_f64().unwrap_or(f64::NAN) as f32).collect())
}

fn told(object: &Map<String, Value>, speller: &Speller) -> Result<Told, String> {
    let list = |key: &str| object.get(key).and_then(Value::as_array);
    let ids = list("token_ids").ok_or("expected `token_ids`")?;
    let ids: Option<Vec<u32>> = ids.iter().map(|id| id.as_u64()?.try_into().ok()).collect();
    let ids = ids.ok_or("expected whole numbers as `token_ids`")?;
    let count = ids.len();
    let mask = list("loss_mask").filter(|mask| mask.len() == count);
    let mask = mask.ok_or_else(|| format!("expected {count} values of `loss_mask`"))?;
    let mask: Vec<bool> = mask.iter().map(|own| own == &Value::Bool(true)).collect();
    let first = mask.iter().position(|own| *own).ok_or("expected a token that is learnt from")?;
    // What comes before is the prompt.
    let own = |key: &str| {
        let column = numbers(object.get(key), count);
        column.map_or_else(|| vec![f32::NAN; count - first], |column| column[first..].to_vec())
    };
    let is_set =
        |key: &str, at: usize| list(key).and_then(|all| all.get(at)) == Some(&Value::Bool(true));
    let flags = (first..count).map(|at| {
        let bits = [
            (mask[at], flag::GENERATED),
            (is_set("is_masked_high", at), flag::CLIPPED_ABOVE),
            (is_set("is_masked_low", at), flag::CLIPPED_BELOW),
            (is_set("is_masked", at) || !mask[at], flag::LEFT_OUT),
        ];
        bits.iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum()
    });
    let flags = flags.collect();
    let number = |column: &[f32]| column.iter().copied().find(|own| !own.is_nan()).map(f64::from);
    let (text, text_end) = speller.of(&ids[first..]);
    let (prompt, _) = speller.of(&ids[..first]);
    let reward = number(&own("rewards"));
    Ok(Told {
        group: spell::numbers(&ids[..first]).0,
        source: object.get("env_name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        problem: prompt.clone(),
        prompt,
        gold: String::new(),
        text,
        answer: None,
        outcome: outcome(reward.is_some_and(|reward| reward > 0.0)),
        reward: reward.unwrap_or(f64::NAN),
        parts: BTreeMap::new(),
        metrics: BTreeMap::new(),
        advantage: number(&own("advantages")),
        kept: true,
        is_cut: false,
        tokens: Some(ToldTokens {
            id: ids[first..].to_vec(),
            text_end,
            flags,
            log_prob: own("inference_logprobs"),
            entropy: own("entropy"),
            train_log_prob: own("trainer_logprobs"),
            reference: Vec::new(),
            importance: own("importance_ratio"),
        }),
    })
}

impl Reader for Exports {
    fn origin(&self) -> Origin {
        Origin::PrimeRl
    }

    fn steps(&self) -> BTreeMap<u64, Vec<Seen>> {
        let step = |name: &str| name.strip_prefix("step_")?.parse().ok();
        let folders = entries(&self.root.join("token_exports")).into_iter();
        let whole = folders.filter(|(_, path)| path.join("STABLE").exists());
        let ranks = |path: &Path| {
            let is_rank =
                |name: &str| name.starts_with("rank_") && name.strip_suffix(".jsonl").is_some();
            let files = entries(path).into_iter().filter(|(name, _)| is_rank(name));
            files.map(|(_, path)| Seen::of(&path)).collect()
        };
        whole.filter_map(|(name, path)| Some((step(&name)?, ranks(&path)))).collect()
    }

    fn read(&self, _: u64, files: &[Seen], problems: &mut Vec<Problem>) -> Vec<Told> {
        let mut all = Vec::new();
        for Seen { path, .. } in files {
            let mut is_known = true;
            for (number, value) in lines(path, problems) {
                let version = value.get("schema_version").and_then(Value::as_u64);
                if version != Some(SCHEMA) && is_known {
                    is_known = false;
                    let got = version.map_or("none".to_owned(), |own| own.to_string());
                    let reason = format!("expected schema_version {SCHEMA}, got {got}");
                    let act = "only version 1 is known; what it has in common is shown";
                    let problem = Problem::of_line(path, number, reason);
                    problems.push(Problem { act: act.into(), ..problem });
                }
                let read = value.as_object().ok_or_else(String::new);
                match read.and_then(|object| told(object, &self.speller)) {
                    Ok(told) => all.push(told),
                    Err(reason) => problems.push(Problem {
                        act: "this line is skipped and the others are shown".into(),
                        ..Problem::of_line(path, number, reason)
                    }),
                }
            }
        }
        all
    }

    fn logs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn rows(&self, _: &mut Vec<Problem>) -> Rows {
        Rows::default()
    }

    fn absent(&self) -> &'static [Absent] {
        &ABSENT
    }
}
