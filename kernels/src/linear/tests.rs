use super::*;
use crate::testing::{noise, on_every_form, worst};
use crate::threads::with_team;

/// What rounding of a sum in order may come to.
fn bound(width: usize) -> f64 {
    1e-6 * (width as f64).sqrt().max(4.0)
}

fn packed(w: &[f32], width: usize) -> PackedBf16 {
    PackedBf16::new(Threads::One, MatRef::new(w, w.len() / width, width))
}

fn check(rows: usize, width: usize, out: usize, split: Threads<'_>) -> Vec<f32> {
    let (x, w, b) = (noise(1, rows * width), noise(2, out * width), noise(3, out));
    let mut y = vec![f32::NAN; rows * out];
    linear(split, &x, Linear { weight: Matrix::F32(&w), bias: Some(&b) }, rows, &mut y);
    let want = (0..rows * out).map(|i| {
        let (row, n) = (i / out, i % out);
        let dot: f64 =
            (0..width).map(|k| f64::from(x[row * width + k]) * f64::from(w[n * width + k])).sum();
        dot + f64::from(b[n])
    });
    let off = worst(&y, want);
    assert!(off < bound(width), "{rows} rows, ({out}, {width}): off by {off}");
    y
}

#[test]
fn matches_loops_in_double_precision() {
    on_every_form(|| {
        for (width, out) in [(1, 1), (6, 3), (16, 8), (37, 13), (128, 64), (576, 21)] {
            for rows in [1, 2, 3, 4, 5, 8, 16, 23, 70] {
                check(rows, width, out, Threads::One);
            }
        }
        with_team(|split| check(5, 1536, 200, split));
        with_team(|split| check(20, 576, 201, split));
    });
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    for (width, out) in [(37, 13), (128, 96), (576, 100)] {
        let one_by_one: Vec<Vec<f32>> = (0..20)
            .map(|row| {
                let (x, w, b) = (noise(1, 20 * width), noise(2, out * width), noise(3, out));
                let mut y = vec![0.0; out];
                let x = &x[row * width..][..width];
                let weight = Linear { weight: Matrix::F32(&w), bias: Some(&b) };
                linear(Threads::One, x, weight, 1, &mut y);
                y
            })
            .collect();
        for rows in 1..=20 {
            // `noise` is a stream: the first rows of a longer one are the same.
            let alone = check(rows, width, out, Threads::One);
            let together = with_team(|split| check(rows, width, out, split));
            assert_eq!(alone, one_by_one[..rows].concat(), "{rows} rows");
            assert_eq!(together, alone, "{rows} rows");
        }
    }
}

#[test]
fn a_row_of_rounded_numbers_does_not_depend_on_the_others() {
    on_every_form(|| {
        for (width, out) in [(37, 13), (576, 50)] {
            let (x, w) = (noise(1, 20 * width), packed(&noise(2, out * width), width));
            let product = |x: &[f32]| {
                let mut y = vec![0.0; x.len() / width * out];
                let weight = Linear::plain(Matrix::Bf16(&w));
                linear(Threads::One, x, weight, x.len() / width, &mut y);
                y
            };
            let one_by_one: Vec<f32> = x.chunks_exact(width).flat_map(product).collect();
            for rows in 1..=20 {
                assert_eq!(product(&x[..rows * width]), one_by_one[..rows * out], "{rows} rows");
            }
        }
    });
}

#[test]
fn several_at_once_and_gated_match_single_products() {
    let (w, v) = (noise(2, 700 * 96), noise(3, 700 * 96));
    several_at_once(Matrix::F32(&w), Matrix::F32(&v));
    let (w, v) = (packed(&w, 96), packed(&v, 96));
    several_at_once(Matrix::Bf16(&w), Matrix::Bf16(&v));
}

fn several_at_once(w: Matrix<'_>, v: Matrix<'_>) {
    let (rows, width) = (9, 96);
    let x = noise(1, rows * width);
    let biases = [noise(4, 700), noise(5, 700)];
    let (w, v) = (
        Linear { weight: w, bias: Some(&biases[0]) },
        Linear { weight: v, bias: Some(&biases[1]) },
    );
    let (mut a, mut b) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
    linear(Threads::One, &x, w, rows, &mut a);
    linear(Threads::One, &x, v, rows, &mut b);
    let (mut c, mut d) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
    with_team(|split| linears(split, &x, rows, [(w, &mut c), (v, &mut d)]));
    assert_eq!((&a, &b), (&c, &d));

    with_team(|split| linear_add(split, &x, v, rows, &mut c));
    let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    assert_eq!(c, sum);

    with_team(|split| gated(split, &x, rows, [w, v], &mut c, &mut d));
    swiglu(&mut a, &b);
    assert_eq!(a, c);
}

#[test]
fn vector_forms_agree_to_the_bit() {
    let (rows, width, out) = (5, 133, 27);
    let (x, w) = (noise(1, rows * width), noise(2, out * width));
    let results = RefCell::new(Vec::new());
    on_every_form(|| {
        let mut y = vec![0.0; rows * out];
        linear(Threads::One, &x, Linear::plain(Matrix::F32(&w)), rows, &mut y);
        results.borrow_mut().push(y);
    });
    let [widest, avx2, portable] = <[_; 3]>::try_from(results.into_inner()).expect("three");
    assert_eq!(widest, avx2);
    assert_eq!(widest, portable);
}

#[test]
fn of_rounded_numbers_it_is_the_product_of_the_rounded() {
    let round =
        |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| half::bf16::from_f32(x).to_f64()).collect() };
    on_every_form(|| {
        for (width, out) in [(1, 1), (6, 3), (32, 8), (37, 13), (128, 64), (576, 21)] {
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 23, 70] {
                let (x, w, b) = (noise(1, rows * width), noise(2, out * width), noise(3, out));
                let mut y = vec![f32::NAN; rows * out];
                let short = packed(&w, width);
                let weight = Linear { weight: Matrix::Bf16(&short), bias: Some(&b) };
                linear(Threads::One, &x, weight, rows, &mut y);
                let (x, w) = (round(&x), round(&w));
                let want = (0..rows * out).map(|i| {
                    let (row, n) = (i / out, i % out);
                    let dot: f64 = (0..width).map(|k| x[row * width + k] * w[n * width + k]).sum();
                    dot + f64::from(b[n])
                });
                assert!(worst(&y, want) < bound(width), "{rows} rows, ({out}, {width})");
            }
        }
    });
}
