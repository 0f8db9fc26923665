//! One run of a report.

use std::collections::{BTreeMap, BTreeSet};

use evals::run::{GroupEntry, Level};
use serde_json::{Value, json};

use super::answers::{Elements, escaped};
use super::choose::choose;
use super::{Draft, Unwritten};
use crate::problem;
use crate::runs::{Shared, lock};
use crate::series::Series;

/// Problems of evaluations whose places are shown: as many as the page lists.
const MOST_PROBLEMS: usize = 150;

/// A run of a report.
pub(super) struct Part {
    route: String,
    run: Shared,
    /// What the run is.
    about: Value,
    /// The lines of its index.
    index: Vec<GroupEntry>,
    /// Groups and evaluations that are in.
    groups: BTreeSet<(u64, usize)>,
    evals: BTreeSet<(String, u64)>,
    has_alarms: bool,
}

impl Part {
    /// The run with its curves and warnings in the draft.
    pub(super) fn open(draft: &mut Draft, route: String, run: Shared) -> Result<Self, Unwritten> {
        let about = draft.asker.ask(&route).value();
        let about = about.ok_or_else(|| Unwritten::Unread(format!("{route} cannot be read")))?;
        let health = format!("{route}/health?after=0");
        draft.elements.answer(&health, &draft.asker.ask(&health));
        let (series, index) = {
            let run = lock(&run);
            let keys = run.metrics.keys().iter().chain(run.timings.keys()).cloned().collect();
            (Series::of(&run, keys, 0).to_bytes(), run.index.lines.clone())
        };
        draft.elements.columns(&format!("{route}/series"), series);
        let (groups, evals) = Default::default();
        Ok(Self { route, run, about, index, groups, evals, has_alarms: false })
    }

    /// Bytes of what [`Part::finish`] adds, at most.
    pub(super) fn size(&self) -> usize {
        let mut own = Elements::default();
        own.json(&self.route, &self.about);
        own.json(&format!("{}/groups", self.route), &json!({ "lines": self.index }));
        own.size_beside(&Elements::default())
    }

    /// Sets and steps of its evaluations: the last and the first of each set, then the others from
    /// the newest back.
    fn evaluations(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for one in self.about["evals"].as_array().into_iter().flatten() {
            let set = one["set"].as_str().unwrap_or_default();
            let steps = one["steps"].as_array().into_iter().flatten();
            let mut steps: Vec<_> = steps.filter_map(Value::as_u64).rev().collect();
            if steps.len() > 2 {
                let first = steps.pop();
                steps.splice(1..1, first);
            }
            all.extend(steps.into_iter().enumerate().map(|(at, step)| (at, set.to_owned(), step)));
        }
        all.sort();
        all.into_iter().map(|(_, set, step)| (set, step)).collect()
    }

    /// Adds evaluations problem by problem, as far as there is room beside `kept` bytes.
    pub(super) fn add_evaluations(&mut self, draft: &mut Draft, kept: usize) {
        let mut shares = BTreeMap::new();
        for (set, step) in self.evaluations() {
            let path = format!("{}/evals/{}/{step}", self.route, escaped(&set));
            let own = evaluation(draft, &path, &mut shares);
            if draft.take(own, kept) {
                self.evals.insert((set, step));
            }
        }
        let mut hardest: Vec<_> =
            shares.into_iter().map(|(id, (sum, count))| (sum / f64::from(count), id)).collect();
        hardest.sort_by(|a, b| a.0.total_cmp(&b.0));
        hardest.truncate(MOST_PROBLEMS);
        self.add_places(draft, &hardest.into_iter().map(|(_, id)| id).collect(), kept);
    }

    /// Adds evaluations that are not in yet, as far as there is room.
    pub(super) fn add_more_evaluations(&mut self, draft: &mut Draft) {
        for (set, step) in self.evaluations() {
            if self.evals.contains(&(set.clone(), step)) {
                continue;
            }
            let path = format!("{}/evals/{}/{step}", self.route, escaped(&set));
            let own = evaluation(draft, &path, &mut BTreeMap::new());
            if draft.take(own, 0) {
                self.evals.insert((set, step));
            }
        }
    }

    /// Adds every place of some problems.
    fn add_places(&self, draft: &mut Draft, ids: &BTreeSet<String>, kept: usize) {
        // A text that cannot be read is told of where its group is shown.
        let mut places = problem::places(&lock(&self.run), ids).unwrap_or_default();
        // The page asks for the tokens of evaluations where there are some; here there are none.
        places.values_mut().flatten().for_each(|place| place.number = None);
        for (id, places) in places {
            let mut own = Elements::default();
            own.json(&format!("{}/problem?id={}", self.route, escaped(&id)), &places);
            draft.take(own, kept);
        }
    }

    /// Adds recorded groups in their order of importance, as far as there is room.
    pub(super) fn add_groups(&mut self, draft: &mut Draft, count: usize) {
        let alarms: BTreeSet<u64> = {
            let run = lock(&self.run);
            let alarms = run.health.lines.iter().filter(|line| line.level == Level::Alarm);
            alarms.map(|line| line.step).collect()
        };
        self.has_alarms = self.index.iter().any(|entry| alarms.contains(&entry.step));
        let mut ids = BTreeSet::new();
        for entry in choose(&self.index, &alarms, count) {
            let base = format!("{}/groups/{}/{}", self.route, entry.step, entry.group);
            let mut own = Elements::default();
            for path in [base.clone(), format!("{base}/tokens"), format!("{base}/tree")] {
                own.answer(&path, &draft.asker.ask(&path));
            }
            if draft.take(own, 0) {
                self.groups.insert((entry.step, entry.group));
                ids.insert(entry.id.clone());
            }
        }
        self.add_places(draft, &ids, 0);
    }

    /// Adds what depends on what else is in, and says what was left out.
    pub(super) fn finish(mut self, draft: &mut Draft) -> Vec<String> {
        let is_in = |entry: &GroupEntry| self.groups.contains(&(entry.step, entry.group));
        let steps: BTreeSet<u64> = self.groups.iter().map(|(step, _)| *step).collect();
        self.about["sampled"] = json!(steps);
        let asked: usize = self.evaluations().len();
        for one in self.about["evals"].as_array_mut().into_iter().flatten() {
            let set = one["set"].as_str().unwrap_or_default().to_owned();
            let steps = self.evals.range((set.clone(), 0)..=(set, u64::MAX));
            one["steps"] = steps.map(|(_, step)| *step).collect();
        }
        if let Some(evals) = self.about["evals"].as_array_mut() {
            evals.retain(|one| one["steps"].as_array().is_some_and(|steps| !steps.is_empty()));
        }
        draft.elements.json(&self.route, &self.about);
        // The list of a step begins with the groups that can be opened.
        let (shown, others): (Vec<_>, Vec<_>) = self.index.iter().partition(|one| is_in(one));
        let lines: Vec<_> = shown.iter().chain(&others).collect();
        draft.elements.json(&format!("{}/groups", self.route), &json!({ "lines": lines }));
        let name = lock(&self.run).name();
        let mut notes = Vec::new();
        if !self.index.is_empty() {
            let (alarms, steps) = (
                if self.has_alarms { ", and those of alarms" } else { "" },
                if steps.is_empty() { String::new() } else { of_steps(&steps) },
            );
            notes.push(format!(
                "{name}: {} of {} recorded groups are in it{steps}: those with the most spread of \
                 the first, the middle and the last recorded step{alarms}, as far as --groups and \
                 --max-mb allow.",
                shown.len(),
                self.index.len()
            ));
        }
        if asked > 0 {
            notes.push(format!(
                "{name}: {} of {asked} evaluations are in it problem by problem, without the texts \
                 of completions.",
                self.evals.len()
            ));
        }
        notes
    }
}

fn of_steps(steps: &BTreeSet<u64>) -> String {
    const MOST: usize = 12;
    let named: Vec<_> = steps.iter().take(MOST).map(u64::to_string).collect();
    let more = if steps.len() > MOST { " and others" } else { "" };
    format!(" (steps {}{more})", named.join(", "))
}

/// All pages of an evaluation, without the texts of completions. `shares` are summed by problem.
fn evaluation(draft: &Draft, path: &str, shares: &mut BTreeMap<String, (f64, u32)>) -> Elements {
    let (mut own, mut after) = (Elements::default(), Some(0));
    while let Some(from) = after {
        let page = format!("{path}?after={from}");
        let answer = draft.asker.ask(&page);
        let Some(mut value) = answer.value() else {
            own.answer(&page, &answer);
            return own;
        };
        for line in value["lines"].as_array_mut().into_iter().flatten() {
            if let (Some(id), Some(correct), Some(n)) =
                (line["id"].as_str(), line["correct"].as_f64(), line["n"].as_f64())
            {
                let (sum, count) = shares.entry(id.to_owned()).or_default();
                *sum += correct / n.max(1.0);
                *count += 1;
            }
            line["texts"] = json!([]);
            if let Some(greedy) = line.get_mut("greedy").and_then(Value::as_object_mut) {
                greedy.remove("text");
            }
        }
        after = value["next"].as_u64();
        own.json(&page, &value);
    }
    own
}
