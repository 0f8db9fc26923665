//! A real model: what rollouts carry is what training would compute for them.
//!
//! Skips where models/smollm2-135m-instruct.gguf is absent; `scripts/fetch-smollm2.sh` fetches it.

#![expect(clippy::print_stderr, reason = "a skipped test says so, a passed one how far apart")]

use std::num::NonZeroUsize;
use std::path::Path;

use candle::{DType, Device};
use engine::{MatmulPrecision, Model, Packed, Text, checkpoint};
use rollout::{Generator, Group, Key, Purpose, Request, Sampling, to_the_end};

/// How far apart rollout and training may be, in nats: not at all on a CPU, where decoding and the
/// packed pass have one order of sums.
fn bound(model: &Model) -> f32 {
    if model.device().is_cpu() { 0.0 } else { 1e-4 }
}

const TEMPERATURE: f64 = 0.8;

/// The CPU, or what `scripts/gpu-accept.sh` asks for.
fn device() -> Device {
    match std::env::var("STEARIN_TEST_DEVICE").as_deref() {
        Ok("cuda") => Device::new_cuda_with_stream(0).unwrap(),
        _ => Device::Cpu,
    }
}

fn smollm2() -> Option<(Model, Text)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/smollm2-135m-instruct.gguf");
    if !path.exists() {
        eprintln!("skipped: {} is absent; scripts/fetch-smollm2.sh fetches it", path.display());
        return None;
    }
    Some(checkpoint::load(&path, &device(), DType::F32).unwrap())
}

#[test]
fn scores_of_a_rollout_equal_those_of_training() {
    let Some((model, text)) = smollm2() else { return };
    check(&model, &text);
    // Products in bf16 are a CPU's.
    if model.device().is_cpu() {
        check(&model.with_precision(MatmulPrecision::Bf16).unwrap(), &text);
    }
}

fn check(model: &Model, text: &Text) {
    let questions = ["What is 23 + 58?", "Name three rivers and the countries they flow through."];
    let requests: Vec<Request> = (0..)
        .zip(questions)
        .map(|(problem, question)| {
            let prompt = text.encode(&text.render(None, question).unwrap()).unwrap();
            Request { prompt, prefix: Vec::new(), problem, group_size: 4, greedy: false }
        })
        .collect();
    let sampling = Sampling {
        temperature: TEMPERATURE,
        top_p: 0.95,
        max_new_tokens: NonZeroUsize::new(48).unwrap(),
        ..Sampling::default()
    };
    let key = Key { seed: 1, purpose: Purpose::Train, step: 0 };
    let draw = |slots| {
        let generator = Generator {
            policy: model.policy(),
            sampling: &sampling,
            stop_tokens: text.stop_tokens(),
            unused: &[],
            stop: None,
            slots,
            alternatives: 0,
            key,
        };
        generator.generate(&requests, &mut to_the_end).unwrap()
    };
    let groups = draw(5);
    if model.device().is_cpu() {
        assert_eq!(groups, draw(2), "completions depend on the number of slots");
    }
    compare(model, &groups);
}

fn compare(model: &Model, groups: &[Group]) {
    let mut packed = Packed::default();
    let mut targets = Vec::new();
    for group in groups {
        let prompt = packed.push(&group.prompt, None).unwrap();
        for trajectory in &group.trajectories {
            targets.extend(packed.push_completion(prompt, &trajectory.completion).unwrap());
        }
    }
    let scores = model.score(&packed, &targets, TEMPERATURE).unwrap();
    let all = || groups.iter().flat_map(|group| &group.trajectories);
    let log_probs: Vec<f32> = all().flat_map(|t| t.log_probs.iter().copied()).collect();
    let entropies: Vec<f32> = all().flat_map(|t| t.entropies.iter().copied()).collect();
    let phi_sums: Vec<f32> = all().flat_map(|t| t.phi_sums.iter().copied()).collect();
    let columns = [
        ("log-prob", log_probs, scores.log_probs),
        ("entropy", entropies, scores.entropies),
        ("Phi sum", phi_sums, scores.phi_sums),
    ];
    for (name, sampled, trained) in columns {
        assert_eq!(sampled.len(), trained.len());
        let gaps = sampled.iter().zip(&trained).map(|(a, b)| (a - b).abs());
        // A NaN is the largest.
        let worst = gaps.max_by(f32::total_cmp).unwrap();
        eprintln!(
            "{:?}, {name}: {} tokens, rollout and training at most {worst:.1e} apart",
            model.precision(),
            trained.len()
        );
        assert!(worst <= bound(model), "{name}: rollout and training are {worst:.1e} apart");
        if model.device().is_cpu() {
            let bits = |column: &[f32]| column.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&sampled), bits(&trained), "{name}: signs of zero differ");
        }
    }
}
