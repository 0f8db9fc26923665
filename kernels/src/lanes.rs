//! Sixteen `f32` at once. Every kernel is written once over [`Lanes`] and compiled for AVX-512,
//! for AVX2 with FMA and for any machine.
//!
//! Lane structure and the order of every sum are fixed here, so AVX-512 and AVX2 give the same
//! bits. The portable form rounds after the product of a multiply-add and differs in the last bit.

pub(crate) mod pairs;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

/// Numbers handled at once.
pub(crate) const WIDTH: usize = 16;

/// A kernel, to be run with the widest instructions that the machine has.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// The work. Must be `#[inline(always)]`, so that it is compiled with the instructions' feature.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Sixteen numbers at once. A value of the type proves that the machine has the instructions.
pub(crate) trait Lanes: Copy {
    /// Sixteen numbers.
    type V: Copy;
    /// What one register holds.
    type N: Copy;
    /// Numbers in [`Self::N`].
    const NARROW: usize;
    /// Vector registers of the machine.
    const REGISTERS: usize;

    fn splat(self, a: f32) -> Self::V;
    fn load(self, a: &[f32; WIDTH]) -> Self::V;
    fn store(self, to: &mut [f32; WIDTH], a: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: a NaN in `b` stays, one in `a` is lost.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: a NaN in `b` stays, one in `a` is lost.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Two factors whose product is `2^n`, where `a` is `1.5 * 2^23 + n` and `-250 < n < 250`.
    fn power_of_two(self, a: Self::V) -> [Self::V; 2];
    /// Pairs of bf16 as `f32`: the low halves, and the high ones.
    fn widen(self, a: &[u32; WIDTH]) -> [Self::V; 2];
    /// Numbers in bf16 as `f32`.
    fn widen_features(self, a: &[u16; WIDTH]) -> Self::V;
    /// Four numbers of each of [`Self::NARROW`] rows that lie `stride` apart: all first ones, all second
    /// ones and so on.
    fn columns(self, from: &[f32], stride: usize) -> [Self::N; 4];
    fn narrow_splat(self, a: f32) -> Self::N;
    /// The first [`Self::NARROW`] numbers.
    fn narrow_load(self, a: &[f32; WIDTH]) -> Self::N;
    fn narrow_store(self, to: &mut [f32], a: Self::N);
    /// `a * b + c`
    fn narrow_mul_add(self, a: Self::N, b: Self::N, c: Self::N) -> Self::N;
    /// The four sums of four times sixteen lanes: upper half added to the lower, again, then
    /// neighbours twice.
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4];

    /// [`Self::sum4`] of each row of four.
    #[inline(always)]
    fn sum4x4(self, a: [[Self::V; 4]; 4]) -> [[f32; 4]; 4] {
        [self.sum4(a[0]), self.sum4(a[1]), self.sum4(a[2]), self.sum4(a[3])]
    }

    /// Asks for the line at `at`, which may lie anywhere, to be brought near.
    #[inline(always)]
    fn fetch(self, at: *const f32) {
        let _ = at;
    }

    /// The first numbers of `a`, then zeros. `a` has at most sixteen.
    #[inline(always)]
    fn load_part(self, a: &[f32]) -> Self::V {
        if let Some(whole) = a.as_array() {
            return self.load(whole);
        }
        let mut full = [0.0; WIDTH];
        full[..a.len()].copy_from_slice(a);
        self.load(&full)
    }

    /// Stores the first lanes. `to` has at most sixteen.
    #[inline(always)]
    fn store_part(self, to: &mut [f32], a: Self::V) {
        if let Some(whole) = to.as_mut_array() {
            return self.store(whole, a);
        }
        let mut full = [0.0; WIDTH];
        self.store(&mut full, a);
        to.copy_from_slice(&full[..to.len()]);
    }

    /// Sum of the lanes, in the order of [`Self::sum4`].
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        self.sum4([a; 4])[0]
    }

    /// Largest lane.
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        let mut full = [0.0; WIDTH];
        self.store(&mut full, a);
        full.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Runs `kernel` with the widest instructions that the machine has.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(test)]
    match super::testing::form() {
        super::testing::Form::Widest => {}
        #[cfg(target_arch = "x86_64")]
        super::testing::Form::Avx2 if x86::Avx2::detect().is_some() => {
            let lanes = x86::Avx2::detect().expect("just detected");
            return x86::avx2(lanes, kernel);
        }
        _ => return kernel.run(Portable),
    }
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(lanes) = x86::Avx512::detect() {
            return x86::avx512(lanes, kernel);
        }
        if let Some(lanes) = x86::Avx2::detect() {
            return x86::avx2(lanes, kernel);
        }
    }
    kernel.run(Portable)
}

/// Plain arrays, for any machine.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; WIDTH], b: [f32; WIDTH], f: impl Fn(f32, f32) -> f32) -> [f32; WIDTH] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Lanes for Portable {
    type V = [f32; WIDTH];
    type N = Self::V;
    const NARROW: usize = WIDTH;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, a: f32) -> Self::V {
        [a; WIDTH]
    }
    #[inline(always)]
    fn load(self, a: &[f32; WIDTH]) -> Self::V {
        *a
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH], a: Self::V) {
        *to = a;
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `f32::mul_add`: without the instruction it is a library call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn power_of_two(self, a: Self::V) -> [Self::V; 2] {
        let parts = a.map(|a| {
            let n = a.to_bits().cast_signed().wrapping_sub(SHIFT_BITS);
            let half = n >> 1;
            let factor = |n: i32| f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned());
            [factor(half), factor(n.wrapping_sub(half))]
        });
        [parts.map(|p| p[0]), parts.map(|p| p[1])]
    }
    #[inline(always)]
    fn widen(self, a: &[u32; WIDTH]) -> [Self::V; 2] {
        [a.map(|a| f32::from_bits(a << 16)), a.map(|a| f32::from_bits(a & 0xFFFF_0000))]
    }
    #[inline(always)]
    fn widen_features(self, a: &[u16; WIDTH]) -> Self::V {
        a.map(|a| f32::from_bits(u32::from(a) << 16))
    }
    #[inline(always)]
    fn columns(self, from: &[f32], stride: usize) -> [Self::N; 4] {
        std::array::from_fn(|j| std::array::from_fn(|i| from[i * stride + j]))
    }
    #[inline(always)]
    fn narrow_splat(self, a: f32) -> Self::N {
        self.splat(a)
    }
    #[inline(always)]
    fn narrow_load(self, a: &[f32; WIDTH]) -> Self::N {
        self.load(a)
    }
    #[inline(always)]
    fn narrow_store(self, to: &mut [f32], a: Self::N) {
        self.store_part(to, a);
    }
    #[inline(always)]
    fn narrow_mul_add(self, a: Self::N, b: Self::N, c: Self::N) -> Self::N {
        self.mul_add(a, b, c)
    }
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        a.map(|a| {
            let h: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
            ((h[0] + h[4]) + (h[1] + h[5])) + ((h[2] + h[6]) + (h[3] + h[7]))
        })
    }
}

/// Adding and taking away this rounds to a whole number, which then stands in the low bits.
pub(super) const SHIFT: f32 = 12_582_912.0;
const SHIFT_BITS: i32 = 0x4B40_0000;
