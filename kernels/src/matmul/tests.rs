use proptest::prelude::*;

use super::*;
use crate::matrix::MatMut;
use crate::testing::{Form, in_form, noise, on_every_form, worst};
use crate::threads::with_team;

/// How an output is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Set,
    Add,
}

impl Mode {
    fn output(self, values: &mut [f32], rows: usize, columns: usize) -> Output<'_> {
        let to = MatMut::new(values, rows, columns);
        match self {
            Self::Set => Output::set(to),
            Self::Add => Output::add(to),
        }
    }

    /// A sum as it ends up where 1 was before.
    fn finish(self, sum: f32) -> f32 {
        match self {
            Self::Set => sum,
            Self::Add => 1.0 + sum,
        }
    }
}

/// The chain of fused multiply-adds that defines an output.
fn chain(terms: usize, term: impl Fn(usize) -> (f32, f32)) -> f32 {
    (0..terms).map(term).fold(0.0, |sum, (a, b)| a.mul_add(b, sum))
}

/// A linear map with random operands.
struct Case {
    rows: usize,
    width: usize,
    out: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(rows: usize, width: usize, out: usize) -> Self {
        let (x, w) = (noise(1, rows * width), noise(2, out * width));
        Self { rows, width, out, x, w, bias: noise(3, out), dy: noise(4, rows * out) }
    }

    fn x(&self) -> MatRef<'_> {
        MatRef::new(&self.x, self.rows, self.width)
    }

    fn dy(&self) -> MatRef<'_> {
        MatRef::new(&self.dy, self.rows, self.out)
    }

    fn w(&self) -> MatRef<'_> {
        MatRef::new(&self.w, self.out, self.width)
    }

    fn forward(&self, threads: Threads<'_>, mode: Mode) -> Vec<f32> {
        let mut y = vec![1.0; self.rows * self.out];
        let output = mode.output(&mut y, self.rows, self.out);
        forward(threads, self.x(), [F32Map { weight: &self.w, bias: Some(&self.bias), y: output }]);
        y
    }

    fn want_forward(&self, mode: Mode) -> Vec<f32> {
        let &Self { rows, width, out, .. } = self;
        let value = |at: usize| {
            let (row, n) = (at / out, at % out);
            let sum = chain(width, |t| (self.x[row * width + t], self.w[n * width + t]));
            mode.finish(sum + self.bias[n])
        };
        (0..rows * out).map(value).collect()
    }

    fn input_gradient(&self, threads: Threads<'_>, mode: Mode) -> Vec<f32> {
        let mut dx = vec![1.0; self.rows * self.width];
        let output = mode.output(&mut dx, self.rows, self.width);
        product(threads, 1.0, self.dy(), self.w(), output);
        dx
    }

    fn want_input_gradient(&self, mode: Mode) -> Vec<f32> {
        let &Self { rows, width, out, .. } = self;
        let value = |at: usize| {
            let (row, n) = (at / width, at % width);
            mode.finish(chain(out, |t| (self.dy[row * out + t], self.w[t * width + n])))
        };
        (0..rows * width).map(value).collect()
    }

    fn weight_gradient(&self, threads: Threads<'_>, mode: Mode) -> Vec<f32> {
        let mut dw = vec![1.0; self.out * self.width];
        let output = mode.output(&mut dw, self.out, self.width);
        product(threads, 1.0, self.dy().t(), self.x(), output);
        dw
    }

    fn want_weight_gradient(&self, mode: Mode) -> Vec<f32> {
        let &Self { rows, width, out, .. } = self;
        let value = |at: usize| {
            let (m, n) = (at / width, at % width);
            mode.finish(chain(rows, |t| (self.dy[t * out + m], self.x[t * width + n])))
        };
        (0..out * width).map(value).collect()
    }

    /// Checks all three products, bit for bit.
    fn check(&self, threads: Threads<'_>, mode: Mode) {
        let what = |product| {
            let &Self { rows, width, out, .. } = self;
            let form = crate::testing::form();
            format!("{product}, {rows} rows, {out} x {width}, {mode:?}, {form:?}, {threads:?}")
        };
        equal(&self.forward(threads, mode), &self.want_forward(mode), &what("forward"));
        let (dx, want) = (self.input_gradient(threads, mode), self.want_input_gradient(mode));
        equal(&dx, &want, &what("input gradient"));
        let (dw, want) = (self.weight_gradient(threads, mode), self.want_weight_gradient(mode));
        equal(&dw, &want, &what("weight gradient"));
    }
}

/// Equal bit for bit, but that any NaN equals any other.
fn equal(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (a, b)) in got.iter().zip(want).enumerate() {
        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(same, "{what}: element {at} is {a:?}, expected {b:?}");
    }
}

fn on_two_threads(test: impl Fn(Threads<'_>) + Send + Sync) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    let form = crate::testing::form();
    pool.install(|| {
        in_form(form, || {
            test(Threads::Pool);
            with_team(&test);
        });
    });
}

#[test]
fn every_output_is_one_chain_of_fused_multiply_adds() {
    for rows in [1, 3, 5, 6, 7, 8, 15, 16, 17, 33, 48, 49, 128, 511] {
        for (out, width) in [(576, 576), (192, 576), (576, 1536), (208, 580)] {
            // The scalar chains of the large ones take long; odd ones of each kind are enough.
            if rows > 49 && (out, width) != (208, 580) {
                continue;
            }
            let case = Case::new(rows, width, out);
            let want = case.want_forward(Mode::Set);
            for form in [Form::Widest, Form::Avx2] {
                in_form(form, || {
                    let what = format!("{rows} rows, {out} x {width}, {form:?}");
                    equal(&case.forward(Threads::One, Mode::Set), &want, &what);
                    on_two_threads(|threads| {
                        equal(&case.forward(threads, Mode::Set), &want, &what);
                    });
                });
            }
        }
    }
}

#[test]
fn gradients_are_chains_too() {
    for (rows, out, width) in
        [(49, 208, 580), (128, 70, 48), (33, 576, 50), (4, 100, 64), (3, 800, 340), (8, 780, 97)]
    {
        let case = Case::new(rows, width, out);
        for form in [Form::Widest, Form::Avx2] {
            in_form(form, || {
                case.check(Threads::One, Mode::Set);
                case.check(Threads::One, Mode::Add);
                on_two_threads(|threads| case.check(threads, Mode::Add));
            });
        }
    }
}

#[test]
fn many_terms_and_many_items_go_through_several_blocks_and_chunks() {
    for (rows, out, width) in [(17, 20, 2000), (900, 37, 21), (1700, 50, 4)] {
        let case = Case::new(rows, width, out);
        case.check(Threads::One, Mode::Set);
        on_two_threads(|threads| case.check(threads, Mode::Add));
    }
}

#[test]
fn odd_shapes_in_every_form() {
    on_every_form(|| {
        for rows in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 24, 25, 49] {
            for (out, width) in
                [(1, 1), (1, 40), (40, 1), (7, 5), (9, 16), (16, 3), (49, 33), (0, 3)]
            {
                let case = Case::new(rows, width, out);
                case.check(Threads::One, Mode::Set);
                case.check(Threads::One, Mode::Add);
            }
        }
        // Without terms a product is zero, and the bias is added to it.
        for rows in [1, 5] {
            let case = Case::new(rows, 0, 20);
            equal(&case.forward(Threads::One, Mode::Set), &case.bias.repeat(rows), "no terms");
        }
    });
}

#[test]
fn maps_that_share_x_equal_single_ones() {
    for rows in [3, 40] {
        let (q, k) = (Case::new(rows, 96, 130), Case::new(rows, 96, 35));
        on_every_form(|| {
            let (mut a, mut b) = (vec![0.0; rows * 130], vec![1.0; rows * 35]);
            let maps = [
                F32Map { weight: &q.w, bias: None, y: Output::set(MatMut::new(&mut a, rows, 130)) },
                F32Map {
                    weight: &k.w,
                    bias: Some(&k.bias),
                    y: Output::add(MatMut::new(&mut b, rows, 35)),
                },
            ];
            with_team(|threads| forward(threads, q.x(), maps));
            let biased = Case { bias: vec![-0.0; 130], ..Case::new(rows, 96, 130) };
            equal(&a, &biased.want_forward(Mode::Set), "the first");
            equal(&b, &k.want_forward(Mode::Add), "the second");
        });
    }
}

#[test]
fn nan_and_infinity_reach_their_outputs_alone() {
    on_every_form(|| {
        for rows in [2, 6, 20] {
            for broken in [f32::NAN, f32::INFINITY] {
                let mut case = Case::new(rows, 21, 19);
                case.x[21 + 20] = broken;
                case.dy[19 + 18] = broken;
                case.check(Threads::One, Mode::Set);
                case.w[5 * 21] = broken;
                case.check(Threads::One, Mode::Add);
                // 0 times infinity is no number.
                case.x.fill(0.0);
                case.check(Threads::One, Mode::Set);
            }
        }
    });
}

#[test]
fn what_a_buffer_held_before_is_never_read() {
    on_every_form(|| {
        for rows in [3, 7, 40] {
            let mut broken = Case::new(rows + 13, 50, 60);
            broken.x.fill(f32::NAN);
            broken.dy.fill(f32::NAN);
            broken.forward(Threads::One, Mode::Set);
            broken.weight_gradient(Threads::One, Mode::Set);
            broken.input_gradient(Threads::One, Mode::Set);
            Case::new(rows, 37, 45).check(Threads::One, Mode::Set);
        }
    });
}

#[test]
fn a_scaled_product_of_strided_matrices() {
    let (m, k, n) = (21, 40, 37);
    let (a, b) = (noise(1, 60 * 60), noise(2, 60 * 60));
    let views = |values, rows, columns| {
        [MatRef::strided(values, rows, columns, 60), MatRef::strided(values, columns, rows, 60).t()]
    };
    on_every_form(|| {
        for a in views(&a, m, k) {
            for b in views(&b, k, n) {
                let get = |x: MatRef<'_>, i: usize, j: usize| {
                    x.values()[i * x.row_stride() + j * x.column_stride()]
                };
                let mut c = vec![1.0; m * 50];
                let to = MatMut::strided(&mut c[..(m - 1) * 50 + n], m, n, 50);
                product(Threads::One, 0.25, a, b, Output::add(to));
                let want: Vec<f32> = (0..m * 50)
                    .map(|at| match (at / 50, at % 50) {
                        (_, j) if j >= n => 1.0,
                        (i, j) => 1.0 + 0.25 * chain(k, |t| (get(a, i, t), get(b, t, j))),
                    })
                    .collect();
                equal(&c, &want, "strided");
            }
        }
    });
}

#[test]
fn sums_are_as_close_to_exact_ones_as_a_chain_of_roundings_is() {
    let case = Case::new(30, 1536, 24);
    let y = case.forward(Threads::One, Mode::Set);
    let want = (0..30 * 24).map(|at| {
        let (x, w) = (&case.x[at / 24 * 1536..], &case.w[at % 24 * 1536..]);
        let sum: f64 = x.iter().zip(w).take(1536).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        sum + f64::from(case.bias[at % 24])
    });
    // The roundings of a chain add up like a random walk; twice its usual length is allowed.
    let (off, bound) = (worst(&y, want), 2e-6 * 1536_f64.sqrt());
    assert!(off < bound, "off by {off}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |width: usize, weight: usize, bias: usize, rows: usize| {
        std::panic::catch_unwind(|| {
            let (x, w, b) = (vec![0.0; 5 * width], vec![0.0; weight], vec![0.0; bias]);
            let mut y = vec![0.0; rows * 6];
            let y = Output::set(MatMut::new(&mut y, rows, 6));
            forward(
                Threads::One,
                MatRef::new(&x, 5, width),
                [F32Map { weight: &w, bias: Some(&b), y }],
            );
        })
        .is_err()
    };
    assert!(!refused(4, 24, 6, 5));
    assert!(refused(4, 23, 6, 5) && refused(4, 24, 5, 5) && refused(4, 24, 6, 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_shapes(
        rows in 0..60_usize,
        out in 0..110_usize,
        width in 0..110_usize,
        add: bool,
        form in prop::sample::select(vec![Form::Widest, Form::Avx2]),
    ) {
        let case = Case::new(rows, width, out);
        let mode = if add { Mode::Add } else { Mode::Set };
        in_form(form, || {
            case.check(Threads::One, mode);
            on_two_threads(|threads| case.check(threads, mode));
        });
    }
}
