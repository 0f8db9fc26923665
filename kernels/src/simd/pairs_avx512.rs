//! AVX512-BF16: the products of pairs, and what lays pairs out.

#[cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "names begin with _mm or __m")
)]
use std::arch::x86_64::*;

use super::LANES;
use super::avx512::Avx512;
use super::pairs::{PairKernel, Pairs, Sixteen};

/// The machine has AVX512-BF16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16(());

impl Bf16 {
    /// The proof, where the machine has the feature.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512bf16").then_some(Self(()))
    }
}

/// Runs `kernel` compiled for AVX-512 with BF16.
#[inline]
pub(crate) fn avx512_bf16<K: PairKernel>(lanes: Avx512, pairs: Bf16, kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma")]
    fn inner<K: PairKernel>(lanes: Avx512, pairs: Bf16, kernel: K) -> K::Output {
        kernel.run(lanes, pairs)
    }
    // SAFETY: `lanes` proves all but BF16, `pairs` that.
    unsafe { inner(lanes, pairs, kernel) }
}

impl Pairs<Avx512> for Bf16 {
    type P = __m512i;

    #[inline(always)]
    fn load(self, _: Avx512, a: &Sixteen) -> Self::P {
        // SAFETY: the lanes prove the feature; sixteen pairs are readable.
        unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat(self, _: Avx512, a: u32) -> Self::P {
        // SAFETY: the lanes prove the feature.
        unsafe { _mm512_set1_epi32(a.cast_signed()) }
    }
    #[inline(always)]
    fn dot(self, _: Avx512, a: Self::P, b: Self::P, c: __m512) -> __m512 {
        // SAFETY: `self` proves the feature; the types differ in name only.
        unsafe {
            let (a, b): (__m512bh, __m512bh) = std::mem::transmute((a, b));
            _mm512_dpbf16_ps(c, a, b)
        }
    }
    #[inline(always)]
    fn neighbours(self, a: &[f32; 2 * LANES]) -> Sixteen {
        // SAFETY: `self` proves the feature; thirty-two numbers are readable; the types differ in
        // name only.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(a.as_ptr().add(LANES)));
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }
    #[inline(always)]
    fn zip(self, low: &[f32; LANES], high: &[f32; LANES]) -> Sixteen {
        // SAFETY: `self` proves the feature; sixteen numbers each are readable; the types differ in
        // name only.
        unsafe {
            let wide = |a: &[f32; LANES]| {
                let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(a.as_ptr()));
                _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(rounded))
            };
            let high = _mm512_slli_epi32::<16>(wide(high));
            std::mem::transmute(_mm512_or_si512(wide(low), high))
        }
    }
    #[inline(always)]
    fn transpose(self, a: &[Sixteen; LANES]) -> [Sixteen; LANES] {
        let mut out = [[0; LANES]; LANES];
        // SAFETY: the feature is that of the lanes, without which there is no such kernel.
        let columns = unsafe {
            let mut rows = [_mm512_setzero_si512(); LANES];
            for i in 0..LANES {
                rows[i] = _mm512_loadu_si512(a[i].as_ptr().cast());
            }
            transposed(rows)
        };
        for i in 0..LANES {
            // SAFETY: as above; sixteen pairs are writable.
            unsafe { _mm512_storeu_si512(out[i].as_mut_ptr().cast(), columns[i]) };
        }
        out
    }
}

/// Rows for columns: by twos, by fours, then whole quarters twice.
///
/// # Safety
///
/// The machine has AVX-512F.
#[inline(always)]
unsafe fn transposed(a: [__m512i; LANES]) -> [__m512i; LANES] {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut b, mut c) = (a, a);
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..4 {
            let [p, q, r, s] = [b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]];
            c[4 * i] = _mm512_unpacklo_epi64(p, r);
            c[4 * i + 1] = _mm512_unpackhi_epi64(p, r);
            c[4 * i + 2] = _mm512_unpacklo_epi64(q, s);
            c[4 * i + 3] = _mm512_unpackhi_epi64(q, s);
        }
        // Now quarter `q` of `c[4 * i + j]` holds column `4 * q + j` of rows `4 * i ..`.
        for j in 0..4 {
            let [p, q, r, s] = [c[j], c[4 + j], c[8 + j], c[12 + j]];
            let even = [_mm512_shuffle_i32x4::<0x88>(p, q), _mm512_shuffle_i32x4::<0x88>(r, s)];
            let odd = [_mm512_shuffle_i32x4::<0xDD>(p, q), _mm512_shuffle_i32x4::<0xDD>(r, s)];
            b[j] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
            b[8 + j] = _mm512_shuffle_i32x4::<0xDD>(even[0], even[1]);
            b[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
            b[12 + j] = _mm512_shuffle_i32x4::<0xDD>(odd[0], odd[1]);
        }
        b
    }
}
