//! The record of a run as its readers see it: tokens that give back what the metrics say, and
//! samples within their budget.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evals::run::{Run as Record, StepTokens, flag};
use recipes::train::Ended;
use rewards::dynamics::{dynamics, surprising};
use rewards::weighting::{Gate, Reweight, Stare};
use rewards::{LossTerms, TokenColumns, WeightingConfig};

use crate::runs::{RECIPE, Run, assert_equal};

/// One update a step, without a reference, by STARE with an open gate; every group is recorded.
fn stare() -> String {
    let recipe = RECIPE
        .replace("loss = { kl = { kind = \"k3\" } }\n", "")
        .replace("updates_per_step = 2\n", "weighting = { kind = \"stare\", gate = \"open\" }\n")
        .replace("groups = 2", "groups = 99");
    assert_ne!(recipe, RECIPE);
    recipe
}

/// The tokens in the loss as weightings read them.
struct Tokens {
    surprisals: Vec<f32>,
    entropies: Vec<f32>,
    phi_sums: Vec<f32>,
    advantages: Vec<f64>,
    weights: Vec<f64>,
    flags: Vec<u8>,
    samples: Vec<std::ops::Range<usize>>,
}

impl Tokens {
    fn of(all: &StepTokens) -> Self {
        let (surprisals, entropies, phi_sums) = Default::default();
        let (advantages, weights, flags, samples) = Default::default();
        let mut own = Self { surprisals, entropies, phi_sums, advantages, weights, flags, samples };
        for (range, advantage) in all.completion_start.windows(2).zip(&all.completion_advantage) {
            let rows = range[0] as usize..range[1] as usize;
            if all.flags[rows.clone()].iter().any(|one| one & flag::LEFT_OUT > 0) {
                continue;
            }
            let start = own.surprisals.len();
            own.surprisals.extend(all.log_prob[rows.clone()].iter().map(|one| -one));
            own.entropies.extend(&all.entropy[rows.clone()]);
            own.phi_sums.extend(&all.phi_sum[rows.clone()]);
            own.weights.extend(all.weight[rows.clone()].iter().map(|&one| f64::from(one)));
            own.flags.extend(&all.flags[rows.clone()]);
            own.advantages.extend(std::iter::repeat_n(f64::from(*advantage), rows.len()));
            own.samples.push(start..own.surprisals.len());
        }
        own
    }

    fn columns(&self) -> TokenColumns<'_> {
        TokenColumns {
            surprisals: &self.surprisals,
            entropies: &self.entropies,
            phi_sums: &self.phi_sums,
            advantages: &self.advantages,
            samples: &self.samples,
            seed: 0,
        }
    }
}

/// Equal prefixes are computed equally, which the tree of a group sees for free.
#[test]
fn siblings_agree_on_the_entropy_after_what_they_share() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run { recipe: &stare(), ..Run::new(&root) }.train().unwrap();
    let samples = Record::open(&root).unwrap().samples().unwrap();
    let mut branches = 0;
    for entry in &samples.index {
        let nodes = samples.tree(entry).unwrap();
        assert_eq!(nodes[0].siblings.len(), entry.n);
        assert_eq!(nodes[0].correct, entry.correct);
        assert!(nodes.iter().all(|node| node.entropies_agree), "{entry:?}: {nodes:?}");
        for (at, &length) in entry.lengths.iter().enumerate() {
            let own = nodes.iter().filter(|node| node.siblings.contains(&at));
            assert_eq!(own.map(|node| node.len).sum::<usize>(), length);
        }
        branches += nodes.iter().filter(|node| node.len > 0 && node.siblings.len() > 1).count();
    }
    assert!(branches > 0, "no two completions share a token");
}

#[test]
fn selection_weights_and_the_predicted_change_follow_from_the_recorded_tokens() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run { recipe: &stare(), ..Run::new(&root) }.train().unwrap();
    let record = Record::open(&root).unwrap();
    assert!(record.problems.is_empty(), "{:?}", record.problems);
    let (metrics, samples) = (record.metrics().unwrap(), record.samples().unwrap());
    let mut selected = 0;
    for (row, &step) in metrics.steps().iter().enumerate().skip(3) {
        let all = samples.tokens(step).unwrap().read().unwrap();
        let tokens = Tokens::of(&all);
        let (columns, value) = (tokens.columns(), |key: &str| metrics.get(row, key).unwrap());
        // Rounding to single precision is all that the record loses.
        let near = |key: &str, found: f64| {
            let logged = value(key);
            assert!(
                (logged - found).abs() <= 1e-6 * logged.abs().max(0.1),
                "{key}: {found} {logged}"
            );
        };
        let found = dynamics(&columns, &LossTerms::default(), &tokens.weights, 0.1);
        // A quotient of two small sums, which magnifies the rounding.
        for (key, found) in found.iter().filter(|(key, _)| key != "entropy/critical_weight") {
            near(key, *found);
        }
        assert!(found.iter().any(|(key, _)| key == "entropy/predicted_delta"));
        let surprising = surprising(&columns, 0.1);
        let mut thresholds = [f64::INFINITY; 2];
        let (w, m) = (value("stare/reweight_w"), value("stare/reweight_m"));
        let stare = Stare {
            gate: Gate::Open,
            reweight_w: Reweight::Fixed(w),
            reweight_m: m,
            ..Stare::default()
        };
        let weights = WeightingConfig::Stare(stare).build().weights(&columns).weights;
        for (token, own) in tokens.flags.iter().enumerate() {
            assert_eq!(own & flag::SURPRISING > 0, surprising[token]);
            assert_eq!(own & flag::SELECTED > 0, weights[token].to_bits() != 1.0_f64.to_bits());
            assert!((weights[token] - tokens.weights[token]).abs() < 1e-6);
            selected += u32::from(own & flag::SELECTED > 0);
            if surprising[token] {
                let side = usize::from(tokens.advantages[token] < 0.0);
                thresholds[side] = thresholds[side].min(f64::from(tokens.surprisals[token]));
            }
        }
        let file = samples.tokens(step).unwrap();
        let logged = [file.about().threshold_plus, file.about().threshold_minus];
        let logged = logged.map(|one| one.unwrap_or(f64::INFINITY).to_bits());
        assert_eq!(logged, thresholds.map(f64::to_bits));
        // On a CPU the first update sees what sampling saw; it computes what has an advantage.
        let both = all.train_log_prob.iter().zip(&all.log_prob).filter(|(one, _)| one.is_finite());
        assert!(both.clone().count() > 0 && both.clone().all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    assert!(selected > 0, "some tokens are selected");
}

/// Steps whose samples take most of a mebibyte, of which little fits.
pub(crate) fn large() -> String {
    let recipe = RECIPE
        .replace("batch = 3\ngroup_size = 4", "batch = 6\ngroup_size = 16")
        .replace(
            "tokens_every = 1\nsamples = { every = 1, groups = 2 }",
            "samples = { every = 1, groups = 6, budget_mib = 1 }",
        )
        .replace("sampling = { max_new_tokens = 6 }", "sampling = { max_new_tokens = 100 }")
        .replace("micro_batch_tokens = 40", "micro_batch_tokens = 4000")
        .replace(
            "rollout = { max_new_tokens = 6 }",
            "rollout = { max_new_tokens = 100, min_new_tokens = 100 }",
        )
        .replace("steps = 4", "steps = 7");
    assert!(recipe.contains("budget_mib = 1") && recipe.contains("group_size = 16"));
    recipe
}

fn bytes(root: &Path) -> u64 {
    let files = fs::read_dir(root.join("samples")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn thinned_stopped_and_resumed_it_equals_an_unbroken_run() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    let recipe = large();
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let record = Record::open(&whole).unwrap();
    let steps: Vec<_> = record.samples().unwrap().steps().into_keys().collect();
    assert!(steps.len() < 7 && steps.iter().all(|step| step.is_multiple_of(2)), "{steps:?}");
    assert!(bytes(&whole) <= 1 << 20, "{}", bytes(&whole));
    assert!(record.generation() > 0, "thinning is a new generation");
    for step in &steps {
        record.samples().unwrap().tokens(*step).unwrap().read().unwrap();
    }
    let mut run = Run { recipe: &recipe, one_step: true, ..Run::new(&root) };
    while run.train().unwrap() == Ended::Interrupted {
        assert!(bytes_or_none(&root) <= 1 << 20);
        run = Run { recipe: &recipe, one_step: true, ..Run::resumed(&root) };
    }
    assert_equal(&whole, &root);
    // From a checkpoint before a thinning on: what was thinned is gone already.
    let last = root.join("checkpoints/step-000009");
    fs::remove_dir_all(&last).unwrap();
    Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap();
    assert_equal(&whole, &root);
}

fn bytes_or_none(root: &Path) -> u64 {
    if root.join("samples").exists() { bytes(root) } else { 0 }
}

/// A stage whose groups are all without spread: nothing was learnt, so nothing is solved.
fn without_spread() -> String {
    let rl = RECIPE.find("[[stage]]\nkind = \"sft\"").unwrap();
    let stage = RECIPE.find("[[stage]]\nkind = \"rl\"").unwrap();
    let recipe = [&RECIPE[..rl], &RECIPE[stage..]].concat();
    recipe
        .replace(", { kind = \"length\", aim = \"short\" }", "")
        .replace("samples = { every = 1,", "samples = { every = 3,")
        .replace("updates_per_step = 2", "dynamic_sampling = { max_batches = 2 }")
}

#[test]
fn a_step_that_can_learn_from_no_group_leaves_its_samples_and_a_resume_cuts_them() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let error = Run { recipe: &without_spread(), ..Run::new(&root) }.train().unwrap_err();
    assert!(error.to_string().contains("0 of 3 groups have spread"), "{error}");
    let samples = Record::open(&root).unwrap().samples().unwrap();
    let index: Vec<_> = samples.index.iter().map(|one| (one.step, one.group, one.kept)).collect();
    // Although a third step would be the first to be recorded.
    assert_eq!(index, [0, 1, 2, 3].map(|group| (1, group, false)));
    for entry in &samples.index {
        assert_eq!(samples.group(entry).unwrap().id, entry.id);
    }
    let tokens = samples.tokens(1).unwrap().read().unwrap();
    assert!(!tokens.token.is_empty() && tokens.weight.iter().all(|weight| weight.is_nan()));
    let recipe = without_spread().replace("dynamic_sampling = { max_batches = 2 }\n", "");
    Run { recipe: &recipe, changed: true, ..Run::resumed(&root) }.train().unwrap();
    let whole = temp.path().join("whole");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let files = |root: &Path| {
        let mut files = crate::runs::contents(root);
        files.retain(|name, _| name.starts_with("samples/"));
        files
    };
    assert!(files(&root) == files(&whole), "{:?}", files(&root).keys());
}

/// The tokens of every step of reinforcement learning, with the row of their metrics.
fn all_tokens(root: &Path) -> Vec<(usize, StepTokens)> {
    let record = Record::open(root).unwrap();
    let (metrics, samples) = (record.metrics().unwrap(), record.samples().unwrap());
    let steps = metrics.steps().iter().enumerate().skip(3);
    steps.map(|(row, &step)| (row, samples.tokens(step).unwrap().read().unwrap())).collect()
}

#[test]
fn clipped_tokens_have_a_flag_and_are_as_many_as_the_metrics_say() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let dual = "loss = { policy_loss = { clip_low = 0.02, clip_high = 0.03, dual_clip = 1.04 } }\n";
    let recipe = RECIPE
        .replace("loss = { kl = { kind = \"k3\" } }\n", dual)
        .replace("lr = 1e-3", "lr = 3e-2")
        .replace("groups = 2", "groups = 99");
    assert!(recipe.contains(dual) && recipe.contains("updates_per_step = 2"));
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let metrics = Record::open(&root).unwrap().metrics().unwrap();
    let (mut clips, mut ceilings) = (0, 0);
    for (row, tokens) in all_tokens(&root) {
        let count = |bit: u8| tokens.flags.iter().filter(|own| **own & bit > 0).count();
        let (above, below) = (count(flag::CLIPPED_ABOVE), count(flag::CLIPPED_BELOW));
        let share = |key: &str| {
            let share = metrics.get(row, key).unwrap();
            (share * tokens.token.len() as f64).round() as usize
        };
        // Each token is in one update of the step, and at one bound at most.
        let (clipped, ceiling) = (share("actor/pg_clipfrac"), share("actor/pg_clipfrac_lower"));
        assert_eq!(above + below, clipped + ceiling, "row {row}");
        (clips, ceilings) = (clips + clipped, ceilings + ceiling);
        let starts = tokens.completion_start.windows(2).zip(&tokens.completion_advantage);
        for (range, advantage) in starts {
            let own = &tokens.flags[range[0] as usize..range[1] as usize];
            let has = |bit: u8| own.iter().any(|flags| flags & bit > 0);
            assert!(!has(flag::CLIPPED_ABOVE) || *advantage > 0.0, "it bounds good tokens");
            assert!(!has(flag::CLIPPED_BELOW) || *advantage < 0.0, "it bounds bad tokens");
            // The old log-prob is the rollout's, and each token is in one update.
            let new = tokens.new_log_prob.as_ref().unwrap();
            let rows = range[0] as usize..range[1] as usize;
            let pairs = new[rows.clone()].iter().zip(&tokens.log_prob[rows]);
            for ((new, old), flags) in pairs.zip(own) {
                let ratio = f64::from(new - old).exp();
                let is_above = *advantage > 0.0 && ratio > 1.03;
                let is_below = *advantage < 0.0 && !(0.98..=1.04).contains(&ratio);
                assert_eq!(flags & flag::CLIPPED_ABOVE > 0, is_above, "{ratio}");
                assert_eq!(flags & flag::CLIPPED_BELOW > 0, is_below, "{ratio}");
                assert_eq!(new.is_nan(), *advantage == 0.0);
            }
        }
    }
    assert!(clips > 0 && ceilings > 0, "{clips} {ceilings}: some bounds acted");
}

#[test]
fn importance_weights_are_a_column_and_those_out_of_bounds_have_a_flag() {
    let temp = tempfile::tempdir().unwrap();
    for (bounds, expected, weight) in
        [("low = 1.5, high = 2.0", true, 0.0), ("low = 0.5, high = 2.0", false, 1.0)]
    {
        let root = temp.path().join(bounds);
        let importance = format!("importance = {{ kind = \"masked\", {bounds} }}\n");
        let recipe = RECIPE
            .replace(
                "updates_per_step = 2\n",
                &format!("old_log_probs = \"rescore\"\n{importance}"),
            )
            .replace("groups = 2", "groups = 99");
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        // On a CPU sampling and training agree, so that every ratio is 1.
        for (_, tokens) in all_tokens(&root) {
            let outside = tokens.flags.iter().map(|own| own & flag::OUT_OF_BOUNDS > 0);
            assert!(outside.clone().count() > 0 && outside.clone().all(|own| own == expected));
            let column = tokens.importance.unwrap();
            assert!(column.iter().all(|own| own.to_bits() == f32::to_bits(weight)), "{column:?}");
            assert!(tokens.ref_log_prob.is_some() && tokens.penalty.is_none());
            let old = tokens.old_log_prob.unwrap();
            assert!(old.iter().zip(&tokens.log_prob).all(|(a, b)| a.to_bits() == b.to_bits()));
            assert!(tokens.new_log_prob.is_none(), "there is one update");
        }
    }
}

#[test]
fn penalties_are_a_column_where_the_loss_has_them() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE
        .replace("loss = { kl = { kind = \"k3\" } }\n", "")
        .replace("updates_per_step = 2\n", "weighting = { kind = \"kl-cov\", share = 0.2 }\n")
        .replace("groups = 2", "groups = 99");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    for (_, tokens) in all_tokens(&root) {
        assert!(tokens.ref_log_prob.is_none() && tokens.importance.is_none());
        let penalties = tokens.penalty.unwrap();
        assert!(penalties.iter().any(|own| *own > 0.0));
        for (penalty, own) in penalties.iter().zip(&tokens.flags) {
            assert!(*penalty == 0.0 || own & flag::SELECTED > 0);
        }
    }
}

#[test]
fn alternatives_are_the_likeliest_tokens_of_a_position_and_change_nothing_else() {
    const K: usize = 3;
    let temp = tempfile::tempdir().unwrap();
    let (plain, root) = (temp.path().join("plain"), temp.path().join("run"));
    Run::new(&plain).train().unwrap();
    let recipe = RECIPE.replace("groups = 2 }", "groups = 2, alternatives = 3 }");
    assert_ne!(recipe, RECIPE);
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let metrics = |root: &Path| fs::read(root.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(&root), metrics(&plain));
    assert!(all_tokens(&plain).iter().all(|(_, tokens)| tokens.alt_token.is_none()));
    let mut chosen = 0;
    for (_, tokens) in all_tokens(&root) {
        let (ids, log_probs) = (tokens.alt_token.unwrap(), tokens.alt_log_prob.unwrap());
        assert_eq!((ids.len(), log_probs.len()), (K * tokens.token.len(), K * tokens.token.len()));
        for (at, (token, log_prob)) in tokens.token.iter().zip(&tokens.log_prob).enumerate() {
            let own = K * at..K * (at + 1);
            let (ids, log_probs) = (&ids[own.clone()], &log_probs[own]);
            assert!(log_probs.is_sorted_by(|a, b| a >= b), "{log_probs:?}");
            let sum: f64 = log_probs.iter().map(|&one| f64::from(one).exp()).sum();
            assert!(sum <= 1.0 + 1e-5, "{sum}");
            match ids.iter().position(|id| id == token) {
                Some(place) => {
                    chosen += 1;
                    assert_eq!(log_probs[place].to_bits(), log_prob.to_bits());
                }
                None => assert!(log_probs[K - 1] >= *log_prob),
            }
        }
    }
    assert!(chosen > 0, "some tokens are among the likeliest");
    // A part of the rows, read by itself.
    let samples = Record::open(&root).unwrap().samples().unwrap();
    let mut file = samples.tokens(3).unwrap();
    let all = file.read().unwrap();
    let (ids, log_probs) = file.alternatives(1..3).unwrap().unwrap();
    assert_eq!(ids, all.alt_token.unwrap()[K..3 * K]);
    assert_eq!(log_probs, all.alt_log_prob.unwrap()[K..3 * K]);
}

#[test]
fn a_step_that_exceeds_the_budget_alone_is_not_recorded_and_said_once() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE
        .replace(
            "samples = { every = 1, groups = 2 }",
            "samples = { every = 1, groups = 99, budget_mib = 1 }",
        )
        .replace("steps = 4\nbatch = 3\ngroup_size = 4", "steps = 2\nbatch = 50\ngroup_size = 64")
        .replace("micro_batch_tokens = 40", "micro_batch_tokens = 4000");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let record = Record::open(&root).unwrap();
    assert!(record.samples().unwrap().steps().is_empty());
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    assert_eq!(log.matches("more than record.samples.budget_mib = 1").count(), 1, "{log}");
}
