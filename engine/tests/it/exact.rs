//! Decoding, prefill and training give the same log-probs, entropies and sums behind Phi, to the
//! bit, whoever else is in the batch and however many threads there are. Nor do gradients depend on
//! the number of threads.

use candle::DType;
use engine::{
    Activations, Biases, Distribution, Family, MatmulPrecision, Model, ModelConfig, Packed,
    RopeScaling, Target,
};

use crate::packing::gradients;
use crate::support::{self, FAMILIES, draws};

const TEMPERATURE: f64 = 0.7;

/// Log-prob, entropy and sum behind Phi of one token, as bits.
type Scored = [u32; 3];

/// Prompts with the completions of each.
type Groups = Vec<(Vec<u32>, Vec<Vec<u32>>)>;

/// A stream of whole numbers below a bound.
fn whole(seed: u64) -> impl FnMut(usize) -> usize {
    let mut draw = draws(seed);
    move |bound| ((draw() + 0.5) * bound as f64) as usize
}

/// A bias on every linear map.
const ALL: Biases = Biases { mlp: true, ..Biases::ATTENTION };

/// Every choice of biases and of rotary scaling, one a seed.
fn biases(seed: u64) -> Biases {
    [ALL, Biases::NONE, Biases::QKV, Biases::ATTENTION][seed as usize % 4]
}

fn rope_scaling(seed: u64) -> RopeScaling {
    let llama3 = RopeScaling::Llama3 {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 64,
    };
    [RopeScaling::None, RopeScaling::Linear { factor: 2.5 }, llama3][seed as usize % 3]
}

/// A small model of a family with random sizes; most vocabularies end inside a chunk.
fn random_model(family: Family, seed: u64) -> Model {
    let mut pick = whole(seed);
    let num_kv_heads = 1 + pick(3);
    let head_dim = [4, 8, 16, 20, 32][pick(5)];
    let config = ModelConfig {
        family,
        vocab_size: [37, 100, 2049, 4500][pick(4)],
        hidden_size: [16, 24, 40, 72][pick(4)],
        intermediate_size: [24, 50, 80][pick(3)],
        num_layers: 1 + pick(2),
        num_heads: num_kv_heads * (1 + pick(4)),
        num_kv_heads,
        head_dim,
        context: 256,
        rope_theta: 10_000.0,
        rope_scaling: rope_scaling(seed),
        rms_norm_eps: 1e-5,
        tie_embeddings: pick(2) == 0,
        biases: biases(seed),
        qk_norm: family == Family::Qwen3,
    };
    support::model(config, DType::F32)
}

/// Bytes of weights above which the threads of a decoding step share each product, not the rows.
const SHARED_PRODUCTS: usize = 24 << 20;

/// A model whose every sum is longer than the 768 terms that a packed product adds in one go, and
/// whose products are shared by threads in either precision.
fn wide_model() -> Model {
    let config = ModelConfig {
        family: Family::Llama,
        vocab_size: 2100,
        hidden_size: 800,
        intermediate_size: 1820,
        num_layers: 2,
        num_heads: 10,
        num_kv_heads: 2,
        head_dim: 80,
        context: 512,
        rope_theta: 10_000.0,
        rope_scaling: rope_scaling(2),
        rms_norm_eps: 1e-5,
        tie_embeddings: false,
        biases: ALL,
        qk_norm: true,
    };
    let (embed, model) =
        (config.vocab_size * config.hidden_size, support::model(config, DType::F32));
    let all: usize = model.parameters().iter().map(|p| p.tensor.elem_count()).sum();
    assert!(2 * (all - embed) > SHARED_PRODUCTS + (1 << 16), "too small to share products");
    model
}

/// Few tokens, since each costs a pass over many weights.
fn wide_groups(vocab: usize) -> Groups {
    let group = |seed, prompt, lens: &[usize]| {
        let completions = (seed + 1..).zip(lens).map(|(i, &len)| support::tokens(i, len, vocab));
        (support::tokens(seed, prompt, vocab), completions.collect())
    };
    vec![group(10, 29, &[6, 1, 9, 4]), group(20, 16, &[5])]
}

fn random_groups(vocab: usize, seed: u64) -> Groups {
    let mut pick = whole(seed);
    let mut tokens = |least: usize, most: usize| -> Vec<u32> {
        // Half of all lengths are next to a multiple of sixteen.
        let len = if pick(2) == 0 { least + pick(most - least + 1) } else { 15 + pick(3) };
        (0..len.min(most)).map(|_| pick(vocab) as u32).collect()
    };
    let mut groups = Groups::new();
    for size in [5, 1, 3] {
        let prompt = tokens(1, 70);
        groups.push((prompt, (0..size).map(|_| tokens(1, 40)).collect()));
    }
    groups
}

fn scored(logits: &[f32], token: u32) -> Scored {
    let d = Distribution::new(logits, TEMPERATURE);
    [d.log_prob(logits[token as usize]), d.entropy, d.phi_sum].map(|x| (x as f32).to_bits())
}

/// Every completion, decoded with this many slots; a slot that is free takes the next sequence.
fn decoded(model: &Model, groups: &Groups, slots: usize) -> Vec<Vec<Scored>> {
    let prefixes: Vec<_> =
        groups.iter().map(|(prompt, _)| model.prefill(prompt).unwrap()).collect();
    let sequences: Vec<(usize, &[u32])> = (0..)
        .zip(groups)
        .flat_map(|(group, (_, completions))| completions.iter().map(move |c| (group, &c[..])))
        .collect();
    let mut out: Vec<Vec<Scored>> = sequences
        .iter()
        .map(|&(group, completion)| vec![scored(prefixes[group].logits(), completion[0])])
        .collect();
    let mut cache = model.cache(slots, 40).unwrap();
    let (mut running, mut waiting) = (vec![None; slots], 0..sequences.len());
    let mut logits = Vec::new();
    loop {
        for (slot, running) in running.iter_mut().enumerate() {
            if running.is_some_and(|i: usize| out[i].len() == sequences[i].1.len()) {
                cache.release(slot);
                *running = None;
            }
            while running.is_none()
                && let Some(next) = waiting.next()
            {
                if sequences[next].1.len() > 1 {
                    cache.attach(slot, prefixes[sequences[next].0].clone()).unwrap();
                    *running = Some(next);
                }
            }
        }
        let feed: Vec<(usize, u32)> = (0..)
            .zip(&running)
            .filter_map(|(slot, i)| i.map(|i| (slot, sequences[i].1[out[i].len() - 1])))
            .collect();
        if feed.is_empty() {
            return out;
        }
        model.decode(&mut cache, &feed, &mut logits).unwrap();
        for (&(slot, _), row) in feed.iter().zip(logits.chunks(model.config().vocab_size)) {
            let i = running[slot].unwrap();
            let token = sequences[i].1[out[i].len()];
            out[i].push(scored(row, token));
        }
    }
}

/// Adds a prompt as a chain of about this many segments, each the parent of the next; returns the
/// last.
fn push_in_parts(packed: &mut Packed, prompt: &[u32], parts: usize) -> usize {
    let mut parent = None;
    for part in prompt.chunks(prompt.len().div_ceil(parts)) {
        parent = Some(packed.push(part, parent).unwrap());
    }
    parent.unwrap()
}

/// Every completion as training scores it, this many to a pack, with prompts of this many segments.
fn trained(model: &Model, groups: &Groups, at_once: usize, parts: usize) -> Vec<Vec<Scored>> {
    let sequences: Vec<(&[u32], &[u32])> = groups
        .iter()
        .flat_map(|(prompt, completions)| completions.iter().map(move |c| (&prompt[..], &c[..])))
        .collect();
    let mut out = Vec::new();
    for micro_batch in sequences.chunks(at_once) {
        let (mut packed, mut targets) = (Packed::default(), Vec::<Target>::new());
        let mut last: Option<(&[u32], usize)> = None;
        for &(prompt, completion) in micro_batch {
            let parent = match last {
                Some((known, parent)) if known == prompt => parent,
                _ => push_in_parts(&mut packed, prompt, parts),
            };
            last = Some((prompt, parent));
            targets.extend(packed.push_completion(parent, completion).unwrap());
        }
        let scores = model.score(&packed, &targets, TEMPERATURE).unwrap();
        let columns = [scores.log_probs, scores.entropies, scores.phi_sums];
        let mut rows = (0..targets.len()).map(|i| columns.each_ref().map(|c| c[i].to_bits()));
        out.extend(micro_batch.iter().map(|(_, c)| rows.by_ref().take(c.len()).collect()));
    }
    out
}

/// Every completion with each prefix of it prefilled as a prompt.
fn prefilled(model: &Model, groups: &Groups) -> Vec<Vec<Scored>> {
    let one = |prompt: &[u32], completion: &[u32]| -> Vec<Scored> {
        let mut sequence = prompt.to_vec();
        let mut out = Vec::new();
        for &token in completion {
            out.push(scored(model.prefill(&sequence).unwrap().logits(), token));
            sequence.push(token);
        }
        out
    };
    let of = |(prompt, completions): &(Vec<u32>, Vec<Vec<u32>>)| -> Vec<Vec<Scored>> {
        completions.iter().map(|completion| one(prompt, completion)).collect()
    };
    groups.iter().flat_map(of).collect()
}

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[track_caller]
fn equal(got: &[Vec<Scored>], want: &[Vec<Scored>], what: &str, config: &ModelConfig) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        for (t, (got, want)) in got.iter().zip(want).enumerate() {
            let show = |x: &Scored| x.map(f32::from_bits);
            assert_eq!(
                got,
                want,
                "{what}: completion {i}, token {t}: {:?} and {:?} of {config:?}",
                show(got),
                show(want)
            );
        }
        assert_eq!(got.len(), want.len());
    }
    assert_eq!(got.len(), want.len());
}

fn check(model: &Model, groups: &Groups) {
    let config = model.config();
    let want = in_pool(1, || trained(model, groups, 100, 1));
    for threads in [1, 2] {
        in_pool(threads, || {
            for at_once in [1, 2, 4, 100] {
                let got = trained(model, groups, at_once, 1);
                equal(&got, &want, &format!("{at_once} a pack, {threads} threads"), config);
            }
            for parts in [2, 3] {
                let got = trained(model, groups, 4, parts);
                equal(&got, &want, &format!("prompts in {parts}, {threads} threads"), config);
            }
            for slots in [1, 2, 5, 33] {
                let got = decoded(model, groups, slots);
                equal(&got, &want, &format!("{slots} slots, {threads} threads"), config);
            }
            let got = prefilled(model, groups);
            equal(&got, &want, &format!("prefilled, {threads} threads"), config);
        });
    }
}

fn check_random(precision: MatmulPrecision) {
    for seed in 0..6 {
        for family in FAMILIES {
            let mut model = random_model(family, seed).with_precision(precision).unwrap();
            if seed % 2 == 1 {
                model = support::adapted(model, 1 + seed as usize / 2);
            }
            check(&model, &random_groups(model.config().vocab_size, seed + 500));
        }
    }
}

#[test]
fn rollouts_equal_training_to_the_bit_in_f32() {
    check_random(MatmulPrecision::F32);
}

#[test]
fn rollouts_equal_training_to_the_bit_in_bf16() {
    check_random(MatmulPrecision::Bf16);
}

#[test]
fn rollouts_of_a_wide_model_equal_training_to_the_bit() {
    let mut model = wide_model();
    for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
        model = model.with_precision(precision).unwrap();
        check(&model, &wide_groups(model.config().vocab_size));
    }
    let model = support::adapted(model, 16);
    check(&model, &wide_groups(model.config().vocab_size));
}

/// Gradients of a pack with shared prompts and a long segment, as bits.
fn gradient_bits(model: &Model, activations: Activations, long: usize) -> Vec<Vec<u64>> {
    let vocab = model.config().vocab_size;
    let (mut packed, mut targets) = support::pack(&wide_groups(vocab));
    let prompt = packed.push(&support::tokens(1, 3, vocab), None).unwrap();
    let completion = support::tokens(2, long, vocab);
    targets.extend(packed.push_completion(prompt, &completion).unwrap());
    let gradients = gradients(model, &[(packed, targets)], activations);
    gradients.iter().map(|gradient| gradient.iter().map(|x| x.to_bits()).collect()).collect()
}

fn check_gradients(model: &Model, long: usize) {
    let names: Vec<&str> = model.trainable().map(|p| p.name.as_str()).collect();
    for activations in [Activations::Keep, Activations::Recompute] {
        let want = in_pool(1, || gradient_bits(model, activations, long));
        for threads in [2, 3] {
            let got = in_pool(threads, || gradient_bits(model, activations, long));
            for (name, (got, want)) in names.iter().zip(got.iter().zip(&want)) {
                let differ = got.iter().zip(want).filter(|(got, want)| got != want).count();
                assert_eq!(
                    differ,
                    0,
                    "{name}: of {} components, {threads} threads and one, {activations:?}, {:?}, \
                     {:?}",
                    want.len(),
                    model.precision(),
                    model.config()
                );
            }
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
        for (family, seed) in FAMILIES.into_iter().zip(0..) {
            let model = random_model(family, seed).with_precision(precision).unwrap();
            check_gradients(&model, 240);
        }
        check_gradients(&wide_model().with_precision(precision).unwrap(), 400);
    }
}

#[test]
fn many_slots_equal_training() {
    for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
        for (family, seed) in FAMILIES.into_iter().cycle().zip(3..9) {
            let model = random_model(family, seed).with_precision(precision).unwrap();
            let vocab = model.config().vocab_size;
            let groups: Groups = vec![(
                support::tokens(seed + 40, 21, vocab),
                (0..40).map(|i| support::tokens(i, 9, vocab)).collect(),
            )];
            let want = trained(&model, &groups, 100, 1);
            for slots in [1, 3, 4, 5, 8, 9, 16, 17, 32, 33] {
                let got = decoded(&model, &groups, slots);
                equal(&got, &want, &format!("{slots} slots, {precision:?}"), model.config());
            }
        }
    }
}
