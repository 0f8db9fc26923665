//! Passes in lockstep give the bits of each alone, and ask for each block once.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle::{DType, Tensor};
use engine::lockstep::{Member, Probe};
use engine::stream::{Arena, Perturbed, Scratch};
use engine::{Family, MatmulPrecision, Model, ModelConfig, Packed, Policy, Target};

use super::perturbed::wide;
use super::transforms::{Counted, Signs};
use crate::support::{config, configs, groups, model, pack, tokens};

const POPULATION: [Option<Signs>; 4] = [
    None,
    Some(Signs { seed: 1, scale: 0.05 }),
    Some(Signs { seed: 1, scale: -0.05 }),
    Some(Signs { seed: 2, scale: 0.1 }),
];

/// Takes a policy, what perturbs each member, and the policy of each.
type WithPopulation<'f> =
    dyn for<'a> Fn(Policy<'a>, &[Option<&'a Perturbed<'a>>], &[Policy<'a>]) + 'f;

/// Calls `f` with a population over a model's weights, and with the policy of each member.
fn with_population(model: &Model, f: &WithPopulation<'_>) {
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let own = POPULATION
        .each_ref()
        .map(|signs| signs.as_ref().map(|signs| Perturbed::new(signs, &scratch)));
    let own = own.each_ref().map(Option::as_ref);
    let policies = own.map(|own| model.policy().with_perturbed(own).unwrap());
    f(model.policy(), &own, &policies);
}

fn models() -> Vec<Model> {
    let configs = configs().into_iter().flat_map(|config| [config.clone(), wide(&config)]);
    let plain = configs.clone().map(|config| model(config, DType::F32));
    let bf16 = configs
        .map(|config| model(config, DType::F32).with_precision(MatmulPrecision::Bf16).unwrap());
    let reference = model(config(Family::Qwen3), DType::F64);
    plain.chain(bf16).chain([reference]).collect()
}

fn batches(vocab: usize) -> Vec<(Packed, Vec<Target>)> {
    let groups = groups(vocab);
    vec![pack(&groups), pack(&groups[..1]), pack(&groups[1..]), pack(&groups)]
}

#[test]
fn scores_in_lockstep_are_those_of_each_alone() {
    for model in models() {
        let batches = batches(model.config().vocab_size);
        with_population(&model, &|policy, population, policies| {
            let probes: Vec<_> = population
                .iter()
                .zip(&batches)
                .map(|(&perturbed, (packed, targets))| Probe { perturbed, packed, targets })
                .collect();
            let together = policy.score_each(&probes, 0.7).unwrap();
            let alone = policies.iter().zip(&batches);
            let alone: Vec<_> = alone
                .map(|(own, (packed, targets))| own.score(packed, targets, 0.7).unwrap())
                .collect();
            assert!(together == alone, "{:?}", model.config());
            let mut loss = |i: usize, columns: &engine::ScoreTensors| -> engine::Result<Tensor> {
                Ok((columns.log_probs.mean_all()? * (i as f64 + 1.0))?)
            };
            let losses = policy.forward_each(&probes, 0.7, &mut loss).unwrap();
            for (i, ((own, (packed, targets)), together)) in
                policies.iter().zip(&batches).zip(losses).enumerate()
            {
                let mut loss = |columns: &_| loss(i, columns);
                let alone = engine::forward(*own, packed, targets, 0.7, &mut loss).unwrap();
                assert_eq!(together.loss.to_bits(), alone.loss.to_bits());
            }
        });
    }
}

#[test]
fn sampling_in_lockstep_is_that_of_each_alone() {
    for model in models() {
        let vocab = model.config().vocab_size;
        let (long, short) = (tokens(1, 200, vocab.min(60)), tokens(2, 1, vocab));
        let prompts: Vec<&[u32]> = vec![&long[..17], &short, &long[..50], &long[..17]];
        with_population(&model, &|policy, population, policies| {
            let together = policy.prefill_each(population, &prompts).unwrap();
            let mut caches = Vec::new();
            for (together, own) in together.into_iter().zip(policies) {
                let alone = own.prefill_all(&prompts).unwrap();
                let mut pair = [own.cache(4, 6).unwrap(), own.cache(4, 6).unwrap()];
                for (slot, (together, alone)) in
                    together.unwrap().into_iter().zip(alone).enumerate()
                {
                    assert_eq!(together.logits(), alone.logits());
                    pair[0].attach(slot, together).unwrap();
                    pair[1].attach(slot, alone).unwrap();
                }
                caches.push(pair);
            }
            // Members with other numbers of rows, and one without.
            let feeds = |step: u32| -> Vec<Vec<(usize, u32)>> {
                let feed = |rows: usize| (0..rows).map(|i| (i, (step + i as u32) % 30)).collect();
                [4, 1, 0, 3].map(feed).to_vec()
            };
            for step in 0..5 {
                let (feeds, mut logits) = (feeds(step), vec![Vec::new(); 4]);
                let mut members: Vec<_> = caches
                    .iter_mut()
                    .zip(population)
                    .zip(feeds.iter().zip(&mut logits))
                    .map(|(([cache, _], &perturbed), (feed, logits))| Member {
                        perturbed,
                        cache,
                        feed,
                        logits,
                    })
                    .collect();
                let results = policy.decode_each(&mut members).unwrap();
                assert!(results.iter().all(Result::is_ok));
                for (([_, cache], own), (feed, together)) in
                    caches.iter_mut().zip(policies).zip(feeds.iter().zip(&logits))
                {
                    let mut alone = Vec::new();
                    own.decode(cache, feed, &mut alone).unwrap();
                    assert!(*together == alone, "{:?}", model.config());
                }
            }
        });
    }
}

#[test]
fn each_block_is_asked_for_once() {
    let model = model(ModelConfig { num_layers: 5, ..config(Family::Qwen2) }, DType::F32);
    let source = Counted(&model, AtomicUsize::new(0));
    let policy = model.policy_with(&source);
    let scratch = Scratch::new(&policy, &Arena::default()).unwrap();
    let signs = POPULATION[1].unwrap();
    let own = [Perturbed::new(&signs, &scratch), Perturbed::new(&signs, &scratch)];
    let asked = || source.1.swap(0, Ordering::Relaxed);
    let (packed, targets) = pack(&groups(37));
    let probes = own.each_ref().map(|own| Probe {
        perturbed: Some(own),
        packed: &packed,
        targets: &targets,
    });
    policy.score_each(&probes, 1.0).unwrap();
    assert_eq!(asked(), 5);
    let population = own.each_ref().map(Some);
    let prefixes = policy.prefill_each(&population, &[&[1, 2], &[3]]).unwrap();
    assert_eq!(asked(), 5);
    let mut caches = population.map(|own| policy.with_perturbed(own).unwrap().cache(2, 3).unwrap());
    for (cache, prefixes) in caches.iter_mut().zip(prefixes) {
        for (slot, prefix) in prefixes.unwrap().into_iter().enumerate() {
            cache.attach(slot, prefix).unwrap();
        }
    }
    asked();
    let mut logits = [Vec::new(), Vec::new()];
    let mut members: Vec<_> = caches
        .iter_mut()
        .zip(population)
        .zip(&mut logits)
        .map(|((cache, perturbed), logits)| Member {
            perturbed,
            cache,
            feed: &[(0, 1), (1, 2)],
            logits,
        })
        .collect();
    policy.decode_each(&mut members).unwrap();
    assert_eq!(asked(), 5);
}

/// A member whose weights have diverged does not end the step of the others.
#[test]
fn a_member_that_diverges_is_named() {
    let model = model(config(Family::Llama), DType::F32);
    let huge = Signs { seed: 1, scale: 1e30 };
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let diverged = Perturbed::new(&huge, &scratch);
    let results = model.policy().prefill_each(&[None, Some(&diverged)], &[&[1, 2]]).unwrap();
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("are not finite: the weights have diverged"), "{error}");
    let alone = model.prefill(&[1, 2]).unwrap();
    assert_eq!(results[0].as_ref().unwrap()[0].logits(), alone.logits());
}

#[test]
fn a_perturbed_policy_is_not_perturbed_again() {
    let model = model(config(Family::Llama), DType::F32);
    let (signs, arena) = (POPULATION[1].unwrap(), Arena::default());
    let scratch = Scratch::new(&model.policy(), &arena).unwrap();
    let own = Perturbed::new(&signs, &scratch);
    let policy = model.policy().with_perturbed(Some(&own)).unwrap();
    let error = policy.prefill_each(&[None], &[&[1]]).unwrap_err().to_string();
    assert!(error.contains("passes in lockstep need the policy as it is"), "{error}");
}
