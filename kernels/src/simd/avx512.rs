//! The form for AVX-512. Every intrinsic here needs only features that [`Avx512`] proves.

#[cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "names begin with _mm or __m")
)]
use std::arch::x86_64::*;

use super::avx2::{Avx2, HIGH, check_rows, fold256};
use super::{Kernel, LANES, SHIFT_BITS, Simd};

/// The machine has AVX-512 F, VL, BW and DQ, AVX2, FMA and F16C: all that [`run`] enables.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, where the machine has the features.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        detected.then_some(Self(()))
    }

    /// The form for eight lanes.
    #[inline(always)]
    fn avx2(self) -> Avx2 {
        Avx2::of(self)
    }
}

/// Runs `kernel` compiled for AVX-512.
#[inline]
pub(crate) fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    // VL too: without it the compiler has only sixteen registers for vectors of 256 bits.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
    #[inline(never)]
    fn inner<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    // SAFETY: `simd` proves every feature that is enabled.
    unsafe { inner(simd, kernel) }
}

impl Simd for Avx512 {
    type V = __m512;
    type Half = __m256;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        run(self, kernel)
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: every such machine has the instruction, which faults for no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn splat(self, a: f32) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_set1_ps(a) }
    }
    #[inline(always)]
    fn load(self, a: &[f32; LANES]) -> Self::V {
        // SAFETY: `self` proves the feature; sixteen numbers are readable.
        unsafe { _mm512_loadu_ps(a.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, a: &[f32]) -> Self::V {
        // SAFETY: `self` proves the feature; the mask lets through what `a` holds.
        unsafe { _mm512_maskz_loadu_ps(first(a.len()), a.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], a: Self::V) {
        // SAFETY: `self` proves the feature; sixteen numbers are writable.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), a) }
    }
    #[inline(always)]
    fn store_partial(self, to: &mut [f32], a: Self::V) {
        // SAFETY: `self` proves the feature; the mask lets through what `to` holds.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), a) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn power_of_two(self, a: Self::V) -> [Self::V; 2] {
        // SAFETY: `self` proves the feature.
        unsafe {
            let n = _mm512_sub_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(SHIFT_BITS));
            let half = _mm512_srai_epi32::<1>(n);
            let rest = _mm512_sub_epi32(n, half);
            let bias = _mm512_set1_epi32(127);
            [
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(half, bias))),
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(rest, bias))),
            ]
        }
    }
    #[inline(always)]
    fn half_splat(self, a: f32) -> Self::Half {
        self.avx2().half_splat(a)
    }
    #[inline(always)]
    fn half_load(self, a: &[f32; LANES / 2]) -> Self::Half {
        self.avx2().half_load(a)
    }
    #[inline(always)]
    fn half_store(self, to: &mut [f32; LANES / 2], a: Self::Half) {
        self.avx2().half_store(to, a);
    }
    #[inline(always)]
    fn half_mul_add(self, a: Self::Half, b: Self::Half, c: Self::Half) -> Self::Half {
        self.avx2().half_mul_add(a, b, c)
    }
    #[inline(always)]
    fn transpose_8x4(self, from: &[f32], stride: usize) -> [Self::Half; 4] {
        self.avx2().transpose_8x4(from, stride)
    }
    #[inline(always)]
    fn transpose_16x4(self, from: &[f32], stride: usize) -> [Self::V; 4] {
        check_rows::<LANES>(from, stride);
        // SAFETY: `self` proves the feature; sixteen rows of four numbers are readable.
        unsafe {
            let [a, b] = [quarters(from, stride, 0), quarters(from, stride, 1)];
            let [c, d] = [quarters(from, stride, 2), quarters(from, stride, 3)];
            let [p, q] = [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)];
            let [r, s] = [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)];
            [
                _mm512_shuffle_ps::<0x44>(p, q),
                _mm512_shuffle_ps::<0xEE>(p, q),
                _mm512_shuffle_ps::<0x44>(r, s),
                _mm512_shuffle_ps::<0xEE>(r, s),
            ]
        }
    }
    #[inline(always)]
    fn widen(self, a: &[u32; LANES]) -> [Self::V; 2] {
        // SAFETY: `self` proves the feature; sixteen pairs are readable.
        unsafe {
            let a = _mm512_loadu_si512(a.as_ptr().cast());
            let high = _mm512_and_si512(a, _mm512_set1_epi32(HIGH));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(a)), _mm512_castsi512_ps(high)]
        }
    }
    #[inline(always)]
    fn widen_bytes(self, [low, high]: [u64; 2]) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe {
            let bytes = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    fn widen_half_pair(self, a: [u16; 2]) -> [f32; 2] {
        Avx2::of(self).widen_half_pair(a)
    }
    #[inline(always)]
    fn widen_halves(self, a: &[u16; LANES]) -> Self::V {
        // SAFETY: `self` proves the features; sixteen numbers of two bytes are readable.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(a.as_ptr().cast())) }
    }
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        // SAFETY: `self` proves the feature.
        unsafe { fold256([fold512(a[0]), fold512(a[1]), fold512(a[2]), fold512(a[3])]) }
    }
}

/// Four numbers of `row` and of every fourth row after it.
///
/// # Safety
///
/// The machine has AVX-512F; `check_rows` has passed for sixteen rows of four; `row` is below four.
#[inline(always)]
unsafe fn quarters(from: &[f32], stride: usize, row: usize) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let at = from.as_ptr().add(row * stride);
        let a = _mm512_castps128_ps512(_mm_loadu_ps(at));
        let a = _mm512_insertf32x4::<1>(a, _mm_loadu_ps(at.add(4 * stride)));
        let a = _mm512_insertf32x4::<2>(a, _mm_loadu_ps(at.add(8 * stride)));
        _mm512_insertf32x4::<3>(a, _mm_loadu_ps(at.add(12 * stride)))
    }
}

/// The first `n` lanes, at most sixteen.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(LANES)) - 1) as __mmask16
}

/// Lower and upper half, added.
///
/// # Safety
///
/// The machine has AVX-512F and VL.
#[inline(always)]
unsafe fn fold512(a: __m512) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a));
        _mm256_add_ps(_mm512_castps512_ps256(a), _mm256_castpd_ps(high))
    }
}
