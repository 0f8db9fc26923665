//! Blocks of 32 values.

use super::{Block, Bytes, affine, centred, half_at, halves_at, nibbles, part, part_mut};
use crate::simd::Simd;

/// Nibbles with a fifth bit each, the first value's the lowest.
#[inline(always)]
fn five_bits(bytes: &[u8; 16], [a, b, c, d]: [u8; 4]) -> [Bytes; 2] {
    let [low, high] = nibbles(bytes);
    [low.with_above(Bytes::of_bits([a, b]), 4), high.with_above(Bytes::of_bits([c, d]), 4)]
}

pub(super) struct Q4_0;

impl Block<18, 32> for Q4_0 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 18], out: &mut [f32; 32]) {
        let [low, high] = nibbles(part(block, 2));
        let scale = half_at(s, block, 0);
        centred(s, scale, 8.0, low, part_mut(out, 0));
        centred(s, scale, 8.0, high, part_mut(out, 16));
    }
}

pub(super) struct Q4_1;

impl Block<20, 32> for Q4_1 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 20], out: &mut [f32; 32]) {
        let [low, high] = nibbles(part(block, 4));
        let [scale, minimum] = halves_at(s, block, 0);
        affine(s, scale, minimum, low, part_mut(out, 0));
        affine(s, scale, minimum, high, part_mut(out, 16));
    }
}

pub(super) struct Q5_0;

impl Block<22, 32> for Q5_0 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 22], out: &mut [f32; 32]) {
        let [low, high] = five_bits(part(block, 6), *part(block, 2));
        let scale = half_at(s, block, 0);
        centred(s, scale, 16.0, low, part_mut(out, 0));
        centred(s, scale, 16.0, high, part_mut(out, 16));
    }
}

pub(super) struct Q5_1;

impl Block<24, 32> for Q5_1 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 24], out: &mut [f32; 32]) {
        let [low, high] = five_bits(part(block, 8), *part(block, 4));
        let [scale, minimum] = halves_at(s, block, 0);
        affine(s, scale, minimum, low, part_mut(out, 0));
        affine(s, scale, minimum, high, part_mut(out, 16));
    }
}

pub(super) struct Q8_0;

impl Block<34, 32> for Q8_0 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 34], out: &mut [f32; 32]) {
        let scale = half_at(s, block, 0);
        for at in [0, 16] {
            let q = Bytes::new(part(block, 2 + at)).unsigned();
            centred(s, scale, 128.0, q, part_mut(out, at));
        }
    }
}
