//! AVX512-BF16: VDPBF16PS, which adds the products of sixteen pairs.
//!
//! Every output is one chain: for each pair of terms the second product is added, then the first;
//! inputs and results that are subnormal are zero.

use std::arch::x86_64::{
    __cpuid, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::product::{GROUPS, Microkernel, Operands, Row};
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
    type Results = [Row; 8];
    const RESULTS: Self::Results = [Row::ZERO; 8];
    const GROUPS: usize = GROUPS;

    fn ready(self) -> Self {
        self
    }

    #[inline]
    fn multiply<S: Simd>(_: &Self, _: S, operands: &Operands<'_>, results: &mut [Row]) {
        // SAFETY: the first argument proves the features.
        unsafe {
            match operands.rows {
                1 => rows::<1>(operands, results),
                2 => rows::<2>(operands, results),
                3 => rows::<3>(operands, results),
                4 => rows::<4>(operands, results),
                5 => rows::<5>(operands, results),
                6 => rows::<6>(operands, results),
                7 => rows::<7>(operands, results),
                _ => rows::<8>(operands, results),
            }
        }
    }
}

/// `M` rows by all groups of columns: by threes, which fill the registers at eight rows. One or two
/// rows take more, since sums of three groups wait for one another.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rows<const M: usize>(operands: &Operands<'_>, results: &mut [Row]) {
    let mut group = 0;
    while group < operands.groups {
        group += match operands.groups - group {
            6.. if M <= 2 => tile::<M, 6>(operands, group, results),
            4.. if M <= 2 => tile::<M, 4>(operands, group, results),
            3.. => tile::<M, 3>(operands, group, results),
            2 => tile::<M, 2>(operands, group, results),
            _ => tile::<M, 1>(operands, group, results),
        };
    }
}

/// `M` rows by `N` groups of columns from `group` on. Returns `N`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn tile<const M: usize, const N: usize>(
    operands: &Operands<'_>,
    group: usize,
    results: &mut [Row],
) -> usize {
    let (a, first) = operands.rows(0);
    let mut b = [operands.columns(group); N];
    for j in 1..N {
        b[j] = operands.columns(group + j);
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
            unsafe { _mm512_storeu_ps(results[i].group(group + j).as_mut_ptr(), sums[i][j]) }
        }
    }
    N
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
