//! bf16 in pairs: thirty-two numbers at once, the products of neighbours summed in `f32`.
//!
//! A pair is a `u32` with the first number in its low half. Machines with AVX512-BF16 have one
//! instruction for it; in the portable form each half is widened to `f32` first. Both add the second product,
//! then the first, and each product is exact; the instruction takes subnormal numbers for zero.

use super::{Kernel, LANES, Simd, dispatch};

/// Sixteen pairs.
pub(crate) type Sixteen = [u32; LANES];

/// A kernel on pairs, to be run with the widest instructions that the machine has.
pub(crate) trait PairKernel {
    /// What it returns.
    type Output;
    /// The work. Must be `#[inline(always)]`, as [`Kernel::run`].
    fn run<L: Simd, P: Pairs<L>>(self, lanes: L, pairs: P) -> Self::Output;
}

/// How pairs are multiplied. A value of the type proves that the machine has the instructions.
pub(crate) trait Pairs<L: Simd>: Copy {
    /// Sixteen pairs.
    type P: Copy;

    fn load(self, l: L, a: &Sixteen) -> Self::P;
    fn splat(self, l: L, a: u32) -> Self::P;
    /// `c + a_1 b_1 + a_0 b_0` for the numbers 0 and 1 of each pair.
    fn dot(self, l: L, a: Self::P, b: Self::P, c: L::V) -> L::V;

    /// Neighbours, rounded to the nearest, ties to even.
    #[inline(always)]
    fn neighbours(self, a: &[f32; 2 * LANES]) -> Sixteen {
        std::array::from_fn(|i| pair(a[2 * i], a[2 * i + 1]))
    }

    /// Numbers of `low` paired with those of `high`, rounded likewise.
    #[inline(always)]
    fn zip(self, low: &[f32; LANES], high: &[f32; LANES]) -> Sixteen {
        std::array::from_fn(|i| pair(low[i], high[i]))
    }

    /// Rows for columns.
    #[inline(always)]
    fn transpose(self, a: &[Sixteen; LANES]) -> [Sixteen; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
    }
}

#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    rounded(low) | rounded(high) << 16
}

/// The nearest bf16, ties to even; a NaN stays one.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return bits >> 16 | 0x40;
    }
    bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16
}

/// Products of widened halves: what the instruction computes, for the tests of its kernels on machines
/// without it. There products take other ways (`bf16::product`, `linear::panels`).
#[derive(Clone, Copy)]
pub(crate) struct Widened;

impl<L: Simd> Pairs<L> for Widened {
    type P = [L::V; 2];

    #[inline(always)]
    fn load(self, l: L, a: &Sixteen) -> Self::P {
        l.widen(a)
    }
    #[inline(always)]
    fn splat(self, l: L, a: u32) -> Self::P {
        [l.splat(f32::from_bits(a << 16)), l.splat(f32::from_bits(a & 0xFFFF_0000))]
    }
    #[inline(always)]
    fn dot(self, l: L, a: Self::P, b: Self::P, c: L::V) -> L::V {
        l.mul_add(a[0], b[0], l.mul_add(a[1], b[1], c))
    }
}

/// Runs `kernel` with the widest instructions that the machine has.
#[inline]
pub(crate) fn dispatch_pairs<K: PairKernel>(kernel: K) -> K::Output {
    struct Plain<K>(K);
    impl<K: PairKernel> Kernel for Plain<K> {
        type Output = K::Output;
        #[inline(always)]
        fn run<L: Simd>(self, lanes: L) -> K::Output {
            self.0.run(lanes, Widened)
        }
    }
    #[cfg(target_arch = "x86_64")]
    if let Some((lanes, pairs)) = widest() {
        return super::pairs_avx512::avx512_bf16(lanes, pairs, kernel);
    }
    dispatch(Plain(kernel))
}

/// Whether the machine multiplies pairs by one instruction.
pub(crate) fn has_instruction() -> bool {
    #[cfg(target_arch = "x86_64")]
    return widest().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn widest() -> Option<(super::avx512::Avx512, super::pairs_avx512::Bf16)> {
    #[cfg(test)]
    if crate::testing::form() != crate::testing::Form::Widest {
        return None;
    }
    Some((super::avx512::Avx512::detect()?, super::pairs_avx512::Bf16::detect()?))
}
