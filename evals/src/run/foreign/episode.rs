//! An episode of prime-rl: traces, each a graph of messages with their tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::tokens::flag;
use super::spell::Speller;
use super::told::{Told, ToldTokens};
use super::verl::outcome;

/// Reasons to stop that cut a trace.
const CUT: [&str; 5] =
    ["max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed"];
/// Columns of a node, compact over its mask, and those that annotations add.
const STREAMS: [&str; 4] = ["advantages", "trainer_logprobs", "entropies", "is_masked"];

/// The steps that a trace, or an annotation of it, names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Learnt from, arrived, asked for.
    steps: [Option<u64>; 3],
    is_evaluation: bool,
}

impl Marks {
    pub(super) fn of(trace: &Value) -> Self {
        let info = trace.get("info");
        let step = |key: &str| info?.get(key)?.get("step")?.as_u64();
        let is_evaluation =
            info.and_then(|info| info.get("kind")).is_some_and(|kind| kind == "eval");
        Self { steps: ["ship", "arrival", "dispatch"].map(step), is_evaluation }
    }

    /// The same with what a later annotation names.
    #[must_use]
    pub(super) fn then(self, later: Self) -> Self {
        let step = |at: usize| later.steps[at].or(self.steps[at]);
        Self { steps: [step(0), step(1), step(2)], ..self }
    }

    /// The step that a trace of training was learnt from in, or arrived in where it was not; none
    /// of a trace of an evaluation.
    pub(super) fn step(self) -> Option<u64> {
        let [ship, arrival, dispatch] = self.steps;
        ship.or(arrival).or(dispatch).filter(|_| !self.is_evaluation)
    }
}

/// Nodes from the root to each leaf, in the order of the leaves.
fn branches(nodes: &[Value]) -> Vec<Vec<usize>> {
    let parent = |node: &Value| {
        let parent = node.get("parent")?.as_u64()? as usize;
        (parent < nodes.len()).then_some(parent)
    };
    let parents: BTreeSet<usize> = nodes.iter().filter_map(parent).collect();
    let leaves = (0..nodes.len()).filter(|node| !parents.contains(node));
    let path = |leaf: usize| {
        let (mut path, mut at) = (Vec::new(), Some(leaf));
        while let Some(node) = at.filter(|node| !path.contains(node)) {
            path.push(node);
            at = parent(&nodes[node]);
        }
        path.reverse();
        path
    };
    leaves.map(path).collect()
}

/// A node's column over all its tokens; NaN where it has none.
fn column(node: &Map<String, Value>, key: &str, mask: &[bool]) -> Vec<f32> {
    let count = mask.iter().filter(|own| **own).count();
    let list = node.get(key).and_then(Value::as_array).filter(|list| list.len() == count);
    let mut values = list.into_iter().flatten();
    let mut next = || values.next().and_then(Value::as_f64).unwrap_or(f64::NAN) as f32;
    mask.iter().map(|own| if *own { next() } else { f32::NAN }).collect()
}

fn mask(node: &Map<String, Value>) -> Vec<bool> {
    let list = |key: &str| node.get(key).and_then(Value::as_array);
    let (count, mask) = (list("token_ids").map_or(0, Vec::len), list("mask"));
    (0..count).map(|at| mask.and_then(|mask| mask.get(at)) == Some(&Value::Bool(true))).collect()
}

/// Puts what annotations say of the branches onto the nodes, in the order in which they were
/// written. A node takes a column only where it is there for all of its sampled tokens.
fn fold(nodes: &mut [Value], updates: &[Value]) {
    let paths = branches(nodes);
    for branch in updates.iter().filter_map(|update| update.get("branches")?.as_array()).flatten() {
        let path =
            branch.get("index").and_then(Value::as_u64).and_then(|at| paths.get(at as usize));
        for key in STREAMS {
            let (Some(path), Some(stream)) = (path, branch.get(key).and_then(Value::as_array))
            else {
                continue;
            };
            let mut rest = stream.as_slice();
            for &node in path {
                let Some(node) = nodes[node].as_object_mut() else { break };
                let mask = mask(node);
                let Some((own, after)) = rest.split_at_checked(mask.len()) else { break };
                rest = after;
                let sampled = own.iter().zip(&mask).filter(|(_, own)| **own);
                let sampled: Vec<Value> = sampled.map(|(value, _)| value.clone()).collect();
                let is_whole = sampled.iter().all(|value| !value.is_null());
                if !sampled.is_empty() && (is_whole || key == "is_masked") {
                    node.insert(key.into(), sampled.into());
                }
            }
        }
    }
}

/// The tokens of a branch from the first that the policy generated on, and the ids before.
fn tokens(path: &[&Map<String, Value>]) -> Option<(ToldTokens, Vec<u32>)> {
    let (mut own, mut all_masks) = (ToldTokens::default(), Vec::new());
    let mut clipped = Vec::new();
    for node in path {
        let mask = mask(node);
        let ids = node.get("token_ids").and_then(Value::as_array).into_iter().flatten();
        own.id.extend(ids.map(|id| id.as_u64().unwrap_or_default() as u32));
        own.log_prob.extend(column(node, "logprobs", &mask));
        own.entropy.extend(column(node, "entropies", &mask));
        own.train_log_prob.extend(column(node, "trainer_logprobs", &mask));
        own.reference.extend(column(node, "reference_logprobs", &mask));
        let masked = node.get("is_masked").and_then(Value::as_array);
        let mut masked = masked.into_iter().flatten();
        clipped
            .extend(mask.iter().map(|is_own| *is_own && masked.next() == Some(&Value::Bool(true))));
        all_masks.extend(mask);
    }
    let first = all_masks.iter().position(|own| *own)?;
    let prompt = own.id.drain(..first).collect();
    for column in [&mut own.log_prob, &mut own.entropy, &mut own.train_log_prob, &mut own.reference]
    {
        column.drain(..first);
    }
    if own.reference.iter().all(|value| value.is_nan()) {
        own.reference.clear();
    }
    let flags = all_masks.iter().zip(&clipped).skip(first).map(|(mask, clipped)| {
        let left_out = if *clipped || !mask { flag::LEFT_OUT } else { 0 };
        left_out | if *mask { flag::GENERATED } else { 0 }
    });
    own.flags = flags.collect();
    Some((own, prompt))
}

/// What a message says.
fn content(node: &Map<String, Value>) -> (&str, String) {
    let message = node.get("message");
    let role = message.and_then(|own| own.get("role")?.as_str()).unwrap_or_default();
    let text = match message.and_then(|own| own.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
        }
        _ => String::new(),
    };
    (role, text)
}

/// A trace as a completion: its last branch, with its annotations in the order in which they were
/// written. None without a token that the policy generated. Where no trace of the run
/// `is_annotated`, nobody says what was learnt from.
pub(super) fn told(
    episode: &Value,
    trace: &Value,
    own: &[Value],
    is_annotated: bool,
    speller: &Speller,
) -> Option<Told> {
    if trace.pointer("/agent/trainable") == Some(&Value::Bool(false)) {
        return None;
    }
    let mut nodes = trace.get("nodes")?.as_array()?.clone();
    fold(&mut nodes, own);
    let path = branches(&nodes).pop()?;
    let path: Vec<_> = path.iter().filter_map(|node| nodes[*node].as_object()).collect();
    let (tokens, prompt_ids) = tokens(&path)?;
    let is_sampled = |node: &&&Map<String, Value>| node.get("sampled") == Some(&Value::Bool(true));
    let before: Vec<_> =
        path.iter().take_while(|node| !is_sampled(node)).map(|own| content(own)).collect();
    let turns: Vec<_> = before.iter().map(|(role, text)| format!("{role}\n{text}\n")).collect();
    let prompt = turns.concat();
    let question = before.iter().rev().find(|(role, _)| *role == "user");
    let problem = question.map_or_else(|| speller.of(&prompt_ids).0, |(_, text)| text.clone());
    let infos = own.iter().rev().map(|update| update.get("info")).chain([trace.get("info")]);
    let infos: Vec<_> = infos.flatten().collect();
    let info = |key: &str| infos.iter().find_map(|info| info.get(key));
    let gold = trace.pointer("/task/data/answer");
    let (parts, reward) = rewards(trace);
    let name = |of: &str, key: &str| episode.get(of).and_then(|own| own.get(key)?.as_str());
    let metrics = trace.get("metrics").and_then(Value::as_object).into_iter().flatten();
    let (text, text_end) = speller.of(&tokens.id);
    let calls = trace.get("calls").and_then(Value::as_array).into_iter().flatten();
    let done = calls.rev().find(|call| call.get("error").is_none_or(Value::is_null));
    let finish = done.and_then(|call| call.get("finish_reason")?.as_str());
    let stop = trace.get("stop_condition").and_then(Value::as_str).unwrap_or_default();
    let mut first = path.iter().filter_map(|node| node.get("advantages")?.as_array()?.first());
    Some(Told {
        group: name("group", "id").map_or_else(|| problem.clone(), |id| format!("id {id}")),
        source: name("env", "name").or(name("env", "id")).unwrap_or_default().to_owned(),
        problem,
        prompt,
        gold: gold.and_then(Value::as_str).unwrap_or_default().to_owned(),
        text,
        answer: None,
        outcome: outcome(reward > 0.0),
        reward,
        parts,
        metrics: metrics.filter_map(|(key, one)| Some((key.clone(), one.as_f64()?))).collect(),
        advantage: info("advantage")
            .and_then(Value::as_f64)
            .or(first.next_back().and_then(Value::as_f64)),
        kept: !is_annotated || info("effective") == Some(&Value::Bool(true)),
        is_cut: CUT.contains(&stop) || finish == Some("length"),
        tokens: Some(ToldTokens { text_end, ..tokens }),
    })
}

/// Scores by name, and their weighted sum.
fn rewards(trace: &Value) -> (BTreeMap<String, f64>, f64) {
    let all = trace.get("rewards").and_then(Value::as_object).into_iter().flatten();
    let score = |one: &Value| one.get("score").and_then(Value::as_f64);
    let weight = |one: &Value| one.get("weight").and_then(Value::as_f64).unwrap_or(1.0);
    let scored = all.filter_map(|(name, one)| Some((name.clone(), score(one)?, weight(one))));
    let scored: Vec<_> = scored.collect();
    let sum = scored.iter().map(|(_, score, weight)| score * weight).sum();
    (scored.into_iter().map(|(name, score, _)| (name, score)).collect(), sum)
}
