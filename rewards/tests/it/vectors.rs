//! The golden vectors of `testdata/stare_vectors.json`, made by the program beside them and checked
//! there against the reference code; and deliberately broken variants, which the vectors must
//! catch.

use rewards::verifier::Overlong;
use rewards::{AdvantageConfig, group};
use serde_json::Value;

use crate::advantages::of_group;

pub(crate) const TOLERANCE: f64 = 1e-10;

pub(crate) fn section(name: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../testdata/stare_vectors.json")).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{name}");
    cases
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The indices of each group, in the order in which groups first appear.
fn groups(case: &Value) -> Vec<(u64, Vec<usize>)> {
    let mut groups: Vec<(u64, Vec<usize>)> = Vec::new();
    for (index, id) in case["group"].as_array().unwrap().iter().enumerate() {
        let id = id.as_u64().unwrap();
        match groups.iter_mut().find(|(other, _)| *other == id) {
            Some((_, members)) => members.push(index),
            None => groups.push((id, vec![index])),
        }
    }
    groups
}

/// The largest distance from the expected advantages, over all cases.
fn advantage_error(estimate: impl Fn(&AdvantageConfig, &[f64]) -> Vec<f64>) -> f64 {
    let mut worst: f64 = 0.0;
    for case in section("group_advantage") {
        let eps = case["eps"].as_f64().unwrap();
        let config = if case["norm_by_std"].as_bool().unwrap() {
            AdvantageConfig::Grpo { eps }
        } else {
            AdvantageConfig::DrGrpo {}
        };
        let (rewards, expected) = (floats(&case["reward"]), floats(&case["expect"]));
        for (_, members) in groups(&case) {
            let own: Vec<f64> = members.iter().map(|&index| rewards[index]).collect();
            let advantages = estimate(&config, &own);
            assert_eq!(advantages.len(), own.len());
            for (&index, advantage) in members.iter().zip(advantages) {
                worst = worst.max((advantage - expected[index]).abs());
            }
        }
    }
    worst
}

/// The textbook form, with its decisions open: the denominator of the variance, and what a group of
/// one is compared with.
fn textbook(config: &AdvantageConfig, rewards: &[f64], ddof: f64, one: (f64, f64)) -> Vec<f64> {
    let n = rewards.len() as f64;
    let (mean, std) = if rewards.len() == 1 {
        one
    } else {
        let mean = rewards.iter().sum::<f64>() / n;
        let squares: f64 = rewards.iter().map(|reward| (reward - mean).powi(2)).sum();
        (mean, (squares / (n - ddof)).sqrt())
    };
    let scale = match config {
        AdvantageConfig::Grpo { eps } => std + eps,
        _ => 1.0,
    };
    rewards.iter().map(|reward| (reward - mean) / scale).collect()
}

#[test]
fn advantages_are_those_of_the_reference() {
    let error = advantage_error(of_group);
    assert!(error < TOLERANCE, "{error}");
}

#[test]
fn the_vectors_catch_broken_advantages() {
    let error = |ddof, one| advantage_error(|config, rewards| textbook(config, rewards, ddof, one));
    assert!(error(1.0, (0.0, 1.0)) < TOLERANCE, "the textbook form itself");
    assert!(error(0.0, (0.0, 1.0)) > 1e-3, "n in place of n - 1");
    assert!(error(1.0, (0.75, 1.0)) > 1e-3, "a group of one compared with itself");
    let other_eps = |config: &AdvantageConfig, rewards: &[f64]| match config {
        AdvantageConfig::Grpo { .. } => of_group(&AdvantageConfig::Grpo { eps: 1e-4 }, rewards),
        _ => of_group(config, rewards),
    };
    assert!(advantage_error(other_eps) > 1e-6, "another eps");
    let swapped = |config: &AdvantageConfig, rewards: &[f64]| match config {
        AdvantageConfig::Grpo { .. } => of_group(&AdvantageConfig::DrGrpo {}, rewards),
        _ => of_group(&AdvantageConfig::default(), rewards),
    };
    assert!(advantage_error(swapped) > 1e-3, "one for the other");
}

/// The largest distance from the expected punishments.
fn overlong_error(punishment: impl Fn(usize, usize, usize) -> f64) -> f64 {
    let mut worst: f64 = 0.0;
    for case in section("overlong") {
        let tokens = |key: &str| case[key].as_u64().unwrap() as usize;
        let own = punishment(tokens("length"), tokens("max_len"), tokens("buffer_len"));
        let expected = case["expect"].as_f64().unwrap();
        worst = worst.max((case["factor"].as_f64().unwrap() * own - expected).abs());
    }
    worst
}

#[test]
fn overlong_punishments_are_those_of_the_reference() {
    let error = overlong_error(|length, max, buffer| {
        Overlong { buffer: buffer.try_into().unwrap() }.punishment(length, max)
    });
    assert!(error < TOLERANCE, "{error}");
    let late = overlong_error(|length, max, buffer| {
        Overlong { buffer: buffer.try_into().unwrap() }.punishment(length - 1, max)
    });
    assert!(late > TOLERANCE, "one token late");
    let hard = overlong_error(|length, max, _| if length >= max { -1.0 } else { 0.0 });
    assert!(hard > 0.1, "a step in place of a slope");
}

#[test]
fn groups_with_spread_are_those_that_the_reference_keeps() {
    for case in section("filter_groups") {
        let metric = floats(&case["metric"]);
        let kept = |keeps: &dyn Fn(&[f64]) -> bool| -> Vec<u64> {
            let keeps = |members: &[usize]| {
                keeps(&members.iter().map(|&index| metric[index]).collect::<Vec<_>>())
            };
            groups(&case).iter().filter(|(_, members)| keeps(members)).map(|(id, _)| *id).collect()
        };
        let expected: Vec<u64> =
            case["expect_kept"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(kept(&group::has_spread), expected);
        let two = |values: &[f64]| values.len() > 1 && group::has_spread(values);
        assert_ne!(kept(&two), expected, "a group of one is kept");
        assert_ne!(kept(&|values| values.contains(&1.0)), expected, "all right is no spread");
    }
}
