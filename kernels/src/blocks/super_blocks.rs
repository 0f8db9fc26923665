//! Blocks of 256 values, in parts that have scales of their own.

use super::{Block, Bytes, affine, centred, half_at, halves_at, nibbles, part, part_mut};
use crate::simd::Simd;

/// 16 scales and 16 minima of 4 bits; values of 2 bits. Each 128 values share 32 bytes.
pub(super) struct Q2K;

impl Block<84, 256> for Q2K {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 84], out: &mut [f32; 256]) {
        let (scales, q): (&[u8; 16], &[u8; 64]) = (part(block, 0), part(block, 16));
        let [d, min] = halves_at(s, block, 80);
        for (i, &scale) in scales.iter().enumerate() {
            let (half, row, side) = (i / 8, i % 8 / 2, i % 2);
            let q = Bytes::new(part(q, 32 * half + 16 * side)).bits(2 * row, 3);
            let (scale, min) = (d * f32::from(scale & 0xF), min * f32::from(scale >> 4));
            affine(s, scale, -min, q, part_mut(out, 16 * i));
        }
    }
}

/// 16 scales of 6 bits; values of 2 bits, and a third one in a mask, which means minus four where
/// it is not set.
pub(super) struct Q3K;

impl Block<110, 256> for Q3K {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 110], out: &mut [f32; 256]) {
        let (mask, q): (&[u8; 32], &[u8; 64]) = (part(block, 0), part(block, 32));
        let (scales, d) = (q3k_scales(part(block, 96)), half_at(s, block, 108));
        for (i, &scale) in scales.iter().enumerate() {
            let (half, row, side) = (i / 8, i % 8 / 2, i % 2);
            let low = Bytes::new(part(q, 32 * half + 16 * side)).bits(2 * row, 3);
            let third = Bytes::new(part(mask, 16 * side)).bits(4 * half + row, 1);
            let scale = d * (f32::from(scale) - 32.0);
            centred(s, scale, 4.0, low.with_above(third, 2), part_mut(out, 16 * i));
        }
    }
}

/// The scales of 6 bits: 4 lower bits in the first 8 bytes, 2 upper bits in the last 4.
#[inline(always)]
fn q3k_scales(packed: &[u8; 12]) -> [u8; 16] {
    let mut scales = [0; 16];
    for i in 0..16 {
        let low = packed[i % 8] >> (4 * (i / 8)) & 0xF;
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        scales[i] = low | high << 4;
    }
    scales
}

/// 8 scales and 8 minima of 6 bits; values of 4 bits. Each 64 values share 32 bytes.
pub(super) struct Q4K;

impl Block<144, 256> for Q4K {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 144], out: &mut [f32; 256]) {
        let [d, min] = halves_at(s, block, 0);
        let both = scales_and_minima(part(block, 4));
        for pair in 0..4 {
            let [low, high] = [2 * pair, 2 * pair + 1].map(|i| {
                let (scale, m) = both[i];
                (d * f32::from(scale), -(min * f32::from(m)))
            });
            for side in [0, 16] {
                let [lower, upper] = nibbles(part(block, 16 + 32 * pair + side));
                affine(s, low.0, low.1, lower, part_mut(out, 64 * pair + side));
                affine(s, high.0, high.1, upper, part_mut(out, 64 * pair + 32 + side));
            }
        }
    }
}

/// As [`Q4K`], with a fifth bit of each value in 32 bytes before.
pub(super) struct Q5K;

impl Block<176, 256> for Q5K {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 176], out: &mut [f32; 256]) {
        let [d, min] = halves_at(s, block, 0);
        for (i, (scale, m)) in scales_and_minima(part(block, 4)).into_iter().enumerate() {
            let (scale, minimum) = (d * f32::from(scale), -(min * f32::from(m)));
            for side in [0, 16] {
                let low = Bytes::new(part(block, 48 + 32 * (i / 2) + side)).bits(4 * (i % 2), 0xF);
                let fifth = Bytes::new(part(block, 16 + side)).bits(i, 1);
                let q = low.with_above(fifth, 4);
                affine(s, scale, minimum, q, part_mut(out, 32 * i + side));
            }
        }
    }
}

/// The scales and minima of 6 bits each: the first four whole, the others in two pieces.
#[inline(always)]
fn scales_and_minima(packed: &[u8; 12]) -> [(u8, u8); 8] {
    let mut both = [(0, 0); 8];
    for i in 0..4 {
        both[i] = (packed[i] & 63, packed[i + 4] & 63);
        let (low, high) = (packed[i + 8], [packed[i] >> 6, packed[i + 4] >> 6]);
        both[i + 4] = (low & 0xF | high[0] << 4, low >> 4 | high[1] << 4);
    }
    both
}

/// 16 scales of 8 bits; values of 6 bits, 4 of them in 128 bytes, 2 in 64, which are stored with
/// 32 added. Each 128 values share 64 and 32 bytes.
pub(super) struct Q6K;

impl Block<210, 256> for Q6K {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 210], out: &mut [f32; 256]) {
        for half in [0, 1] {
            // Each by itself, so that the compiler knows the shifts.
            q6k_row::<S, 0>(s, half, block, out);
            q6k_row::<S, 1>(s, half, block, out);
            q6k_row::<S, 2>(s, half, block, out);
            q6k_row::<S, 3>(s, half, block, out);
        }
    }
}

/// One of the four rows of 32 values in each half; a row has two scales.
#[inline(always)]
fn q6k_row<S: Simd, const ROW: usize>(s: S, half: usize, block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high): (&[u8; 128], &[u8; 64]) = (part(block, 0), part(block, 128));
    let (scales, d): (&[u8; 16], _) = (part(block, 192), half_at(s, block, 208));
    for side in [0, 1] {
        let i = 8 * half + 2 * ROW + side;
        let low = Bytes::new(part(low, 64 * half + 32 * (ROW % 2) + 16 * side));
        let high = Bytes::new(part(high, 32 * half + 16 * side));
        let q = low.bits(4 * (ROW / 2), 0xF).with_above(high.bits(2 * ROW, 3), 4);
        centred(s, d * f32::from(scales[i].cast_signed()), 32.0, q, part_mut(out, 16 * i));
    }
}
