//! Products with a weight in the blocks of a GGUF tensor: a tile of it is decoded to `f32` scratch
//! and multiplied by the kernels of `f32`.
//!
//! Every output is a sum of its own in the order that a weight in `f32` has, so results equal those
//! of the decoded weight to the bit.

use std::ops::Range;

use crate::MatmulPrecision;
use crate::blocks::{Format, decode};
use crate::matmul::bf16::PackedBf16;
use crate::matmul::{TiledMap, forward_tiled, product_in, with_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::output::Output;
use crate::threads::Threads;

/// A weight in blocks: (out, width), row after row.
#[derive(Debug, Clone, Copy)]
pub struct BlockMatrix<'a> {
    format: Format,
    bytes: &'a [u8],
    rows: usize,
    width: usize,
}

/// Values of a tile of a forward product: decoded and used by one thread, in its second cache.
const TILE: usize = 1 << 15;

/// Features that a tile has at least, and a multiple of which it has.
const FEATURES: usize = 16;

/// Columns that a gradient decodes at once: whole blocks of every format.
const COLUMNS: usize = 256;

impl<'a> BlockMatrix<'a> {
    /// A weight of `rows` by `width`.
    ///
    /// # Panics
    ///
    /// Panics unless a row is whole blocks, and `bytes` are those of all rows.
    pub fn new(format: Format, bytes: &'a [u8], rows: usize, width: usize) -> Self {
        let row = format.bytes(width).expect("rows of whole blocks");
        assert_eq!(rows.checked_mul(row), Some(bytes.len()), "bytes of {rows} rows of {width}");
        Self { format, bytes, rows, width }
    }

    /// Input features.
    pub fn width(self) -> usize {
        self.width
    }

    /// Output features.
    pub fn out(self) -> usize {
        self.rows
    }

    /// Decodes rows.
    ///
    /// Shapes: `out` (rows, width).
    ///
    /// # Panics
    ///
    /// Panics when there are fewer rows, or `out` is of another length.
    pub fn rows(self, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(out.len(), rows.len() * self.width, "numbers of {} rows", rows.len());
        let row = self.bytes.len() / self.rows.max(1);
        decode(self.format, &self.bytes[rows.start * row..rows.end * row], out);
    }

    /// The weight rounded to bf16 and packed, for products that come again and again.
    ///
    /// # Panics
    ///
    /// Panics when the weight is empty.
    pub fn rounded(self, threads: Threads<'_>) -> PackedBf16 {
        PackedBf16::of_rows(threads, (self.rows, self.width), |rows, out| self.rows(rows, out))
    }

    /// Decodes columns of all rows. The first is that of a block, and so is the one after the last
    /// unless it is the last of a row.
    ///
    /// Shapes: `out` (out, columns).
    fn columns(self, threads: Threads<'_>, columns: Range<usize>, out: &mut [f32]) {
        let bytes = |values| self.format.bytes(values).expect("columns of whole blocks");
        let (row, part) = (bytes(self.width), bytes(columns.start)..bytes(columns.end));
        let few = self.rows.div_ceil(4 * threads.count()).max(1);
        let pieces = out.chunks_mut(few * columns.len()).zip(self.bytes.chunks(few * row));
        threads.each_of(pieces, |(out, bytes)| {
            for (out, bytes) in out.chunks_exact_mut(columns.len()).zip(bytes.chunks_exact(row)) {
                decode(self.format, &bytes[part.clone()], out);
            }
        });
    }

    /// `y (+)= x W^T + b`.
    ///
    /// Shapes: `x` (rows, width), `bias` (out), `y` (rows, out).
    pub(super) fn forward(
        self,
        threads: Threads<'_>,
        precision: MatmulPrecision,
        x: MatRef<'_>,
        bias: Option<&[f32]>,
        y: Output<'_>,
    ) {
        assert_eq!((x.columns(), y.columns()), (self.width, self.rows), "a weight (out, in)");
        // A small weight is shared by all threads, too.
        let fair = self.rows.div_ceil(2 * threads.count());
        let features = (TILE / self.width).min(fair).next_multiple_of(FEATURES).max(FEATURES);
        let weight = |rows, tile: &mut [f32]| self.rows(rows, tile);
        forward_tiled(precision, threads, x, TiledMap { weight, bias, y, features });
    }

    /// [`Self::rows`] by all threads.
    ///
    /// # Panics
    ///
    /// As [`Self::rows`].
    pub fn decode_rows(self, threads: Threads<'_>, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(out.len(), rows.len() * self.width, "numbers of {} rows", rows.len());
        let few = rows.len().div_ceil(4 * threads.count()).max(1);
        let pieces = out.chunks_mut(few * self.width).enumerate();
        threads.each_of(pieces, |(i, out)| {
            let first = rows.start + i * few;
            self.rows(first..first + out.len() / self.width, out);
        });
    }

    /// Adds `dy W` to `dx`: the gradient with respect to `x`.
    ///
    /// Shapes: `dy` (rows, out), `dx` (rows, width).
    ///
    /// # Panics
    ///
    /// Panics unless the shapes fit.
    pub fn input_gradient_add(
        self,
        threads: Threads<'_>,
        precision: MatmulPrecision,
        dy: MatRef<'_>,
        dx: MatMut<'_>,
    ) {
        assert_eq!((dy.columns(), dx.columns()), (self.rows, self.width), "a weight (out, in)");
        // All rows at once: a sum over output features is one chain.
        for (_, first, dx) in dx.blocks(dy.rows().max(1), COLUMNS) {
            let columns = first..first + dx.columns();
            with_scratch(self.rows * columns.len(), |tile| {
                self.columns(threads, columns.clone(), tile);
                let tile = MatRef::new(tile, self.rows, columns.len());
                product_in(precision, threads, dy, tile, Output::add(dx));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{Linear, Matrix, linear_add, linears_to_vec};
    use crate::testing::{bits, noise, same_on_every_form};
    use crate::threads::with_team;

    /// Blocks with scales of about a hundredth, and what they stand for.
    fn weight(format: Format, rows: usize, width: usize) -> (Vec<u8>, Vec<f32>) {
        let (block, size) = format.block();
        let mut bytes: Vec<u8> = noise(7, rows * width / block * size)
            .iter()
            .map(|x| (x * 200.0) as i32 as u8)
            .collect();
        for block in bytes.chunks_mut(size) {
            let small = half::f16::from_f32(f32::from(block[0]) / 12_800.0 + 0.001).to_le_bytes();
            let halves: &[usize] = match format {
                Format::Q8_0 => &[0],
                Format::Q4_1 | Format::Q4K => &[0, 2],
                Format::Q6K => &[208],
                other => panic!("{other:?} is not tried here"),
            };
            for &at in halves {
                block[at..at + 2].copy_from_slice(&small);
            }
        }
        let mut values = vec![0.0; rows * width];
        BlockMatrix::new(format, &bytes, rows, width).rows(0..rows, &mut values);
        assert!(values.iter().all(|x| x.is_finite() && x.abs() < 1e3));
        (bytes, values)
    }

    const FORMATS: [Format; 4] = [Format::Q8_0, Format::Q4_1, Format::Q4K, Format::Q6K];

    #[test]
    fn products_equal_those_of_the_decoded_weight_to_the_bit() {
        for format in FORMATS {
            for (out, width) in [(5, 256), (70, 512), (300, 1024), (33, 1792)] {
                let (bytes, values) = weight(format, out, width);
                let blocks = BlockMatrix::new(format, &bytes, out, width);
                let bias = noise(3, out);
                for rows in [1, 4, 5, 31, 32, 65] {
                    let x = noise(rows as u32, rows * width);
                    let run = |threads: Threads<'_>, weight| {
                        let map = Linear { weight, bias: Some(&bias) };
                        let [y] = linears_to_vec(threads, &x, rows, [map]);
                        let mut sum = noise(9, rows * out);
                        linear_add(threads, &x, map, rows, &mut sum);
                        [bits(&y), bits(&sum)]
                    };
                    let plain = run(Threads::One, Matrix::F32(&values));
                    let blocks_f32 = Matrix::Blocks(blocks, MatmulPrecision::F32);
                    for threads in [Threads::One, Threads::Pool] {
                        assert!(
                            run(threads, blocks_f32) == plain,
                            "{format:?} {rows} {out} {width}"
                        );
                    }
                    assert!(with_team(|team| run(team, blocks_f32)) == plain);
                    let rounded = PackedBf16::new(Threads::One, MatRef::new(&values, out, width));
                    let rounded = run(Threads::One, Matrix::Bf16(&rounded));
                    let blocks_bf16 = Matrix::Blocks(blocks, MatmulPrecision::Bf16);
                    assert!(run(Threads::Pool, blocks_bf16) == rounded, "bf16, {format:?} {rows}");
                    let copy = blocks.rounded(Threads::Pool);
                    assert!(run(Threads::One, Matrix::Bf16(&copy)) == rounded, "a copy");
                }
            }
        }
    }

    #[test]
    fn gradients_equal_those_of_the_decoded_weight_to_the_bit() {
        for format in FORMATS {
            for (out, width) in [(5, 256), (900, 512), (70, 1024)] {
                let (bytes, values) = weight(format, out, width);
                let blocks = BlockMatrix::new(format, &bytes, out, width);
                for rows in [1, 7, 40, 300] {
                    let dy = noise(rows as u32, rows * out);
                    let dy = MatRef::new(&dy, rows, out);
                    for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
                        let mut want = noise(8, rows * width);
                        let mut got = want.clone();
                        let to = Output::add(MatMut::new(&mut want, rows, width));
                        let plain = MatRef::new(&values, out, width);
                        product_in(precision, Threads::One, dy, plain, to);
                        let to = MatMut::new(&mut got, rows, width);
                        blocks.input_gradient_add(Threads::Pool, precision, dy, to);
                        let same = bits(&got) == bits(&want);
                        assert!(same, "{format:?} {rows} {out} {width} {precision:?}");
                    }
                }
            }
        }
    }

    /// Negative control of [`gradients_equal_those_of_the_decoded_weight_to_the_bit`]: with the sum
    /// over output features cut in two, wherever that is, the gradient has other bits.
    #[test]
    fn a_gradient_in_two_sums_has_other_bits() {
        let (rows, out, width) = (300, 900, 512);
        let (bytes, values) = weight(Format::Q4K, out, width);
        let blocks = BlockMatrix::new(Format::Q4K, &bytes, out, width);
        let dy = noise(1, rows * out);
        let mut got = noise(8, rows * width);
        let to = MatMut::new(&mut got, rows, width);
        let all = MatRef::new(&dy, rows, out);
        blocks.input_gradient_add(Threads::Pool, MatmulPrecision::F32, all, to);
        let cut_at = |cut: usize| {
            let mut sum = noise(8, rows * width);
            for terms in [0..cut, cut..out].into_iter().filter(|terms| !terms.is_empty()) {
                let dy = MatRef::strided(&dy[terms.start..], rows, terms.len(), out);
                let part = &values[terms.start * width..terms.end * width];
                let weight = MatRef::new(part, terms.len(), width);
                let to = Output::add(MatMut::new(&mut sum, rows, width));
                product_in(MatmulPrecision::F32, Threads::One, dy, weight, to);
            }
            sum
        };
        assert!(bits(&cut_at(out)) == bits(&got), "one sum");
        for cut in [1, 767, 768, 769, 899] {
            assert!(bits(&cut_at(cut)) != bits(&got), "{cut}");
        }
    }

    #[test]
    fn all_forms_multiply_alike() {
        let (bytes, _) = weight(Format::Q4K, 40, 512);
        let blocks = BlockMatrix::new(Format::Q4K, &bytes, 40, 512);
        for rows in [3, 40] {
            let x = noise(1, rows * 512);
            let map = Linear::plain(Matrix::Blocks(blocks, MatmulPrecision::F32));
            same_on_every_form(|| {
                let [y] = linears_to_vec(Threads::One, &x, rows, [map]);
                bits(&y)
            });
        }
    }

    #[test]
    #[should_panic(expected = "rows of whole blocks")]
    fn a_row_of_half_a_block_is_refused() {
        let _ = BlockMatrix::new(Format::Q4K, &[0; 144], 2, 128);
    }
}
