//! Decoding, the weights read in place.

use candle::Tensor;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::kv::{KvBlock, KvLayout};
use super::operand::{Operand, bf16_copies, is_matrix};
use super::values;
use crate::cache::Slot;
use crate::decode::not_finite;
use crate::weights::{Linear, Spec, Weights};
use crate::{MatmulPrecision, ModelConfig, Policy, Result};
use kernels::attention::{Queries, attend};
use kernels::linear::{Matrix, gated, linear, linear_add, linears};
use kernels::matmul::bf16::PackedBf16;
use kernels::norm::{rms_norm, rms_norm_in_place};
use kernels::rope::rope;
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
    angles: Angles,
    /// The slots of the feed during a step.
    work: Vec<Slot>,
    scratch: Vec<Scratch>,
}

/// Cosines and sines of the positions met so far, each (positions, head width / 2).
#[derive(Debug, Default)]
struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Intermediate values of a thread's rows.
#[derive(Debug, Default)]
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attention: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// Of attention, one for each row and key head.
    heads: Vec<Vec<f32>>,
}

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
    /// Takes the slots of the feed out, gives each a block for its next row, and extends the angles.
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
        let frequencies = policy.rope().inverse_frequencies();
        for position in self.angles.cos.len() / frequencies.len()..=furthest {
            let angles = frequencies.iter().map(|w| position as f64 * w);
            self.angles.cos.extend(angles.clone().map(|angle| angle.cos() as f32));
            self.angles.sin.extend(angles.map(|angle| angle.sin() as f32));
        }
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
        s: &mut Scratch,
        slots: &mut [Slot],
        feed: &[(usize, u32)],
        logits: &mut [f32],
    ) -> Result<Option<usize>> {
        let config = self.policy.config();
        s.resize(config, feed.len());
        self.embed(s, feed)?;
        for layer in 0..config.num_layers {
            self.block(threads, layer, s, slots)?;
        }
        let norm = self.policy.norm()?;
        super::with([&norm], |[norm]| {
            rms_norm(&s.x, norm, config.rms_norm_eps, &mut s.normed);
            Ok(())
        })?;
        self.head(threads, &s.normed, feed.len(), logits)?;
        let rows = slots.iter().zip(logits.chunks_exact(config.vocab_size));
        // No early exit within a row, so that the loop is vectorised.
        let diverged =
            rows.filter(|(_, row)| row.iter().fold(false, |any, x| any | !x.is_finite()));
        Ok(diverged.map(|(slot, _)| slot.position()).min())
    }

    /// The embeddings of the rows, into `s.x`.
    fn embed(&self, s: &mut Scratch, feed: &[(usize, u32)]) -> Result<()> {
        let width = self.policy.config().hidden_size;
        let embed = self.policy.embed()?;
        let guard = embed.storage_and_layout();
        let embed = values(&guard)?;
        for (x, &(_, token)) in s.x.chunks_exact_mut(width).zip(feed) {
            x.copy_from_slice(&embed[token as usize * width..][..width]);
        }
        Ok(())
    }

    /// One block over the rows in `s.x`: the same function as [`Block`], without an allocation.
    fn block(
        &self,
        threads: Threads<'_>,
        layer: usize,
        s: &mut Scratch,
        slots: &mut [Slot],
    ) -> Result<()> {
        let weights = self.policy.block(layer)?;
        let guards = (*weights).as_ref().map(Tensor::storage_and_layout);
        let w =
            match self.bf16 {
                None => guards.as_ref().try_map(|guard| values(guard).map(Operand::F32))?,
                Some(copies) => guards.as_ref().zip(copies.blocks[layer].as_ref())?.try_map(
                    |(guard, copy)| match copy {
                        Some(copy) => Ok(Operand::Bf16(copy)),
                        None => values(guard).map(Operand::F32),
                    },
                )?,
            };
        let (rows, eps) = (slots.len(), self.policy.config().rms_norm_eps);
        // 1. Norm, linear maps, norm over each head, rotation; keys and values go to the cache.
        rms_norm(&s.x, w.attn_norm.vector(), eps, &mut s.normed);
        let [q, k, v] = [&w.q, &w.k, &w.v].map(Linear::operand);
        let outputs = [(q, &mut *s.q), (k, &mut *s.k), (v, &mut *s.v)];
        linears(threads, &s.normed, rows, outputs);
        self.rotate_and_append(layer, w.qk_norm.map(|norms| norms.map(Operand::vector)), s, slots);
        // 2. Attention, its output map, the residual.
        self.attend(threads, layer, s, slots);
        linear_add(threads, &s.attention, w.o.operand(), rows, &mut s.x);
        // 3. Norm, gated product, down, the residual.
        rms_norm(&s.x, w.mlp_norm.vector(), eps, &mut s.normed);
        let gate_up = [w.gate.operand(), w.up.operand()];
        gated(threads, &s.normed, rows, gate_up, &mut s.gate, &mut s.up);
        linear_add(threads, &s.gate, w.down.operand(), rows, &mut s.x);
        Ok(())
    }

    /// Logits of normed rows.
    fn head(&self, threads: Threads<'_>, x: &[f32], rows: usize, logits: &mut [f32]) -> Result<()> {
        let mut project = |matrix| {
            linear(threads, x, kernels::linear::Linear::plain(matrix), rows, logits);
        };
        if let Some(copies) = self.bf16 {
            project(Matrix::Bf16(copies.head().as_ref().expect("the head has a copy")));
            return Ok(());
        }
        let head = self.policy.head()?;
        let guard = head.storage_and_layout();
        project(Matrix::F32(values(&guard)?));
        Ok(())
    }

    /// Norms and rotates queries and keys, and writes keys and values into the slots' blocks.
    fn rotate_and_append(
        &self,
        layer: usize,
        qk_norm: Option<[&[f32]; 2]>,
        s: &mut Scratch,
        slots: &mut [Slot],
    ) {
        let config = self.policy.config();
        let (head_dim, half) = (config.head_dim, config.head_dim / 2);
        if let Some([q_norm, k_norm]) = qk_norm {
            for (x, norm) in [(&mut s.q, q_norm), (&mut s.k, k_norm)] {
                rms_norm_in_place(x, norm, config.rms_norm_eps);
            }
        }
        let (q_width, kv_width) = (config.num_heads * head_dim, config.num_kv_heads * head_dim);
        let rows = s.q.chunks_exact_mut(q_width).zip(s.k.chunks_exact_mut(kv_width));
        let rows = rows.zip(s.v.chunks_exact(kv_width)).zip(slots);
        for (((q, k), v), slot) in rows {
            let at = slot.position() * half;
            let (cos, sin) = (&self.angles.cos[at..at + half], &self.angles.sin[at..at + half]);
            rope(q, cos, sin);
            rope(k, cos, sin);
            let (block, position) = (slot.block(), slot.position());
            self.kv.write(&mut slot.kv_blocks[block], layer, position, k, v);
        }
    }

    /// Attention of every row to its prompt and to its own rows, the new one included.
    fn attend(&self, threads: Threads<'_>, layer: usize, s: &mut Scratch, slots: &[Slot]) {
        let config = self.policy.config();
        let (width, kv_heads) = (config.head_dim, config.num_kv_heads);
        let group = config.num_heads / kv_heads;
        let Scratch { q, attention, heads, .. } = s;
        let heads = attention.chunks_exact_mut(group * width).zip(heads).enumerate();
        threads.each_of(heads, |(i, (out, scratch))| {
            let (slot, head) = (&slots[i / kv_heads], i % kv_heads);
            let blocks: Vec<_> =
                slot.held().map(|(block, held)| self.kv.read(block, layer, head, held)).collect();
            let queries = Queries {
                values: &q[i * group * width..],
                stride: group * width,
                rows: 1,
                group,
                width,
                position: slot.position(),
            };
            attend(queries, &blocks, scratch, out, &mut vec![[0.0; 2]; group]);
        });
    }
}

impl Scratch {
    fn resize(&mut self, config: &ModelConfig, rows: usize) {
        let heads = config.num_heads * config.head_dim;
        let kv = config.num_kv_heads * config.head_dim;
        for (buffer, width) in [
            (&mut self.x, config.hidden_size),
            (&mut self.normed, config.hidden_size),
            (&mut self.q, heads),
            (&mut self.k, kv),
            (&mut self.v, kv),
            (&mut self.attention, heads),
            (&mut self.gate, config.intermediate_size),
            (&mut self.up, config.intermediate_size),
        ] {
            buffer.resize(rows * width, 0.0);
        }
        self.heads.resize_with(rows * config.num_kv_heads, Vec::new);
    }
}
