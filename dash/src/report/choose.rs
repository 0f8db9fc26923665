//! Which of the recorded groups a report shows.

use std::collections::BTreeSet;

use evals::run::GroupEntry;

/// The groups that come first where there is room: `count` of the first, the middle and the last
/// recorded step, those with the most spread, and then all of the steps of alarms.
pub(super) fn choose<'a>(
    index: &'a [GroupEntry],
    alarms: &BTreeSet<u64>,
    count: usize,
) -> Vec<&'a GroupEntry> {
    let steps: BTreeSet<u64> = index.iter().map(|entry| entry.step).collect();
    let steps: Vec<u64> = steps.into_iter().collect();
    let Some(last) = steps.len().checked_sub(1) else { return Vec::new() };
    let chosen: BTreeSet<u64> = [0, last / 2, last].map(|at| steps[at]).into();
    let mut of_steps: Vec<Vec<&GroupEntry>> = Vec::new();
    for step in chosen {
        let mut own: Vec<_> = index.iter().filter(|entry| entry.step == step).collect();
        own.sort_by(|a, b| spread(b).total_cmp(&spread(a)));
        of_steps.push(own);
    }
    let longest = of_steps.iter().map(Vec::len).max().unwrap_or_default();
    let each = (0..longest).flat_map(|at| of_steps.iter().filter_map(move |own| own.get(at)));
    let mut found: Vec<&GroupEntry> = each.copied().take(count).collect();
    let place = |entry: &GroupEntry| (entry.step, entry.group);
    for entry in index.iter().filter(|entry| count > 0 && alarms.contains(&entry.step)) {
        if !found.iter().any(|known| place(known) == place(entry)) {
            found.push(entry);
        }
    }
    found
}

/// Variance of the rewards.
fn spread(entry: &GroupEntry) -> f64 {
    let n = entry.reward.len().max(1) as f64;
    let mean = entry.reward.iter().sum::<f64>() / n;
    entry.reward.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(step: u64, group: usize, reward: &[f64]) -> GroupEntry {
        GroupEntry {
            step,
            stage: "rl".into(),
            group,
            id: String::new(),
            source: String::new(),
            kept: true,
            n: reward.len(),
            correct: 0,
            reward: reward.to_vec(),
            advantage: Vec::new(),
            outcomes: Vec::new(),
            lengths: Vec::new(),
            entropy: None,
            bytes: [0; 2],
            rows: [0; 2],
            completions: [0; 2],
        }
    }

    #[test]
    fn the_most_spread_of_three_steps_come_first_and_then_those_of_alarms() {
        let mut index = Vec::new();
        for step in [10, 20, 30, 40] {
            index.push(entry(step, 0, &[1.0, 1.0]));
            index.push(entry(step, 1, &[1.0, 0.0]));
            index.push(entry(step, 2, &[1.0, 0.5]));
        }
        let places = |count, alarms: &[u64]| {
            let chosen = choose(&index, &alarms.iter().copied().collect(), count);
            chosen.iter().map(|entry| (entry.step, entry.group)).collect::<Vec<_>>()
        };
        assert_eq!(places(4, &[]), [(10, 1), (20, 1), (40, 1), (10, 2)]);
        assert_eq!(
            places(2, &[20, 30, 35]),
            [(10, 1), (20, 1), (20, 0), (20, 2), (30, 0), (30, 1), (30, 2)]
        );
        assert_eq!(places(99, &[]).len(), 9);
        assert_eq!(places(0, &[20]), []);
        assert!(choose(&[], &BTreeSet::new(), 3).is_empty());
        assert_eq!(choose(&index[..1], &BTreeSet::new(), 3).len(), 1);
    }
}
