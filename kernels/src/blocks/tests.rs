use super::*;
use crate::testing::{bits, same_on_every_form};

fn decoded(format: Format, bytes: &[u8]) -> Vec<f32> {
    let (block, size) = format.block();
    let mut out = vec![f32::NAN; bytes.len() / size * block];
    decode(format, bytes, &mut out);
    out
}

/// Bytes without pattern.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(16) as u32)
        .flat_map(|i| rand_philox::philox4x32_10([i, 1, 0, 0], [seed, 7]));
    words.flat_map(u32::to_le_bytes).take(len).collect()
}

/// One block by the formulas of ggml's comments, a value at a time, in wider numbers where that
/// changes nothing.
fn plain(format: Format, b: &[u8]) -> Vec<f32> {
    let half = |at: usize| half::f16::from_le_bytes([b[at], b[at + 1]]).to_f32();
    let nibble = |from: usize, i: usize| b[from + i % 16] >> (4 * (i / 16)) & 0xF;
    let fifth = |from: usize, i: usize| b[from + i / 8] >> (i % 8) & 1;
    let six = |i: usize| match i {
        0..4 => (b[4 + i] & 63, b[8 + i] & 63),
        _ => (b[8 + i] & 15 | (b[i] >> 6) << 4, b[8 + i] >> 4 | (b[4 + i] >> 6) << 4),
    };
    let value = |i: usize| -> f32 {
        match format {
            Format::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Format::F16 => half(0),
            Format::Bf16 => half::bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            Format::Q4_0 => (f32::from(nibble(2, i)) - 8.0) * half(0),
            Format::Q4_1 => f32::from(nibble(4, i)) * half(0) + half(2),
            Format::Q5_0 => (f32::from(nibble(6, i) + 16 * fifth(2, i)) - 16.0) * half(0),
            Format::Q5_1 => f32::from(nibble(8, i) + 16 * fifth(4, i)) * half(0) + half(2),
            Format::Q8_0 => f32::from(b[2 + i].cast_signed()) * half(0),
            Format::Q2K => {
                let q = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
                let scale = b[i / 16];
                half(80) * f32::from(scale & 15) * f32::from(q) - half(82) * f32::from(scale >> 4)
            }
            Format::Q3K => {
                let low = b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
                let third = b[i % 32] >> (i / 32) & 1;
                let at = i / 16;
                let scale = b[96 + at % 8] >> (at / 8 * 4) & 15
                    | (b[104 + at % 4] >> (at / 4 * 2) & 3) << 4;
                half(108) * (f32::from(scale) - 32.0) * (f32::from(low + 4 * third) - 4.0)
            }
            Format::Q4K | Format::Q5K => {
                let (scale, min) = six(i / 32);
                let from = if format == Format::Q4K { 16 } else { 48 };
                let mut q = b[from + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
                if format == Format::Q5K {
                    q += 16 * (b[16 + i % 32] >> (i / 32) & 1);
                }
                half(0) * f32::from(scale) * f32::from(q) - half(2) * f32::from(min)
            }
            Format::Q6K => {
                let (part, within) = (i / 128, i % 128);
                let low = b[64 * part + within % 64] >> (within / 64 * 4) & 15;
                let high = b[128 + 32 * part + within % 32] >> (within / 32 * 2) & 3;
                let scale = b[192 + i / 16].cast_signed();
                half(208) * f32::from(scale) * (f32::from(low + 16 * high) - 32.0)
            }
        }
    };
    (0..format.block().0).map(value).collect()
}

#[test]
fn random_blocks_decode_by_the_formulas_on_every_form() {
    for format in Format::ALL {
        let (block, size) = format.block();
        let mut checked = 0;
        for seed in 0..40 {
            let bytes = noise(seed, size * 5);
            if !is_finite(format, &bytes) {
                continue;
            }
            checked += 1;
            same_on_every_form(|| bits(&decoded(format, &bytes)));
            let got = decoded(format, &bytes);
            let want: Vec<f32> = bytes.chunks(size).flat_map(|b| plain(format, b)).collect();
            assert_eq!(want.len(), 5 * block);
            assert!(want.iter().all(|x| x.is_finite()), "{format:?}");
            // Adding a zero makes a negative zero a positive one: they are one number.
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let same = (got + 0.0).to_bits() == (want + 0.0).to_bits();
                assert!(same, "{format:?}, value {i}: {got}, expected {want}");
            }
        }
        assert!(checked > 20, "{format:?}: only {checked} were finite");
    }
}

#[test]
fn every_number_in_half_precision_is_exact() {
    for bits in 0..=u16::MAX {
        let (got, want) = (f16(bits.to_le_bytes()), half::f16::from_bits(bits).to_f32());
        assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{bits:#x}");
        let (got, want) = (bf16(bits.to_le_bytes()), half::bf16::from_bits(bits).to_f32());
        assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{bits:#x}");
    }
}

#[test]
fn all_numbers_in_half_precision_decode_on_every_form() {
    let all = (0..=u16::MAX).filter(|bits| half::f16::from_bits(*bits).is_finite());
    let bytes: Vec<u8> = all.flat_map(u16::to_le_bytes).collect();
    let want: Vec<u32> = bytes.as_chunks().0.iter().map(|x| f16(*x).to_bits()).collect();
    // Lengths that are not whole vectors, too.
    for few in [want.len(), 35, 16, 15, 1] {
        let decode = || bits(&decoded(Format::F16, &bytes[..2 * few]));
        assert!(decode() == want[..few], "{few} numbers");
        same_on_every_form(decode);
    }
}

#[test]
fn a_scale_that_is_not_finite_is_found() {
    for format in Format::ALL {
        let size = format.block().1;
        let good = vec![0; 3 * size];
        assert!(is_finite(format, &good), "{format:?}");
        let decoded_finite = |bytes: &[u8]| decoded(format, bytes).iter().all(|x| x.is_finite());
        let mut spoilt = 0;
        for at in 0..size - 1 {
            let mut bytes = good.clone();
            // Infinity in half precision, in bf16 and in f32, by where it is.
            for pattern in [&[0x00, 0x7C][..], &[0x80, 0x7F], &[0x00, 0x00, 0x80, 0x7F]] {
                let Some(place) =
                    bytes.get_mut(size + at..).and_then(|b| b.get_mut(..pattern.len()))
                else {
                    continue;
                };
                place.copy_from_slice(pattern);
                let finite = decoded_finite(&bytes);
                assert!(!is_finite(format, &bytes) || finite, "{format:?}: missed at {at}");
                spoilt += usize::from(!finite);
            }
        }
        assert!(spoilt > 0, "{format:?}: nothing was spoilt");
    }
}

#[test]
#[should_panic(expected = "bytes of 33 values")]
fn half_a_block_is_refused() {
    decode(Format::Q4_0, &[0; 18], &mut [0.0; 33]);
}
