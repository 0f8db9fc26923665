//! Decoding: the block of training over the last row of each sequence, with its keys and values
//! from the cache.

mod lockstep;

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::block::{Angles, Block, with_slices};
use super::copies::{bf16_copies, is_matrix};
use super::kv::{KvBlock, KvLayout};
use super::{Lent, Weight, rms_norm};
use crate::cache::Slot;
use crate::decode::not_finite;
use crate::policy::SharedRows;
use crate::rope::Rope;
use crate::weights::{BlockWeights, Spec, Weights};
use crate::{MatmulPrecision, Policy, Result};
use kernels::attention::{self, Queries, attend};
use kernels::linear::{Linear, Matrix, linear};
use kernels::matmul::bf16::PackedBf16;
use kernels::threads::{Threads, with_team};
pub(crate) use lockstep::{Member, step_each};

/// Below this many bytes of weights, threads share the rows of a step, since every thread's reading
/// of all weights comes from a near cache; above it they share the features of each product.
const SMALL_BYTES: usize = 24 << 20;

/// What lasts from step to step.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Copies of the matrices that a step multiplies by, where these are rounded to bf16. The cache
    /// that owns them refuses other weights than those that they were made from. There are none of
    /// streamed and perturbed weights, which are there to take no memory.
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
            MatmulPrecision::Bf16 => {
                let copies = policy.is_plain().then(|| bf16_copies(policy)).transpose()?;
                (copies, size_of::<u16>())
            }
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
    if !policy.is_plain() {
        let member = Member { policy, buffers, slots, feed, logits };
        return step_each(policy.base(), &mut [member])?.remove(0);
    }
    logits.resize(feed.len() * policy.config().vocab_size, 0.0);
    buffers.prepare(policy, slots, feed);
    let diverged = buffers.run(policy, feed, logits);
    // A step whose weights were not available has added no row.
    buffers.put_back(slots, feed, usize::from(diverged.is_ok()));
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

    /// Puts the slots of the feed back, each with so many more rows.
    fn put_back(&mut self, slots: &mut [Slot], feed: &[(usize, u32)], added: usize) {
        for (&(index, _), mut slot) in feed.iter().zip(self.work.drain(..)) {
            slot.len += added;
            slots[index] = slot;
        }
    }

    /// Runs the rows of a step. Returns the least position whose logits are not finite.
    fn run(
        &mut self,
        policy: Policy<'_>,
        feed: &[(usize, u32)],
        logits: &mut [f32],
    ) -> Result<Option<usize>> {
        let (step, mut shares) = self.shares(policy, feed, logits);
        if let [rows] = &mut shares[..] {
            return with_team(|threads| step.run(threads, rows));
        }
        let diverged: Result<Vec<_>> =
            shares.par_iter_mut().map(|rows| step.run(Threads::One, rows)).collect();
        Ok(diverged?.into_iter().flatten().min())
    }

    /// The rows of a step, in shares if each is to be computed by one thread, else in one.
    fn shares<'b>(
        &'b mut self,
        policy: Policy<'b>,
        feed: &'b [(usize, u32)],
        logits: &'b mut [f32],
    ) -> (Step<'b>, Vec<Rows<'b>>) {
        let Self { bf16, bytes, kv, angles, work, scratch, .. } = self;
        let small = *bytes <= SMALL_BYTES && work.len() > 1;
        let count = if small { rayon::current_num_threads().min(work.len()) } else { 1 };
        scratch.resize_with(count, Scratch::default);
        let step = Step { policy, bf16: bf16.as_ref(), kv: *kv, angles };
        let share = work.len().div_ceil(count).max(1);
        let rows = work
            .chunks_mut(share)
            .zip(feed.chunks(share))
            .zip(logits.chunks_mut(share * policy.config().vocab_size))
            .zip(scratch.iter_mut())
            .map(|(((slots, feed), logits), scratch)| Rows { slots, feed, logits, scratch });
        let rows = rows.collect();
        (step, rows)
    }
}

/// Rows of a step that are computed together.
struct Rows<'a> {
    slots: &'a mut [Slot],
    feed: &'a [(usize, u32)],
    /// (rows, vocabulary)
    logits: &'a mut [f32],
    scratch: &'a mut Scratch,
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
    fn run(&self, threads: Threads<'_>, rows: &mut Rows<'_>) -> Result<Option<usize>> {
        let angles = self.angles(rows);
        let mut x = self.embed(rows, None)?;
        for layer in 0..self.policy.config().num_layers {
            let weights = self.policy.block(layer)?;
            let copies = self.bf16.map(|copies| &copies.blocks[layer]);
            x = with_slices(&weights, self.policy.precision(), copies, |weights| {
                self.block(threads, layer, (weights, &angles), &x, rows)
            })?;
        }
        let x = self.norm(threads, &x)?;
        self.head(threads, &x, rows)?;
        Ok(self.diverged(rows))
    }

    /// The angles of the rows.
    fn angles(&self, rows: &Rows<'_>) -> Angles {
        self.angles.of(rows.slots.iter().map(Slot::position), self.policy.config().head_dim / 2)
    }

    /// The embeddings of the rows: (rows, width).
    fn embed(&self, rows: &Rows<'_>, shared: Option<&SharedRows>) -> Result<Vec<f32>> {
        let tokens: Vec<u32> = rows.feed.iter().map(|&(_, token)| token).collect();
        Ok(self.policy.embed_rows(shared, &tokens)?.flatten_all()?.to_vec1()?)
    }

    /// One block, given its weights and the rows' angles.
    ///
    /// Shapes: `x` (rows, width); result the same.
    fn block(
        &self,
        threads: Threads<'_>,
        layer: usize,
        (weights, angles): (&BlockWeights<Weight<'_>>, &Angles),
        x: &[f32],
        rows: &mut Rows<'_>,
    ) -> Vec<f32> {
        let block = Block { config: self.policy.config(), threads, angles, weights };
        let ([q, k, v], _) = block.project(x);
        let added = k.chunks_exact(self.kv.width()).zip(v.chunks_exact(self.kv.width()));
        for (slot, (k, v)) in rows.slots.iter_mut().zip(added) {
            let (block, position) = (slot.block(), slot.position());
            self.kv.write(&mut slot.kv_blocks[block], layer, position, k, v);
        }
        let attention = self.attend(threads, layer, &q, rows.slots, rows.scratch);
        block.finish(x, &attention)
    }

    /// The final norm.
    ///
    /// Shapes: `x` (rows, width); result the same.
    fn norm(&self, threads: Threads<'_>, x: &[f32]) -> Result<Vec<f32>> {
        let (norm, eps) = (self.policy.norm()?, self.policy.config().rms_norm_eps);
        Ok(super::with([&norm], |[norm]| Ok(rms_norm(threads, x, norm, eps)))?)
    }

    /// Logits of normed rows, of a head that is lent as a whole.
    fn head(&self, threads: Threads<'_>, x: &[f32], rows: &mut Rows<'_>) -> Result<()> {
        let count = rows.feed.len();
        let mut project = |matrix| {
            linear(threads, x, Linear::plain(matrix), count, rows.logits);
        };
        if let Some(copy) = self.bf16.and_then(|copies| copies.head().as_ref()) {
            project(Matrix::Bf16(copy));
            return Ok(());
        }
        let (head, precision) = (self.policy.head()?, self.policy.precision());
        let whole = head.whole().expect("weights that are neither streamed nor perturbed");
        let lent = Lent::new(whole);
        project(lent.weight(precision)?.matrix(precision));
        Ok(())
    }

    /// The least position whose logits are not finite.
    fn diverged(&self, rows: &Rows<'_>) -> Option<usize> {
        let rows = rows.slots.iter().zip(rows.logits.chunks_exact(self.policy.config().vocab_size));
        // No early exit within a row, so that the loop is vectorised.
        let diverged =
            rows.filter(|(_, row)| row.iter().fold(false, |any, x| any | !x.is_finite()));
        diverged.map(|(slot, _)| slot.position()).min()
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
