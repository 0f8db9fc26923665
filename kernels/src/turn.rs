//! Numbers of sixteen items, turned so that those of one place lie side by side.

use super::simd::{LANES, Simd};

/// The first numbers of up to sixteen items that lie `stride` apart: all first ones, all second ones and so
/// on, with zeros for the items that lack.
#[inline(always)]
pub(super) fn turn<L: Simd>(
    l: L,
    from: &[f32],
    stride: usize,
    items: usize,
    to: &mut [[f32; LANES]],
) {
    let whole = if items == LANES { to.len() / 4 * 4 } else { 0 };
    for k in (0..whole).step_by(4) {
        for first in (0..LANES).step_by(L::NARROW) {
            let columns = l.columns(&from[first * stride + k..], stride);
            for j in 0..4 {
                l.narrow_store(&mut to[k + j][first..][..L::NARROW], columns[j]);
            }
        }
    }
    for k in whole..to.len() {
        to[k] = [0.0; LANES];
        for i in 0..items {
            to[k][i] = from[i * stride + k];
        }
    }
}
