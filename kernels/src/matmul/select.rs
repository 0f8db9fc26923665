//! Which kernel multiplies, and which operands are packed: the one place that chooses.
//!
//! | format | product | when | kernel | measured, or why |
//! |---|---|---|---|---|
//! | `f32` | `x W^T` | 1 to 4 rows | [`gemv`] | bound by reading the weight, which passes once: 14 to 71 GFLOP/s; the packed kernel would fill 4 lanes of 16 |
//! | `f32` | `x W^T` | from 5 rows | [`super::packed`], `x` packed | the weight stays in place: 50 at 5 rows, 80 at 8, 112 from 16 on |
//! | `f32` | `dy W`, `dy^T x` | few rows | [`super::packed`], in place | packing took as long as the product at 16 rows, 5 % of it at 256 |
//! | `f32` | `dy W`, `dy^T x` | more rows | [`super::packed`], packed | a stride of a power of two falls on few sets of a cache, which packing avoids |
//! | bf16 | all | AMX | [`bf16`], tiles | not yet measured on hardware |
//! | bf16 | all | AVX512-BF16 of AMD | [`bf16`], pairs | one instruction for two products: 185 to 240 GFLOP/s |
//! | bf16 | all | else | [`bf16`], widened | about 100 GFLOP/s, where `f32` has about 112; on Intel the instruction for pairs is slower than `f32` |
//!
//! GFLOP/s of one thread of an EPYC (Zen 4, AVX-512), operands in cache. In `f32`, maps of
//! 576 x 576, where its peak is about 114; in bf16, maps of 576 x 576 to 1536 with 16 to 128 rows.
//!
//! In `f32` the choice never changes a result: all kernels take every sum in the same order. In bf16
//! the processor alone decides ([`bf16::kernel`]), since the order of sums is the instruction's.

#[cfg(doc)]
use super::bf16;
use super::gemv;
use super::pack::Operand;
use crate::simd::LANES;

/// How a forward product in `f32` is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forward {
    /// [`gemv`]: the weight passes once, features in the lanes.
    Gemv,
    /// [`super::packed`]: `x` is packed, rows in the lanes.
    Packed,
}

/// The kernel of a forward product in `f32`.
pub(super) fn forward(rows: usize) -> Forward {
    match rows {
        0..=gemv::ROWS => Forward::Gemv,
        _ => Forward::Packed,
    }
}

/// Items of one operand, or terms, up to which the other operand is not packed.
const FEW: usize = 256;

/// Whether the operand that fills the lanes is packed for `items` items of the other one.
pub(super) fn b_is_packed(b: Operand<'_>, items: usize) -> bool {
    let whole_lines = b.item == 1 && b.items.is_multiple_of(LANES);
    !whole_lines || items > FEW
}

/// Whether the operand whose numbers are broadcast is packed.
pub(super) fn a_is_packed(a: Operand<'_>) -> bool {
    let neighbours = a.item == 1 && a.terms <= FEW;
    a.term != 1 && !neighbours
}
