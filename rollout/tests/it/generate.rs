//! Whole calls on small random models.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use candle::{DType, Device, Tensor};
use engine::{
    Biases, BlockWeights, Family, Model, ModelConfig, Packed, Policy, RopeScaling, Scores, Value,
    Version, WeightSource,
};
use rollout::{
    Finish, Generator, Group, Key, Progress, Purpose, Request, Sampling, Stop, Trajectory,
    to_the_end,
};

pub(crate) fn config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: 41,
        hidden_size: 32,
        intermediate_size: 48,
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        context: 96,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: family == Family::Llama,
        biases: if family == Family::Qwen2 { Biases::QKV } else { Biases::NONE },
        qk_norm: family == Family::Qwen3,
    }
}

/// A model whose distributions are far from flat.
pub(crate) fn model(config: ModelConfig, dtype: DType) -> Model {
    let key = Key { seed: 3, purpose: Purpose::Sample, step: 0 };
    let mut at = 0u32;
    let mut get = |name: &str, shape: &[usize]| {
        let base = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let values: Vec<f64> = (0..shape.iter().product::<usize>())
            .map(|_| {
                at += 1;
                base + 0.7 * (key.uniform(at, 0, 0) - 0.5)
            })
            .collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    Model::new(config, &mut get, dtype, &Device::Cpu).unwrap()
}

const KEY: Key = Key { seed: 11, purpose: Purpose::Train, step: 2 };
const STOPS: &[u32] = &[7, 8];

pub(crate) fn sampling(max: usize) -> Sampling {
    Sampling { max_new_tokens: NonZeroUsize::new(max).unwrap(), ..Sampling::default() }
}

/// Seven prompts of uneven length and group size: with three slots there are tails.
pub(crate) fn requests() -> Vec<Request> {
    (0..7u64)
        .map(|i| Request {
            prompt: (0..3 + i as u32 * 5).map(|t| (t * 13 + i as u32) % 41).collect(),
            prefix: Vec::new(),
            problem: 100 + i,
            group_size: 1 + i as usize % 4,
            greedy: false,
        })
        .collect()
}

/// One completion of one token's prompt.
pub(crate) fn one() -> Request {
    Request { prompt: vec![1], prefix: Vec::new(), problem: 0, group_size: 1, greedy: false }
}

pub(crate) fn run(
    model: &Model,
    requests: &[Request],
    sampling: &Sampling,
    slots: usize,
) -> Vec<Group> {
    generator(model, sampling, slots).generate(requests, &mut to_the_end).unwrap()
}

pub(crate) fn generator<'a>(
    model: &'a Model,
    sampling: &'a Sampling,
    slots: usize,
) -> Generator<'a> {
    Generator {
        policy: model.policy(),
        sampling,
        stop_tokens: STOPS,
        unused: &[],
        stop: None,
        slots,
        alternatives: 0,
        key: KEY,
    }
}

fn trajectories(groups: &[Group]) -> impl Iterator<Item = &Trajectory> {
    groups.iter().flat_map(|group| &group.trajectories)
}

#[test]
fn completions_do_not_depend_on_slots_or_order() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let model = model(config(family), DType::F32);
        let (requests, sampling) = (requests(), Sampling { top_p: 0.95, ..sampling(30) });
        let want = run(&model, &requests, &sampling, 16);
        let lengths: Vec<usize> = trajectories(&want).map(|t| t.completion.len()).collect();
        assert!(lengths.iter().min() != lengths.iter().max(), "uneven lengths: {lengths:?}");
        for slots in [1, 3, 5, 100] {
            assert!(run(&model, &requests, &sampling, slots) == want, "{slots} slots");
        }
        let reversed: Vec<Request> = requests.iter().rev().cloned().collect();
        for slots in [3, 16] {
            let mut got = run(&model, &reversed, &sampling, slots);
            got.reverse();
            assert!(got == want, "reversed, {slots} slots");
        }
    }
}

#[test]
fn the_likeliest_completion_is_that_of_temperature_0_and_changes_no_drawn_one() {
    let model = model(config(Family::Llama), DType::F32);
    let (drawn, warm) = (requests(), Sampling { temperature: 1.3, top_k: 9, ..sampling(24) });
    let both: Vec<_> = drawn.iter().map(|one| Request { greedy: true, ..one.clone() }).collect();
    let single: Vec<_> = drawn.iter().map(|one| Request { group_size: 1, ..one.clone() }).collect();
    let cold = Sampling { temperature: 0.0, ..warm.clone() };
    let likeliest = run(&model, &single, &cold, 16);
    let alone = run(&model, &drawn, &warm, 16);
    for slots in [1, 3, 100] {
        for ((mut both, alone), likeliest) in
            run(&model, &both, &warm, slots).into_iter().zip(&alone).zip(&likeliest)
        {
            let last = both.trajectories.pop().unwrap();
            assert!(both == *alone, "{slots} slots");
            assert!(last == likeliest.trajectories[0], "{slots} slots");
        }
    }
}

#[test]
fn siblings_differ_and_so_do_steps() {
    let model = model(config(Family::Llama), DType::F32);
    let request = [Request { prompt: vec![1, 2, 3], group_size: 8, ..one() }];
    let groups = run(&model, &request, &sampling(20), 8);
    let mut completions: Vec<_> = trajectories(&groups).map(|t| &t.completion).collect();
    completions.sort();
    completions.dedup();
    assert!(completions.len() >= 7);
    let next = Key { step: KEY.step + 1, ..KEY };
    let sampling = sampling(20);
    let other = Generator { key: next, ..generator(&model, &sampling, 8) };
    assert!(other.generate(&request, &mut to_the_end).unwrap() != groups);
}

#[test]
fn scores_equal_the_full_forward_pass() {
    for (family, dtype) in [
        (Family::Llama, DType::F32),
        (Family::Qwen2, DType::F32),
        (Family::Qwen3, DType::F32),
        (Family::Qwen3, DType::F64),
    ] {
        let model = model(config(family), dtype);
        for temperature in [0.0, 0.6, 1.0] {
            let sampling = Sampling { temperature, top_k: 5, min_new_tokens: 4, ..sampling(40) };
            let generator = Generator { alternatives: 3, ..generator(&model, &sampling, 4) };
            for group in generator.generate(&requests(), &mut to_the_end).unwrap() {
                for trajectory in &group.trajectories {
                    assert_eq!(trajectory.alternatives.len(), 3 * trajectory.completion.len());
                    check_scores(&model, &group.prompt, trajectory, temperature);
                }
            }
        }
    }
}

fn check_scores(model: &Model, prompt: &[u32], trajectory: &Trajectory, temperature: f64) {
    let mut packed = Packed::default();
    let prompt = packed.push(prompt, None).unwrap();
    let targets = packed.push_completion(prompt, &trajectory.completion).unwrap();
    let scores = model.score(&packed, &targets, temperature).unwrap();
    let also = model.policy().score_with_alternatives(&packed, &targets, temperature, 3).unwrap();
    assert_eq!(Scores { alternatives: Vec::new(), ..also.clone() }, scores);
    assert_eq!((also.alternatives.len(), scores.alternatives.len()), (3 * targets.len(), 0));
    // A draw that keeps some finds the same.
    let close = |(a, b): (&(u32, f32), &(u32, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 2e-5;
    let exact = model.dtype() == DType::F32;
    let (drawn, scored) = (&trajectory.alternatives, &also.alternatives);
    let is_same = if exact { drawn == scored } else { drawn.iter().zip(scored).all(close) };
    assert!(is_same || drawn.is_empty());
    for (got, want) in [
        (&trajectory.log_probs, &scores.log_probs),
        (&trajectory.entropies, &scores.entropies),
        (&trajectory.phi_sums, &scores.phi_sums),
    ] {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 2e-5, "{got}, expected {want}");
            // The CPU backend, which computes in f32, sums in one order in both passes.
            assert!(!exact || got.to_bits() == want.to_bits(), "{got}, expected {want}");
        }
    }
}

#[test]
fn both_backends_draw_the_same_tokens() {
    let cpu = model(config(Family::Qwen3), DType::F32);
    let reference = model(config(Family::Qwen3), DType::F64);
    let cpu = run(&cpu, &requests(), &sampling(30), 5);
    let reference = run(&reference, &requests(), &sampling(30), 3);
    for (a, b) in trajectories(&cpu).zip(trajectories(&reference)) {
        assert_eq!((&a.completion, a.finish), (&b.completion, b.finish));
    }
}

/// A model's blocks, computed as often as they are asked for: its weights doubled.
#[derive(Debug)]
struct Doubled<'a>(&'a Model, Version);

impl WeightSource for Doubled<'_> {
    fn version(&self) -> Version {
        self.1
    }

    fn embed(&self) -> engine::Result<Value> {
        self.0.embed()
    }

    fn block(&self, layer: usize) -> engine::Result<Cow<'_, BlockWeights<Value>>> {
        let block = self.0.block(layer)?;
        let doubled = |weight: &Value| -> engine::Result<Value> {
            let weight = weight.tensor(DType::F32, &Device::Cpu)?;
            Ok((weight.detach() * 2.0)?.into())
        };
        let doubled = (*block).as_ref().try_map(doubled)?;
        Ok(Cow::Owned(doubled))
    }

    fn norm(&self) -> engine::Result<Tensor> {
        self.0.norm()
    }

    fn head(&self) -> engine::Result<Value> {
        self.0.head()
    }
}

#[test]
fn a_policy_of_other_weights_draws_as_a_model_that_holds_them() {
    for family in [Family::Llama, Family::Qwen3] {
        let model = model(config(family), DType::F32);
        let source = Doubled(&model, Version::unique());
        let policy = model.policy_with(&source);
        let sampling = sampling(30);
        let draw = |policy: Policy<'_>| {
            let generator = Generator { policy, ..generator(&model, &sampling, 5) };
            generator.generate(&requests(), &mut to_the_end).unwrap()
        };
        let (plain, got) = (draw(model.policy()), draw(policy));
        model.update(|variables| {
            for (parameter, variable) in variables.all() {
                if parameter.name.contains(".layers.") {
                    variable.set(&(&parameter.tensor * 2.0).unwrap()).unwrap();
                }
            }
        });
        assert_eq!(got, draw(model.policy()));
        assert_ne!(got, plain, "doubled weights draw other tokens");
    }
}

#[test]
fn greedy_siblings_are_one() {
    let model = model(config(Family::Llama), DType::F32);
    let greedy = Sampling { temperature: 0.0, ..sampling(12) };
    for group in run(&model, &requests(), &greedy, 6) {
        assert!(group.trajectories.iter().all(|t| t == &group.trajectories[0]));
    }
}

#[test]
fn completions_end_where_they_should() {
    let model = model(config(Family::Llama), DType::F32);
    let near = Request { prompt: vec![3; 93], group_size: 5, ..one() };
    let requests: Vec<Request> = requests().into_iter().chain([near]).collect();
    let long = run(&model, &requests, &sampling(500), 4);
    let mut seen = [false; 2];
    for group in &long {
        for t in &group.trajectories {
            let (last, before) = t.completion.split_last().unwrap();
            assert!(!before.iter().any(|token| STOPS.contains(token)));
            let total = group.prompt.len() + t.completion.len();
            assert!(total <= 96);
            match t.finish {
                Finish::Stop => assert!(STOPS.contains(last)),
                Finish::Length => assert_eq!(total, 96),
                Finish::StopString => panic!("nothing looks at text"),
            }
            seen[usize::from(t.finish.is_truncated())] = true;
        }
    }
    assert_eq!(seen, [true; 2], "stops and the context's end both occur");
    let short = run(&model, &requests, &sampling(1), 4);
    assert!(trajectories(&short).all(|t| t.completion.len() == 1));
}

struct Always;

impl Stop for Always {
    fn stops(&self, _: &[u32]) -> bool {
        true
    }
}

#[test]
fn no_stop_before_the_minimum() {
    let model = model(config(Family::Llama), DType::F32);
    let sampling = Sampling { min_new_tokens: 25, ..sampling(30) };
    for stop in [None, Some(&Always as &dyn Stop)] {
        let generator = Generator { stop, ..generator(&model, &sampling, 4) };
        let groups = generator.generate(&requests(), &mut to_the_end).unwrap();
        for t in trajectories(&groups) {
            assert!(t.completion.len() >= 25);
            assert!(!t.completion[..25].iter().any(|token| STOPS.contains(token)));
            if stop.is_some() {
                assert_eq!((t.completion.len(), t.finish), (25, Finish::StopString));
            }
        }
    }
}

#[test]
fn a_row_that_stands_for_no_text_is_never_drawn_and_counts_in_the_scores() {
    let model = model(config(Family::Qwen2), DType::F32);
    // Padding at the end, a hole, and an id beyond the embedding.
    let unused: Vec<u32> = [3, 4].into_iter().chain(19..41).chain([99]).collect();
    let mut drawn_without = 0;
    for temperature in [0.0, 1.0, 2.0] {
        for (top_k, min_new_tokens) in [(0, 0), (3, 12)] {
            let sampling = Sampling { temperature, top_k, min_new_tokens, ..sampling(30) };
            let all = run(&model, &requests(), &sampling, 4);
            let found = trajectories(&all).flat_map(|t| &t.completion);
            drawn_without += found.filter(|token| unused.contains(token)).count();
            let draw = |slots| {
                let generator =
                    Generator { unused: &unused, ..generator(&model, &sampling, slots) };
                generator.generate(&requests(), &mut to_the_end).unwrap()
            };
            let groups = draw(4);
            assert!(draw(1) == groups);
            for group in &groups {
                for trajectory in &group.trajectories {
                    assert!(!trajectory.completion.iter().any(|token| unused.contains(token)));
                    let early = &trajectory.completion[..min_new_tokens];
                    assert!(!early.iter().any(|token| STOPS.contains(token)));
                    check_scores(&model, &group.prompt, trajectory, temperature);
                }
            }
        }
    }
    assert!(drawn_without > 100, "without the list they are drawn: {drawn_without}");
}

#[test]
fn a_vocabulary_that_leaves_no_choice_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    let call = |min_new_tokens, unused: &[u32]| {
        let sampling = Sampling { min_new_tokens, ..sampling(4) };
        let generator = Generator { unused, ..generator(&model, &sampling, 2) };
        generator.generate(&requests(), &mut to_the_end)
    };
    let but_the_stops: Vec<u32> = (0..41).filter(|token| !STOPS.contains(token)).collect();
    let all: Vec<u32> = (0..50).collect();
    call(0, &but_the_stops).unwrap();
    for error in [call(1, &but_the_stops), call(0, &all), call(1, &all)] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("none of the vocabulary's 41 tokens may be drawn"), "{error}");
    }
}

/// Ends after token 5, and would after the stop token 7.
struct Five;

impl Stop for Five {
    fn stops(&self, completion: &[u32]) -> bool {
        completion.ends_with(&[5]) || completion.ends_with(&[7])
    }
}

#[test]
fn text_ends_a_completion() {
    let model = model(config(Family::Llama), DType::F32);
    let sampling = sampling(60);
    let generator = Generator { stop: Some(&Five), ..generator(&model, &sampling, 3) };
    let groups = generator.generate(&requests(), &mut to_the_end).unwrap();
    let mut found = 0;
    for t in trajectories(&groups) {
        let at = t.completion.iter().position(|&token| token == 5);
        if t.finish == Finish::StopString {
            assert_eq!(at, Some(t.completion.len() - 1));
            found += 1;
        } else {
            assert_eq!(at, None);
        }
    }
    assert!(found > 0);
}

#[test]
fn progress_counts_to_the_end() {
    let model = model(config(Family::Llama), DType::F32);
    let mut heard = Vec::new();
    let mut progress = |p: Progress| {
        heard.push((p.finished, p.tokens));
        assert_eq!(p.sequences, 16);
        ControlFlow::Continue(())
    };
    let groups = generator(&model, &sampling(30), 2).generate(&requests(), &mut progress).unwrap();
    assert!(heard.len() > 3 && heard.is_sorted());
    let tokens = trajectories(&groups).map(|t| t.completion.len()).sum();
    assert_eq!(heard.last(), Some(&(16, tokens)));
    assert!(run(&model, &[], &sampling(3), 4).is_empty());
}

#[test]
fn a_call_ends_where_its_progress_breaks() {
    let model = model(config(Family::Llama), DType::F32);
    for reports in 1..4 {
        let mut left = reports;
        let mut last = 0;
        let mut progress = |p: Progress| {
            (left, last) = (left - 1, p.finished);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = generator(&model, &sampling(30), 2).generate(&requests(), &mut progress);
        assert!(matches!(ended, Err(rollout::Error::Stopped)), "after {reports} reports");
        assert!(last < 16, "it had not ended");
    }
    // At the end there is nothing left to stop.
    let mut breaks_at_the_end = |p: Progress| {
        if p.finished == p.sequences { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let groups = generator(&model, &sampling(30), 2).generate(&requests(), &mut breaks_at_the_end);
    assert_eq!(groups.unwrap(), run(&model, &requests(), &sampling(30), 2));
}

#[test]
fn long_prompts_are_prefilled_in_parts_with_reports_between_them() {
    let context = 1200;
    let model = model(ModelConfig { context, ..config(Family::Llama) }, DType::F32);
    let request = |problem: u64| Request {
        prompt: (0..1000).map(|t| (t * 13 + problem as u32) % 41).collect(),
        problem,
        group_size: 2,
        ..one()
    };
    let requests: Vec<_> = (0..8).map(request).collect();
    let mut reports = Vec::new();
    let mut progress = |p: Progress| {
        reports.push(p.tokens);
        ControlFlow::Continue(())
    };
    let together = generator(&model, &sampling(4), 16).generate(&requests, &mut progress).unwrap();
    assert!(reports.len() >= 3, "{reports:?}: 8000 tokens are more than one part");
    for request in requests {
        let alone = run(&model, std::slice::from_ref(&request), &sampling(4), 1);
        assert_eq!(alone[0], together[request.problem as usize]);
    }
}

#[test]
fn groups_are_handed_over_as_they_are_complete() {
    let model = model(config(Family::Llama), DType::F32);
    let sampling = sampling(30);
    let generator = generator(&model, &sampling, 2);
    let whole = generator.generate(&requests(), &mut to_the_end).unwrap();
    let finished = std::cell::Cell::new(0);
    let mut progress = |p: Progress| {
        finished.set(p.finished);
        ControlFlow::Continue(())
    };
    let mut heard = Vec::new();
    let mut complete = |index: usize, group| {
        heard.push((index, finished.get(), group));
        Ok::<_, rollout::Error>(())
    };
    generator.generate_each(&requests(), &mut progress, &mut complete).unwrap();
    assert!(heard[0].1 < 16, "the first is heard of before the last is complete");
    heard.sort_by_key(|(index, ..)| *index);
    assert!(heard.iter().map(|(_, _, group)| group).eq(&whole));
    // What the caller makes of a group can end the call.
    let mut calls = 0;
    let mut fail = |_, _| {
        calls += 1;
        Err(rollout::Error::NoSlots)
    };
    let ended = generator.generate_each(&requests(), &mut to_the_end, &mut fail);
    assert!(matches!(ended, Err(rollout::Error::NoSlots)));
    assert_eq!(calls, 1);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    let error = |prompt: Vec<u32>, group_size, sampling: &Sampling, slots| {
        let requests = [Request { problem: 1, ..one() }, Request { prompt, group_size, ..one() }];
        let generator = generator(&model, sampling, slots);
        generator.generate(&requests, &mut to_the_end).unwrap_err().to_string()
    };
    let plain = sampling(4);
    assert_eq!(error(vec![], 1, &plain, 1), "request 1: the prompt is empty");
    assert_eq!(
        error(vec![1; 96], 1, &plain, 1),
        "request 1: a prompt of 96 tokens leaves no room in the model's context of 96"
    );
    assert_eq!(
        error(vec![1, 41], 1, &plain, 1),
        "request 1: token 41 of the prompt is outside the vocabulary of 41 tokens"
    );
    assert_eq!(error(vec![1], 0, &plain, 1), "request 1: a group of no completions");
    assert_eq!(error(vec![1], 1, &plain, 0), "no slots: use at least one");
    let broken = Sampling { top_p: 2.0, ..plain.clone() };
    assert_eq!(
        error(vec![1], 1, &broken, 1),
        "sampling: top_p is 2, expected above 0 and at most 1"
    );
    model.update(|variables| {
        let (_, norm) = variables.all().last().unwrap();
        norm.set(&Tensor::full(f32::NAN, norm.shape(), &Device::Cpu).unwrap()).unwrap();
    });
    assert!(error(vec![1], 1, &plain, 1).contains("the weights have diverged"));
}
