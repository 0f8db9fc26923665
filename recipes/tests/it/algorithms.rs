//! What the algorithms make of a step: dynamic sampling, credit, probes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "counts, and runs that are equal to the bit")]

use std::path::Path;

use evals::run::{Line, read_log};

use crate::runs::{RECIPE, Run, assert_equal};

/// `RECIPE` without its reference model, with `settings` in its stage of reinforcement learning.
fn with(settings: &str) -> String {
    let plain = RECIPE.replace("loss = { kl = { kind = \"k3\" } }\n", "");
    plain.replace("group_size = 4", &format!("group_size = 4\n{settings}"))
}

fn train(root: &Path, recipe: &str) -> Vec<Line> {
    Run { recipe, ..Run::new(root) }.train().unwrap();
    read_log(&root.join("metrics.jsonl")).unwrap()
}

fn refused(recipe: &str) -> String {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    format!("{:#}", Run { recipe, ..Run::new(&root) }.train().unwrap_err())
}

/// The steps of reinforcement learning.
fn steps(lines: &[Line]) -> &[Line] {
    &lines[3..]
}

const BY_REWARD: &str = "metric = \"reward\", gen_batch = 2, max_batches = 8";

#[test]
fn dynamic_sampling_fills_the_batch_with_groups_that_differ() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = with(&format!("dynamic_sampling = {{ {BY_REWARD} }}"));
    let lines = train(&temp.path().join("run"), &recipe);
    let mut drawn = 0.0;
    for line in steps(&lines) {
        let number = |key: &str| line.number(key).unwrap();
        assert_eq!(number("dynamic_sampling/kept"), 3.0);
        // Two problems a round, three groups wanted.
        assert_eq!(number("dynamic_sampling/drawn"), 2.0 * number("dynamic_sampling/batches"));
        assert!(number("dynamic_sampling/batches") >= 2.0);
        assert!(number("dynamic_sampling/discarded") <= 1.0);
        assert!(number("critic/advantages/max") > 0.0);
        drawn += number("dynamic_sampling/drawn");
        let epochs = drawn / 54.0;
        assert!((number("training/epoch") - epochs).abs() < 1e-12, "discarded problems are drawn");
    }
}

#[test]
fn a_batch_that_cannot_be_filled_is_an_error_that_says_why() {
    // Nobody solves a sum with an answer cut off before its box closes.
    let error = refused(&with("dynamic_sampling = { max_batches = 2 }"));
    let start = "dynamic sampling of step 3: 0 of 3 groups have spread after 2 rounds of 3 problems; \
                 0 % of the groups are solved by every completion, 100 % by none";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error
            .contains("\nraise `stage.1.dynamic_sampling.max_batches` or `stage.1.group_size`, or"),
        "{error}"
    );
    assert!(error.ends_with("--set stage.1.dynamic_sampling.max_batches=4 --resume --changed"));
    let error = refused(&with("dynamic_sampling = { max_batches = 2, at_cap = \"error\" }"));
    assert!(error.starts_with(start), "without any group there is nothing to go on with: {error}");
}

#[test]
fn a_step_may_go_on_with_fewer_groups() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = with("dynamic_sampling = { metric = \"reward\", gen_batch = 1, max_batches = 2 }");
    let lines = train(&temp.path().join("run"), &recipe);
    let kept = steps(&lines).iter().map(|line| line.number("dynamic_sampling/kept").unwrap());
    assert!(kept.clone().all(|kept| (1.0..=2.0).contains(&kept)));
    let warned = steps(&lines).iter().map(|line| line.number("health/batch_not_full"));
    assert!(warned.clone().all(|warned| warned == Some(1.0)));
}

#[test]
fn every_algorithm_takes_its_steps() {
    for name in [
        "grpo",
        "dr-grpo",
        "rloo",
        "reinforce++",
        "reinforce++-baseline",
        "gpg",
        "gspo",
        "gmpo",
        "cispo",
        "sapo",
        "clip-cov",
        "kl-cov",
        "dapo",
        "stare",
    ] {
        let temp = tempfile::tempdir().unwrap();
        // Both updates of a step have a gradient only where every group has spread.
        let sampling = format!("dynamic_sampling = {{ {BY_REWARD} }}");
        let settings = format!("algorithm = \"{name}\"\n{sampling}");
        let lines = train(&temp.path().join("run"), &with(&settings));
        let norms = steps(&lines).iter().map(|line| line.number("actor/grad_norm").unwrap());
        assert!(
            norms.clone().any(|norm| norm > 0.0) && norms.clone().all(f64::is_finite),
            "{name}"
        );
        let moved = steps(&lines).iter().any(|line| line.number("actor/ppo_kl") != Some(0.0));
        assert!(moved, "{name}: two updates a step move the ratio");
    }
}

const STARE: &str = "weighting = { kind = \"stare\", reweight_w = 2.0, target_entropy = TARGET }";

#[test]
fn a_closed_gate_changes_no_bit() {
    let temp = tempfile::tempdir().unwrap();
    let plain = train(&temp.path().join("plain"), &with(""));
    let closed = train(&temp.path().join("closed"), &with(&STARE.replace("TARGET", "1e-6")));
    let open = train(&temp.path().join("open"), &with(&STARE.replace("TARGET", "1e6")));
    let norms = |lines: &[Line]| -> Vec<_> {
        steps(lines).iter().map(|line| line.number("actor/grad_norm").unwrap()).collect()
    };
    assert_eq!(norms(&plain), norms(&closed));
    assert_ne!(norms(&plain), norms(&open), "an open gate does");
    for (plain, closed) in plain.iter().zip(&closed) {
        for (key, value) in &plain.fields {
            assert_eq!(closed.fields.get(key), Some(value), "{key} of step {}", plain.step);
        }
    }
}

#[test]
fn micro_batches_change_a_batch_wide_ranking_by_no_more_than_rounding() {
    let temp = tempfile::tempdir().unwrap();
    let stare = STARE.replace("TARGET", "1e6");
    let small = train(&temp.path().join("small"), &with(&stare));
    let one = with(&stare).replace("micro_batch_tokens = 40", "micro_batch_tokens = 4000");
    let one = train(&temp.path().join("one"), &one);
    for key in ["actor/pg_loss", "actor/grad_norm", "actor/stare/mean_weight"] {
        for (small, one) in steps(&small).iter().zip(steps(&one)) {
            let far = (small.number(key).unwrap() - one.number(key).unwrap()).abs();
            assert!(far < 1e-4, "{key}: {far}");
        }
    }
    let own = stare.replace("reweight_w = 2.0", "reweight_w = 2.0, scope = \"micro-batch\"");
    let own = train(&temp.path().join("own"), &with(&own));
    let weight = |line: &Line| line.number("actor/stare/mean_weight").unwrap();
    assert!(
        steps(&own).iter().zip(steps(&small)).any(|(own, small)| weight(own) != weight(small)),
        "ranked within each micro-batch, other tokens are chosen"
    );
}

#[test]
fn cut_completions_leave_the_loss_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let plain = train(&temp.path().join("plain"), &with(""));
    let filtered = train(&temp.path().join("filtered"), &with("overlong_filtering = true"));
    let number = |line: &Line, key: &str| line.number(key).unwrap();
    let (plain, filtered) = (&plain[3], &filtered[3]);
    let cut = number(filtered, "overlong/filtered");
    assert_eq!(cut, number(plain, "response_length/clip_ratio"));
    assert!(cut > 0.0 && cut < 1.0, "some are cut: {cut}");
    assert_eq!(number(plain, "critic/advantages/max"), number(filtered, "critic/advantages/max"));
    assert_ne!(number(plain, "actor/grad_norm"), number(filtered, "actor/grad_norm"));
}

#[test]
fn a_step_without_a_token_in_the_loss_leaves_controllers_alone() {
    let settings = "overlong_filtering = true\n\
        weighting = { kind = \"stare\", reweight_w = 1.25, target_entropy = 0.001, adaptive = { step = 0.125 } }\n\
        entropy_bonus = { kind = \"adaptive\", target = 1e6, step = 0.01, start = 0.02, max = 1.0 }";
    let temp = tempfile::tempdir().unwrap();
    let recipe = with(settings);
    let cut =
        recipe.replace("rollout = { max_new_tokens = 6 }", "rollout = { max_new_tokens = 1 }");
    let lines = train(&temp.path().join("cut"), &cut);
    for line in steps(&lines) {
        let number = |key: &str| line.number(key).unwrap();
        assert_eq!(number("overlong/filtered"), 1.0, "every completion is cut");
        assert_eq!((number("training/num_tokens"), number("actor/grad_norm")), (0.0, 0.0));
        assert_eq!((number("stare/gate_on"), number("stare/reweight_w")), (1.0, 1.25));
        assert!(line.number("entropy/lambda").is_none(), "of no token there is nothing to say");
    }
    let state =
        std::fs::read_to_string(temp.path().join("cut/checkpoints/step-000006/trainer.json"));
    let state = state.unwrap();
    let state: String = state.split_whitespace().collect();
    assert!(state.contains(r#""now":"0.02""#), "{state}");
    // With tokens in the loss, both move.
    let lines = train(&temp.path().join("whole"), &recipe.replace("overlong_filtering = true", ""));
    let last = &steps(&lines)[3];
    let (weight, gate) = (last.number("stare/reweight_w"), last.number("stare/gate_on"));
    assert_eq!((weight, gate), (Some(1.0), Some(0.0)));
    assert!((last.number("actor/entropy_coefficient").unwrap() - 0.06).abs() < 1e-12);
}

#[test]
fn a_gate_compares_nats_a_token_whatever_the_aggregation() {
    let temp = tempfile::tempdir().unwrap();
    for aggregation in ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"] {
        let settings = STARE.replace("TARGET", "0.5");
        let settings = format!("{settings}\nloss.aggregation.kind = \"{aggregation}\"");
        let lines = train(&temp.path().join(aggregation), &with(&settings));
        for line in steps(&lines) {
            let [gate, mean] = ["stare/batch_entropy", "actor/entropy"].map(|key| line.number(key));
            assert!(
                (gate.unwrap() - mean.unwrap()).abs() < 1e-12,
                "{aggregation}: {gate:?} {mean:?}"
            );
        }
    }
}

#[test]
fn a_kl_in_the_reward_acts_through_the_advantages_once_there_is_one() {
    let temp = tempfile::tempdir().unwrap();
    let dr = "advantage = { kind = \"dr-grpo\" }";
    let plain = train(&temp.path().join("plain"), &with(dr));
    let settings = format!("{dr}\nreward_kl = {{ kind = \"k2\", coefficient = 1e4 }}");
    let lines = train(&temp.path().join("kl"), &with(&settings));
    let number = |line: &Line, key: &str| line.number(key).unwrap();
    let (first, last) = (&steps(&lines)[0], &steps(&lines)[3]);
    assert_eq!(number(first, "actor/reward_kl_penalty"), 0.0, "it starts at the reference");
    for key in ["actor/grad_norm", "critic/advantages/max", "critic/rewards/mean"] {
        assert_eq!(first.number(key), steps(&plain)[0].number(key), "{key}");
    }
    // Rewards are within -1 and 1.
    assert!(number(last, "actor/reward_kl_penalty") > 0.0);
    assert!(
        number(last, "critic/advantages/max") > 2.0 && number(last, "critic/rewards/max") <= 1.0
    );
    assert!(number(&steps(&plain)[3], "critic/advantages/max") < 2.0);
}

#[test]
fn all_state_is_in_the_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = with(&format!(
        "dynamic_sampling = {{ {BY_REWARD} }}\n\
         weighting = {{ kind = \"stare\", reweight_w = {{ auto = 1.5 }}, target_entropy = 1e6 }}\n\
         entropy_bonus = {{ kind = \"adaptive\", target = 4.0, step = 0.01, start = 0.02, max = 1.0 }}\n\
         old_log_probs = \"rescore\"\n\
         importance = {{ kind = \"truncated\", level = \"token\", cap = 2.0 }}\n\
         reward_kl = {{ kind = \"k2\", coefficient = 0.5, adaptive = {{ target = 1e-4, horizon = 12 }} }}\n\
         probe = {{ every = 2, problems = 2, group_size = 2 }}"
    ));
    let (whole, root) = (temp.path().join("whole"), temp.path().join("parts"));
    let lines = train(&whole, &recipe);
    for key in
        ["stare/critical_weight", "actor/entropy_coefficient", "rollout_corr/rollout_is_mean"]
    {
        assert!(lines[5].number(key).is_some(), "{key}");
    }
    assert_ne!(lines[6].number("actor/reward_kl_penalty_coeff"), Some(0.5), "it moves");
    let changes = ["probe_delta", "batch_delta", "predicted_delta", "measured_delta"];
    for key in changes.map(|name| format!("entropy/{name}")) {
        assert!(lines[5].number(&key).is_some_and(|change| change != 0.0), "{key}");
    }
    for step in 0..6 {
        let run = if step == 0 { Run::new(&root) } else { Run::resumed(&root) };
        Run { recipe: &recipe, one_step: true, ..run }.train().unwrap();
    }
    assert_equal(&whole, &root);
}
