//! Forward products with a weight whose numbers are made when they are used, a tile of features at
//! a time. `x` is packed once for all tiles. Each task makes its own tile and multiplies by it at
//! once, while the tile is in a cache near the core.

use std::cell::RefCell;
use std::ops::Range;

use super::{bf16, gemv, packed, select};
use crate::MatmulPrecision;
use crate::matrix::MatRef;
use crate::output::Output;
use crate::threads::Threads;

/// A linear map whose weight comes in tiles, and where its product goes.
#[derive(Debug)]
pub(crate) struct TiledMap<'a, W> {
    /// Writes rows of the weight: (rows, in).
    pub(crate) weight: W,
    /// (out), added to the sums.
    pub(crate) bias: Option<&'a [f32]>,
    /// (rows, out)
    pub(crate) y: Output<'a>,
    /// Features of a tile.
    pub(crate) features: usize,
}

thread_local! {
    /// Kept, since the memory of a tile is longer in being handed out than in use.
    static TILE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` numbers of any value.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out: a task that this thread runs while it waits for others may need its own.
    let mut scratch = TILE.take();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let result = work(&mut scratch[..len]);
    TILE.replace(scratch);
    result
}

/// `y (+)= x W^T + b`. Every output is the sum that [`super::forward`], or [`bf16::forward`], takes
/// of the whole weight.
///
/// Shapes: `x` (rows, in).
///
/// # Panics
///
/// Panics unless the shapes fit and the columns of `x` are neighbours.
pub(crate) fn forward_tiled(
    precision: MatmulPrecision,
    threads: Threads<'_>,
    x: MatRef<'_>,
    map: TiledMap<'_, impl Fn(Range<usize>, &mut [f32]) + Sync>,
) {
    assert_eq!(map.y.rows(), x.rows(), "rows of y, and of x");
    assert!(map.bias.is_none_or(|bias| bias.len() == map.y.columns()), "a bias for each feature");
    match precision {
        MatmulPrecision::F32 if x.rows() == 0 => {}
        MatmulPrecision::F32 => match select::forward(x.rows()) {
            select::Forward::Gemv => map.multiply(threads, x.columns(), |weight, bias, output| {
                gemv::multiply(Threads::One, x, vec![gemv::Product { weight, bias, output }]);
            }),
            select::Forward::Packed => {
                let TiledMap { weight, bias, y, features } = map;
                packed::with_rows(threads, x, y, |rows, y| {
                    let map = TiledMap { weight: &weight, bias, y, features };
                    map.multiply(threads, x.columns(), |weight, bias, y| {
                        rows.multiply(weight, bias, y);
                    });
                });
            }
        },
        MatmulPrecision::Bf16 => bf16::with_rows(threads, x, |rows| {
            map.multiply(threads, x.columns(), |weight, bias, y| rows.multiply(weight, bias, y));
        }),
    }
}

impl<W: Fn(Range<usize>, &mut [f32]) + Sync> TiledMap<'_, W> {
    /// Makes each tile and multiplies by it: `(tile, bias, y)` of its features.
    fn multiply(
        self,
        threads: Threads<'_>,
        width: usize,
        multiply: impl Fn(&[f32], Option<&[f32]>, Output<'_>) + Sync,
    ) {
        let Self { weight, bias, y, features } = self;
        let rows = y.rows().max(1);
        threads.each_of(y.blocks(rows, features.max(1)), |(_, first, y)| {
            let own = first..first + y.columns();
            with_scratch(own.len() * width, |tile| {
                weight(own.clone(), tile);
                multiply(tile, bias.map(|bias| &bias[own]), y);
            });
        });
    }
}
