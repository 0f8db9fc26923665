//! CPU arithmetic on slices: matrix products, attention, norms, head statistics, `AdamW`, noise.
//!
//! Of the crates that compute, this is the only one with `unsafe` code; each block states its
//! reason. It knows no tensor and no model.

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

pub mod adamw;
pub mod blocks;
pub mod digest;
pub mod exp;
pub mod norm;
pub mod rope;
pub mod swiglu;

pub mod linear;
pub mod matmul;

pub mod attention;
pub mod likeliest;
pub mod logits;

pub mod noise;

/// In what precision the operands of matrix products are; sums and all else are in the weights'
/// type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bf16, for `f32` weights on a CPU: multiplied by AMX on Intel, by AVX512-BF16 on
    /// AMD, or widened to `f32` again ([`matmul::bf16::instruction`]). The products of attention
    /// stay as they are.
    Bf16,
}

#[cfg(test)]
pub(crate) mod testing {
    //! Inputs and comparison for the kernels' tests.

    use std::cell::Cell;
    use std::sync::Once;

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

    /// Runs a test with every form of the kernels; what it returns must be the same in all.
    pub(crate) fn same_on_every_form<T: PartialEq + std::fmt::Debug>(test: impl Fn() -> T) {
        let widest = test();
        for form in [Form::Avx2, Form::Portable] {
            assert!(in_form(form, &test) == widest, "{form:?} gives other bits");
        }
    }

    pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    /// Runs `work` with the kernels of `form`, or with the next narrower ones that the machine has.
    pub(crate) fn in_form<R>(form: Form, work: impl FnOnce() -> R) -> R {
        if let Some(absent) = absent(form) {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                eprintln!("not tested: the kernels for {absent}, which this machine does not have");
            });
        }
        let before = FORM.replace(form);
        let result = work();
        FORM.set(before);
        result
    }

    /// The instructions of `form` that this machine lacks.
    fn absent(form: Form) -> Option<&'static str> {
        #[cfg(target_arch = "x86_64")]
        let [avx512, avx2] = [
            crate::simd::avx512::Avx512::detect().is_some(),
            crate::simd::avx2::Avx2::detect().is_some(),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let [avx512, avx2] = [false; 2];
        match form {
            Form::Portable => None,
            Form::Avx2 => (!avx2).then_some("AVX2"),
            Form::Widest if !avx2 => Some("AVX-512 and AVX2"),
            Form::Widest => (!avx512).then_some("AVX-512"),
        }
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

    /// Largest difference, absolute below one and relative above; NaN where any is.
    pub(crate) fn worst(got: &[f32], want: impl IntoIterator<Item = f64>) -> f64 {
        let want: Vec<f64> = want.into_iter().collect();
        assert_eq!(got.len(), want.len(), "as many numbers as expected");
        let differences =
            got.iter().zip(want).map(|(&a, b)| (f64::from(a) - b).abs() / b.abs().max(1.0));
        differences.max_by(f64::total_cmp).unwrap_or(0.0)
    }

    #[test]
    fn a_nan_is_the_worst_difference() {
        assert!(worst(&[f32::NAN, 0.001], [0.0, 0.0]).is_nan());
        assert!(worst(&[0.001, -f32::NAN], [0.0, 0.0]).is_nan());
        assert!(worst(&[0.0, 1.0], [f64::NAN, 0.0]).is_nan());
        assert!((worst(&[1.5, 4.0], [1.0, 8.0]) - 0.5).abs() < 1e-12);
    }
}
