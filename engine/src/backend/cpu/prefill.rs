//! Prefill: prompts through the block of training, into the cache of decoding.

use std::borrow::Cow;
use std::sync::Arc;

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::Lent;
use super::block::Angles;
use super::head::{End, logits_by_rows, logits_each};
use super::kv::{KvBlock, KvLayout};
use super::trunk::{final_norm, with_block};
use crate::policy::SharedRows;
use crate::weights::{BlockWeights, Value};
use crate::{Packed, Policy, Result, Segment};
use kernels::attention::POSITIONS;
use kernels::linear::{Linear, Matrix, linear};
use kernels::matmul::bf16::PackedBf16;
use kernels::matrix::MatRef;
use kernels::threads::Threads;

/// What decoding needs of a prompt: the logits after its last row, and its keys and values.
pub(crate) type Prefilled = (Vec<f32>, Vec<KvBlock>);

/// Runs prompts, each a segment without a parent.
pub(crate) fn prefill(policy: Policy<'_>, packed: &Packed) -> Result<Vec<Prefilled>> {
    let mut prompts = Prompts::embed(policy, packed, None)?;
    for layer in 0..policy.config().num_layers {
        prompts.block(policy, layer, &*policy.block(layer)?)?;
    }
    let x = final_norm(policy, &prompts.x)?;
    let logits = head(policy, &x, prompts.segments.len())?;
    Ok(prompts.finish(logits))
}

/// [`prefill`] by several policies that differ in what perturbs the weights of `base`. A block
/// serves all of them.
pub(crate) fn prefill_each(
    base: Policy<'_>,
    policies: &[Policy<'_>],
    packed: &Packed,
) -> Result<Vec<Vec<Prefilled>>> {
    let shared = base.shared_rows([packed.tokens()].into_iter())?;
    let begun = policies.iter().map(|&policy| Prompts::embed(policy, packed, shared.as_ref()));
    let mut begun = begun.collect::<Result<Vec<_>>>()?;
    drop(shared);
    for layer in 0..base.config().num_layers {
        let block = base.base_block(layer)?;
        for (&policy, prompts) in policies.iter().zip(&mut begun) {
            let completed = policy.completed(layer, Cow::Borrowed(&*block))?;
            prompts.block(policy, layer, &completed)?;
        }
    }
    let (vocab, rows) = (base.config().vocab_size, packed.segments().len());
    let mut logits = vec![vec![0.0; rows * vocab]; policies.len()];
    let ends = policies.iter().zip(&begun).zip(&mut logits).map(|((&policy, prompts), logits)| {
        Ok(End { policy, x: final_norm(policy, &prompts.x)?, logits })
    });
    let mut ends = ends.collect::<Result<Vec<_>>>()?;
    logits_each(Threads::Pool, &base.head()?, &mut ends)?;
    drop(ends);
    let each = begun.into_iter().zip(logits);
    Ok(each.map(|(prompts, logits)| prompts.finish(by_row(&logits, vocab))).collect())
}

/// Prompts on their way through the blocks.
struct Prompts {
    kv: KvLayout,
    kv_blocks: Vec<Vec<KvBlock>>,
    angles: Angles,
    segments: Arc<[Segment]>,
    x: Vec<f32>,
}

impl Prompts {
    fn embed(policy: Policy<'_>, packed: &Packed, shared: Option<&SharedRows>) -> Result<Self> {
        let (layout, kv) = (policy.layout(packed)?, KvLayout::new(policy.config()));
        let blocks = |prompt: &Segment| {
            (0..prompt.len.div_ceil(POSITIONS)).map(|_| kv.block()).collect::<Vec<_>>()
        };
        let kv_blocks = layout.segments.iter().map(blocks).collect();
        let x = policy.embed_rows(shared, packed.tokens())?.flatten_all()?.to_vec1()?;
        Ok(Self { kv, kv_blocks, angles: Angles::new(&layout)?, segments: layout.segments, x })
    }

    /// Runs the next block. Of the last one only the last row of each prompt is left.
    fn block(
        &mut self,
        policy: Policy<'_>,
        layer: usize,
        weights: &BlockWeights<Value>,
    ) -> Result<()> {
        let Self { kv, kv_blocks, angles, segments, x } = self;
        let next = with_block(policy, weights, angles, |block| {
            let qkv = block.project(x).0;
            for (prompt, kv_blocks) in segments.iter().zip(kv_blocks) {
                write(*kv, kv_blocks, layer, prompt, &qkv);
            }
            let attention = block.attend(&qkv, segments).out;
            if layer + 1 < policy.config().num_layers {
                return block.finish(x, &attention);
            }
            let rows = x.len() / policy.config().hidden_size;
            let last = |x: &[f32]| last_rows(x, rows, segments);
            block.finish(&last(x), &last(&attention))
        })?;
        self.x = next;
        Ok(())
    }

    fn finish(self, logits: Vec<Vec<f32>>) -> Vec<Prefilled> {
        logits.into_iter().zip(self.kv_blocks).collect()
    }
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

fn by_row(logits: &[f32], vocab: usize) -> Vec<Vec<f32>> {
    logits.chunks_exact(vocab).map(<[f32]>::to_vec).collect()
}

/// Tokens of the head that are rounded at once.
const ROUNDED: usize = 256;

/// Logits of each of the normed rows, by the kernel that decoding uses.
fn head(policy: Policy<'_>, x: &[f32], rows: usize) -> Result<Vec<Vec<f32>>> {
    let (head, precision) = (policy.head()?, policy.precision());
    let Some(whole) = head.whole() else {
        let vocab = head.shape()[0];
        let mut logits = vec![0.0; rows * vocab];
        logits_by_rows(Threads::Pool, &head, precision, x, &mut logits)?;
        return Ok(by_row(&logits, vocab));
    };
    let lent = Lent::new(whole);
    let weight = lent.weight(precision)?;
    let Some(values) = weight.unrounded() else {
        let vocab = weight.out();
        let mut logits = vec![0.0; rows * vocab];
        linear(Threads::Pool, x, Linear::plain(weight.matrix(precision)), rows, &mut logits);
        return Ok(by_row(&logits, vocab));
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
