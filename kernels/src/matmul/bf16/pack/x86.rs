//! Packing with AVX512-BF16.

use std::arch::x86_64::{
    __m512, __mmask16, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps_si512,
    _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_ps,
    _mm512_permutexvar_epi16, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
    _mm512_unpacklo_ps,
};

use super::super::avx512::Avx512Bf16;
use super::super::tile::{GROUP, Layout, TERMS, Tile};
use super::{Order, Source, Strip, transposes};

/// [`super::convert`] with AVX512-BF16.
pub(super) fn convert(
    _: Avx512Bf16,
    source: Source<'_>,
    order: Order,
    layout: Layout,
    mut to: Strip<'_>,
) {
    let transposed = transposes(order, layout);
    // SAFETY: the argument proves the features.
    unsafe {
        match order {
            Order::Along => to.tiles().for_each(|to| along(source, transposed, to)),
            Order::Across => {
                across(source, &mut to);
                to.tiles().filter(|_| transposed).for_each(|to| transpose_tile(to));
            }
        }
    }
}

/// The pairs of the terms of each item.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn along(source: Source<'_>, transposed: bool, to: &mut Tile) {
    let mut lines = [_mm512_setzero_ps(); GROUP];
    for (i, line) in lines.iter_mut().enumerate() {
        let Some(terms) = source.line(i) else { break };
        *line = match terms.split_at_checked(GROUP) {
            Some((low, high)) if !high.is_empty() => rounded(load(low), load(high)),
            _ => rounded(load(terms), _mm512_setzero_ps()),
        };
    }
    store(&if transposed { transpose(&lines) } else { lines }, to);
}

/// The items of each pair of terms.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn across(source: Source<'_>, to: &mut Strip<'_>) {
    const INTERLEAVED: [u16; TERMS] = {
        let mut order = [0; TERMS];
        let mut i = 0;
        while i < GROUP {
            (order[2 * i], order[2 * i + 1]) = (i as u16, (GROUP + i) as u16);
            i += 1;
        }
        order
    };
    // SAFETY: 32 numbers of 16 bits are 64 bytes.
    let order = unsafe { _mm512_loadu_si512(INTERLEAVED.as_ptr().cast()) };
    // No closures and no combinators: these do not have the feature, and whether they are inlined
    // into a function that has it is luck.
    let zero = _mm512_setzero_ps();
    for pair in 0..GROUP {
        let (first, second) = (source.line(2 * pair), source.line(2 * pair + 1));
        for (group, to) in to.tiles().enumerate() {
            let from = group * GROUP;
            let first = if let Some(line) = first { load(&line[from..]) } else { zero };
            let second = if let Some(line) = second { load(&line[from..]) } else { zero };
            let line = _mm512_castps_si512(rounded(first, second));
            let line = _mm512_permutexvar_epi16(order, line);
            // SAFETY: a line is 64 bytes.
            unsafe { _mm512_storeu_si512(to.0[pair].as_mut_ptr().cast(), line) }
        }
    }
}

#[target_feature(enable = "avx512f")]
fn transpose_tile(tile: &mut Tile) {
    let mut lines = [_mm512_setzero_ps(); GROUP];
    for (to, line) in lines.iter_mut().zip(&tile.0) {
        // SAFETY: a line is 64 bytes.
        *to = unsafe { _mm512_loadu_ps(line.as_ptr().cast()) };
    }
    store(&transpose(&lines), tile);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(lines: &[__m512; GROUP], to: &mut Tile) {
    for (to, &line) in to.0.iter_mut().zip(lines) {
        // SAFETY: a line is 64 bytes.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().cast(), line) }
    }
}

/// Sixteen numbers at most, then zeros. There is at least one: a load whose mask is empty, from an
/// address that is not mapped, takes thousands of cycles.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    if let Some(whole) = values.first_chunk::<GROUP>() {
        // SAFETY: sixteen numbers are readable.
        return unsafe { _mm512_loadu_ps(whole.as_ptr()) };
    }
    let mask = ((1_u32 << values.len()) - 1) as __mmask16;
    // SAFETY: the mask lets through what `values` holds.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Thirty-two numbers in bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512 {
    // SAFETY: both types are 64 bytes without invalid patterns.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Rows for columns: by twos, by fours, then whole quarters twice. On arrays and with the feature
/// stated: as closures these steps were not inlined, and packing took four times as long.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(a: &[__m512; GROUP]) -> [__m512; GROUP] {
    let (mut b, mut c) = (*a, *a);
    for i in 0..8 {
        b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
    for i in 0..4 {
        let [p, q] = [_mm512_castps_pd(b[4 * i]), _mm512_castps_pd(b[4 * i + 1])];
        let [r, s] = [_mm512_castps_pd(b[4 * i + 2]), _mm512_castps_pd(b[4 * i + 3])];
        c[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, r));
        c[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, r));
        c[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(q, s));
        c[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(q, s));
    }
    // Now quarter `q` of `c[4 * i + j]` holds column `4 * q + j` of rows `4 * i ..`.
    for j in 0..4 {
        let [p, q, r, s] = [c[j], c[4 + j], c[8 + j], c[12 + j]];
        let even = [_mm512_shuffle_f32x4::<0x88>(p, q), _mm512_shuffle_f32x4::<0x88>(r, s)];
        let odd = [_mm512_shuffle_f32x4::<0xDD>(p, q), _mm512_shuffle_f32x4::<0xDD>(r, s)];
        b[j] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        b[8 + j] = _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]);
        b[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        b[12 + j] = _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]);
    }
    b
}
