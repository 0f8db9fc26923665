//! CPU arithmetic on slices: matrix products, attention, norms and head statistics.
//!
//! This is the only CPU crate with `unsafe` code; each block states its reason. It knows no tensor
//! and no model.

#![expect(unsafe_code, reason = "vector instructions, and outputs that threads share")]
#![expect(
    clippy::inline_always,
    reason = "a vector instruction is one only inside the function that enables its feature"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops over a tile's constant sizes, which must be unrolled into registers"
)]

pub mod matrix;
pub mod output;
pub mod threads;

mod simd;

pub mod exp;
pub mod rows;

mod blocks;
mod columns;
mod tile;
mod turn;

pub mod linear;
pub mod matmul;
pub mod product;

pub mod attention;
pub mod distribution;

/// In what precision the operands of matrix products are; sums and all else are in the weights'
/// type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Products {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bf16, for `f32` weights on a CPU: twice the rate where it has AVX512-BF16. The
    /// products of attention stay as they are.
    Bf16,
}

#[cfg(test)]
pub(crate) mod testing {
    //! Inputs and comparison for the kernels' tests.

    use std::cell::Cell;

    use crate::columns::Columns;
    use crate::product::{How, Into, View};

    thread_local! {
        static FORM: Cell<Form> = const { Cell::new(Form::Widest) };
    }

    /// The instructions that kernels of this thread are run with.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Form {
        Widest,
        Avx2,
        Portable,
    }

    pub(crate) fn form() -> Form {
        FORM.get()
    }

    /// Runs a test with every form of the kernels, and with the threads of [`crate::threads`] in
    /// the same one.
    pub(crate) fn on_every_form(test: impl Fn()) {
        for form in [Form::Widest, Form::Avx2, Form::Portable] {
            in_form(form, &test);
        }
    }

    pub(crate) fn in_form<R>(form: Form, work: impl FnOnce() -> R) -> R {
        let before = FORM.replace(form);
        let result = work();
        FORM.set(before);
        result
    }

    /// `work` for tasks on other threads, in the form of this one.
    pub(crate) fn in_form_of_caller(work: impl Fn(usize) + Sync) -> impl Fn(usize) + Sync {
        let form = form();
        move |i| in_form(form, || work(i))
    }

    /// A stream of numbers about as wide as a unit normal.
    pub(crate) fn noise(seed: u32, len: usize) -> Vec<f32> {
        (0..len as u32)
            .map(|i| {
                let words = rand_philox::philox4x32_10([i, 0, 0, 0], [seed, 0]);
                words.map(rand_philox::u32_to_unit_f32).iter().sum::<f32>() * 1.7 - 3.4
            })
            .collect()
    }

    /// Largest difference, absolute below one and relative above.
    pub(crate) fn worst(got: &[f32], want: impl IntoIterator<Item = f64>) -> f64 {
        let want: Vec<f64> = want.into_iter().collect();
        assert_eq!(got.len(), want.len(), "as many numbers as expected");
        let differences =
            got.iter().zip(want).map(|(&a, b)| (f64::from(a) - b).abs() / b.abs().max(1.0));
        // A NaN must not pass for small.
        differences.fold(0.0, |worst: f64, d| if worst.is_nan() || d <= worst { worst } else { d })
    }

    /// How an operand lies in its slice.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Lies {
        Rows,
        Turned,
        /// With a number between any two.
        Apart,
    }

    impl Lies {
        pub(crate) const ALL: [Self; 3] = [Self::Rows, Self::Turned, Self::Apart];

        fn view(self, values: &[f32], rows: usize, columns: usize) -> View<'_> {
            match self {
                Self::Rows => View::rows(values, columns),
                Self::Turned => View::rows(values, rows).t(),
                Self::Apart => View { values, row: 2 * columns, col: 2 },
            }
        }
    }

    pub(crate) type Product = fn(&Columns<'_>, (usize, usize, usize), View<'_>, View<'_>, How);

    /// Compares a product, halved, of numbers that `round` rounds, with loops in double precision, in a
    /// result wider than the product, of ones, which is to be added to or not.
    pub(crate) fn check_product(
        product: Product,
        round: impl Fn(f32) -> f64,
        (m, n, k): (usize, usize, usize),
        lies: [Lies; 2],
        into: Into,
    ) {
        let (a, b) = (noise(1, 2 * m * k), noise(2, 2 * k * n));
        let (lhs, rhs) = (lies[0].view(&a, m, k), lies[1].view(&b, k, n));
        let wide = n + 3;
        let mut out = vec![1.0; m * wide];
        let how = How { scale: 0.5, into, ..How::ALONE };
        product(&Columns::within(&mut out, wide, n), (m, n, k), lhs, rhs, how);
        let want = (0..m * wide).map(|at| {
            let (i, j) = (at / wide, at % wide);
            if j >= n {
                return 1.0;
            }
            let term =
                |t| round(a[i * lhs.row + t * lhs.col]) * round(b[t * rhs.row + j * rhs.col]);
            0.5 * (0..k).map(term).sum::<f64>() + f64::from(u8::from(into == Into::Add))
        });
        let (off, bound) = (worst(&out, want), 1e-6 * (k as f64).sqrt().max(4.0));
        assert!(off < bound, "({m}, {n}, {k}), {lies:?}: off by {off}");
    }

    pub(crate) fn product_keeps_nan(product: Product) {
        let mut out = [0.0; 4];
        let (a, b) = ([1.0, f32::NAN, f32::INFINITY, 1.0], [1.0, 0.0, 0.0, 1.0]);
        let y = Columns::new(&mut out, 2);
        product(&y, (2, 2, 2), View::rows(&a, 2), View::rows(&b, 2), How::ALONE);
        assert!(out[1].is_nan());
        assert!(out[2] == f32::INFINITY || out[2].is_nan());
    }
}
