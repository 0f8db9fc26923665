//! Every public kernel on small shapes against a plain loop: small enough for Miri, which checks
//! the accesses of the portable forms and of the threads (`bash .ci/run miri`).

use std::array;

use kernels::MatmulPrecision::{Bf16, F32};
use kernels::adamw::Update;
use kernels::attention::{Heads, Queries, Scratch, Segment, attend, attention, attention_backward};
use kernels::linear::{Linear, Matrix, linear, linear_add, linears_to_vec};
use kernels::logits::Distribution;
use kernels::matmul::bf16::PackedBf16;
use kernels::matmul::{product, product_in, product_to_vec};
use kernels::matrix::{MatMut, MatRef};
use kernels::norm::{rms_norm, rms_norm_backward};
use kernels::output::Output;
use kernels::rope::rope;
use kernels::swiglu::{swiglu, swiglu_backward};
use kernels::threads::{Threads, with_team};

/// A stream of numbers in -2 to 2.
fn noise(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|i| {
            let [word, ..] = rand_philox::philox4x32_10([i, 0, 0, 0], [seed, 0]);
            rand_philox::u32_to_unit_f32(word) * 4.0 - 2.0
        })
        .collect()
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "as many numbers as expected");
    for (i, (&got, want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(got) - want).abs();
        assert!(difference <= bound * want.abs().max(1.0), "{i}: {got}, expected {want}");
    }
}

/// `x W^T + b`, of `x` (rows, width) and `w` (out, width).
fn map(x: &[f32], w: &[f32], bias: &[f32], width: usize) -> Vec<f64> {
    let dot = |x: &[f32], w: &[f32]| -> f64 {
        x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
    };
    let row = |x| {
        let features = w.chunks_exact(width).zip(bias);
        features.map(move |(w, &bias)| dot(x, w) + f64::from(bias))
    };
    x.chunks_exact(width).flat_map(row).collect()
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect()
}

fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| x.iter().skip(c).step_by(columns).copied()).collect()
}

/// With one thread, with the pool's, and in a team; under Miri, where that takes minutes, with one:
/// `threads_write_their_own_parts` has the others.
fn with_threads(work: impl Fn(Threads<'_>) + Sync) {
    if cfg!(miri) {
        return work(Threads::One);
    }
    with_two_threads(work);
}

fn with_two_threads(work: impl Fn(Threads<'_>) + Sync) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    pool.install(|| {
        work(Threads::One);
        work(Threads::Pool);
        with_team(&work);
    });
}

/// Rows, features in, features out: one lane and several, whole vectors and parts of them.
const SHAPES: [[usize; 3]; 5] = [[1, 3, 1], [2, 16, 17], [4, 5, 33], [5, 33, 16], [9, 17, 18]];

#[test]
fn linear_maps_are_their_sums() {
    for [rows, width, out] in SHAPES {
        let (x, w, v) = (noise(1, rows * width), noise(2, out * width), noise(3, out * width));
        let (bias, start) = (noise(4, out), noise(5, rows * out));
        let none = vec![0.0; out];
        for (precision, bound) in [(F32, 1e-5), (Bf16, 1e-5)] {
            let operand = |x: &[f32]| if precision == Bf16 { rounded(x) } else { x.to_vec() };
            let [xr, wr, vr] = [&x, &w, &v].map(|x| operand(x));
            let (with_bias, plain) = (map(&xr, &wr, &bias, width), map(&xr, &vr, &none, width));
            let packed =
                [&w, &v].map(|w| PackedBf16::new(Threads::One, MatRef::new(w, out, width)));
            let matrix = |i: usize| match precision {
                F32 => Matrix::F32(if i == 0 { &w } else { &v }),
                Bf16 => Matrix::Bf16(&packed[i]),
            };
            let first = Linear { weight: matrix(0), bias: Some(&bias) };
            let second = Linear::plain(matrix(1));
            with_threads(|threads| {
                let [mut y, mut z] = array::from_fn(|_| vec![f32::NAN; rows * out]);
                linear(threads, &x, first, rows, &mut y);
                assert_near(&y, &with_bias, bound);
                linear(threads, &x, second, rows, &mut z);
                assert_near(&z, &plain, bound);
                let [a, b] = linears_to_vec(threads, &x, rows, [first, second]);
                assert_eq!((&a, &b), (&y, &z));

                y.copy_from_slice(&start);
                linear_add(threads, &x, second, rows, &mut y);
                let sum: Vec<_> =
                    plain.iter().zip(&start).map(|(a, &b)| a + f64::from(b)).collect();
                assert_near(&y, &sum, bound);
            });
        }
    }
}

#[test]
fn threads_write_their_own_parts() {
    let (x, w) = (noise(24, 5 * 3), noise(25, 40 * 3));
    let want = map(&x, &w, &[0.0; 40], 3);
    with_two_threads(|threads| {
        let map = Linear::plain(Matrix::F32(&w));
        let [y] = linears_to_vec(threads, &x, 5, [map]);
        assert_near(&y, &want, 1e-5);
        let mut parts = vec![0; 7];
        threads.each_of(parts.iter_mut().enumerate(), |(i, part)| *part = i);
        assert_eq!(parts, [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn products_are_their_sums_whatever_the_layout() {
    for [m, k, n] in SHAPES {
        let (a, b) = (noise(6, m * k), noise(7, k * n));
        let (at, bt) = (transposed(&a, k), transposed(&b, n));
        for precision in [F32, Bf16] {
            let operand = |x: &[f32]| if precision == Bf16 { rounded(x) } else { x.to_vec() };
            let want = map(&operand(&a), &operand(&bt), &vec![0.0; n], k);
            let (a, at) = (MatRef::new(&a, m, k), MatRef::new(&at, k, m).t());
            let (b, bt) = (MatRef::new(&b, k, n), MatRef::new(&bt, n, k).t());
            with_threads(|threads| {
                for (a, b) in [(a, b), (at, b), (a, bt), (at, bt)] {
                    let c = product_to_vec(precision, threads, a, b);
                    assert_near(&c, &want, 1e-5);
                    // One column of room behind each row, which stays as it is.
                    let mut wide = vec![1.0; m * (n + 1)];
                    let to = MatMut::strided(&mut wide, m, n, n + 1);
                    product_in(precision, threads, a, b, Output::add(to));
                    for (wide, want) in wide.chunks_exact(n + 1).zip(want.chunks_exact(n)) {
                        let want: Vec<_> = want.iter().map(|x| x + 1.0).collect();
                        assert_near(&wide[..n], &want, 1e-5);
                        assert_eq!(wide[n].to_bits(), 1.0_f32.to_bits());
                    }
                }
                let mut c = vec![0.0; m * n];
                product(threads, 0.5, a, b, Output::set(MatMut::new(&mut c, m, n)));
                if precision == F32 {
                    let want: Vec<_> = want.iter().map(|x| x * 0.5).collect();
                    assert_near(&c, &want, 1e-5);
                }
            });
        }
    }
}

/// Keys and values that a row reads, as positions of the packed rows.
fn visible(segments: &[Segment], mut segment: usize, row: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (segments[segment].start..=row).collect();
    while let Some(parent) = segments[segment].parent {
        segment = parent;
        rows.extend(segments[segment].start..segments[segment].start + segments[segment].len);
    }
    rows
}

/// Attention, one row and head at a time, in `f64`.
fn plain_attention(heads: Heads, [q, k, v]: [&[f32]; 3], segments: &[Segment]) -> Vec<f64> {
    let Heads { query, key, width } = heads;
    let mut out = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        for row in segment.start..segment.start + segment.len {
            let rows = visible(segments, index, row);
            for head in 0..query {
                let of = |x: &[f32], row: usize, heads: usize, head: usize, i: usize| {
                    f64::from(x[(row * heads + head) * width + i])
                };
                let shared = head / heads.group();
                let score = |&at: &usize| -> f64 {
                    let dot = |i| of(q, row, query, head, i) * of(k, at, key, shared, i);
                    (0..width).map(dot).sum::<f64>() / (width as f64).sqrt()
                };
                let weights: Vec<f64> = rows.iter().map(|at| score(at).exp()).collect();
                let total: f64 = weights.iter().sum();
                out.extend((0..width).map(|i| {
                    let terms = rows.iter().zip(&weights);
                    terms.map(|(&at, w)| w * of(v, at, key, shared, i)).sum::<f64>() / total
                }));
            }
        }
    }
    out
}

#[test]
fn attention_and_its_gradients_are_their_formulas() {
    let heads = Heads { query: 4, key: 2, width: 5 };
    let segments = [
        Segment { start: 0, len: 18, parent: None },
        Segment { start: 18, len: 3, parent: Some(0) },
        Segment { start: 21, len: 1, parent: Some(0) },
    ];
    let rows = 22;
    let q = noise(8, rows * heads.query * heads.width);
    let [k, v] = [9, 10].map(|seed| noise(seed, rows * heads.key * heads.width));
    let dy = noise(11, q.len());
    let want = plain_attention(heads, [&q, &k, &v], &segments);
    // The gradient in one number of each operand by a central difference of the formula.
    let loss = |inputs: [&[f32]; 3]| -> f64 {
        let out = plain_attention(heads, inputs, &segments);
        out.iter().zip(&dy).map(|(out, &dy)| out * f64::from(dy)).sum()
    };
    let slope = |operand: usize, i: usize| {
        let step = 1.0 / 256.0;
        let at = |by: f32| {
            let mut inputs = [q.clone(), k.clone(), v.clone()];
            inputs[operand][i] += by;
            loss(inputs.each_ref().map(Vec::as_slice))
        };
        (at(step) - at(-step)) / f64::from(2.0 * step)
    };
    let picked = [[0, 101, q.len() - 1], [3, 40, 175], [0, 99, v.len() - 1]];
    let slopes: [[f64; 3]; 3] = array::from_fn(|i| picked[i].map(|at| slope(i, at)));
    with_threads(|threads| {
        let attended = attention(threads, heads, [&q, &k, &v], &segments);
        assert_near(&attended.out, &want, 1e-5);
        let gradients = attention_backward(threads, heads, [&q, &k, &v], &segments, &attended, &dy);
        for ((gradient, picked), slopes) in gradients.iter().zip(picked).zip(slopes) {
            assert_near(&picked.map(|at| gradient[at]), &slopes, 1e-3);
        }
    });
}

#[test]
fn decoding_attends_to_its_blocks() {
    let heads = Heads { query: 4, key: 2, width: 5 };
    let (rows, row) = (19, heads.key * heads.width);
    let q = noise(12, rows * heads.query * heads.width);
    let [k, v] = [13, 14].map(|seed| noise(seed, rows * row));
    let whole = [Segment { start: 0, len: rows, parent: None }];
    let want = attention(Threads::One, heads, [&q, &k, &v], &whole).out;
    let mut blocks = vec![vec![f32::NAN; heads.block_len()]; 2];
    for position in 0..rows {
        let at = position * row..(position + 1) * row;
        heads.write(&mut blocks[position / 16], position, &k[at.clone()], &v[at]);
    }
    let last = &q[(rows - 1) * heads.query * heads.width..];
    for head in 0..heads.key {
        let from = head * heads.group() * heads.width;
        let read = [heads.read(&blocks[0], head, 0..16), heads.read(&blocks[1], head, 16..rows)];
        let queries = Queries {
            values: &last[from..],
            stride: heads.query * heads.width,
            rows: 1,
            group: heads.group(),
            width: heads.width,
            position: rows - 1,
        };
        let mut out = vec![0.0; heads.group() * heads.width];
        attend(queries, read, &mut Scratch::default(), &mut out);
        let expected = &want[(rows - 1) * heads.query * heads.width + from..][..out.len()];
        assert_eq!(out, expected);
    }
}

#[test]
fn row_kernels_are_their_formulas() {
    for len in [1, 7, 16, 19, 40] {
        let (x, w, dy) = (noise(15, 2 * len), noise(16, len), noise(17, 2 * len));
        let eps = 1e-5;
        let mut y = vec![f32::NAN; 2 * len];
        rms_norm(&x, &w, eps, &mut y);
        let want: Vec<f64> = x
            .chunks_exact(len)
            .flat_map(|x| {
                let square: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
                let root = (square / len as f64 + eps).sqrt();
                x.iter().zip(&w).map(move |(&x, &w)| f64::from(x) * f64::from(w) / root)
            })
            .collect();
        assert_near(&y, &want, 1e-5);

        let (mut dx, mut dw) = (vec![1.0; 2 * len], vec![1.0; len]);
        rms_norm_backward(&x, &w, eps, &dy, &mut dx, &mut dw);
        let (mut want_dx, mut want_dw) = (Vec::new(), vec![1.0; len]);
        for (x, dy) in x.chunks_exact(len).zip(dy.chunks_exact(len)) {
            let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
            let (x, dy) = (wide(x), wide(dy));
            let root = (x.iter().map(|x| x * x).sum::<f64>() / len as f64 + eps).sqrt();
            let pull: Vec<f64> = dy.iter().zip(&w).map(|(dy, &w)| dy * f64::from(w)).collect();
            let mean = pull.iter().zip(&x).map(|(p, x)| p * x / root).sum::<f64>() / len as f64;
            want_dx.extend(pull.iter().zip(&x).map(|(p, x)| 1.0 + (p - x / root * mean) / root));
            want_dw
                .iter_mut()
                .zip(dy.iter().zip(&x))
                .for_each(|(dw, (dy, x))| *dw += dy * x / root);
        }
        assert_near(&dx, &want_dx, 1e-5);
        assert_near(&dw, &want_dw, 1e-5);

        let up = noise(18, 2 * len);
        let (mut gate, mut d_up) = (x.clone(), up.clone());
        swiglu(&mut gate, &up);
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let products = |a: &[f32], b: &[f32], f: &dyn Fn(f64) -> f64| -> Vec<f64> {
            a.iter().zip(b).map(|(&a, &b)| f(f64::from(a)) * f64::from(b)).collect()
        };
        assert_near(&gate, &products(&x, &up, &silu), 1e-5);
        gate.copy_from_slice(&x);
        swiglu_backward(&mut gate, &mut d_up, &dy);
        assert_near(&d_up, &products(&x, &dy, &silu), 1e-5);
        let slope = |x: f64| {
            let s = 1.0 / (1.0 + (-x).exp());
            s * (1.0 + x * (1.0 - s))
        };
        let by_up: Vec<f32> = dy.iter().zip(&up).map(|(dy, up)| dy * up).collect();
        assert_near(&gate, &products(&x, &by_up, &slope), 1e-5);
    }
    let (mut x, angle) = (noise(19, 12), 0.3_f32);
    let before = x.clone();
    rope(&mut x, &[angle.cos(); 3], &[angle.sin(); 3]);
    for (head, before) in x.chunks_exact(6).zip(before.chunks_exact(6)) {
        let want = |i: usize| f64::from(before[i] * angle.cos() - before[i + 3] * angle.sin());
        assert_near(&head[..3], &[want(0), want(1), want(2)], 1e-6);
    }
}

#[test]
fn distributions_and_updates_are_their_formulas() {
    for len in [1, 15, 16, 37, 2050] {
        let logits = noise(20, len);
        let mut weights = vec![f32::NAN; len];
        let read = Distribution::with_weights(&logits, 0.7, &mut weights);
        assert_eq!(read, Distribution::new(&logits, 0.7));
        let exps = || logits.iter().map(|&z| (f64::from(z) / 0.7).exp());
        let sum: f64 = exps().sum();
        assert_near(&[read.log_sum as f32], &[sum.ln()], 1e-5);
        let top = exps().fold(0.0, f64::max);
        assert_near(&weights, &exps().map(|e| e / top).collect::<Vec<_>>(), 1e-5);
    }
    for len in [1, 16, 21] {
        let [mut weight, mut first] = [21, 22].map(|seed| noise(seed, len));
        let (mut second, gradient) = (vec![0.5; len], noise(23, len));
        let update = Update {
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            clip: 1.0,
            rate: 1e-3,
            root: 1.0,
            decay: 0.0,
        };
        let before = (weight.clone(), first.clone());
        update.apply(&mut weight, &mut first, &mut second, &gradient);
        for i in 0..len {
            let g = f64::from(gradient[i]);
            let m = 0.9 * f64::from(before.1[i]) + 0.1 * g;
            let v = 0.99 * 0.5 + 0.01 * g * g;
            let want = f64::from(before.0[i]) - 1e-3 * m / (v.sqrt() + 1e-8);
            assert_near(&[weight[i], first[i], second[i]], &[want, m, v], 1e-6);
        }
    }
}
