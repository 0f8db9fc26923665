//! The backward pass of attention: a block of query rows against a few KV blocks at a time, so that
//! memory grows linearly with the length.
//!
//! Rows of one segment and key head are a part. Parts run in parallel, each with gradients of its
//! own for the keys and values that it reads, which are then added up in the order of the parts.
//! This happens in waves of parts, so that memory does not grow with the number of completions
//! times the length of their prompt. The order of additions depends neither on threads nor on
//! waves.

mod tile;

use std::ops::Range;

use self::tile::{Backward, Scratch};
use super::forward::Queries;
use super::packed::{Attended, Kv, Place, Segment, chain, check, places};
use super::{Heads, POSITIONS};
use crate::threads::Threads;

/// Queries handled at once.
const QUERIES: usize = 96;

/// One part per `PAIRS` (row, position) pairs, at most `PARTS`; each has its own dk and dv buffers.
const PAIRS: usize = 1 << 18;
const PARTS: usize = 8;

/// Numbers that the gradients of a wave's parts may hold, 4 MiB. A wave has a part for each thread
/// even if they hold more.
const WAVE: usize = 1 << 20;

/// The gradients of [`attention`](super::attention) in `q`, `k` and `v`, given its result and the
/// gradient `dy` of [`Attended::out`].
///
/// Shapes: as in [`attention`](super::attention), `dy` as `q`; results as `q`, `k` and `v`.
///
/// # Panics
///
/// Panics where [`attention`](super::attention) does, and when `attended` or `dy` has another
/// length.
pub fn attention_backward(
    threads: Threads<'_>,
    heads: Heads,
    qkv: [&[f32]; 3],
    segments: &[Segment],
    attended: &Attended,
    dy: &[f32],
) -> [Vec<f32>; 3] {
    in_waves(threads, heads, qkv, segments, attended, dy, WAVE)
}

/// [`attention_backward`] with waves of at most `limit` numbers. The results do not depend on it.
pub(super) fn in_waves(
    threads: Threads<'_>,
    heads: Heads,
    [q, k, v]: [&[f32]; 3],
    segments: &[Segment],
    attended: &Attended,
    dy: &[f32],
    limit: usize,
) -> [Vec<f32>; 3] {
    check(heads, [q, k, v], segments);
    assert!(dy.len() == q.len() && attended.out.len() == q.len(), "one output for each query");
    let places = places(segments);
    // The second has the roles of keys and values exchanged: values transposed, keys as rows.
    let kv = [[k, v], [v, k]].map(|kv| Kv::new(threads, heads, kv, segments, &places));
    let pass = Pass { heads, q, dy, attended, segments, places: &places, kv: &kv };
    let parts: Vec<Part> = parts(segments, &places, heads.key);
    let mut sums = [q.len(), k.len(), v.len()].map(|len| vec![0.0; len]);
    let mut rows = pass.rows(&mut sums);
    // One allocation by the caller: memory that every thread allocates for itself would stay with
    // that thread.
    let mut scratch = Vec::new();
    let mut left = parts.as_slice();
    while !left.is_empty() {
        let lens = left.iter().map(|part| part.len(heads));
        let wave = left.split_off(..wave(lens, limit, threads.count())).expect("a wave of them");
        scratch.resize(scratch.len().max(wave.iter().map(|part| part.len(heads)).sum()), 0.0);
        let mut free = scratch.as_mut_slice();
        let mut all = Vec::with_capacity(wave.len());
        for part in wave {
            let (gradients, others) = Gradients::split(heads, part, free);
            all.push(gradients);
            free = others;
        }
        threads.each_of(wave.iter().zip(&mut all), |(part, gradients)| pass.run(part, gradients));
        pass.add_wave(threads, wave, &all, &mut rows);
    }
    drop(rows);
    sums
}

/// How many of the next parts are a wave: as many as fit into `limit`, but at least one for each
/// thread, and a multiple of the threads while more follow.
fn wave(lens: impl ExactSizeIterator<Item = usize>, limit: usize, threads: usize) -> usize {
    let left = lens.len();
    let ends = lens.scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    match ends.take_while(|&end| end <= limit).count() {
        fit if fit == left => left,
        fit => (fit / threads * threads).max(threads).min(left),
    }
}

/// Rows of a segment, as one key head's task.
#[derive(Debug, Clone, Copy)]
struct Part {
    segment: usize,
    /// First row within the segment.
    first: usize,
    rows: usize,
    head: usize,
    /// KV blocks that the rows read.
    blocks: usize,
}

impl Part {
    /// Numbers in the part's gradients of queries, and in those of keys or of values.
    fn lens(&self, heads: Heads) -> [usize; 2] {
        [self.rows * heads.group(), self.blocks * POSITIONS].map(|rows| rows * heads.padded())
    }

    /// Numbers in the part's gradients.
    fn len(&self, heads: Heads) -> usize {
        let [queries, keys] = self.lens(heads);
        queries + 2 * keys
    }
}

/// What one part contributes.
struct Gradients<'a> {
    /// (rows, group, width rounded up to sixteen)
    dq: &'a mut [f32],
    /// Each (KV blocks read, 16, width rounded up to sixteen).
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

impl<'a> Gradients<'a> {
    /// Of a part, in the first numbers of `free`; and the others.
    fn split(heads: Heads, part: &Part, free: &'a mut [f32]) -> (Self, &'a mut [f32]) {
        let [queries, keys] = part.lens(heads);
        let (dq, free) = free.split_at_mut(queries);
        let (dk, free) = free.split_at_mut(keys);
        let (dv, free) = free.split_at_mut(keys);
        (Self { dq, dk, dv }, free)
    }
}

/// Segments cut into parts of about equally many pairs. The cuts depend on the lengths alone.
fn parts(segments: &[Segment], places: &[Place], key_heads: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for (segment, (s, place)) in segments.iter().zip(places).enumerate() {
        let ancestors = s.parent.map_or(Vec::new(), |parent| chain(segments, parent));
        let ancestors: usize = ancestors.into_iter().map(|index| places[index].blocks).sum();
        let pairs = |rows: usize| rows * place.position + rows * (rows + 1) / 2;
        let count = (pairs(s.len) / PAIRS).clamp(1, PARTS);
        let mut first = 0;
        for i in 1..=count {
            let mut end = first;
            while end < s.len && (i == count || pairs(end) < pairs(s.len) * i / count) {
                end += 1;
            }
            if end > first {
                let own = (place.position + end).div_ceil(POSITIONS) - place.position / POSITIONS;
                let (rows, blocks) = (end - first, ancestors + own);
                let part = |head| Part { segment, first, rows, head, blocks };
                parts.extend((0..key_heads).map(part));
            }
            first = end;
        }
    }
    parts
}

struct Pass<'a> {
    heads: Heads,
    q: &'a [f32],
    dy: &'a [f32],
    attended: &'a Attended,
    segments: &'a [Segment],
    places: &'a [Place],
    kv: &'a [Kv; 2],
}

/// The gradients of some rows of a segment.
struct Rows<'a> {
    segment: usize,
    /// Within the segment.
    range: Range<usize>,
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

impl Pass<'_> {
    /// Computes what a part contributes.
    fn run(&self, part: &Part, gradients: &mut Gradients<'_>) {
        let Heads { query, width, .. } = self.heads;
        let (group, padded) = (self.heads.group(), self.heads.padded());
        let first = self.segments[part.segment].start + part.first;
        let position = self.places[part.segment].position + part.first;
        let [forward, exchanged] = self.kv.each_ref().map(|kv| {
            let blocks = kv.blocks(self.segments, self.places, part.segment, part.head);
            blocks.take(part.blocks).collect::<Vec<_>>()
        });
        let Gradients { dq, dk, dv } = gradients;
        for gradient in [&mut *dq, &mut *dk, &mut *dv] {
            gradient.fill(0.0);
        }
        let mut scratch = Scratch::default();
        let at_once = (QUERIES / group).max(1);
        for start in (0..part.rows).step_by(at_once) {
            let rows = at_once.min(part.rows - start);
            let at = (first + start) * query + part.head * group;
            let queries = Queries {
                values: &self.q[at * width..],
                stride: query * width,
                rows,
                group,
                width,
                position: position + start,
            };
            Backward {
                queries,
                dy: &self.dy[at * width..],
                out: &self.attended.out[at * width..],
                stats: &self.attended.stats[at..],
                stats_stride: query,
                blocks: &forward,
                exchanged: &exchanged,
                dq: &mut dq[start * group * padded..][..rows * group * padded],
                dk,
                dv,
                scratch: &mut scratch,
                padded,
            }
            .run();
        }
    }

    /// The sums, cut into the tasks of [`Self::add_wave`].
    fn rows<'a>(&self, [dq, dk, dv]: &'a mut [Vec<f32>; 3]) -> Vec<Rows<'a>> {
        let Heads { query, key, width } = self.heads;
        let mut left = [(&mut dq[..], query), (&mut dk[..], key), (&mut dv[..], key)];
        let mut all = Vec::new();
        for (segment, Segment { len, .. }) in self.segments.iter().enumerate() {
            for first in (0..*len).step_by(SUMMED) {
                let range = first..(first + SUMMED).min(*len);
                let [dq, dk, dv] = left.each_mut().map(|(left, heads)| {
                    left.split_off_mut(..range.len() * *heads * width).expect("sums for each row")
                });
                all.push(Rows { segment, range, dq, dk, dv });
            }
        }
        all
    }

    /// Adds what the parts of a wave contribute, in their order.
    fn add_wave(
        &self,
        threads: Threads<'_>,
        wave: &[Part],
        gradients: &[Gradients<'_>],
        rows: &mut [Rows<'_>],
    ) {
        let mut readers = vec![Vec::new(); self.segments.len()];
        for (part, gradients) in wave.iter().zip(gradients) {
            let mut block = 0;
            for index in chain(self.segments, part.segment) {
                readers[index].push(Reader { part, gradients, block });
                block += self.places[index].blocks;
            }
        }
        let read = rows.iter_mut().filter(|rows| !readers[rows.segment].is_empty());
        threads.each_of(read, |rows| {
            readers[rows.segment].iter().for_each(|reader| self.add(reader, rows));
        });
    }

    /// Adds what one part contributes to some rows of a segment.
    fn add(&self, reader: &Reader<'_>, to: &mut Rows<'_>) {
        let (heads, part, place) = (self.heads, reader.part, self.places[to.segment]);
        let (width, padded, group, scale) =
            (heads.width, heads.padded(), heads.group(), heads.scale());
        let Rows { segment, range, dq, dk, dv } = to;
        for (i, row) in range.clone().enumerate() {
            let position = place.position + row;
            let block = reader.block + position / POSITIONS - place.position / POSITIONS;
            let from = (block * POSITIONS + position % POSITIONS) * padded;
            let to = (i * heads.key + part.head) * width;
            if let Some(from) = reader.gradients.dk.get(from..from + width) {
                dk[to..to + width].iter_mut().zip(from).for_each(|(to, x)| *to += x * scale);
            }
            if let Some(from) = reader.gradients.dv.get(from..from + width) {
                dv[to..to + width].iter_mut().zip(from).for_each(|(to, x)| *to += x);
            }
            if part.segment == *segment && (part.first..part.first + part.rows).contains(&row) {
                let from = (row - part.first) * group * padded;
                let from = reader.gradients.dq[from..][..group * padded].chunks_exact(padded);
                let to = &mut dq[(i * heads.query + part.head * group) * width..][..group * width];
                for (to, from) in to.chunks_exact_mut(width).zip(from) {
                    to.iter_mut().zip(from).for_each(|(to, x)| *to = x * scale);
                }
            }
        }
    }
}

/// Rows whose gradients one task adds up.
const SUMMED: usize = 32;

/// A part that reads a segment, whose first KV block is the part's `block`-th.
#[derive(Clone, Copy)]
struct Reader<'a> {
    part: &'a Part,
    gradients: &'a Gradients<'a>,
    block: usize,
}

#[cfg(test)]
mod tests {
    use super::wave;

    #[test]
    fn a_wave_fits_its_limit_or_has_one_part_a_thread() {
        let lens = [5, 3, 9, 1, 1, 1, 20, 2, 2, 2, 2];
        for threads in 1..5 {
            for limit in 0..60 {
                let mut left = &lens[..];
                let mut waves = 0;
                while !left.is_empty() {
                    let count = wave(left.iter().copied(), limit, threads);
                    let parts = left.split_off(..count).expect("no more parts than there are");
                    let whole = count.is_multiple_of(threads) || left.is_empty();
                    assert!(count > 0 && whole, "{count} parts for {threads} threads");
                    let sum: usize = parts.iter().sum();
                    assert!(sum <= limit || count <= threads, "{parts:?} exceed {limit}");
                    waves += 1;
                }
                assert!(limit < 48 || waves == 1, "all fit into {limit}, got {waves} waves");
            }
        }
    }
}
