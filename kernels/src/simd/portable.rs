//! The form for any machine, on arrays. Reference for the others.

use super::{Kernel, LANES, SHIFT_BITS, Simd};
use crate::blocks::f16;

/// The form on arrays.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = [f32; LANES];
    type Half = [f32; LANES / 2];
    const REGISTERS: usize = 16;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn splat(self, a: f32) -> Self::V {
        [a; LANES]
    }
    #[inline(always)]
    fn load(self, a: &[f32; LANES]) -> Self::V {
        *a
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], a: Self::V) {
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
        // A library call on machines without the instruction: slow, but with the same bits.
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
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
    fn half_splat(self, a: f32) -> Self::Half {
        [a; LANES / 2]
    }
    #[inline(always)]
    fn half_load(self, a: &[f32; LANES / 2]) -> Self::Half {
        *a
    }
    #[inline(always)]
    fn half_store(self, to: &mut [f32; LANES / 2], a: Self::Half) {
        *to = a;
    }
    #[inline(always)]
    fn half_mul_add(self, a: Self::Half, b: Self::Half, c: Self::Half) -> Self::Half {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn transpose_8x4(self, from: &[f32], stride: usize) -> [Self::Half; 4] {
        std::array::from_fn(|j| std::array::from_fn(|i| from[i * stride + j]))
    }
    #[inline(always)]
    fn transpose_16x4(self, from: &[f32], stride: usize) -> [Self::V; 4] {
        std::array::from_fn(|j| std::array::from_fn(|i| from[i * stride + j]))
    }
    #[inline(always)]
    fn widen(self, a: &[u32; LANES]) -> [Self::V; 2] {
        [a.map(|a| f32::from_bits(a << 16)), a.map(|a| f32::from_bits(a & 0xFFFF_0000))]
    }
    #[inline(always)]
    fn widen_bytes(self, a: [u64; 2]) -> Self::V {
        std::array::from_fn(|i| f32::from((a[i / 8] >> (8 * (i % 8))) as u8))
    }
    #[inline(always)]
    fn widen_half_pair(self, a: [u16; 2]) -> [f32; 2] {
        a.map(|half| f16(half.to_le_bytes()))
    }
    #[inline(always)]
    fn widen_halves(self, a: &[u16; LANES]) -> Self::V {
        a.map(|half| f16(half.to_le_bytes()))
    }
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        a.map(|a| {
            let h: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
            ((h[0] + h[4]) + (h[1] + h[5])) + ((h[2] + h[6]) + (h[3] + h[7]))
        })
    }
}
