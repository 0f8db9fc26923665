use super::*;
use crate::Log;

/// A step of a run that goes well: the reward rises from 0.3, the entropy falls from 0.5 to 0.3,
/// and everything is noisy.
fn healthy(step: u64) -> Vec<(&'static str, f64)> {
    let time = step as f64 / 200.0;
    let noise = ((step * 7919 % 101) as f64 / 50.0) - 1.0;
    vec![
        ("actor/entropy", 0.5 - 0.2 * time.min(1.0) + 0.02 * noise),
        ("critic/rewards/mean", (0.3 + 0.5 * time).min(0.92) + 0.05 * noise),
        ("critic/rewards/max", 1.0),
        ("critic/rewards/min", 0.0),
        ("response_length/clip_ratio", if step.is_multiple_of(3) { 1.0 } else { 0.1 }),
        ("actor/grad_norm", 0.8 + 0.5 * noise),
        ("rollout_corr/log_prob_gap_mean", 3e-6),
        ("rollout_corr/log_prob_gap_max", 9e-5),
    ]
}

fn metrics(values: &[(&'static str, f64)]) -> Metrics {
    let mut metrics = Metrics::new(Log::Metrics);
    for &(key, value) in values {
        metrics.set(key, value).unwrap();
    }
    metrics
}

type Values = Vec<(&'static str, f64)>;

/// Steps of a healthy run, but for what `change` says of each.
fn run(steps: u64, change: impl Fn(u64) -> Values) -> Vec<Metrics> {
    let step = |step| {
        let changed = change(step);
        let mut values = healthy(step);
        values.retain(|(key, _)| changed.iter().all(|(other, _)| other != key));
        values.extend(changed);
        metrics(&values)
    };
    (1..=steps).map(step).collect()
}

fn watch() -> Watch {
    Watch::new(1000, Agreement::Rounded)
}

/// Steps and warnings of a run.
fn said(steps: &[Metrics]) -> Vec<(u64, Warning)> {
    let mut watch = watch();
    let each = (1..).zip(steps);
    each.flat_map(|(step, metrics)| {
        watch.observe(step, metrics).into_iter().map(move |warning| (step, warning))
    })
    .collect()
}

#[track_caller]
fn check(steps: u64, change: impl Fn(u64) -> Values, expected: &[(u64, &str)]) {
    let said = said(&run(steps, change));
    let said: Vec<_> = said.iter().map(|(step, warning)| (*step, warning.name)).collect();
    assert_eq!(said, expected);
}

#[test]
fn a_healthy_run_has_no_warning() {
    check(600, |_| Vec::new(), &[]);
}

#[test]
fn a_collapse_is_said_when_it_begins_and_every_fifty_steps() {
    let entropy = |step: u64| if step <= 30 { 0.5 } else { 0.05 };
    let change = |step: u64| vec![("actor/entropy", entropy(step))];
    let expected = [(35, "entropy_collapse"), (85, "entropy_collapse"), (135, "entropy_collapse")];
    check(140, change, &expected);
    // The limit is a fifth of the start's.
    let limits = said(&run(40, change)).into_iter().map(|(_, warning)| warning.limit);
    assert_eq!(limits.collect::<Vec<_>>(), [Some(0.1)]);
    // A fifth is not below a fifth.
    check(140, |step| vec![("actor/entropy", if step <= 30 { 0.5 } else { 0.1001 })], &[]);
}

#[test]
fn a_collapse_is_judged_by_all_that_was_sampled() {
    let change = |step: u64| {
        let entropy = if step <= 30 { 0.5 } else { 0.05 };
        vec![("unfiltered/entropy", entropy), ("actor/entropy", 0.4)]
    };
    check(40, change, &[(35, "entropy_collapse")]);
}

#[test]
fn the_act_against_a_collapse_depends_on_the_gate() {
    let act = |more: Values| {
        let change = move |step: u64| {
            let entropy = ("actor/entropy", if step <= 30 { 0.5 } else { 0.05 });
            more.iter().copied().chain([entropy]).collect()
        };
        said(&run(40, change)).swap_remove(0).1.act
    };
    assert!(act(Vec::new()).contains("`stage.rl.entropy_bonus = "));
    assert!(act(vec![("stare/gate_on", 1.0)]).starts_with("raise `stage.rl.weighting.reweight_w`"));
}

#[test]
fn a_policy_that_is_nearly_always_right_may_be_sure() {
    let change = |step: u64| {
        let entropy = if step <= 30 { 0.5 } else { 0.05 };
        vec![("actor/entropy", entropy), ("critic/rewards/mean", 0.95)]
    };
    check(90, change, &[]);
}

#[test]
fn a_warning_that_was_gone_begins_anew() {
    let change = |step: u64| {
        let low = (31..=50).contains(&step) || step > 80;
        vec![("actor/entropy", if low { 0.02 } else { 0.5 })]
    };
    check(90, change, &[(35, "entropy_collapse"), (85, "entropy_collapse")]);
}

#[test]
fn an_explosion_is_a_tripled_entropy_or_a_nearly_uniform_policy() {
    let rising = |step: u64| vec![("actor/entropy", 0.4 + 0.02 * step as f64)];
    check(55, rising, &[(51, "entropy_explosion")]);
    // Of a policy that was unsure from the start, 6.91 nats being the most.
    let unsure = |step: u64| vec![("actor/entropy", if step <= 30 { 5.0 } else { 6.5 })];
    check(40, unsure, &[(35, "entropy_explosion")]);
    // One that begins blindly is not made worse by training.
    check(60, |_| vec![("actor/entropy", 6.8)], &[]);
    // Tripled, and still sure of most tokens.
    check(60, |step| vec![("actor/entropy", 0.03 + 0.003 * step as f64)], &[]);
}

#[test]
fn a_flat_reward_is_one_that_does_not_rise_and_could() {
    let noise = |step: u64| 0.05 * (((step * 7919 % 101) as f64 / 50.0) - 1.0);
    let flat = move |step: u64| vec![("critic/rewards/mean", 0.4 + noise(step))];
    check(160, flat, &[(100, "reward_flat"), (150, "reward_flat")]);
    check(99, flat, &[]);
    let slow = move |step: u64| vec![("critic/rewards/mean", 0.4 + 0.001 * step as f64)];
    check(300, slow, &[]);
    check(300, |_| vec![("critic/rewards/mean", 0.93)], &[]);
    // No spread at all has a warning of its own.
    check(300, |_| vec![("critic/rewards/mean", 0.0), ("critic/rewards/max", 0.0)], &[]);
}

#[test]
fn an_end_token_that_is_never_sampled_is_told_from_one_bad_step() {
    let cut = |step: u64| vec![("response_length/clip_ratio", if step > 20 { 1.0 } else { 0.0 })];
    check(30, cut, &[(25, "end_token_never_sampled")]);
    check(24, cut, &[]);
    let almost = |step: u64| {
        vec![("response_length/clip_ratio", if step.is_multiple_of(5) { 0.99 } else { 1.0 })]
    };
    check(60, almost, &[]);
}

#[test]
fn a_gap_is_judged_by_the_agreement_that_is_due() {
    let mean = |_| vec![("rollout_corr/log_prob_gap_mean", 2e-4)];
    check(9, mean, &[(1, "log_prob_gap")]);
    let max = |_| vec![("rollout_corr/log_prob_gap_max", 2e-3)];
    check(9, max, &[(1, "log_prob_gap")]);
    let gaps = |mean: f64, max: f64| {
        let values =
            vec![("rollout_corr/log_prob_gap_mean", mean), ("rollout_corr/log_prob_gap_max", max)];
        run(1, |_| values.clone()).remove(0)
    };
    let mut exact = Watch::new(1000, Agreement::Exact);
    assert!(exact.observe(1, &gaps(0.0, 0.0)).is_empty());
    let found = exact.observe(2, &gaps(1e-12, 1e-9));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "log_prob_gap");
    assert!(found[0].cause.contains("1.0e-9 at most; on a CPU"), "{}", found[0].cause);
}

#[test]
fn a_gap_that_is_no_number_is_said() {
    let mean = |_| vec![("rollout_corr/log_prob_gap_mean", f64::NAN)];
    check(9, mean, &[(1, "log_prob_gap")]);
    let max = |_| vec![("rollout_corr/log_prob_gap_max", f64::NAN)];
    check(9, max, &[(1, "log_prob_gap")]);
    let mut exact = Watch::new(1000, Agreement::Exact);
    let both = |_| {
        vec![
            ("rollout_corr/log_prob_gap_mean", f64::NAN),
            ("rollout_corr/log_prob_gap_max", f64::NAN),
        ]
    };
    let found = exact.observe(1, &run(1, both)[0]);
    assert_eq!(found.len(), 1);
    assert!(found[0].cause.contains("NaN nats apart in the mean and NaN at most"), "{found:?}");
}

#[test]
fn a_gradient_norm_far_from_the_usual_is_said() {
    let norm = |from: u64, norm: f64| {
        move |step: u64| vec![("actor/grad_norm", if step >= from { norm } else { 0.8 })]
    };
    check(44, norm(40, 4.0), &[(41, "grad_norm_spike")]);
    let once =
        |norm: f64| move |step: u64| vec![("actor/grad_norm", if step == 40 { norm } else { 0.8 })];
    check(60, once(9.0), &[(40, "grad_norm_spike")]);
    check(60, once(4.0), &[]);
    // Nothing is usual in the first steps, and a number that is none is no news here.
    check(60, |step| vec![("actor/grad_norm", if step < 10 { 9.0 } else { 0.8 })], &[]);
    check(60, once(f64::NAN), &[]);
    // Where nothing pulls in most steps, the others are usual.
    let seldom =
        |step: u64| vec![("actor/grad_norm", if step.is_multiple_of(5) { 0.8 } else { 0.0 })];
    check(60, seldom, &[]);
}

#[test]
fn a_supervised_step_says_nothing() {
    let step = metrics(&[("train/loss", 2.0), ("train/grad_norm", 100.0)]);
    let mut watch = watch();
    assert!((1..300).all(|at| watch.observe(at, &step).is_empty()));
}

#[test]
fn a_stage_has_its_own_start() {
    let steps = run(40, |_| vec![("actor/entropy", 0.9)]);
    let mut watch = watch();
    (1..).zip(&steps).for_each(|(step, metrics)| assert!(watch.observe(step, metrics).is_empty()));
    watch.begin_stage();
    let steps = run(40, |_| vec![("actor/entropy", 0.1)]);
    (41..).zip(&steps).for_each(|(step, metrics)| assert!(watch.observe(step, metrics).is_empty()));
}

/// A run with everything wrong with it, at one time or other.
fn troubled() -> Vec<Metrics> {
    run(200, |step| {
        let wave = (step as f64 / 9.0).sin().powi(2);
        vec![
            ("actor/entropy", 0.02 + wave / 3.0),
            ("critic/rewards/mean", 0.4 + wave / 7.0),
            ("actor/grad_norm", if (120..130).contains(&step) { 8.0 } else { wave }),
            ("response_length/clip_ratio", (2.0 * wave).min(1.0)),
        ]
    })
}

#[test]
fn resumed_after_any_step_it_says_the_same() {
    let steps = troubled();
    let whole = said(&steps);
    let names: std::collections::BTreeSet<_> = whole.iter().map(|(_, one)| one.name).collect();
    assert!(names.len() >= 3, "{names:?}");
    let (mut one, mut heard) = (watch(), Vec::new());
    for (step, metrics) in (1..).zip(&steps) {
        let text = one.state().to_string();
        let mut resumed = watch();
        resumed.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(resumed.state().to_string(), text);
        heard.extend(resumed.observe(step, metrics).into_iter().map(|warning| (step, warning)));
        one = resumed;
    }
    assert_eq!(heard, whole);
}

#[test]
fn its_memory_is_bounded_and_a_strange_state_is_refused() {
    let steps = troubled();
    let mut watch = watch();
    let mut size = 0;
    for step in 1..2000 {
        watch.observe(step, &steps[step as usize % steps.len()]);
        size = size.max(watch.state().to_string().len());
    }
    assert!(size < 16_000, "{size}");
    let error = watch.restore(&serde_json::json!({"moods": 1})).unwrap_err().to_string();
    assert!(error.starts_with("state of the health watch: unknown field `moods`"), "{error}");
    watch.restore(&Value::Null).unwrap();
    assert_eq!(watch.state(), Watch::new(1000, Agreement::Rounded).state());
}

#[test]
fn every_warning_is_a_declared_metric() {
    for (_, warning) in said(&troubled()) {
        assert!(crate::metrics::spec(&format!("health/{}", warning.name)).is_some());
    }
}

#[test]
fn a_state_with_a_list_for_an_object_is_refused() {
    let mut one = watch();
    for (step, metrics) in (1..).zip(&troubled()) {
        one.observe(step, metrics);
    }
    let state = one.state();
    let name = state["said"].as_object().unwrap().keys().next().unwrap().clone();
    let mut listed = state.clone();
    listed["said"][&name] = serde_json::json!([1, 2]);
    let error = watch().restore(&listed).unwrap_err().to_string();
    assert!(error.ends_with(&format!("said.{name}: expected an object, got a list")), "{error}");
    watch().restore(&state).unwrap();
}
