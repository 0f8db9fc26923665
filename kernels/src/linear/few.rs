//! Products of up to four rows with weights of `f32`, which are read as they lie and turned in registers:
//! a number of each of eight or sixteen features fills one, and serves all rows there and then. Every
//! output is one sum in ascending order.

use super::range::Range;
use crate::simd::{LANES, Simd};

/// Rows, at most.
const ROWS: usize = 4;

/// Whether products of so many rows of `width` numbers are taken here.
pub(super) fn suit(rows: usize, width: usize) -> bool {
    rows <= ROWS && width.is_multiple_of(4)
}

/// The columns of a range.
#[inline(always)]
pub(super) fn range<L: Simd>(l: L, range: &Range<'_>, x: &[f32], w: &[f32]) {
    let width = x.len() / range.rows;
    let mut sums = [[0.0; LANES]; ROWS];
    let sums = &mut sums[..range.rows];
    for group in range.groups() {
        let strip = &w[group * LANES * width..];
        if strip.len() < LANES * width {
            // The last features, with zeros for those that lack.
            let mut full = vec![0.0; LANES * width];
            full[..strip.len()].copy_from_slice(strip);
            of_strip(l, x, &full, sums);
        } else {
            of_strip(l, x, &strip[..LANES * width], sums);
        }
        range.store(group, 0, sums);
    }
}

#[inline(always)]
fn of_strip<L: Simd>(l: L, x: &[f32], strip: &[f32], sums: &mut [[f32; LANES]]) {
    match sums.len() {
        1 => in_registers::<L, 1>(l, x, strip, sums),
        2 => in_registers::<L, 2>(l, x, strip, sums),
        3 => in_registers::<L, 3>(l, x, strip, sums),
        _ => in_registers::<L, ROWS>(l, x, strip, sums),
    }
}

/// The products with sixteen features, a register of them after the other.
#[inline(always)]
fn in_registers<L: Simd, const M: usize>(
    l: L,
    x: &[f32],
    strip: &[f32],
    sums: &mut [[f32; LANES]],
) {
    let width = strip.len() / LANES;
    let mut rows = [&[] as &[f32]; M];
    for i in 0..M {
        rows[i] = &x[i * width..][..width];
    }
    for (part, strip) in strip.chunks_exact(L::NARROW * width).enumerate() {
        let next = strip.as_ptr().wrapping_add(strip.len());
        let mut totals = [l.narrow_splat(0.0); M];
        for k in (0..width).step_by(4) {
            let columns = l.columns(&strip[k..], width);
            for line in 0..L::NARROW / 4 {
                l.prefetch(next.wrapping_add(k * L::NARROW + line * LANES));
            }
            for j in 0..4 {
                for i in 0..M {
                    let x = l.narrow_splat(rows[i][k + j]);
                    totals[i] = l.narrow_mul_add(x, columns[j], totals[i]);
                }
            }
        }
        for i in 0..M {
            l.narrow_store(&mut sums[i][part * L::NARROW..][..L::NARROW], totals[i]);
        }
    }
}
