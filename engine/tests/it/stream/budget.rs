//! The memory and the time of streaming are those that were predicted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle::DType;
use engine::lockstep::{Member, Probe};
use engine::stream::{
    Access, Arena, Ends, Load, Needs, Options, PassTerms, Perturbed, Sampling, Scratch, Streamed,
    Terms, Throttle, Times, Traffic,
};
use engine::{Error, Family, ModelConfig};

use super::steps::{Place, Run, batch, measure, options, rate, sizes, update};
use super::transforms::{Mistake, Update};
use crate::support::{config, model};

/// Scoring passes of the largest batch of a run.
fn load(config: &ModelConfig) -> Load {
    let (packed, targets) = batch(1, config.vocab_size);
    Load { probes: 2, ..Load::of(&packed, targets.len()) }
}

fn needs(config: &ModelConfig, plan: &Options, in_file: bool) -> Needs {
    let terms = Terms::predict(config, plan, in_file, true).unwrap();
    Needs { terms, passes: PassTerms::predict(config, plan.precision, &load(config)).unwrap() }
}

#[test]
fn the_arena_peaks_at_what_was_predicted_and_less_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in sizes().into_iter().enumerate() {
        for (slots, ends) in [(1, Ends::Streamed), (2, Ends::Resident), (3, Ends::Streamed)] {
            for in_file in [false, true] {
                let path = folder.path().join(format!("{i}-{slots}"));
                let place =
                    if in_file { Place::File(&path, Access::Buffered) } else { Place::Memory };
                let plan = options(slots, true, ends);
                let needs = needs(&config, &plan, in_file);
                let (terms, total) = (needs.terms, needs.total());
                let with = |budget| Options { arena: Arena::new(Some(budget)), ..plan.clone() };
                needs.check(total).unwrap();
                let run = Run { options: with(total), ..Run::default() };
                let streamed = run.streamed(&config, place);
                assert_eq!(*streamed.terms(), terms);
                drop(streamed);
                run.run(&config, place);
                assert_eq!(run.options.arena.peak(), total);
                assert_eq!(run.options.arena.now(), 0);
                refused(&config, place, (&needs, in_file), &with);
            }
        }
    }
}

/// Less is refused with all figures: before a run, as it begins, and by a pass.
fn refused(
    config: &ModelConfig,
    place: Place<'_>,
    (needs, _): (&Needs, bool),
    with: &dyn Fn(usize) -> Options,
) {
    let (terms, total) = (needs.terms, needs.total());
    let error = needs.check(total - 1).unwrap_err();
    let Error::Budget { needed, budget, terms: named } = &error else { panic!("{error}") };
    assert_eq!((*needed, *budget, named), (total, total - 1, &needs.to_string()));
    for figure in [terms.to_string(), needs.passes.to_string()] {
        assert!(named.contains(&figure), "{named}");
    }
    let model = model(config.clone(), DType::F32);
    for less in [terms.slot, 1] {
        let master = super::steps::master(&model, place);
        let options = with(terms.total() - less);
        let arena = options.arena.clone();
        let error = Streamed::new(master, |_| false, None, &options).unwrap_err();
        let Error::Budget { needed, budget, terms: named } = &error else { panic!("{error}") };
        assert_eq!((*needed, *budget), (terms.total(), terms.total() - less));
        assert_eq!(*named, terms.to_string());
        assert!(named.contains(&format!("{} slots of {}", terms.slots, terms.slot)), "{named}");
        assert_eq!(arena.peak(), 0, "nothing was taken");
    }
    let master = super::steps::master(&model, place);
    let options = with(terms.total() + needs.passes.total() - 1);
    let streamed = Streamed::new(master, |_| false, None, &options).unwrap();
    let scratch = Scratch::new(&streamed.policy(), &options.arena).unwrap();
    let perturbed = Perturbed::new(&super::perturbed::SIGNS, &scratch);
    let (packed, targets) = batch(1, config.vocab_size);
    let probe = Probe { perturbed: Some(&perturbed), packed: &packed, targets: &targets };
    let error = streamed.policy().score_each(&[probe, probe], 1.0).unwrap_err();
    assert!(matches!(&error, Error::Budget { .. }), "{error}");
    assert!(error.to_string().contains("a pass ("), "{error}");
    streamed.policy().score_each(&[probe], 1.0).unwrap();
    let left = options.arena.budget().unwrap() - options.arena.now();
    if left < terms.visited {
        let error = streamed.visit(&mut |_, _| Ok(())).unwrap_err();
        assert!(matches!(&error, Error::Budget { .. }), "{error}");
    }
}

/// Sampling holds keys, values and logits as long as they are there.
#[test]
fn caches_and_prompts_are_counted() {
    let config = ModelConfig { num_layers: 3, ..config(Family::Qwen3) };
    let load = Sampling { members: 2, slots: 2, prompts: 2, prompt_tokens: 17, new_tokens: 20 };
    let plan = options(2, true, Ends::Streamed);
    let terms = Terms::predict(&config, &plan, false, true).unwrap();
    let passes = PassTerms::of_sampling(&config, plan.precision, &load).unwrap();
    let needs = Needs { terms, passes };
    let sample = |budget: usize| -> engine::Result<Arena> {
        let arena = Arena::new(Some(budget));
        let run = Run { options: Options { arena, ..plan.clone() }, ..Run::default() };
        let (streamed, arena) = (run.streamed(&config, Place::Memory), run.options.arena.clone());
        let policy = streamed.policy();
        let scratch = Scratch::new(&policy, &arena)?;
        let own = [0, 1].map(|_| Perturbed::new(&super::perturbed::SIGNS, &scratch));
        let population = own.each_ref().map(Some);
        let prompt = crate::support::tokens(1, 17, 37);
        let prefixes = policy.prefill_each(&population, &[&prompt, &prompt])?;
        let caches = population.map(|own| policy.with_perturbed(own)?.cache(2, 20));
        let mut caches = caches.into_iter().collect::<engine::Result<Vec<_>>>()?;
        for (cache, prefixes) in caches.iter_mut().zip(prefixes) {
            for (slot, prefix) in prefixes?.into_iter().enumerate() {
                cache.attach(slot, prefix)?;
            }
        }
        for token in 0..20 {
            let (feed, mut logits) = ([(0, token), (1, token)], [Vec::new(), Vec::new()]);
            let mut members = Vec::new();
            for ((cache, logits), perturbed) in caches.iter_mut().zip(&mut logits).zip(population) {
                members.push(Member { perturbed, cache, feed: &feed, logits });
            }
            policy.decode_each(&mut members)?;
        }
        let held = arena.now();
        assert!(held > terms.total());
        drop(caches);
        assert!(arena.now() < held);
        assert_eq!(arena.now(), terms.total());
        Ok(arena)
    };
    let arena = sample(needs.total()).unwrap();
    assert!(arena.peak() <= needs.total());
    assert!(10 * needs.total() < 13 * arena.peak(), "{} of {}", arena.peak(), needs.total());
    let error = sample(arena.peak() - 1).unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    let none = sample(terms.total()).unwrap_err().to_string();
    assert!(none.contains("a prefilled prompt"), "{none}");
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let small = config(Family::Llama);
    let plan = Options { slots: usize::MAX / 8, ..options(2, true, Ends::Resident) };
    let error = Terms::predict(&small, &plan, false, true).unwrap_err().to_string();
    assert!(error.contains("more bytes than can be counted"), "{error}");
    for rows in [usize::MAX, usize::MAX / 8] {
        let load = Load { probes: 2, rows, segments: 1, longest: 9, scored: rows };
        let error = PassTerms::predict(&small, plan.precision, &load).unwrap_err().to_string();
        assert!(error.contains("more bytes than can be counted"), "{error}");
        let load =
            Sampling { members: 2, slots: rows, prompts: 1, prompt_tokens: 1, new_tokens: 9 };
        PassTerms::of_sampling(&small, plan.precision, &load).unwrap_err();
    }
}

#[test]
fn bytes_are_counted() {
    let config = ModelConfig { num_layers: 5, ..config(Family::Llama) };
    let run = Run::default();
    let streamed = run.streamed(&config, Place::Memory);
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let block = streamed.terms().slot as u64;
    let (losses, g) = measure(streamed.policy(), &scratch, 0, true);
    assert!(losses.iter().all(|loss| loss.is_finite()));
    let first = streamed.traffic();
    assert_eq!((first.written_bytes, first.writes), (0, 0), "nothing has changed");
    streamed.defer(Arc::new(update(0, g, rate(0), Mistake::None))).unwrap();
    measure(streamed.policy(), &scratch, 1, true);
    streamed.flush().unwrap();
    let second = streamed.traffic().since(&first);
    assert_eq!((second.written_bytes, second.writes), (5 * block, 5));
    // Two blocks may be read ahead for the next pass.
    let reads = first.reads + second.reads;
    assert!((10..=12).contains(&reads), "{reads}");
    assert_eq!(first.read_bytes + second.read_bytes, reads * block);
    assert_eq!(second.unused, 0);
    assert!(second.update_seconds > 0.0 && second.compute_seconds > second.update_seconds);
}

/// Seconds of passes over slow links, each block with an update and two probes.
fn throttled(
    [up, down]: [Option<f64>; 2],
    compute: f64,
    overlap: bool,
    slots: usize,
) -> (f64, Traffic) {
    let config = ModelConfig { num_layers: 12, ..config(Family::Qwen3) };
    let plan = options(slots, overlap, Ends::Resident);
    let bytes = Terms::predict(&config, &plan, false, true).unwrap().slot as f64;
    let rate = |seconds: Option<f64>| seconds.map_or(1e15, |seconds| bytes / seconds);
    let link = Arc::new(Throttle::new(rate(up), rate(down)).unwrap());
    let run = Run { options: Options { link, ..plan }, ..Run::default() };
    let streamed = run.streamed(&config, Place::Memory);
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let parameters = streamed.trainable().len();
    let blocks = streamed.trainable().iter().filter(|spec| spec.name.contains("layers.")).count();
    assert!(blocks < parameters);
    // An update that takes its time in place of passes that compute.
    let delay = Duration::from_secs_f64(compute * 12.0 / blocks as f64);
    measure(streamed.policy(), &scratch, 0, true);
    streamed.flush().unwrap();
    let slow = Update { delay, ..update(0, 1.0, 0.1, Mistake::None) };
    streamed.defer(Arc::new(slow)).unwrap();
    let (before, began) = (streamed.traffic(), Instant::now());
    measure(streamed.policy(), &scratch, 1, true);
    streamed.flush().unwrap();
    (began.elapsed().as_secs_f64(), streamed.traffic().since(&before))
}

/// The first blocks were read ahead; those of the next pass are read at the end. What a block takes
/// to compute is measured in a run of its own, whose link is as fast as the memory. Where other
/// programs disturbed one of the two runs, both are done again.
#[test]
fn a_pass_takes_the_time_that_was_predicted() {
    for (up, down, compute) in [
        (0.05, 0.05, 0.01),
        (0.03, 0.03, 0.03),
        (0.004, 0.004, 0.04),
        (0.04, 0.01, 0.02),
        (0.01, 0.04, 0.02),
    ] {
        for (overlap, slots) in [(true, 3), (true, 2), (false, 1)] {
            let ratio = || {
                let alone = throttled([None; 2], compute, false, 1).1.compute_seconds / 12.0;
                let predicted = Times { up, compute: alone, down }.pass(12, slots, overlap);
                let seconds = throttled([Some(up), Some(down)], compute, overlap, slots).0;
                println!("{up} {alone:.4} {down} {slots}: {seconds:.3} s of {predicted:.3}");
                seconds / predicted
            };
            let fits = |ratio: &f64| (0.8..1.2).contains(ratio);
            let mut ratios = vec![ratio()];
            while ratios.len() < 6 && !ratios.last().is_some_and(fits) {
                ratios.push(ratio());
            }
            assert!(
                ratios.last().is_some_and(fits),
                "{up}, {compute}, {down}, {slots}: {ratios:?}"
            );
        }
    }
}
