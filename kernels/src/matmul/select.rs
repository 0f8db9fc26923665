//! Which kernel multiplies, and which operands are packed: the one place that chooses.
//!
//! | format | product | when | kernel | measured, or why |
//! |---|---|---|---|---|
//! | `f32` | `x W^T` | 1 to 4 rows | [`gemv`] | bound by reading the weight, which passes once: 14 to 71 GFLOP/s; the packed kernel would fill 4 lanes of 16 |
//! | `f32` | `x W^T` | from 5 rows | [`super::packed`], `x` packed | the weight stays in place: 50 at 5 rows, 80 at 8, 112 from 16 on |
//! | `f32` | `dy W`, `dy^T x` | `b` of whole lines, and up to [`FEW`] items of `a` | [`super::packed`], `b` in place | packing took as long as the product at 16 rows, 5 % of it at 256 |
//! | `f32` | `dy W`, `dy^T x` | else | [`super::packed`], `b` packed | a stride of a power of two falls on few sets of a cache, which packing avoids |
//! | `f32` | `dy W` | up to [`ONE_PASS`] rows | one tile as high as there are rows | 5 rows as 4 and 1 read the weight twice: 41 microseconds, in one tile 29 |
//! | `f32` | `dy^T x` | any rows | one call for a row of tiles | with few terms the call took longer than the tile: at 1 row 43 microseconds by a call each, 22 by rows; at 48 rows 315 and 286 |
//! | bf16 | all | AMX | [`bf16`], TDPBF16PS | not yet measured on hardware |
//! | bf16 | all | AVX512-BF16 of AMD | [`bf16`], VDPBF16PS | one instruction for two products: 185 to 240 GFLOP/s |
//! | bf16 | all | else | [`bf16`], widened | about 100 GFLOP/s, where `f32` has about 112; on Intel the instruction for pairs is slower than `f32` |
//! | bf16 | all | AVX512-BF16, 1 or 2 rows | tiles of six groups of columns, else of three | three sums at one row wait for one another: 3.0 microseconds, six take 2.8 (192 x 576) |
//! | bf16 | all | AMX, up to 16 rows | 1 by 4 tiles, else 2 by 2 | few rows wait for memory, which four columns of tiles read at once; not yet measured on hardware |
//! | bf16 | all | widened, fewer than 32 registers, more than 8 rows | by chunks that are widened first | there is no room to widen columns next to enough sums |
//!
//! GFLOP/s of one thread of an EPYC (Zen 4, AVX-512), operands in cache. In `f32`, maps of
//! 576 x 576, where its peak is about 114; in bf16, maps of 576 x 576 to 1536 with 16 to 128 rows.
//!
//! In `f32` the choice never changes a result: all kernels take every sum in the same order. In
//! bf16 the processor alone decides the instruction ([`bf16::instruction`]), since the order of
//! sums is the instruction's; what else is chosen changes no result.
//!
//! How much of a product a task takes is no choice of kernel. Each driver has its constants for
//! that. The largest such choice is the engine's: in a decode step of a small model the threads
//! share the rows, in one of a large model the features of each product.

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

/// Items of one operand that a single pass over the other one multiplies: those of the highest
/// tile.
pub(super) const ONE_PASS: usize = 8;

/// Terms of a block. While many items pass, the panels of a task stay in the second cache: three of
/// 768 terms are 144 KiB. Items of one pass read every panel once, whatever the number of terms.
pub(super) fn terms_of_block(items: usize) -> usize {
    if items <= ONE_PASS { usize::MAX } else { 768 }
}

/// Whether both operands in bf16 are widened to scratch by chunks of terms, rather than columns in
/// registers.
pub(super) fn widens_in_chunks(registers: usize, rows: usize) -> bool {
    registers < 32 && rows > 8
}
