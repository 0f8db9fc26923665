//! Prefill: a prompt through the blocks of training, into the cache of decoding.

use candle::Tensor;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::block::{self, Block, Rows};
use super::kv::{KvBlock, KvLayout};
use super::values;
use crate::{MatmulPrecision, Packed, Policy, Result};
use kernels::attention::POSITIONS;
use kernels::linear::{Linear, Matrix, linear};
use kernels::matmul::bf16::PackedBf16;
use kernels::matrix::MatRef;
use kernels::threads::Threads;

/// A prompt through the model: logits after its last row, and the blocks of its keys and values.
pub(crate) fn prefill(policy: Policy<'_>, packed: &Packed) -> Result<(Vec<f32>, Vec<KvBlock>)> {
    let config = policy.config();
    let (kv, rows) = (KvLayout::new(config), Rows::new(&policy.layout(packed)?)?);
    let mut x: Vec<f32> = policy.embed_rows(packed)?.flatten_all()?.to_vec1()?;
    let mut kv_blocks: Vec<_> =
        (0..packed.rows().div_ceil(POSITIONS)).map(|_| kv.block()).collect();
    for layer in 0..config.num_layers {
        let weights = policy.block(layer)?;
        x = block::with_slices(&weights, policy.precision(), |weights| {
            let block = Block { config, rows: &rows, weights };
            let qkv = block.project(&x).0;
            write(kv, &mut kv_blocks, layer, packed.rows(), &qkv);
            let attention = block.attend(&qkv).out;
            // Of the last block only the last row is asked for.
            let skipped = if layer + 1 == config.num_layers { packed.rows() - 1 } else { 0 };
            let from = |x: &[f32]| x.len() / packed.rows() * skipped;
            block.finish(&x[from(&x)..], &attention[from(&attention)..])
        })?;
    }
    let last = x.len() - config.hidden_size;
    let x = super::trunk::final_norm(policy, &x[last..])?;
    Ok((head(policy.precision(), &x, &policy.head()?)?, kv_blocks))
}

/// Writes a prompt's keys and values of one layer.
fn write(
    kv: KvLayout,
    kv_blocks: &mut [KvBlock],
    layer: usize,
    rows: usize,
    [_, k, v]: &[Vec<f32>; 3],
) {
    let width = k.len() / rows;
    for (row, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
        kv.write(&mut kv_blocks[row / POSITIONS], layer, row, k, v);
    }
}

/// Tokens of the head that are rounded at once.
const ROUNDED: usize = 256;

/// Logits of a normed row, by the kernel that decoding uses.
fn head(precision: MatmulPrecision, x: &[f32], head: &Tensor) -> Result<Vec<f32>> {
    let (vocab, width) = head.dims2()?;
    let head = head.storage_and_layout();
    let head = values(&head)?;
    let mut logits = vec![0.0; vocab];
    if precision == MatmulPrecision::F32 {
        let map = Linear::plain(Matrix::F32(head));
        linear(Threads::Pool, x, map, 1, &mut logits);
        return Ok(logits);
    }
    // Piece by piece: a rounded copy of the whole head would be written for one row.
    logits.par_chunks_mut(ROUNDED).zip(head.par_chunks(ROUNDED * width)).for_each(
        |(logits, head)| {
            let head = MatRef::new(head, logits.len(), width);
            let head = PackedBf16::new(Threads::One, head);
            let map = Linear::plain(Matrix::Bf16(&head));
            linear(Threads::One, x, map, 1, logits);
        },
    );
    Ok(logits)
}
