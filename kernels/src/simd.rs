//! Sixteen `f32` at once. Every kernel is written once over [`Simd`] and compiled for AVX-512, for
//! AVX2 with FMA and for any machine.
//!
//! The number of lanes and the order of every sum are fixed here, and a multiply-add rounds once
//! everywhere, so all forms give the same bits.

mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

pub(crate) use portable::Portable;

/// Numbers handled at once.
pub(crate) const LANES: usize = 16;

/// A kernel, to be run in the widest form that the machine supports.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// The work. Must be `#[inline(always)]`: the code is compiled with the instructions of the
    /// function that it is inlined into.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Sixteen numbers at once. A value of the type proves that the machine has the instructions.
pub(crate) trait Simd: Copy {
    /// Sixteen numbers.
    type V: Copy;
    /// Eight numbers.
    type Half: Copy;
    /// Vector registers of the machine.
    const REGISTERS: usize;

    /// Runs `kernel` as a function of its own: the compiler then allots the registers to it alone.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, a: f32) -> Self::V;
    fn load(self, a: &[f32; LANES]) -> Self::V;
    fn store(self, to: &mut [f32; LANES], a: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: a NaN in `b` stays, one in `a` is lost.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: a NaN in `b` stays, one in `a` is lost.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Two factors whose product is `2^n`, where `a` is `1.5 * 2^23 + n` and `-250 < n < 250`.
    fn power_of_two(self, a: Self::V) -> [Self::V; 2];
    fn half_splat(self, a: f32) -> Self::Half;
    fn half_load(self, a: &[f32; LANES / 2]) -> Self::Half;
    fn half_store(self, to: &mut [f32; LANES / 2], a: Self::Half);
    /// `a * b + c`, rounded once.
    fn half_mul_add(self, a: Self::Half, b: Self::Half, c: Self::Half) -> Self::Half;
    /// The transpose of four numbers each of eight rows `stride` apart.
    fn transpose_8x4(self, from: &[f32], stride: usize) -> [Self::Half; 4];
    /// The transpose of four numbers each of sixteen rows `stride` apart.
    fn transpose_16x4(self, from: &[f32], stride: usize) -> [Self::V; 4];
    /// Pairs of bf16 as `f32`: the low halves, and the high ones.
    fn widen(self, a: &[u32; LANES]) -> [Self::V; 2];
    /// Whole numbers of a byte each, eight in a word, the first in its lowest byte. Words and no
    /// array: a vector that is read from two words just written waits for the memory.
    fn widen_bytes(self, a: [u64; LANES / 8]) -> Self::V;
    /// A number in half precision.
    #[inline(always)]
    fn widen_half(self, a: u16) -> f32 {
        self.widen_half_pair([a, 0])[0]
    }
    /// Two numbers in half precision.
    fn widen_half_pair(self, a: [u16; 2]) -> [f32; 2];
    /// Numbers in half precision.
    fn widen_halves(self, a: &[u16; LANES]) -> Self::V;
    /// The sums of the lanes of four vectors. Adds halves 8+8, then 4+4, then adjacent pairs twice.
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4];

    /// Asks for the cache line at `at`, which may be any address.
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        let _ = at;
    }

    /// The first numbers of `a`, then zeros. `a` has at most sixteen.
    #[inline(always)]
    fn load_partial(self, a: &[f32]) -> Self::V {
        if let Some(whole) = a.as_array() {
            return self.load(whole);
        }
        let mut full = [0.0; LANES];
        full[..a.len()].copy_from_slice(a);
        self.load(&full)
    }

    /// Stores the first lanes. `to` has at most sixteen.
    #[inline(always)]
    fn store_partial(self, to: &mut [f32], a: Self::V) {
        if let Some(whole) = to.as_mut_array() {
            return self.store(whole, a);
        }
        let mut full = [0.0; LANES];
        self.store(&mut full, a);
        to.copy_from_slice(&full[..to.len()]);
    }

    /// Sum of the lanes, in the order of [`Self::sum4`].
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        self.sum4([a; 4])[0]
    }

    /// Largest lane; lanes that are NaN are left out.
    #[inline(always)]
    fn max_lane(self, a: Self::V) -> f32 {
        let mut full = [0.0; LANES];
        self.store(&mut full, a);
        full.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Runs `kernel` in the widest form that the machine supports.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(test)]
    match super::testing::form() {
        super::testing::Form::Widest => {}
        #[cfg(target_arch = "x86_64")]
        super::testing::Form::Avx2 if let Some(simd) = avx2::Avx2::detect() => {
            return avx2::run(simd, kernel);
        }
        _ => return kernel.run(Portable),
    }
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = avx512::Avx512::detect() {
            return avx512::run(simd, kernel);
        }
        if let Some(simd) = avx2::Avx2::detect() {
            return avx2::run(simd, kernel);
        }
    }
    kernel.run(Portable)
}

/// Adding this and subtracting it again rounds to a whole number; after the addition the low bits
/// hold that number.
pub(super) const SHIFT: f32 = 12_582_912.0;
const SHIFT_BITS: i32 = 0x4B40_0000;
