//! AVX512-BF16: VDPBF16PS, which adds the products of sixteen pairs.
//!
//! Every output is one chain: for each pair of terms the second product is added, then the first;
//! inputs and results that are subnormal are zero.

use std::arch::x86_64::{
    __cpuid, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::product::{Microkernel, Operands, Row};
use super::tile::Line;
use crate::simd::Simd;

/// The proof that the machine has AVX512-F, AVX512-BW and AVX512-BF16.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The proof, where the machine has the features.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(test)]
        if crate::testing::form() != crate::testing::Form::Widest {
            return None;
        }
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        detected.then_some(Self(()))
    }
}

impl Microkernel for Avx512Bf16 {
    type Ready = Self;
    const ROWS: usize = 8;
    const GROUPS: usize = 3;

    fn ready(self) -> Self {
        self
    }

    #[inline]
    fn multiply<S: Simd>(_: &Self, _: S, operands: &Operands<'_>, results: &mut [Row]) {
        // Rows beyond the last are zeros.
        //
        // SAFETY: the first argument proves the features.
        unsafe {
            match operands.rows {
                1 => rows::<1>(operands, results),
                2 => rows::<2>(operands, results),
                3..=4 => rows::<4>(operands, results),
                _ => rows::<8>(operands, results),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rows<const M: usize>(operands: &Operands<'_>, results: &mut [Row]) {
    match operands.groups {
        1 => tile::<M, 1>(operands, results),
        2 => tile::<M, 2>(operands, results),
        _ => tile::<M, 3>(operands, results),
    }
}

/// `M` rows by `N` groups of columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn tile<const M: usize, const N: usize>(operands: &Operands<'_>, results: &mut [Row]) {
    let (a, first) = operands.rows(0);
    let mut b = [operands.columns(0); N];
    for j in 1..N {
        b[j] = operands.columns(j);
    }
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for block in 0..a.len() {
        let rows = &a[block].0[first..first + M];
        for pair in 0..operands.pairs(block) {
            let mut columns = [pairs(&b[0][block].0[pair]); N];
            for j in 1..N {
                columns[j] = pairs(&b[j][block].0[pair]);
            }
            for i in 0..M {
                let row = bf16(_mm512_set1_epi32(rows[i][pair].cast_signed()));
                for j in 0..N {
                    sums[i][j] = _mm512_dpbf16_ps(sums[i][j], row, columns[j]);
                }
            }
        }
    }
    for i in 0..M {
        for j in 0..N {
            // SAFETY: sixteen numbers are writable.
            unsafe { _mm512_storeu_ps(results[i].group(j).as_mut_ptr(), sums[i][j]) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(line: &Line) -> __m512bh {
    // SAFETY: a line is 64 bytes.
    bf16(unsafe { _mm512_loadu_si512(line.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16(pairs: __m512i) -> __m512bh {
    // SAFETY: the types differ in name only.
    unsafe { std::mem::transmute(pairs) }
}

/// Whether the processor is one of AMD, whose VDPBF16PS has twice the rate of `f32`; Intel's takes
/// twice as long as `f32`.
pub(super) fn of_amd() -> bool {
    let id = __cpuid(0);
    [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}
