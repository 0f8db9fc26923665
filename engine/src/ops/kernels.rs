//! CPU kernels: the one module whose code may be unsafe, each block with its reason.
//!
//! Reading order: [`lanes`] (sixteen numbers at once), [`exp`], [`rows`], [`linear`],
//! [`attention`], [`distribution`], [`team`] (threads that share a decode step); apart from them
//! [`product`] (gemm with any strides) and [`bf16`].

#![expect(unsafe_code, reason = "vector instructions, and threads that write disjoint columns")]
#![expect(
    clippy::inline_always,
    reason = "a vector instruction is one only inside the function that enables its feature"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops over a tile's constant sizes, which must be unrolled into registers"
)]

pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod columns;
pub(crate) mod distribution;
pub(crate) mod exp;
pub(crate) mod lanes;
pub(crate) mod linear;
pub(crate) mod product;
pub(crate) mod rows;
pub(crate) mod team;

#[cfg(test)]
pub(crate) mod testing {
    //! Inputs and comparison for the kernels' tests.

    use std::cell::Cell;

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

    /// Runs a test with every form of the kernels, on this thread.
    pub(crate) fn on_every_form(test: impl Fn()) {
        for form in [Form::Widest, Form::Avx2, Form::Portable] {
            FORM.set(form);
            test();
        }
        FORM.set(Form::Widest);
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
        differences.fold(0.0, |worst, d| if d <= worst { worst } else { d })
    }
}
