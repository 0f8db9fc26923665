//! The memory that streamed weights and passes really take, counted by the allocator: not more than
//! was predicted, and not much less. A binary of its own, with one test, so that nothing else
//! allocates.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "an allocator is unsafe")]
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle::{Device, Tensor};
use engine::lockstep::{Member, Probe};
use engine::stream::{
    Access, Arena, Ends, Load, Master, Needs, Options, PassTerms, Perturbed, Sampling, Scratch,
    Streamed, Terms, Transform,
};
use engine::{Biases, Family, MatmulPrecision, ModelConfig, Packed, Policy, RopeScaling, Target};

/// The system's allocator, with bytes counted.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all memory is the system allocator's, with the layouts that it is asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

fn count(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

/// The most bytes that `f` has at a time beyond those that are there before. It has a thread of its
/// own, which leaves no buffers behind.
fn peak_of(f: impl FnOnce() + Send) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    std::thread::scope(|scope| scope.spawn(f).join()).unwrap();
    PEAK.load(Ordering::Relaxed) - before
}

/// Adds a number to every element.
#[derive(Debug)]
struct Add(f32);

impl Transform for Add {
    fn apply(&self, _: usize, _: usize, from: &[f32], to: &mut [f32]) {
        for (from, to) in from.iter().zip(to) {
            *to = from + self.0;
        }
    }

    fn apply_in_place(&self, _: usize, _: usize, values: &mut [f32]) {
        for value in values {
            *value += self.0;
        }
    }
}

fn config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: 6000,
        hidden_size: 192,
        intermediate_size: 512,
        num_layers: 5,
        num_heads: 6,
        num_kv_heads: 2,
        head_dim: 32,
        context: 1024,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: family == Family::Llama,
        biases: Biases::NONE,
        qk_norm: family == Family::Qwen3,
    }
}

fn write(path: &Path, config: &ModelConfig) {
    let mut next = 0_u64;
    let mut get = |name: &str, shape: &[usize]| {
        let base = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let mut value = || {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            base + 0.04 * ((next >> 40) as f32 / (1 << 24) as f32 - 0.5)
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| value()).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.into())
    };
    Master::write(path, config, &mut get).unwrap();
}

fn opened(path: &Path, config: &ModelConfig, options: &Options) -> Streamed {
    let master = Master::open(path, config.clone(), Access::Buffered, true).unwrap();
    Streamed::new(master, |_| false, None, options).unwrap()
}

/// Perturbations of a population, and the policy.
fn with_population(
    streamed: &Streamed,
    members: usize,
    f: impl FnOnce(Policy<'_>, &[Perturbed<'_>]),
) {
    let adds: Vec<Add> = (0..members).map(|i| Add(1e-3 * i as f32)).collect();
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let own: Vec<_> = adds.iter().map(|add| Perturbed::new(add, &scratch)).collect();
    f(streamed.policy(), &own);
}

fn score(streamed: &Streamed, load: &Load) {
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    let rows = load.rows / load.segments;
    for segment in 0..load.segments {
        let tokens: Vec<u32> = (0..rows).map(|i| ((i * 37 + segment) % 5000) as u32).collect();
        packed.push(&tokens, None).unwrap();
    }
    for i in 0..load.scored {
        targets.push(Target { row: i * load.rows / load.scored, token: 7 });
    }
    with_population(streamed, load.probes, |policy, own| {
        let probe = |own| Probe { perturbed: Some(own), packed: &packed, targets: &targets };
        let probes: Vec<_> = own.iter().map(probe).collect();
        policy.score_each(&probes, 1.0).unwrap();
    });
}

fn sample(streamed: &Streamed, load: &Sampling) {
    let prompts: Vec<Vec<u32>> = (0..load.prompts as u32)
        .map(|i| (0..load.prompt_tokens as u32).map(|token| (token * 31 + i) % 5000).collect())
        .collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    with_population(streamed, load.members, |policy, own| {
        let population: Vec<_> = own.iter().map(Some).collect();
        let prefixes = policy.prefill_each(&population, &prompts).unwrap();
        let cache = |own| policy.with_perturbed(own).unwrap().cache(load.slots, load.new_tokens);
        let mut caches: Vec<_> = population.iter().map(|own| cache(*own).unwrap()).collect();
        for (cache, prefixes) in caches.iter_mut().zip(prefixes) {
            let prefixes = prefixes.unwrap();
            for slot in 0..load.slots {
                cache.attach(slot, prefixes[slot % prefixes.len()].clone()).unwrap();
            }
        }
        let mut logits = vec![Vec::new(); load.members];
        for token in 0..load.new_tokens as u32 {
            let feed: Vec<_> = (0..load.slots).map(|slot| (slot, token)).collect();
            let mut members = Vec::new();
            let all = caches.iter_mut().zip(&mut logits).zip(&population);
            for ((cache, logits), &perturbed) in all {
                members.push(Member { perturbed, cache, feed: &feed, logits });
            }
            policy.decode_each(&mut members).unwrap();
        }
    });
}

/// The peak of all that a run does, and whether it is as predicted.
fn check(what: &str, needs: &Needs, run: impl FnOnce() + Send) -> Option<String> {
    let (peak, predicted) = (peak_of(run), needs.total());
    let ratio = predicted as f64 / peak as f64;
    println!("{ratio:.3} {what}: {peak} bytes, predicted {predicted}: {needs}");
    (!(1.0..=1.3).contains(&ratio)).then(|| format!("{what}: {peak} bytes, predicted {predicted}"))
}

/// What a run scores, and what it samples.
const LOADS: [Load; 3] = [
    Load { probes: 2, rows: 1536, segments: 3, longest: 512, scored: 300 },
    Load { probes: 8, rows: 256, segments: 16, longest: 16, scored: 240 },
    Load { probes: 1, rows: 1600, segments: 2, longest: 800, scored: 1500 },
];
const SAMPLED: [Sampling; 2] = [
    Sampling { members: 4, slots: 8, prompts: 2, prompt_tokens: 100, new_tokens: 40 },
    Sampling { members: 2, slots: 40, prompts: 8, prompt_tokens: 20, new_tokens: 17 },
];

/// What is not as predicted with these options.
fn wrong(path: &Path, config: &ModelConfig, options: &Options) -> Vec<String> {
    let terms = Terms::predict(config, options, true, true).unwrap();
    let Options { slots, ends, precision, .. } = options;
    let name = format!("{:?}, {slots} slots, {ends:?}, {precision:?}", config.family);
    let mut wrong = Vec::new();
    for load in &LOADS {
        let passes = PassTerms::predict(config, *precision, load).unwrap();
        wrong.extend(check(&format!("{name}, {load:?}"), &Needs { terms, passes }, || {
            score(&opened(path, config, options), load);
        }));
    }
    for load in &SAMPLED {
        let passes = PassTerms::of_sampling(config, *precision, load).unwrap();
        wrong.extend(check(&format!("{name}, {load:?}"), &Needs { terms, passes }, || {
            sample(&opened(path, config, options), load);
        }));
    }
    // A run that saves and does nothing else.
    let needs = Needs { terms, passes: PassTerms::default() };
    wrong.extend(check(&format!("{name}, saved"), &needs, || {
        let streamed = opened(path, config, options);
        let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
        streamed.visit(&mut |_, _| Ok(())).unwrap();
        drop(scratch);
        streamed.seal().unwrap();
    }));
    wrong
}

#[test]
fn the_memory_of_a_run_is_what_was_predicted() {
    let (folder, mut all) = (tempfile::tempdir().unwrap(), Vec::new());
    // The pool's own memory is not a run's.
    rayon::join(|| (), || ());
    for family in [Family::Llama, Family::Qwen3] {
        let config = config(family);
        let path = folder.path().join(format!("{family:?}"));
        write(&path, &config);
        for (slots, ends) in [(3, Ends::Resident), (2, Ends::Streamed)] {
            for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
                let options = Options { slots, ends, precision, ..Options::default() };
                all.extend(wrong(&path, &config, &options));
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}
