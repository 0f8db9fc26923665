//! The form for AVX2 with FMA: two registers of eight lanes.

#[cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "names begin with _mm or __m")
)]
use std::arch::x86_64::*;

use super::{Kernel, LANES, SHIFT_BITS, Simd};

/// The upper half of a pair.
pub(super) const HIGH: i32 = 0xFFFF_0000_u32.cast_signed();

/// The machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, where the machine has the features.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        detected.then_some(Self(()))
    }

    /// The proof out of that of AVX-512, which has these features too.
    #[inline(always)]
    pub(super) fn of(_: super::avx512::Avx512) -> Self {
        Self(())
    }
}

/// Runs `kernel` compiled for AVX2 with FMA and F16C.
#[inline]
pub(crate) fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline(never)]
    fn inner<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    // SAFETY: `simd` proves every feature that is enabled.
    unsafe { inner(simd, kernel) }
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    type Half = __m256;
    const REGISTERS: usize = 16;

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
        unsafe { [_mm256_set1_ps(a); 2] }
    }
    #[inline(always)]
    fn load(self, a: &[f32; LANES]) -> Self::V {
        // SAFETY: `self` proves the feature; sixteen numbers are readable.
        unsafe { [_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(a.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], a: Self::V) {
        // SAFETY: `self` proves the feature; sixteen numbers are writable.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), a[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), a[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn power_of_two(self, a: Self::V) -> [Self::V; 2] {
        // SAFETY: `self` proves the feature.
        let (low, high) = unsafe { (power256(a[0]), power256(a[1])) };
        [[low[0], high[0]], [low[1], high[1]]]
    }
    #[inline(always)]
    fn half_splat(self, a: f32) -> Self::Half {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_set1_ps(a) }
    }
    #[inline(always)]
    fn half_load(self, a: &[f32; LANES / 2]) -> Self::Half {
        // SAFETY: `self` proves the feature; eight numbers are readable.
        unsafe { _mm256_loadu_ps(a.as_ptr()) }
    }
    #[inline(always)]
    fn half_store(self, to: &mut [f32; LANES / 2], a: Self::Half) {
        // SAFETY: `self` proves the feature; eight numbers are writable.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), a) }
    }
    #[inline(always)]
    fn half_mul_add(self, a: Self::Half, b: Self::Half, c: Self::Half) -> Self::Half {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn transpose_8x4(self, from: &[f32], stride: usize) -> [Self::Half; 4] {
        check_rows::<8>(from, stride);
        // SAFETY: `self` proves the feature; eight rows of four numbers are readable.
        unsafe { transpose256(from.as_ptr(), stride) }
    }
    #[inline(always)]
    fn transpose_16x4(self, from: &[f32], stride: usize) -> [Self::V; 4] {
        check_rows::<16>(from, stride);
        // SAFETY: `self` proves the feature; sixteen rows of four numbers are readable.
        let (low, high) = unsafe {
            let at = from.as_ptr();
            (transpose256(at, stride), transpose256(at.add(8 * stride), stride))
        };
        [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]], [low[3], high[3]]]
    }
    #[inline(always)]
    fn widen(self, a: &[u32; LANES]) -> [Self::V; 2] {
        // SAFETY: `self` proves the feature; sixteen pairs are readable.
        unsafe {
            let half = |at: usize| _mm256_loadu_si256(a.as_ptr().add(at).cast());
            let low = |a| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(a));
            let high = |a| _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32(HIGH)));
            let (a, b) = (half(0), half(8));
            [[low(a), low(b)], [high(a), high(b)]]
        }
    }
    #[inline(always)]
    fn widen_bytes(self, [low, high]: [u64; 2]) -> Self::V {
        // SAFETY: `self` proves the feature.
        unsafe {
            let half = |word: u64| {
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(word.cast_signed())))
            };
            [half(low), half(high)]
        }
    }
    #[inline(always)]
    fn widen_half_pair(self, [a, b]: [u16; 2]) -> [f32; 2] {
        // In one word: inserted by itself, a number would wait for what the register held before.
        let word = (u32::from(b) << 16 | u32::from(a)).cast_signed();
        // SAFETY: `self` proves the features.
        unsafe {
            let pair = _mm_cvtph_ps(_mm_cvtsi32_si128(word));
            [_mm_cvtss_f32(pair), _mm_cvtss_f32(_mm_movehdup_ps(pair))]
        }
    }
    #[inline(always)]
    fn widen_halves(self, a: &[u16; LANES]) -> Self::V {
        // SAFETY: `self` proves the features; sixteen numbers of two bytes are readable.
        unsafe {
            let a: *const __m128i = a.as_ptr().cast();
            [_mm256_cvtph_ps(_mm_loadu_si128(a)), _mm256_cvtph_ps(_mm_loadu_si128(a.add(1)))]
        }
    }
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        // SAFETY: `self` proves the feature.
        unsafe {
            fold256([
                _mm256_add_ps(a[0][0], a[0][1]),
                _mm256_add_ps(a[1][0], a[1][1]),
                _mm256_add_ps(a[2][0], a[2][1]),
                _mm256_add_ps(a[3][0], a[3][1]),
            ])
        }
    }
}

/// # Panics
///
/// Panics unless four numbers of each of `ROWS` rows lie in `from`.
#[inline(always)]
pub(super) fn check_rows<const ROWS: usize>(from: &[f32], stride: usize) {
    assert!((ROWS - 1) * stride + 4 <= from.len(), "rows of four numbers inside the slice");
}

/// The transpose of four numbers each of eight rows.
///
/// # Safety
///
/// The machine has AVX2; eight rows of four numbers, `stride` apart, are readable at `at`.
#[inline(always)]
unsafe fn transpose256(at: *const f32, stride: usize) -> [__m256; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let halves = |row: usize| {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(at.add(row * stride)));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(at.add((row + 4) * stride)))
        };
        let [a, b, c, d] = [halves(0), halves(1), halves(2), halves(3)];
        let [p, q] = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
        let [r, s] = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
        [
            _mm256_shuffle_ps::<0x44>(p, q),
            _mm256_shuffle_ps::<0xEE>(p, q),
            _mm256_shuffle_ps::<0x44>(r, s),
            _mm256_shuffle_ps::<0xEE>(r, s),
        ]
    }
}

/// The sums of four vectors of eight: upper half added to the lower, then neighbours twice.
///
/// # Safety
///
/// The machine has AVX2.
#[inline(always)]
pub(super) unsafe fn fold256(a: [__m256; 4]) -> [f32; 4] {
    let mut out = [0.0; 4];
    // SAFETY: the caller's promise; `out` holds four numbers.
    unsafe {
        let a0 = _mm_add_ps(_mm256_castps256_ps128(a[0]), _mm256_extractf128_ps::<1>(a[0]));
        let a1 = _mm_add_ps(_mm256_castps256_ps128(a[1]), _mm256_extractf128_ps::<1>(a[1]));
        let a2 = _mm_add_ps(_mm256_castps256_ps128(a[2]), _mm256_extractf128_ps::<1>(a[2]));
        let a3 = _mm_add_ps(_mm256_castps256_ps128(a[3]), _mm256_extractf128_ps::<1>(a[3]));
        let sums = _mm_hadd_ps(_mm_hadd_ps(a0, a1), _mm_hadd_ps(a2, a3));
        _mm_storeu_ps(out.as_mut_ptr(), sums);
    }
    out
}

/// [`Simd::power_of_two`] of eight lanes.
///
/// # Safety
///
/// The machine has AVX2.
#[inline(always)]
unsafe fn power256(a: __m256) -> [__m256; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let n = _mm256_sub_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(SHIFT_BITS));
        let half = _mm256_srai_epi32::<1>(n);
        let rest = _mm256_sub_epi32(n, half);
        let bias = _mm256_set1_epi32(127);
        [
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias))),
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias))),
        ]
    }
}
