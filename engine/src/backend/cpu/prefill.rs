//! Prefill: prompts through the block of training, into the cache of decoding.

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::Lent;
use super::block::Angles;
use super::kv::{KvBlock, KvLayout};
use super::trunk::{final_norm, run};
use crate::weights::Value;
use crate::{MatmulPrecision, Packed, Policy, Result, Segment};
use kernels::attention::POSITIONS;
use kernels::linear::{Linear, Matrix, linear};
use kernels::matmul::bf16::PackedBf16;
use kernels::matrix::MatRef;
use kernels::threads::Threads;

/// What decoding needs of a prompt: the logits after its last row, and its keys and values.
pub(crate) type Prefilled = (Vec<f32>, Vec<KvBlock>);

/// Runs prompts, each a segment without a parent.
pub(crate) fn prefill(policy: Policy<'_>, packed: &Packed) -> Result<Vec<Prefilled>> {
    let (config, layout) = (policy.config(), policy.layout(packed)?);
    let (kv, angles) = (KvLayout::new(config), Angles::new(&layout)?);
    let segments = &*layout.segments;
    let blocks = |prompt: &Segment| {
        (0..prompt.len.div_ceil(POSITIONS)).map(|_| kv.block()).collect::<Vec<_>>()
    };
    let mut kv_blocks: Vec<_> = segments.iter().map(blocks).collect();
    let mut x: Vec<f32> = policy.embed_rows(packed.tokens())?.flatten_all()?.to_vec1()?;
    for layer in 0..config.num_layers {
        x = run(policy, layer, &angles, |block| {
            let qkv = block.project(&x).0;
            for (prompt, kv_blocks) in segments.iter().zip(&mut kv_blocks) {
                write(kv, kv_blocks, layer, prompt, &qkv);
            }
            let attention = block.attend(&qkv, segments).out;
            if layer + 1 < config.num_layers {
                return block.finish(&x, &attention);
            }
            // Of the last block only the last row of each prompt is needed.
            let last = |x: &[f32]| last_rows(x, packed.rows(), segments);
            block.finish(&last(&x), &last(&attention))
        })?;
    }
    let x = final_norm(policy, &x)?;
    let logits = head(policy.precision(), &x, segments.len(), &policy.head()?)?;
    Ok(logits.into_iter().zip(kv_blocks).collect())
}

/// The last row of each prompt.
///
/// Shapes: `x` (rows, width); result (prompts, width).
fn last_rows(x: &[f32], rows: usize, prompts: &[Segment]) -> Vec<f32> {
    let width = x.len() / rows;
    let last = |prompt: &Segment| &x[(prompt.start + prompt.len - 1) * width..][..width];
    prompts.iter().flat_map(last).copied().collect()
}

/// Writes a prompt's keys and values of one layer.
fn write(
    kv: KvLayout,
    kv_blocks: &mut [KvBlock],
    layer: usize,
    prompt: &Segment,
    [_, k, v]: &[Vec<f32>; 3],
) {
    let width = kv.width();
    let rows = |x| <[f32]>::chunks_exact(x, width).skip(prompt.start).take(prompt.len);
    for (position, (k, v)) in rows(k).zip(rows(v)).enumerate() {
        kv.write(&mut kv_blocks[position / POSITIONS], layer, position, k, v);
    }
}

/// Tokens of the head that are rounded at once.
const ROUNDED: usize = 256;

/// Logits of each of the normed rows, by the kernel that decoding uses.
fn head(precision: MatmulPrecision, x: &[f32], rows: usize, head: &Value) -> Result<Vec<Vec<f32>>> {
    let lent = Lent::new(head);
    let weight = lent.weight(precision)?;
    let Some(values) = weight.unrounded() else {
        let vocab = weight.out();
        let mut logits = vec![0.0; rows * vocab];
        linear(Threads::Pool, x, Linear::plain(weight.matrix(precision)), rows, &mut logits);
        return Ok(logits.chunks_exact(vocab).map(<[f32]>::to_vec).collect());
    };
    let width = weight.width();
    // Piece by piece: a rounded copy of the whole head would be written for few rows.
    let piece = |head: &[f32]| {
        let tokens = head.len() / width;
        let mut logits = vec![0.0; rows * tokens];
        let head = PackedBf16::new(Threads::One, MatRef::new(head, tokens, width));
        linear(Threads::One, x, Linear::plain(Matrix::Bf16(&head)), rows, &mut logits);
        logits
    };
    let pieces: Vec<Vec<f32>> = values.par_chunks(ROUNDED * width).map(piece).collect();
    let row = |row| {
        let of_piece = |piece: &Vec<f32>| {
            let tokens = piece.len() / rows;
            piece[row * tokens..][..tokens].to_vec()
        };
        pieces.iter().flat_map(of_piece).collect()
    };
    Ok((0..rows).map(row).collect())
}
