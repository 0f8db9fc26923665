//! Decoding: the block of training over the last row of each sequence, with its keys and values
//! from the cache.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::block::{Angles, Block, with_slices};
use super::copies::{bf16_copies, is_matrix};
use super::kv::{KvBlock, KvLayout};
use super::{Lent, rms_norm};
use crate::cache::Slot;
use crate::decode::not_finite;
use crate::rope::Rope;
use crate::weights::{Spec, Weights};
use crate::{MatmulPrecision, Policy, Result};
use kernels::attention::{self, Queries, attend};
use kernels::linear::{Linear, Matrix, linear};
use kernels::matmul::bf16::PackedBf16;
use kernels::threads::{Threads, with_team};

/// Below this many bytes of weights, threads share the rows of a step, since every thread's reading
/// of all weights comes from a near cache; above it they share the features of each product.
const SMALL_BYTES: usize = 24 << 20;

/// What lasts from step to step.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Copies of the matrices that a step multiplies by, where these are rounded to bf16. The cache
    /// that owns them refuses other weights than those that they were made from.
    bf16: Option<Weights<Option<PackedBf16>>>,
    /// Bytes of weights that a step reads.
    bytes: usize,
    kv: KvLayout,
    pub(crate) free: Vec<KvBlock>,
    /// Of all positions so far.
    angles: Angles,
    /// The slots of the feed during a step.
    work: Vec<Slot>,
    scratch: Vec<Scratch>,
}

/// Scratch memory of attention, one for each row and key head of a thread.
type Scratch = Vec<attention::Scratch>;

impl Buffers {
    pub(crate) fn new(policy: Policy<'_>) -> Result<Self> {
        let (bf16, size) = match policy.precision() {
            MatmulPrecision::F32 => (None, size_of::<f32>()),
            MatmulPrecision::Bf16 => (Some(bf16_copies(policy)?), size_of::<u16>()),
        };
        let mut elements = 0;
        let mut count =
            |spec: &Spec| elements += if is_matrix(spec) { spec.elem_count() } else { 0 };
        policy.specs().blocks.iter().for_each(|block| block.visit(&mut count));
        count(policy.specs().head());
        Ok(Self {
            bf16,
            bytes: elements * size,
            kv: KvLayout::new(policy.config()),
            free: Vec::new(),
            angles: Angles::default(),
            work: Vec::new(),
            scratch: Vec::new(),
        })
    }
}

/// One step.
pub(crate) fn step(
    policy: Policy<'_>,
    buffers: &mut Buffers,
    slots: &mut [Slot],
    feed: &[(usize, u32)],
    logits: &mut Vec<f32>,
) -> Result<()> {
    if feed.is_empty() {
        logits.clear();
        return Ok(());
    }
    logits.resize(feed.len() * policy.config().vocab_size, 0.0);
    buffers.prepare(policy, slots, feed);
    let diverged = buffers.run(policy, feed, logits);
    // A step whose weights were not available has added no row.
    let added = usize::from(diverged.is_ok());
    for (&(index, _), mut slot) in feed.iter().zip(buffers.work.drain(..)) {
        slot.len += added;
        slots[index] = slot;
    }
    match diverged? {
        Some(position) => Err(not_finite(position)),
        None => Ok(()),
    }
}

impl Buffers {
    /// Takes the slots of the feed out, gives each a block for its next row, and extends the
    /// angles.
    fn prepare(&mut self, policy: Policy<'_>, slots: &mut [Slot], feed: &[(usize, u32)]) {
        let mut furthest = 0;
        for &(index, _) in feed {
            let mut slot = std::mem::take(&mut slots[index]);
            if slot.block() == slot.kv_blocks.len() {
                slot.kv_blocks.push(self.free.pop().unwrap_or_else(|| self.kv.block()));
            }
            furthest = furthest.max(slot.position());
            self.work.push(slot);
        }
        self.angles.extend(policy.rope(), furthest);
    }

    /// Runs the rows of a step. Returns the least position whose logits are not finite.
    fn run(
        &mut self,
        policy: Policy<'_>,
        feed: &[(usize, u32)],
        logits: &mut [f32],
    ) -> Result<Option<usize>> {
        let Self { bf16, bytes, kv, angles, work, scratch, .. } = self;
        let small = *bytes <= SMALL_BYTES && work.len() > 1;
        let shares = if small { rayon::current_num_threads().min(work.len()) } else { 1 };
        scratch.resize_with(shares, Scratch::default);
        let step = Step { policy, bf16: bf16.as_ref(), kv: *kv, angles };
        if shares == 1 {
            return with_team(|threads| step.run(threads, &mut scratch[0], work, feed, logits));
        }
        let share = work.len().div_ceil(shares);
        let diverged: Result<Vec<_>> = work
            .par_chunks_mut(share)
            .zip(feed.par_chunks(share))
            .zip(logits.par_chunks_mut(share * policy.config().vocab_size))
            .zip(scratch.par_iter_mut())
            .map(|(((slots, feed), logits), scratch)| {
                step.run(Threads::One, scratch, slots, feed, logits)
            })
            .collect();
        Ok(diverged?.into_iter().flatten().min())
    }
}

/// What all threads of a step read.
struct Step<'a> {
    policy: Policy<'a>,
    bf16: Option<&'a Weights<Option<PackedBf16>>>,
    kv: KvLayout,
    angles: &'a Angles,
}

impl Step<'_> {
    /// Runs rows through the model. Returns the least position whose logits are not finite.
    fn run(
        &self,
        threads: Threads<'_>,
        scratch: &mut Scratch,
        slots: &mut [Slot],
        feed: &[(usize, u32)],
        logits: &mut [f32],
    ) -> Result<Option<usize>> {
        let config = self.policy.config();
        let angles = self.angles.of(slots.iter().map(Slot::position), config.head_dim / 2);
        let mut x = self.embed(feed)?;
        for layer in 0..config.num_layers {
            x = self.block(threads, layer, &angles, &x, slots, scratch)?;
        }
        let norm = self.policy.norm()?;
        let x =
            super::with([&norm], |[norm]| Ok(rms_norm(threads, &x, norm, config.rms_norm_eps)))?;
        self.head(threads, &x, feed.len(), logits)?;
        let rows = slots.iter().zip(logits.chunks_exact(config.vocab_size));
        // No early exit within a row, so that the loop is vectorised.
        let diverged =
            rows.filter(|(_, row)| row.iter().fold(false, |any, x| any | !x.is_finite()));
        Ok(diverged.map(|(slot, _)| slot.position()).min())
    }

    /// The embeddings of the rows: (rows, width).
    fn embed(&self, feed: &[(usize, u32)]) -> Result<Vec<f32>> {
        let tokens: Vec<u32> = feed.iter().map(|&(_, token)| token).collect();
        Ok(self.policy.embed_rows(&tokens)?.flatten_all()?.to_vec1()?)
    }

    /// One block.
    ///
    /// Shapes: `x` (rows, width); result the same.
    fn block(
        &self,
        threads: Threads<'_>,
        layer: usize,
        angles: &Angles,
        x: &[f32],
        slots: &mut [Slot],
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>> {
        let (config, weights) = (self.policy.config(), self.policy.block(layer)?);
        let copies = self.bf16.map(|copies| &copies.blocks[layer]);
        with_slices(&weights, self.policy.precision(), copies, |weights| {
            let block = Block { config, threads, angles, weights };
            let ([q, k, v], _) = block.project(x);
            let rows = k.chunks_exact(self.kv.width()).zip(v.chunks_exact(self.kv.width()));
            for (slot, (k, v)) in slots.iter_mut().zip(rows) {
                let (block, position) = (slot.block(), slot.position());
                self.kv.write(&mut slot.kv_blocks[block], layer, position, k, v);
            }
            let attention = self.attend(threads, layer, &q, slots, scratch);
            block.finish(x, &attention)
        })
    }

    /// Logits of normed rows.
    fn head(&self, threads: Threads<'_>, x: &[f32], rows: usize, logits: &mut [f32]) -> Result<()> {
        let mut project = |matrix| {
            linear(threads, x, Linear::plain(matrix), rows, logits);
        };
        if let Some(copy) = self.bf16.and_then(|copies| copies.head().as_ref()) {
            project(Matrix::Bf16(copy));
            return Ok(());
        }
        let (head, precision) = (self.policy.head()?, self.policy.precision());
        let lent = Lent::new(&head);
        project(lent.weight(precision)?.matrix(precision));
        Ok(())
    }

    /// Attention of each row to its prompt and to its own rows, including the new one.
    ///
    /// Shapes: `q` (rows, heads * head width); result the same.
    fn attend(
        &self,
        threads: Threads<'_>,
        layer: usize,
        q: &[f32],
        slots: &[Slot],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let config = self.policy.config();
        let (width, kv_heads) = (config.head_dim, config.num_kv_heads);
        let group = config.num_heads / kv_heads;
        let mut attention = vec![0.0; q.len()];
        scratch.resize_with(slots.len() * kv_heads, attention::Scratch::default);
        let heads = attention.chunks_exact_mut(group * width).zip(scratch).enumerate();
        threads.each_of(heads, |(i, (out, scratch))| {
            let (slot, head) = (&slots[i / kv_heads], i % kv_heads);
            let blocks = slot.held().map(|(block, held)| self.kv.read(block, layer, head, held));
            let queries = Queries {
                values: &q[i * group * width..],
                stride: group * width,
                rows: 1,
                group,
                width,
                position: slot.position(),
            };
            attend(queries, blocks, scratch, out);
        });
        attention
    }
}

impl Angles {
    /// Adds the positions from the first that is missing to `last`.
    fn extend(&mut self, rope: &Rope, last: usize) {
        let first = self.cos.len() / rope.inverse_frequencies().len();
        let [cos, sin] = rope.angles(first..=last);
        for (angles, new) in [(&mut self.cos, cos), (&mut self.sin, sin)] {
            angles.extend(new.into_iter().map(|x| x as f32));
        }
    }

    /// Those of some positions, each of `width` numbers.
    fn of(&self, positions: impl Iterator<Item = usize>, width: usize) -> Self {
        let mut of = Self::default();
        for position in positions {
            let at = position * width..(position + 1) * width;
            of.cos.extend_from_slice(&self.cos[at.clone()]);
            of.sin.extend_from_slice(&self.sin[at]);
        }
        of
    }
}
