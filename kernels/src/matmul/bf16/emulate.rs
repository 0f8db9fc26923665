//! The orders of sums in plain loops: what each microkernel computes, to the bit.

use super::Instruction;
use super::tile::TERMS;

/// One output, of a row and a column in bf16.
pub(super) fn emulate(instruction: Instruction, row: &[u16], column: &[u16]) -> f32 {
    assert_eq!(row.len(), column.len(), "as many terms");
    // Some padding is multiplied as well, and turns a sum of -0 into 0.
    let unit = if instruction == Instruction::Amx { TERMS } else { 2 };
    let padded = |x: &[u16]| {
        let mut x = x.to_vec();
        x.resize(x.len().next_multiple_of(unit), 0);
        x
    };
    let terms: Vec<_> = padded(row).into_iter().zip(padded(column)).collect();
    match instruction {
        Instruction::Amx => tdpbf16ps(&terms),
        Instruction::Avx512Bf16 => pairs(&terms, flush),
        Instruction::Widened => pairs(&terms, |x| x),
    }
}

/// Zero for a subnormal number.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0_f32.copysign(x) } else { x }
}

/// Adds a product, rounded once.
fn add(sum: f32, (a, b): (u16, u16), flush: impl Fn(f32) -> f32) -> f32 {
    flush(flush(widen(a)).mul_add(flush(widen(b)), sum))
}

/// For each pair the second product, then the first.
///
/// Source: VDPBF16PS in Intel's Software Developer's Manual, volume 2; AMD's processors do the
/// same.
fn pairs(terms: &[(u16, u16)], flush: impl Fn(f32) -> f32) -> f32 {
    terms.chunks(2).fold(0.0, |sum, pair| add(add(sum, pair[1], &flush), pair[0], &flush))
}

/// For each 32 terms two chains, of the even and of the odd ones, which are added, then added to
/// the sum.
///
/// Source: TDPBF16PS in Intel's Software Developer's Manual, volume 2.
fn tdpbf16ps(terms: &[(u16, u16)]) -> f32 {
    terms.chunks(TERMS).fold(0.0, |sum, terms| {
        let [even, odd] = [0, 1].map(|first| {
            terms.iter().skip(first).step_by(2).fold(0.0, |sum, &pair| add(sum, pair, flush))
        });
        flush(sum + flush(even + odd))
    })
}

/// A bf16 as `f32`.
pub(super) fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}
