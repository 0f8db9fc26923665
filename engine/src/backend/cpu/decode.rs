//! Prefill and decoding, the weights read in place.

use candle::{Layout, StorageRef, Tensor};
use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::block::{self, Rows};
use super::values;
use crate::cache::{Page, Paging, PrefixRows, Slot};
use crate::decode::not_finite;
use crate::{BlockWeights, Model, ModelConfig, Packed, Products, Result, Weights};
use kernels::attention::{POSITIONS, attend};
use kernels::linear::{Linear, Matrix, Rounded, gated, linear, linear_add, linears};
use kernels::rows::{rms_norm, rms_norm_in_place, rope};
use kernels::threads::{Threads, with_team};

/// Below this many bytes of weights, threads share the rows of a step, since every thread's reading
/// of all weights comes from a near cache; above it they share the features of each product.
const SMALL_BYTES: usize = 24 << 20;

/// What lasts from step to step.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Copies of the weights that a step multiplies by, where these are rounded: (out, in) each, in
    /// the order in which [`View::new`] takes them. The weights do not change while a cache lives.
    rounded: Vec<Rounded>,
    paging: Paging,
    pub(crate) free: Vec<Page>,
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
    /// One for each row and key head.
    scores: Vec<Vec<f32>>,
}

impl Buffers {
    pub(crate) fn new(model: &Model) -> Result<Self> {
        Ok(Self {
            rounded: match model.products() {
                Products::F32 => Vec::new(),
                Products::Bf16 => rounded_weights(model.live())?,
            },
            paging: Paging::new(model.config()),
            free: Vec::new(),
            angles: Angles::default(),
            work: Vec::new(),
            scratch: Vec::new(),
        })
    }
}

/// Copies of all that is multiplied by, in bf16.
fn rounded_weights(weights: &Weights) -> Result<Vec<Rounded>> {
    let matrices = tensors(weights).skip(1).filter(|weight| weight.rank() == 2);
    let matrices: Vec<_> = matrices.map(Tensor::storage_and_layout).collect();
    let lent = matrices.iter().map(|lent| Ok((values(lent)?, lent.1.dims()[1])));
    let lent: Vec<(&[f32], usize)> = lent.collect::<Result<_>>()?;
    Ok(lent.into_par_iter().map(|(values, width)| Rounded::new(values, width)).collect())
}

/// A prompt through the model: logits after its last row, and the pages of its keys and values.
pub(crate) fn prefill(model: &Model, packed: &Packed) -> Result<(Vec<f32>, Vec<Page>)> {
    let (config, live) = (model.config(), model.live());
    let (paging, rows) = (Paging::new(config), Rows::new(&model.layout(packed)?)?);
    let mut x: Vec<f32> = model.embed(packed)?.flatten_all()?.to_vec1()?;
    let mut pages: Vec<_> = (0..packed.rows().div_ceil(POSITIONS)).map(|_| paging.page()).collect();
    for (layer, weights) in live.blocks.iter().enumerate() {
        x = block::with(config, weights, &rows, |block| {
            let qkv = block.project(&x).0;
            write(paging, &mut pages, layer, packed.rows(), &qkv);
            let attention = block.attend(&qkv);
            // Of the last block only the last row is asked for.
            let skipped = if layer + 1 == config.num_layers { packed.rows() - 1 } else { 0 };
            let from = |x: &[f32]| x.len() / packed.rows() * skipped;
            block.finish(&x[from(&x)..], &attention[from(&attention)..])
        })?;
    }
    let last = x.len() - config.hidden_size;
    let logits = head(live.products, &model.normed(&x[last..])?, &live.head)?;
    Ok((logits, pages))
}

/// Writes a prompt's keys and values of one layer.
fn write(paging: Paging, pages: &mut [Page], layer: usize, rows: usize, [_, k, v]: &[Vec<f32>; 3]) {
    let width = k.len() / rows;
    for (row, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
        paging.write(&mut pages[row / POSITIONS], layer, row % POSITIONS, k, v);
    }
}

/// Tokens of the head that are rounded at once.
const ROUNDED: usize = 256;

/// Logits of a normed row, by the kernel that decoding uses.
fn head(products: Products, x: &Tensor, head: &Tensor) -> Result<Vec<f32>> {
    let (vocab, width) = head.dims2()?;
    let x = x.contiguous()?;
    let (x, head) = (x.storage_and_layout(), head.storage_and_layout());
    let (x, head) = (values(&x)?, values(&head)?);
    if products == Products::F32 {
        return Ok(super::Linear::new(head, width, products).forward(x));
    }
    // Piece by piece: a rounded copy of the whole head would be written for one row.
    let mut logits = vec![0.0; vocab];
    logits.par_chunks_mut(ROUNDED).zip(head.par_chunks(ROUNDED * width)).for_each(
        |(logits, head)| {
            let head = Rounded::new(head, width);
            linear(Threads::One, x, Linear::plain(head.matrix()), 1, logits);
        },
    );
    Ok(logits)
}

/// One step.
pub(crate) fn step(
    model: &Model,
    buffers: &mut Buffers,
    slots: &mut [Slot],
    feed: &[(usize, u32)],
    logits: &mut Vec<f32>,
) -> Result<()> {
    if feed.is_empty() {
        logits.clear();
        return Ok(());
    }
    let config = model.config();
    logits.resize(feed.len() * config.vocab_size, 0.0);
    buffers.prepare(model, slots, feed);
    let lent: Vec<_> = tensors(model.live()).map(Tensor::storage_and_layout).collect();
    let Buffers { rounded, paging, angles, work, scratch, .. } = &mut *buffers;
    let finite = View::new(config, &lent, rounded).map(|view| {
        let small = view.bytes() <= SMALL_BYTES && work.len() > 1;
        let threads = if small { rayon::current_num_threads().min(work.len()) } else { 1 };
        scratch.resize_with(threads, Scratch::default);
        let pass = Pass { config, view, paging: *paging, angles };
        if threads == 1 {
            return with_team(|split| pass.run(split, &mut scratch[0], work, feed, logits));
        }
        let share = work.len().div_ceil(threads);
        work.par_chunks_mut(share)
            .zip(feed.par_chunks(share))
            .zip(logits.par_chunks_mut(share * config.vocab_size))
            .zip(scratch.par_iter_mut())
            .map(|(((slots, feed), logits), scratch)| {
                pass.run(Threads::One, scratch, slots, feed, logits)
            })
            .flatten()
            .min()
    });
    for (&(index, _), slot) in feed.iter().zip(buffers.work.drain(..)) {
        slots[index] = slot;
    }
    match finite? {
        Some(position) => Err(not_finite(position)),
        None => Ok(()),
    }
}

impl Buffers {
    /// Takes the slots of the feed out, gives each a page for its next row, and extends the angles.
    fn prepare(&mut self, model: &Model, slots: &mut [Slot], feed: &[(usize, u32)]) {
        let mut furthest = 0;
        for &(index, _) in feed {
            let mut slot = std::mem::take(&mut slots[index]);
            if slot.len == slot.pages.len() * POSITIONS {
                slot.pages.push(self.free.pop().unwrap_or_else(|| self.paging.page()));
            }
            furthest = furthest.max(slot.position());
            self.work.push(slot);
        }
        let frequencies = model.rope().inverse_frequencies();
        for position in self.angles.cos.len() / frequencies.len()..=furthest {
            for w in frequencies {
                let angle = position as f64 * w;
                self.angles.cos.push(angle.cos() as f32);
                self.angles.sin.push(angle.sin() as f32);
            }
        }
    }
}

/// All weights, in the order in which [`View::new`] takes them.
fn tensors(weights: &Weights) -> impl Iterator<Item = &Tensor> {
    let ends = [&weights.embed, &weights.norm, &weights.head];
    ends.into_iter().chain(weights.blocks.iter().flat_map(BlockWeights::tensors))
}

/// The weights as slices; what is multiplied by, rounded where it is to be.
struct View<'a> {
    embed: &'a [f32],
    blocks: Vec<BlockView<'a>>,
    norm: &'a [f32],
    head: Matrix<'a>,
}

struct BlockView<'a> {
    attn_norm: &'a [f32],
    qkv: [Linear<'a>; 3],
    qk_norm: Option<[&'a [f32]; 2]>,
    o: Linear<'a>,
    mlp_norm: &'a [f32],
    gate_up: [Linear<'a>; 2],
    down: Linear<'a>,
}

impl<'a> View<'a> {
    fn new(
        config: &ModelConfig,
        lent: &'a [(StorageRef<'_>, &Layout)],
        rounded: &'a [Rounded],
    ) -> Result<Self> {
        let mut lent = lent.iter();
        let mut rounded = rounded.iter();
        let mut next = || values(lent.next().expect("as many tensors as the configuration has"));
        let mut matrix = |values| rounded.next().map_or(Matrix::F32(values), Rounded::matrix);
        let (embed, norm, head) = (next()?, next()?, matrix(next()?));
        let blocks = (0..config.num_layers).map(|_| {
            let attn_norm = next()?;
            let mut qkv = [Linear::plain(matrix(next()?)); 3];
            for linear in &mut qkv[1..] {
                linear.weight = matrix(next()?);
            }
            if config.biases.qkv {
                for linear in &mut qkv {
                    linear.bias = Some(next()?);
                }
            }
            let qk_norm = if config.qk_norm { Some([next()?, next()?]) } else { None };
            let mut o = Linear::plain(matrix(next()?));
            if config.biases.o {
                o.bias = Some(next()?);
            }
            let mlp_norm = next()?;
            let mut gate_up = [matrix(next()?), matrix(next()?)].map(Linear::plain);
            let mut down = Linear::plain(matrix(next()?));
            if config.biases.mlp {
                for linear in gate_up.iter_mut().chain([&mut down]) {
                    linear.bias = Some(next()?);
                }
            }
            Ok(BlockView { attn_norm, qkv, qk_norm, o, mlp_norm, gate_up, down })
        });
        let blocks = blocks.collect::<Result<_>>()?;
        Ok(Self { embed, blocks, norm, head })
    }

    /// Bytes that a step reads.
    fn bytes(&self) -> usize {
        let block = |b: &BlockView<'_>| {
            let attention = b.qkv.iter().chain([&b.o]).map(|w| w.weight.bytes()).sum::<usize>();
            attention + 3 * b.down.weight.bytes()
        };
        self.head.bytes() + self.blocks.iter().map(block).sum::<usize>()
    }
}

/// What all threads of a step read.
struct Pass<'a> {
    config: &'a ModelConfig,
    view: View<'a>,
    paging: Paging,
    angles: &'a Angles,
}

impl Pass<'_> {
    /// Runs rows through the model. Returns the least position whose logits are not finite.
    fn run(
        &self,
        split: Threads<'_>,
        s: &mut Scratch,
        slots: &mut [Slot],
        feed: &[(usize, u32)],
        logits: &mut [f32],
    ) -> Option<usize> {
        let (rows, width, eps) = (feed.len(), self.config.hidden_size, self.config.rms_norm_eps);
        s.resize(self.config, rows);
        for (x, &(_, token)) in s.x.chunks_exact_mut(width).zip(feed) {
            x.copy_from_slice(&self.view.embed[token as usize * width..][..width]);
        }
        for (layer, w) in self.view.blocks.iter().enumerate() {
            rms_norm(&s.x, w.attn_norm, eps, &mut s.normed);
            let [q, k, v] = w.qkv;
            let outputs = [(q, &mut *s.q), (k, &mut *s.k), (v, &mut *s.v)];
            linears(split, &s.normed, rows, outputs);
            self.place(layer, w, s, slots);
            self.attend(split, layer, s, slots);
            linear_add(split, &s.attention, w.o, rows, &mut s.x);
            rms_norm(&s.x, w.mlp_norm, eps, &mut s.normed);
            gated(split, &s.normed, rows, w.gate_up, &mut s.gate, &mut s.up);
            linear_add(split, &s.gate, w.down, rows, &mut s.x);
        }
        rms_norm(&s.x, self.view.norm, eps, &mut s.normed);
        linear(split, &s.normed, Linear::plain(self.view.head), rows, logits);
        let mut broken: Option<usize> = None;
        let vocab = self.config.vocab_size;
        for (slot, logits) in slots.iter_mut().zip(logits.chunks_exact(vocab)) {
            // No early exit, so that the loop is vectorised.
            if logits.iter().fold(false, |any, x| any | !x.is_finite()) {
                broken = Some(broken.map_or(slot.position(), |least| slot.position().min(least)));
            }
            slot.len += 1;
        }
        broken
    }

    /// Norms and rotates queries and keys, and writes keys and values into the slots' pages.
    fn place(&self, layer: usize, w: &BlockView<'_>, s: &mut Scratch, slots: &mut [Slot]) {
        let (head_dim, half) = (self.config.head_dim, self.config.head_dim / 2);
        if let Some([q_norm, k_norm]) = w.qk_norm {
            for (x, norm) in [(&mut s.q, q_norm), (&mut s.k, k_norm)] {
                rms_norm_in_place(x, norm, self.config.rms_norm_eps);
            }
        }
        let (q_width, kv_width) =
            (self.config.num_heads * head_dim, self.config.num_kv_heads * head_dim);
        let rows = s.q.chunks_exact_mut(q_width).zip(s.k.chunks_exact_mut(kv_width));
        let rows = rows.zip(s.v.chunks_exact(kv_width)).zip(slots);
        for (((q, k), v), slot) in rows {
            let at = slot.position() * half;
            let (cos, sin) = (&self.angles.cos[at..at + half], &self.angles.sin[at..at + half]);
            rope(q, cos, sin);
            rope(k, cos, sin);
            let page = &mut slot.pages[slot.len / POSITIONS];
            self.paging.write(page, layer, slot.len % POSITIONS, k, v);
        }
    }

    /// Attention of every row to its prompt and to its own rows, the new one included.
    fn attend(&self, split: Threads<'_>, layer: usize, s: &mut Scratch, slots: &[Slot]) {
        let (head_dim, kv) = (self.config.head_dim, self.config.num_kv_heads);
        let group = self.config.num_heads / kv * head_dim;
        let Scratch { q, attention, scores, .. } = s;
        let heads = attention.chunks_exact_mut(group).zip(scores).enumerate();
        split.each_of(heads, |(i, (out, scores))| {
            let (slot, head) = (&slots[i / kv], i % kv);
            let prefix = slot.prefix.as_ref().expect("checked before the step");
            let PrefixRows::Cpu(prompt) = &prefix.rows else {
                unreachable!("a cache holds prefixes of its own form")
            };
            let block = |b: usize| {
                let (page, held) = match b.checked_sub(prompt.len()) {
                    None => (&prompt[b], prefix.len - b * POSITIONS),
                    Some(b) => (&slot.pages[b], slot.len + 1 - b * POSITIONS),
                };
                self.paging.read(page, layer, head, held.min(POSITIONS))
            };
            let q = &q[i * group..][..group];
            attend(q, head_dim, prompt.len() + slot.pages.len(), block, scores, out);
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
        self.scores.resize_with(rows * config.num_kv_heads, Vec::new);
    }
}
