//! Figures against their restatement in numpy, `testdata/make_estimates.py`.

use evals::compare::{EXACT, FLIPS};
use evals::interval::{standard_error, wilson};
use evals::majority::majority_at;
use evals::student::{interval, t_quantile};
use evals::{Estimate, Paired, pass_at};
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../testdata/estimates.json")).unwrap();
    file[name].as_array().unwrap().clone()
}

#[track_caller]
fn close(case: &Value, key: &str, found: f64) {
    let expected = case[key].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{key}: {found}, expected {expected}: {case}");
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn count(case: &Value, key: &str) -> usize {
    case[key].as_u64().unwrap() as usize
}

#[test]
fn intervals_are_wilsons_with_the_effective_number_of_trials() {
    for case in cases("wilson") {
        let n = count(&case, "n");
        let (low, high) = wilson(count(&case, "successes") as f64 / n as f64, n);
        close(&case, "low", low);
        close(&case, "high", high);
    }
    let estimates = cases("estimates");
    assert!(estimates.len() > 10);
    for case in estimates {
        let problems = case["scores"].as_array().unwrap().iter().map(numbers);
        let means: Vec<_> =
            problems.map(|scores| scores.iter().sum::<f64>() / scores.len() as f64).collect();
        close(&case, "error", standard_error(&means));
        let found = Estimate::over_problems(&means, 1.0);
        close(&case, "mean", found.mean);
        close(&case, "low", found.low);
        close(&case, "high", found.high);
    }
}

#[test]
fn the_quantile_of_student_is_scipys() {
    let cases = cases("student");
    assert!(cases.len() > 60);
    for case in cases {
        let found = t_quantile(count(&case, "degrees"));
        let expected = case["quantile"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}: {case}");
    }
}

#[test]
fn a_mean_without_bounds_has_the_interval_of_student() {
    let cases = cases("around");
    assert!(cases.len() > 4);
    for case in cases {
        let found = interval(&numbers(&case["values"])).unwrap();
        for (key, found) in ["low", "high"].into_iter().zip(found) {
            // As exact as the quantile.
            let expected = case[key].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-9 * found.abs().max(1.0), "{found}: {case}");
        }
    }
    assert_eq!(interval(&[]), None);
    assert_eq!((interval(&[7.0]), interval(&[0.1 + 0.2, 0.3, 0.3])), (None, None));
}

#[test]
fn pass_at_k_is_a_share_of_subsets() {
    for case in cases("pass") {
        let [n, c, k] = ["n", "c", "k"].map(|key| count(&case, key));
        close(&case, "value", pass_at(n, c, k));
    }
}

#[test]
fn maj_at_k_is_the_mean_over_blocks() {
    let cases = cases("majority");
    assert!(cases.len() > 10);
    for case in cases {
        let votes = case["votes"].as_array().unwrap().iter();
        let votes: Vec<_> = votes.map(|vote| vote.as_u64().map(|class| class as usize)).collect();
        let right = case["right"].as_array().unwrap().iter().map(|one| one.as_bool().unwrap());
        let right: Vec<_> = right.collect();
        close(&case, "value", majority_at(&votes, &right, count(&case, "k")));
    }
}

#[test]
fn pairs_are_compared_as_by_every_flip() {
    let mut drawn = 0;
    for case in cases("paired") {
        let differences = numbers(&case["differences"]);
        let found = Paired::of(&differences, Some(2.0));
        close(&case, "mean", found.mean);
        close(&case, "error", found.standard_error.unwrap());
        let [low, high] = found.interval.unwrap();
        close(&case, "low", low);
        close(&case, "high", high);
        assert_eq!((found.higher, found.lower), (count(&case, "higher"), count(&case, "lower")));
        if found.higher + found.lower <= EXACT {
            close(&case, "p", found.p);
        } else {
            // Four standard errors of the share of drawn flips.
            let p = case["p"].as_f64().unwrap();
            let bound = 4.0 * (p * (1.0 - p) / f64::from(FLIPS)).sqrt() + 1.0 / f64::from(FLIPS);
            assert!((found.p - p).abs() < bound, "{found:?} {p}");
            drawn += 1;
        }
    }
    assert!(drawn >= 2, "both ways were tried");
}
