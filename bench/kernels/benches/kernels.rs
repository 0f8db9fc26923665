//! Every kernel at the sizes of SmolLM2-135M, forward and, where there is one, backward.
//!
//! `item/s` are floating-point operations of matrix products, a multiply-add counted as two, or
//! else numbers treated.

use candle::{DType, Device, Tensor, Var};
use divan::Bencher;
use divan::counter::ItemsCount;
use engine::backend::cpu;
use engine::layout::Span;
use engine::{Biases, Distribution, Family, MatmulPrecision, Model, ModelConfig, Packed, RopeScaling};
use kernels::matmul::{product, product_to_vec};
use kernels::matrix::{MatMut, MatRef};
use kernels::output::Output;
use kernels::threads::Threads;
use optim::{AdamWConfig, Gradients, Objective, OptimConfig, Param};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WIDTH: usize = 576;
const INNER: usize = 1536;
const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD: usize = 64;
/// Beside many rows, those around which the choice of a kernel changes.
const ROWS: [usize; 8] = [4, 5, 16, 17, 48, 128, 257, 2048];

fn main() {
    divan::main();
}

/// Numbers in [-0.5, 0.5).
fn noise(shape: &[usize]) -> Tensor {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many numbers as the shape holds")
}

fn variable(shape: &[usize]) -> Var {
    Var::from_tensor(&noise(shape)).expect("a tensor on the CPU")
}

fn numbers(shape: &[usize]) -> Vec<f32> {
    noise(shape).flatten_all().and_then(|x| x.to_vec1()).expect("a tensor on the CPU")
}

/// Linear maps up and down, as a block has them.
#[divan::bench_group]
mod linear {
    use super::*;

    fn forward(bencher: Bencher<'_, '_>, precision: MatmulPrecision, rows: usize) {
        let (x, w) = (numbers(&[rows, WIDTH]), numbers(&[INNER, WIDTH]));
        let (x, w) = (MatRef::new(&x, rows, WIDTH), MatRef::new(&w, INNER, WIDTH));
        bencher
            .counter(ItemsCount::new(2 * rows * WIDTH * INNER))
            .bench_local(|| product_to_vec(precision, Threads::Pool, x, w.t()));
    }

    fn backward(bencher: Bencher<'_, '_>, precision: MatmulPrecision, rows: usize) {
        let (x, w, dy) = (numbers(&[rows, WIDTH]), numbers(&[INNER, WIDTH]), numbers(&[rows, INNER]));
        let (x, w) = (MatRef::new(&x, rows, WIDTH), MatRef::new(&w, INNER, WIDTH));
        let dy = MatRef::new(&dy, rows, INNER);
        let product = |a, b| product_to_vec(precision, Threads::Pool, a, b);
        bencher
            .counter(ItemsCount::new(4 * rows * WIDTH * INNER))
            .bench_local(|| (product(dy, w), product(dy.t(), x)));
    }

    #[divan::bench(args = ROWS)]
    fn f32_forward(bencher: Bencher<'_, '_>, rows: usize) {
        forward(bencher, MatmulPrecision::F32, rows);
    }

    #[divan::bench(args = ROWS)]
    fn f32_backward(bencher: Bencher<'_, '_>, rows: usize) {
        backward(bencher, MatmulPrecision::F32, rows);
    }

    #[divan::bench(args = ROWS)]
    fn bf16_forward(bencher: Bencher<'_, '_>, rows: usize) {
        forward(bencher, MatmulPrecision::Bf16, rows);
    }

    #[divan::bench(args = ROWS)]
    fn bf16_backward(bencher: Bencher<'_, '_>, rows: usize) {
        backward(bencher, MatmulPrecision::Bf16, rows);
    }
}

/// Forward and backward.
#[divan::bench(args = ROWS)]
fn rms_norm(bencher: Bencher<'_, '_>, rows: usize) {
    let (x, w, mut dx) = (numbers(&[rows, WIDTH]), numbers(&[WIDTH]), numbers(&[rows, WIDTH]));
    bencher.counter(ItemsCount::new(rows * WIDTH)).bench_local(|| {
        let y = cpu::rms_norm(cpu::Threads::Pool, &x, &w, 1e-5);
        cpu::rms_norm_backward(&x, &w, 1e-5, &y, &mut dx)
    });
}

/// Forward and backward.
#[divan::bench(args = ROWS)]
fn swiglu(bencher: Bencher<'_, '_>, rows: usize) {
    let (mut gate, mut up) = (numbers(&[rows, INNER]), numbers(&[rows, INNER]));
    bencher.counter(ItemsCount::new(rows * INNER)).bench_local(|| {
        let y = cpu::swiglu(cpu::Threads::Pool, &gate, &up);
        cpu::swiglu_backward(&mut gate, &mut up, &y);
    });
}

#[divan::bench(args = ROWS)]
fn rope(bencher: Bencher<'_, '_>, rows: usize) {
    let mut x = numbers(&[rows, HEADS, HEAD]);
    let (cos, sin) = (numbers(&[rows, HEAD / 2]), numbers(&[rows, HEAD / 2]));
    bencher
        .counter(ItemsCount::new(rows * WIDTH))
        .bench_local(|| cpu::rope(cpu::Threads::Pool, &mut x, &cos, &sin, HEAD / 2));
}

/// Two prompts of this length with eight completions of 64 tokens each, forward and backward.
#[divan::bench(args = [48, 373])]
fn attention(bencher: Bencher<'_, '_>, prompt: usize) {
    let packed = groups(prompt).0;
    let (rows, spans) = (packed.rows(), Span::of(&packed));
    let heads = cpu::Heads { query: HEADS, key: KV_HEADS, width: HEAD };
    let q = numbers(&[rows, HEADS, HEAD]);
    let [k, v] = [(); 2].map(|()| numbers(&[rows, KV_HEADS, HEAD]));
    let pairs: usize = spans.iter().map(|span| {
        let before: usize = span.ancestors.iter().map(|&(_, len)| len).sum();
        span.len * before + span.len * (span.len + 1) / 2
    }).sum();
    bencher.counter(ItemsCount::new(12 * pairs * HEADS * HEAD)).bench_local(|| {
        let (threads, segments) = (cpu::Threads::Pool, packed.segments());
        let y = cpu::attention(threads, heads, [&q, &k, &v], segments);
        cpu::attention_backward(threads, heads, [&q, &k, &v], segments, &y, &y.out)
    });
}

fn groups(prompt: usize) -> (Packed, Vec<engine::Target>) {
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    for group in 0..2 {
        let parent = packed.push(&vec![group + 1; prompt], None).expect("a prompt");
        for sibling in 0..8 {
            let completion = packed.push_completion(parent, &[sibling + 3; 64]);
            targets.extend(completion.expect("a completion"));
        }
    }
    (packed, targets)
}

/// A model of SmolLM2's sizes with `num_layers` blocks.
fn model(num_layers: usize, vocab_size: usize, precision: MatmulPrecision) -> Model {
    let config = ModelConfig {
        family: Family::Llama,
        vocab_size,
        hidden_size: WIDTH,
        intermediate_size: INNER,
        num_layers,
        num_heads: HEADS,
        num_kv_heads: KV_HEADS,
        head_dim: HEAD,
        context: 2048,
        rope_theta: 1e5,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: true,
        biases: Biases::NONE,
        qk_norm: false,
    };
    let model = Model::random(config, 1, DType::F32, &Device::Cpu).expect("a model of this size");
    model.with_precision(precision).expect("a CPU")
}

/// Scores of 1024 targets under a model without blocks, which is the head alone, and its products
/// as they would be taken by themselves, on as many tokens of the vocabulary at once.
#[divan::bench_group]
mod head {
    use super::*;

    const VOCABULARIES: [usize; 2] = [2_048, 49_152];
    const CHUNK: usize = 2_048;

    /// Logits of rows over a part of the head.
    fn project(x: &[f32], part: &[f32]) -> Vec<f32> {
        let x = MatRef::new(x, x.len() / WIDTH, WIDTH);
        let part = MatRef::new(part, part.len() / WIDTH, WIDTH);
        product_to_vec(MatmulPrecision::F32, Threads::Pool, x, part.t())
    }

    /// Floating-point operations of one product over all rows that have targets.
    fn operations(targets: &[engine::Target], vocabulary: usize) -> (usize, usize) {
        let mut rows: Vec<_> = targets.iter().map(|target| target.row).collect();
        rows.sort_unstable();
        rows.dedup();
        (rows.len(), 2 * rows.len() * WIDTH * vocabulary)
    }

    #[divan::bench(args = VOCABULARIES)]
    fn forward(bencher: Bencher<'_, '_>, vocabulary: usize) {
        let model = model(0, vocabulary, MatmulPrecision::F32);
        let (packed, targets) = groups(48);
        bencher
            .counter(ItemsCount::new(operations(&targets, vocabulary).1))
            .bench_local(|| model.score(&packed, &targets, 1.0).expect("targets inside the rows"));
    }

    #[divan::bench(args = VOCABULARIES)]
    fn forward_products(bencher: Bencher<'_, '_>, vocabulary: usize) {
        let (rows, operations) = operations(&groups(48).1, vocabulary);
        let (x, w) = (numbers(&[rows, WIDTH]), numbers(&[vocabulary, WIDTH]));
        bencher.counter(ItemsCount::new(operations)).bench_local(|| {
            for w in w.chunks(CHUNK * WIDTH) {
                divan::black_box(project(&x, w));
            }
        });
    }

    /// Forward and backward: logits twice, and two gradients.
    #[divan::bench(args = VOCABULARIES)]
    fn backward(bencher: Bencher<'_, '_>, vocabulary: usize) {
        let model = model(0, vocabulary, MatmulPrecision::F32);
        let (packed, targets) = groups(48);
        let keep = engine::Activations::Keep;
        bencher.counter(ItemsCount::new(4 * operations(&targets, vocabulary).1)).bench_local(|| {
            let mut loss = |columns: &engine::ScoreTensors| Ok(columns.log_probs.sum_all()?);
            engine::backward(&model, &packed, &targets, 1.0, keep, &mut loss, &mut |_, gradient| {
                drop(divan::black_box(gradient));
                Ok(())
            })
            .expect("targets inside the rows")
        });
    }

    #[divan::bench(args = VOCABULARIES)]
    fn backward_products(bencher: Bencher<'_, '_>, vocabulary: usize) {
        let (rows, operations) = operations(&groups(48).1, vocabulary);
        let (x, w) = (numbers(&[rows, WIDTH]), numbers(&[vocabulary, WIDTH]));
        let mut dx = numbers(&[rows, WIDTH]);
        bencher.counter(ItemsCount::new(4 * operations)).bench_local(|| {
            for w in w.chunks(CHUNK * WIDTH) {
                divan::black_box(project(&x, w));
            }
            for w in w.chunks(CHUNK * WIDTH) {
                let d = project(&x, w);
                let len = w.len() / WIDTH;
                let d = MatRef::new(&d, rows, len);
                let to = Output::add(MatMut::new(&mut dx, rows, WIDTH));
                product(Threads::Pool, 1.0, d, MatRef::new(w, len, WIDTH), to);
                let x = MatRef::new(&x, rows, WIDTH);
                divan::black_box(product_to_vec(MatmulPrecision::F32, Threads::Pool, d.t(), x));
            }
        });
    }
}

#[divan::bench]
fn distribution(bencher: Bencher<'_, '_>) {
    let logits: Vec<f32> = noise(&[49_152]).to_vec1().expect("a vector");
    bencher.counter(ItemsCount::new(logits.len())).bench_local(|| Distribution::new(&logits, 1.0));
}

/// One token for each of the slots through four blocks and a small head, after prompts of 64.
#[divan::bench_group]
mod decode {
    use super::*;

    fn step(bencher: Bencher<'_, '_>, precision: MatmulPrecision, slots: usize) {
        let model = model(4, 2048, precision);
        let mut cache = model.cache(slots, 1024).expect("a cache");
        let prefix = model.prefill(&[1; 64]).expect("a prompt");
        (0..slots).for_each(|slot| cache.attach(slot, prefix.clone()).expect("a free slot"));
        let feed: Vec<_> = (0..slots).map(|slot| (slot, 1)).collect();
        let weights = 4 * (WIDTH * (2 * HEADS + 2 * KV_HEADS) * HEAD + 3 * WIDTH * INNER) + 2048 * WIDTH;
        let mut logits = Vec::new();
        bencher
            .counter(ItemsCount::new(2 * slots * weights))
            .bench_local(|| model.decode(&mut cache, &feed, &mut logits).expect("room in the cache"));
    }

    #[divan::bench(args = [1, 4, 16, 64], max_time = 1, sample_size = 1, sample_count = 200)]
    fn f32(bencher: Bencher<'_, '_>, slots: usize) {
        step(bencher, MatmulPrecision::F32, slots);
    }

    #[divan::bench(args = [1, 4, 16, 64], max_time = 1, sample_size = 1, sample_count = 200)]
    fn bf16(bencher: Bencher<'_, '_>, slots: usize) {
        step(bencher, MatmulPrecision::Bf16, slots);
    }
}

/// A gradient that is there already.
struct Ready(Tensor);

impl Objective for Ready {
    fn value(&mut self) -> optim::Result<f64> {
        Ok(0.0)
    }

    fn gradient(&mut self, into: &mut Gradients) -> optim::Result<f64> {
        into.add(0, self.0.clone())?;
        Ok(0.0)
    }
}

#[divan::bench]
fn adamw(bencher: Bencher<'_, '_>) {
    let params = [Param { name: "w".into(), var: variable(&[16 << 20]), decay: true, lr_scale: 1.0 }];
    let mut optimizer =
        OptimConfig::AdamW(AdamWConfig::default()).build(&params).expect("settings that fit");
    let mut gradient = Ready(noise(&[16 << 20]));
    bencher
        .counter(ItemsCount::new(16_usize << 20))
        .bench_local(|| optimizer.step(&params, &mut gradient, 1e-3).expect("a finite gradient"));
}
