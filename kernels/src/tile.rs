//! Products of a few items by up to sixteen others: numbers of the first are spread over a vector, those of
//! the others lie side by side, and the sums stay in registers. Every sum is taken in ascending order.

use super::simd::{LANES, Simd};

/// Items whose numbers are spread: number `k` of item `i` at `i * item + k * step`.
#[derive(Clone, Copy)]
pub(super) struct Spread<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) item: usize,
    pub(super) step: usize,
}

/// A number of each of the items that lie side by side.
pub(super) trait Side<L: Simd> {
    type V: Copy;
    fn splat(l: L, a: f32) -> Self::V;
    fn load(l: L, a: &[f32; LANES]) -> Self::V;
    fn store(l: L, to: &mut [f32; LANES], a: Self::V);
    fn mul_add(l: L, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

/// All sixteen.
pub(super) struct Wide;

/// The first of them, as many as a register holds.
pub(super) struct Narrow;

impl<L: Simd> Side<L> for Wide {
    type V = L::V;
    #[inline(always)]
    fn splat(l: L, a: f32) -> L::V {
        l.splat(a)
    }
    #[inline(always)]
    fn load(l: L, a: &[f32; LANES]) -> L::V {
        l.load(a)
    }
    #[inline(always)]
    fn store(l: L, to: &mut [f32; LANES], a: L::V) {
        l.store(to, a);
    }
    #[inline(always)]
    fn mul_add(l: L, a: L::V, b: L::V, c: L::V) -> L::V {
        l.mul_add(a, b, c)
    }
}

impl<L: Simd> Side<L> for Narrow {
    type V = L::N;
    #[inline(always)]
    fn splat(l: L, a: f32) -> L::N {
        l.narrow_splat(a)
    }
    #[inline(always)]
    fn load(l: L, a: &[f32; LANES]) -> L::N {
        l.narrow_load(a)
    }
    #[inline(always)]
    fn store(l: L, to: &mut [f32; LANES], a: L::N) {
        l.narrow_store(&mut to[..L::NARROW], a);
    }
    #[inline(always)]
    fn mul_add(l: L, a: L::N, b: L::N, c: L::N) -> L::N {
        l.narrow_mul_add(a, b, c)
    }
}

/// No sums yet.
#[inline(always)]
pub(super) fn zeros<L: Simd, S: Side<L>, const M: usize>(l: L) -> [S::V; M] {
    [S::splat(l, 0.0); M]
}

/// `sums` of the first `M` items, with the products added; before each sixteen terms, `ahead` is told the
/// first, to bring near what is read later.
///
/// # Panics
///
/// Panics when a number of an item does not lie in its slice.
#[inline(always)]
pub(super) fn sums<L: Simd, S: Side<L>, const M: usize>(
    l: L,
    spread: Spread<'_>,
    beside: &[[f32; LANES]],
    // By value: behind a reference they would be written at every term.
    mut sums: [S::V; M],
    ahead: impl Fn(usize),
) -> [S::V; M] {
    let Spread { numbers, item, step } = spread;
    let reach = (M - 1) * item + beside.len().saturating_sub(1) * step;
    assert!(beside.is_empty() || reach < numbers.len(), "numbers inside the slice");
    for (line, beside) in beside.chunks(LANES).enumerate() {
        let first = line * LANES;
        ahead(first);
        let (fours, rest) = beside.as_chunks::<4>();
        for (four, beside) in fours.iter().enumerate() {
            for k in 0..4 {
                let others = S::load(l, &beside[k]);
                for i in 0..M {
                    let at = (first + 4 * four + k) * step + i * item;
                    // SAFETY: at most `reach`.
                    let number = unsafe { *numbers.get_unchecked(at) };
                    sums[i] = S::mul_add(l, S::splat(l, number), others, sums[i]);
                }
            }
        }
        for (k, beside) in (first + 4 * fours.len()..).zip(rest) {
            let others = S::load(l, beside);
            for i in 0..M {
                sums[i] = S::mul_add(l, S::splat(l, numbers[k * step + i * item]), others, sums[i]);
            }
        }
    }
    sums
}
