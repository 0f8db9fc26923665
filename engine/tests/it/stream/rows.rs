//! Rows of a streamed embedding, passes without rows, and what other threads may ask meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use candle::DType;
use engine::lockstep::{Member, Probe};
use engine::stream::{Arena, Ends, Link, Options, Perturbed, Scratch, Streamed, Transform};
use engine::{Family, ModelConfig, Packed, Policy};
use kernels::digest::Digest;

use super::perturbed::SIGNS;
use super::steps::{Place, Run, batch, immediately, options, update};
use super::transforms::{Mistake, Signs, apply, numbers};
use crate::support::{config, model};

/// Adds up what it is told.
#[derive(Debug, Default)]
struct Told(AtomicUsize, AtomicUsize);

impl Link for Told {
    fn up(&self, bytes: usize, _: Duration) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn down(&self, _: usize, _: Duration) {}
}

fn tied_and_untied() -> [ModelConfig; 2] {
    let wide = |family| ModelConfig { vocab_size: 4500, ..config(family) };
    [wide(Family::Llama), wide(Family::Qwen2)]
}

fn over(config: &ModelConfig, link: Arc<dyn Link>) -> Streamed {
    let options = Options { link, ..options(3, true, Ends::Streamed) };
    Run { options, ..Run::default() }.streamed(config, Place::Memory)
}

fn distinct(tokens: impl IntoIterator<Item = u32>) -> u64 {
    tokens.into_iter().collect::<BTreeSet<_>>().len() as u64
}

#[test]
fn a_pass_reads_each_row_once_for_all_members_and_counts_it() {
    for config in tied_and_untied() {
        let link = Arc::new(Told::default());
        let streamed = over(&config, link.clone());
        let (policy, vocab) = (streamed.policy(), config.vocab_size);
        let scratch = Scratch::new(&policy, &Arena::default()).unwrap();
        let own = [Perturbed::new(&SIGNS, &scratch), Perturbed::new(&SIGNS, &scratch)];
        let mut read = 0;
        let mut rows = |what: &str, expected: u64| {
            let now = streamed.traffic().rows;
            assert_eq!(now - std::mem::replace(&mut read, now), expected, "{what}");
        };
        let batches = [batch(0, vocab), batch(1, vocab)];
        let probes = [0, 1].map(|i| {
            let (packed, targets) = &batches[i];
            Probe { perturbed: Some(&own[i]), packed, targets }
        });
        policy.score_each(&probes, 1.0).unwrap();
        let tokens = batches.iter().flat_map(|(packed, _)| packed.tokens().to_vec());
        rows("scoring", distinct(tokens));
        policy.hidden(&batches[1].0).unwrap();
        rows("one pass", distinct(batches[1].0.tokens().to_vec()));
        let population = own.each_ref().map(Some);
        let prefixes = policy.prefill_each(&population, &[&[1, 2, 1], &[3]]).unwrap();
        rows("prompts", 3);
        let of = |own| policy.with_perturbed(own).unwrap().cache(2, 3).unwrap();
        let mut caches = population.map(of);
        for (cache, prefixes) in caches.iter_mut().zip(prefixes) {
            for (slot, prefix) in prefixes.unwrap().into_iter().enumerate() {
                cache.attach(slot, prefix).unwrap();
            }
        }
        let (feeds, mut logits) = ([[(0, 7), (1, 9)], [(0, 9), (1, 8)]], [Vec::new(), Vec::new()]);
        let mut members = Vec::new();
        for (i, (cache, logits)) in caches.iter_mut().zip(&mut logits).enumerate() {
            members.push(Member { perturbed: population[i], cache, feed: &feeds[i], logits });
        }
        policy.decode_each(&mut members).unwrap();
        rows("a step", 3);
        // What was read ahead is counted when the link has been told of it.
        streamed.flush().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let traffic = streamed.traffic();
        assert_eq!(traffic.read_bytes, link.0.load(Ordering::Relaxed) as u64);
        assert_eq!(traffic.reads + 4, link.1.load(Ordering::Relaxed) as u64, "one for all rows");
    }
}

/// Noise whose rows have something in common: single rows are never asked for.
#[derive(Debug)]
struct Rows(Signs, AtomicUsize);

impl Transform for Rows {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        assert!(parameter != 0 || from.len() > 16, "one row of the embedding");
        self.0.apply(parameter, first, from, to);
    }

    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.apply_rows(parameter, rows, from, to);
    }
}

#[test]
fn rows_of_a_pass_are_changed_together() {
    for config in tied_and_untied() {
        let streamed = over(&config, Arc::new(Told::default()));
        let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
        let (packed, targets) = batch(1, config.vocab_size);
        let score = |transform: &dyn Transform| {
            let perturbed = Perturbed::new(transform, &scratch);
            let policy = streamed.policy().with_perturbed(Some(&perturbed)).unwrap();
            policy.score(&packed, &targets, 1.0).unwrap()
        };
        let rows = Arc::new(Rows(SIGNS, AtomicUsize::new(0)));
        assert_eq!(score(&*rows), score(&SIGNS));
        assert_eq!(rows.1.load(Ordering::Relaxed), 1);
        // An update, too, before it has reached the embedding.
        let other = over(&config, Arc::new(Told::default()));
        streamed.defer(rows.clone()).unwrap();
        other.defer(Arc::new(SIGNS)).unwrap();
        let scores = |policy: Policy<'_>| policy.score(&packed, &targets, 1.0).unwrap();
        assert_eq!(scores(streamed.policy()), scores(other.policy()));
        assert_eq!(rows.1.load(Ordering::Relaxed), 2);
        assert_eq!(streamed.digest().unwrap(), other.digest().unwrap());
    }
}

/// Adds nothing: an update without coefficients.
#[derive(Debug)]
struct Nothing;

impl Transform for Nothing {
    fn apply(&self, _: usize, _: usize, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

#[test]
fn passes_without_work_fetch_nothing_and_updates_without_terms_change_nothing() {
    for config in tied_and_untied() {
        for ends in [Ends::Resident, Ends::Streamed] {
            let run = Run { options: options(3, true, ends), ..Run::default() };
            let streamed = run.streamed(&config, Place::Memory);
            let resident = model(config.clone(), DType::F32);
            let (packed, targets) = batch(0, config.vocab_size);
            let score = |policy: Policy<'_>| policy.score(&packed, &targets, 1.0).unwrap();
            for step in 0..3 {
                let change = update(step, 1.0, 0.1, Mistake::None);
                apply(&resident, &change);
                streamed.defer(Arc::new(change)).unwrap();
                let (policy, before) = (streamed.policy(), streamed.traffic());
                assert!(policy.score_each(&[], 1.0).unwrap().is_empty());
                assert!(policy.prefill_all(&[]).unwrap().is_empty());
                assert!(policy.prefill_each(&[], &[&[1, 2]]).unwrap().is_empty());
                let none = policy.prefill_each(&[None, None], &[]).unwrap();
                assert!(none.iter().all(|own| own.as_ref().unwrap().is_empty()));
                assert!(policy.decode_each(&mut []).unwrap().is_empty());
                let (mut cache, mut logits) = (policy.cache(2, 3).unwrap(), vec![1.0]);
                let cache = &mut cache;
                let member = Member { perturbed: None, cache, feed: &[], logits: &mut logits };
                policy.decode_each(&mut [member]).unwrap().remove(0).unwrap();
                assert!(logits.is_empty());
                let since = streamed.traffic().since(&before);
                assert_eq!((since.rows, since.unused), (0, 0));
                // A pack without rows is what it is over resident weights.
                let (got, want) =
                    (policy.hidden(&Packed::default()), resident.hidden(&Packed::default()));
                assert_eq!(got.is_ok(), want.is_ok(), "{got:?}, {want:?}");
                assert!(policy.score(&Packed::default(), &[], 1.0).is_err());
                assert_eq!(score(policy), score(resident.policy()));
                let version = engine::WeightSource::version(&streamed);
                streamed.defer(Arc::new(Nothing)).unwrap();
                assert_ne!(engine::WeightSource::version(&streamed), version);
                if step == 1 {
                    streamed.flush().unwrap();
                }
                assert_eq!(score(streamed.policy()), score(resident.policy()));
            }
        }
    }
    // Nothing is trained: an update reaches nothing, and nothing is written.
    let resident = model(config(Family::Llama), DType::F32);
    let master = super::steps::master(&resident, Place::Memory);
    let frozen = Streamed::new(master, |_| true, None, &Options::default()).unwrap();
    let before = frozen.digest().unwrap();
    immediately(&frozen, update(0, 1.0, 0.1, Mistake::None));
    assert_eq!((frozen.digest().unwrap(), frozen.traffic().writes), (before, 0));
}

#[test]
fn traffic_is_read_by_any_thread_and_fails_no_pass() {
    let streamed = Run::default().streamed(&config(Family::Llama), Place::Memory);
    let (packed, _) = batch(0, 37);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    assert!(streamed.traffic().read_bytes < u64::MAX);
                }
            });
        }
        let passes: Vec<_> = (0..500).map(|_| streamed.policy().hidden(&packed)).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(passes.iter().all(Result::is_ok));
    });
}

#[test]
fn digests_are_those_of_the_updated_tensors() {
    let number = |name: &str| name.len() as u32;
    for ends in [Ends::Resident, Ends::Streamed] {
        let config = &tied_and_untied()[1];
        let run = Run { options: options(3, true, ends), ..Run::default() };
        let streamed = run.streamed(config, Place::Memory);
        let resident = model(config.clone(), DType::F32);
        let change = update(0, 1.0, 0.1, Mistake::None);
        apply(&resident, &change);
        streamed.defer(Arc::new(change)).unwrap();
        let of = |parameter: &engine::Parameter| {
            let mut digest = Digest::new(number(&parameter.name), parameter.tensor.dims());
            digest.update(&numbers(&parameter.tensor));
            digest.finish()
        };
        let want: Vec<_> = resident.parameters().iter().map(of).collect();
        assert_eq!(streamed.digests(&number).unwrap(), want);
    }
    // Of an adapter its own parameters.
    let base = model(config(Family::Llama), DType::F32);
    let own = crate::support::adapter(&base, super::adapters::lora(), 3);
    let master = super::steps::master(&base, Place::Memory);
    let over = Streamed::new(master, |_| false, Some(own), &Options::default()).unwrap();
    let before = over.digests(&number).unwrap();
    assert_eq!(before.len(), over.trainable().len());
    over.defer(Arc::new(update(0, 1.0, 0.1, Mistake::None))).unwrap();
    assert!(over.digests(&number).unwrap().iter().zip(&before).all(|(now, then)| now != then));
}
