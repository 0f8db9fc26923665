//! Cached decoding against the full forward pass.

use std::borrow::Cow;

use candle::{DType, Device, Tensor};
use engine::{
    BlockWeights, Distribution, Family, MatmulPrecision, Model, ModelConfig, Packed, Value,
    Version, WeightSource,
};

use crate::support::{self, FAMILIES, close, config, model, tokens, wide};

/// A prompt and what is fed after it.
type Sequence = (Vec<u32>, Vec<u32>);

/// Two siblings of one prompt and one sequence of another, of uneven length; prompt and completion
/// end inside, at and beyond a block of sixteen.
fn sequences(vocab: usize) -> Vec<Sequence> {
    let (long, short) = (tokens(1, 19, vocab), tokens(2, 16, vocab));
    vec![
        (long.clone(), tokens(3, 35, vocab)),
        (short, tokens(4, 3, vocab)),
        (long, tokens(5, 17, vocab)),
    ]
}

/// Logits before every token of every sequence, all decoded together, one slot each.
fn decoded(model: &Model, sequences: &[Sequence]) -> Vec<Vec<Vec<f32>>> {
    let longest = sequences.iter().map(|(_, fed)| fed.len()).max().unwrap_or(0);
    let mut cache = model.cache(sequences.len(), longest).unwrap();
    let mut prefixes: Vec<(&[u32], std::sync::Arc<engine::Prefix>)> = Vec::new();
    let mut out = Vec::new();
    for (slot, (prompt, _)) in sequences.iter().enumerate() {
        let known = prefixes.iter().find(|(known, _)| known == prompt);
        let prefix = match known {
            Some((_, prefix)) => prefix.clone(),
            None => model.prefill(prompt).unwrap(),
        };
        out.push(vec![prefix.logits().to_vec()]);
        cache.attach(slot, prefix.clone()).unwrap();
        prefixes.push((prompt, prefix));
    }
    let mut logits = Vec::new();
    for step in 0..longest {
        let feed: Vec<(usize, u32)> = sequences
            .iter()
            .enumerate()
            .filter_map(|(slot, (_, fed))| Some((slot, *fed.get(step)?)))
            // Not in slot order, which must not matter.
            .rev()
            .collect();
        model.decode(&mut cache, &feed, &mut logits).unwrap();
        for (&(slot, _), row) in feed.iter().zip(logits.chunks(model.config().vocab_size)) {
            out[slot].push(row.to_vec());
        }
    }
    out
}

/// Log-probability, entropy and the sum behind Phi of every token that was fed.
fn decoded_scores(model: &Model, sequences: &[Sequence], temperature: f64) -> [Vec<f64>; 3] {
    let mut scores = [const { Vec::new() }; 3];
    for ((_, fed), rows) in sequences.iter().zip(decoded(model, sequences)) {
        for (&token, row) in fed.iter().zip(&rows) {
            let d = Distribution::new(row, temperature);
            scores[0].push(d.log_prob(row[token as usize]));
            scores[1].push(d.entropy);
            scores[2].push(d.phi_sum);
        }
    }
    scores
}

fn full_scores(model: &Model, sequences: &[Sequence], temperature: f64) -> [Vec<f64>; 3] {
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    for (prompt, fed) in sequences {
        let parent = packed.push(prompt, None).unwrap();
        targets.extend(packed.push_completion(parent, fed).unwrap());
    }
    let scores = model.score(&packed, &targets, temperature).unwrap();
    [wide(&scores.log_probs), wide(&scores.entropies), wide(&scores.phi_sums)]
}

fn configs() -> impl Iterator<Item = ModelConfig> {
    support::configs().into_iter().flat_map(|config| {
        [true, false].map(|tie_embeddings| ModelConfig { tie_embeddings, ..config.clone() })
    })
}

#[test]
fn cached_decoding_equals_the_full_forward_pass() {
    for config in configs() {
        let sequences = sequences(config.vocab_size);
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 2e-6)] {
            let model = model(config.clone(), dtype);
            let got = decoded_scores(&model, &sequences, 0.7);
            let want = full_scores(&model, &sequences, 0.7);
            for (got, want) in got.iter().zip(&want) {
                close(got, want, tolerance);
            }
        }
    }
}

#[test]
fn half_width_weights_decode_as_they_score() {
    for family in FAMILIES {
        let sequences = sequences(37);
        let model = model(config(family), DType::BF16);
        let got = decoded_scores(&model, &sequences, 1.0);
        let want = full_scores(&model, &sequences, 1.0);
        for (got, want) in got.iter().zip(&want) {
            close(got, want, 0.05);
        }
    }
}

/// Decoding and scoring round the same operands and sum in one order, so their scores are equal.
#[test]
fn rounded_products_decode_as_they_score_and_near_the_full_ones() {
    for config in configs() {
        let sequences = sequences(config.vocab_size);
        let full = full_scores(&model(config.clone(), DType::F32), &sequences, 1.0);
        let rounded = model(config, DType::F32).with_precision(MatmulPrecision::Bf16).unwrap();
        let got = decoded_scores(&rounded, &sequences, 1.0);
        let want = full_scores(&rounded, &sequences, 1.0);
        for ((got, want), full) in got.iter().zip(&want).zip(&full) {
            // Scores of a full pass are in f32.
            let got: Vec<_> = got.iter().map(|&score| f64::from(score as f32)).collect();
            assert_eq!(&got, want);
            close(want, full, 0.02);
            let worst = want.iter().zip(full).map(|(a, b)| (a - b).abs()).max_by(f64::total_cmp);
            let worst = worst.unwrap();
            assert!(worst > 1e-4, "nothing was rounded: {worst}");
        }
    }
}

#[test]
fn the_cpu_backend_equals_the_reference() {
    for config in configs() {
        let sequences = sequences(config.vocab_size);
        let cpu = decoded(&model(config.clone(), DType::F32), &sequences);
        let reference = decoded(&model(config, DType::F64), &sequences);
        for (cpu, reference) in cpu.iter().flatten().zip(reference.iter().flatten()) {
            close(&wide(cpu), &wide(reference), 2e-5);
        }
    }
}

/// Large enough that products are split by features, and another that is split by rows.
fn sizes() -> [ModelConfig; 2] {
    let small = ModelConfig { context: 256, ..config(Family::Qwen3) };
    let large = ModelConfig {
        vocab_size: 9000,
        hidden_size: 576,
        intermediate_size: 768,
        num_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        ..small.clone()
    };
    [small, large]
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() {
    for config in sizes() {
        let model = model(config.clone(), DType::F32);
        let prompts = [tokens(1, 5, config.vocab_size), tokens(2, 21, config.vocab_size)];
        let sequences: Vec<Sequence> = (0..16)
            .map(|i| (prompts[i % 2].clone(), tokens(i as u64, 3 + i % 5, config.vocab_size)))
            .collect();
        let together = decoded(&model, &sequences);
        for slots in [1, 3] {
            let apart: Vec<_> =
                sequences.chunks(slots).flat_map(|part| decoded(&model, part)).collect();
            assert!(together == apart, "{slots} slots and 16 differ");
        }
    }
}

/// More than one pass, a pass of several prompts, and a prompt that is a pass alone.
#[test]
fn prompts_prefilled_together_equal_each_alone() {
    for config in sizes() {
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            let model = model(config.clone(), DType::F32).with_precision(precision).unwrap();
            let lengths = [1, 16, 17, 90, 5, 140, 256, 33, 2];
            let prompts: Vec<_> =
                (0..).zip(lengths).map(|(i, len)| tokens(i, len, config.vocab_size)).collect();
            let slices: Vec<_> = prompts.iter().map(Vec::as_slice).collect();
            let together = model.policy().prefill_all(&slices).unwrap();
            assert_eq!(together.len(), prompts.len());
            for (prompt, together) in prompts.iter().zip(together) {
                let alone = model.prefill(prompt).unwrap();
                assert_eq!(together.num_tokens(), prompt.len());
                assert!(together.logits() == alone.logits(), "{} tokens", prompt.len());
                if prompt.len() < config.context {
                    let next = [together, alone].map(|prefix| {
                        let (mut cache, mut logits) = (model.cache(1, 1).unwrap(), Vec::new());
                        cache.attach(0, prefix).unwrap();
                        model.decode(&mut cache, &[(0, 1)], &mut logits).unwrap();
                        logits
                    });
                    assert!(next[0] == next[1], "after {} tokens", prompt.len());
                }
            }
        }
    }
    let model = model(config(Family::Llama), DType::F64);
    let prompts = [tokens(1, 3, 37), tokens(2, 5, 37)];
    let together = model.policy().prefill_all(&prompts.each_ref().map(Vec::as_slice)).unwrap();
    for (prompt, together) in prompts.iter().zip(together) {
        assert_eq!(together.logits(), model.prefill(prompt).unwrap().logits());
    }
    assert!(model.policy().prefill_all(&[]).unwrap().is_empty());
    let empty = model.policy().prefill_all(&[&[1], &[]]).unwrap_err().to_string();
    assert!(empty.contains("at least one token"), "{empty}");
}

#[test]
fn released_slots_start_anew() {
    let model = model(config(Family::Llama), DType::F32);
    let sequences = sequences(37);
    let want = decoded(&model, &sequences[1..2]);
    let mut cache = model.cache(1, 35).unwrap();
    let mut logits = Vec::new();
    for (prompt, fed) in &sequences {
        cache.attach(0, model.prefill(prompt).unwrap()).unwrap();
        for &token in fed {
            model.decode(&mut cache, &[(0, token)], &mut logits).unwrap();
        }
        if fed.len() == 3 {
            assert_eq!(&logits, want[0].last().unwrap());
        }
        cache.release(0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = config(Family::Llama);
    let model = model(config.clone(), DType::F32);
    let error = |result: engine::Result<()>| result.unwrap_err().to_string();
    let prefill = |prompt: &[u32]| error(model.prefill(prompt).map(|_| ()));
    assert!(prefill(&[]).contains("at least one token"));
    assert!(prefill(&[1; 65]).contains("65 tokens does not fit the model's context of 64"));
    assert!(prefill(&[1, 37]).contains("token 37 is outside the vocabulary of 37"));

    let mut cache = model.cache(2, 3).unwrap();
    let mut logits = Vec::new();
    let mut decode = |cache: &mut _, feed: &[_]| error(model.decode(cache, feed, &mut logits));
    assert!(decode(&mut cache, &[(0, 1)]).contains("slot 0: no prompt is attached"));
    assert!(decode(&mut cache, &[(2, 1)]).contains("slot 2: the cache has 2 slots"));
    cache.attach(0, model.prefill(&[1; 4]).unwrap()).unwrap();
    assert!(decode(&mut cache, &[(0, 1), (0, 2)]).contains("slot 0: named twice"));
    assert!(decode(&mut cache, &[(0, 37)]).contains("token 37 is outside the vocabulary"));
    cache.attach(1, model.prefill(&[1; 64]).unwrap()).unwrap();
    assert!(decode(&mut cache, &[(1, 1)]).contains("the context of 64 tokens is used up"));
    let mut logits = Vec::new();
    for _ in 0..3 {
        model.decode(&mut cache, &[(0, 1)], &mut logits).unwrap();
    }
    let full = error(model.decode(&mut cache, &[(0, 1)], &mut logits));
    assert!(full.contains("all 3 rows of the cache are used"), "{full}");
}

/// A model's weights, of which some are replaced without a new version: a step must notice by
/// itself that its numbers are not finite.
#[derive(Debug)]
struct Replaced<'a> {
    model: &'a Model,
    embed: Option<Tensor>,
    norm: Option<Tensor>,
    head: Option<Tensor>,
}

impl<'a> Replaced<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, embed: None, norm: None, head: None }
    }
}

/// The numbers of a weight of a model in f32.
fn plain(value: engine::Result<Value>) -> Tensor {
    value.unwrap().tensor(DType::F32, &Device::Cpu).unwrap()
}

impl WeightSource for Replaced<'_> {
    fn version(&self) -> Version {
        self.model.version()
    }

    fn embed(&self) -> engine::Result<Value> {
        self.embed.clone().map_or_else(|| self.model.embed(), |embed| Ok(embed.into()))
    }

    fn block(&self, layer: usize) -> engine::Result<Cow<'_, BlockWeights<Value>>> {
        self.model.block(layer)
    }

    fn norm(&self) -> engine::Result<Tensor> {
        self.norm.clone().map_or_else(|| self.model.norm(), Ok)
    }

    fn head(&self) -> engine::Result<Value> {
        self.head.clone().map_or_else(|| self.model.head(), |head| Ok(head.into()))
    }
}

#[test]
fn diverged_weights_are_an_error() {
    for dtype in [DType::F32, DType::F64] {
        let model = model(config(Family::Llama), dtype);
        let mut cache = model.cache(1, 3).unwrap();
        cache.attach(0, model.prefill(&[1, 2]).unwrap()).unwrap();
        let nan = Tensor::full(f32::NAN, model.config().hidden_size, &Device::Cpu).unwrap();
        let diverged =
            Replaced { norm: Some(nan.to_dtype(dtype).unwrap()), ..Replaced::new(&model) };
        let policy = model.policy_with(&diverged);
        let prefill = policy.prefill(&[1, 2]).unwrap_err().to_string();
        assert!(prefill.contains("after position 1 are not finite"), "{prefill}");
        let decode = policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
        assert!(decode.contains("after position 2 are not finite"), "{decode}");
    }
}

/// A weight with one element NaN.
fn spoiled(weight: &Tensor, index: usize) -> Tensor {
    let mut values: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
    values[index] = f32::NAN;
    Tensor::from_vec(values, weight.shape(), &Device::Cpu).unwrap()
}

/// Threads share the rows of a model of this size.
#[test]
fn one_diverged_row_among_others_is_an_error() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let model = model(ModelConfig { tie_embeddings: false, ..config(Family::Llama) }, DType::F32);
    let embed = Some(spoiled(&plain(model.embed()), 2 * model.config().hidden_size));
    let diverged = Replaced { embed, ..Replaced::new(&model) };
    for broken in 0..3 {
        let mut cache = model.cache(3, 3).unwrap();
        for slot in 0..3 {
            cache.attach(slot, model.prefill(&[1; 4][..=slot]).unwrap()).unwrap();
        }
        let mut feed = [(0, 1), (1, 1), (2, 1)];
        feed[broken].1 = 2;
        let policy = model.policy_with(&diverged);
        let result = threads.install(|| policy.decode(&mut cache, &feed, &mut Vec::new()));
        let error = result.unwrap_err().to_string();
        let expected = format!("after position {} are not finite", broken + 1);
        assert!(error.contains(&expected), "row {broken}: {error}");
    }
}

#[test]
fn a_head_that_is_not_finite_is_an_error() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for slots in [1, 2] {
        let untied = ModelConfig { tie_embeddings: false, ..config(Family::Llama) };
        let model = model(untied, DType::F32);
        let mut cache = model.cache(slots, 3).unwrap();
        let feed: Vec<(usize, u32)> = (0..slots).map(|slot| (slot, 1)).collect();
        for slot in 0..slots {
            cache.attach(slot, model.prefill(&[1, 2]).unwrap()).unwrap();
        }
        let head = Some(spoiled(&plain(model.head()), 36 * model.config().hidden_size));
        let diverged = Replaced { head, ..Replaced::new(&model) };
        let policy = model.policy_with(&diverged);
        let result = threads.install(|| policy.decode(&mut cache, &feed, &mut Vec::new()));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("after position 2 are not finite"), "{slots} slots: {error}");
    }
}
