//! The backward pass of attention: a block of query rows against a few KV blocks at a time, so that
//! memory grows linearly with the length.

mod tile;

use std::ops::Range;

use self::tile::{Backward, Scratch};
use super::forward::Queries;
use super::packed::{Attended, Kv, Place, Segment, chain, check, places};
use super::{Heads, POSITIONS};
use crate::threads::Threads;

/// Queries handled at once.
const QUERIES: usize = 96;

/// Pairs of a row and a position from which a segment is split into more parts, and parts at most:
/// each has gradients of its own for all keys and values that it reads.
const PAIRS: usize = 1 << 18;
const PARTS: usize = 8;

/// The gradients of [`attention`](super::attention) in `q`, `k` and `v`, given its result and the
/// gradient `dy` of [`Attended::out`].
///
/// Shapes: as in [`attention`](super::attention), `dy` as `q`; results as `q`, `k` and `v`.
///
/// # Panics
///
/// Panics where [`attention`](super::attention) does, and when `attended` or `dy` has another length.
pub fn attention_backward(
    threads: Threads<'_>,
    heads: Heads,
    [q, k, v]: [&[f32]; 3],
    segments: &[Segment],
    attended: &Attended,
    dy: &[f32],
) -> [Vec<f32>; 3] {
    check(heads, [q, k, v], segments);
    assert!(dy.len() == q.len() && attended.out.len() == q.len(), "one output for each query");
    let places = places(segments);
    // The second has the roles of keys and values exchanged: values transposed, keys as rows.
    let kv = [[k, v], [v, k]].map(|kv| Kv::new(threads, heads, kv, segments, &places));
    let pass = Pass { heads, q, dy, attended, segments, places: &places, kv: &kv };
    let parts: Vec<Part> = parts(segments, &places, heads.key);
    let mut outputs: Vec<Gradients> = Vec::new();
    outputs.resize_with(parts.len(), Gradients::default);
    threads.each_of(parts.iter().zip(&mut outputs), |(part, output)| *output = pass.run(part));
    pass.sum(threads, &parts, &outputs)
}

/// Rows of a segment, as one key head's task.
#[derive(Debug, Clone, Copy)]
struct Part {
    segment: usize,
    /// First row within the segment.
    first: usize,
    rows: usize,
    head: usize,
}

/// What one part contributes.
#[derive(Default)]
struct Gradients {
    /// (rows, group, width rounded up to sixteen)
    dq: Vec<f32>,
    /// Each (KV blocks read, 16, width rounded up to sixteen).
    dk: Vec<f32>,
    dv: Vec<f32>,
}

/// Segments cut into parts of about equally many pairs. The cuts depend on the lengths alone.
fn parts(segments: &[Segment], places: &[Place], key_heads: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for (segment, (s, place)) in segments.iter().zip(places).enumerate() {
        let pairs = |rows: usize| rows * place.position + rows * (rows + 1) / 2;
        let count = (pairs(s.len) / PAIRS).clamp(1, PARTS);
        let mut first = 0;
        for i in 1..=count {
            let mut end = first;
            while end < s.len && (i == count || pairs(end) < pairs(s.len) * i / count) {
                end += 1;
            }
            if end > first {
                let part = |head| Part { segment, first, rows: end - first, head };
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

impl Pass<'_> {
    fn run(&self, part: &Part) -> Gradients {
        let Heads { query, width, .. } = self.heads;
        let (group, padded) = (self.heads.group(), self.heads.padded());
        let first = self.segments[part.segment].start + part.first;
        let limit = self.places[part.segment].position + part.first + part.rows;
        let [forward, exchanged] = self.kv.each_ref().map(|kv| {
            let mut blocks = kv.blocks(self.segments, self.places, part.segment, part.head);
            blocks.truncate(blocks.partition_point(|block| block.held.start < limit));
            blocks
        });
        let zeros = |rows: usize| vec![0.0; rows * padded];
        let mut gradients = Gradients {
            dq: zeros(part.rows * group),
            dk: zeros(forward.len() * POSITIONS),
            dv: zeros(forward.len() * POSITIONS),
        };
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
                position: limit - part.rows + start,
            };
            Backward {
                queries,
                dy: &self.dy[at * width..],
                out: &self.attended.out[at * width..],
                stats: &self.attended.stats[at..],
                stats_stride: query,
                blocks: &forward,
                exchanged: &exchanged,
                dq: &mut gradients.dq[start * group * padded..][..rows * group * padded],
                dk: &mut gradients.dk,
                dv: &mut gradients.dv,
                scratch: &mut scratch,
                padded,
            }
            .run();
        }
        gradients
    }

    /// Adds up what the parts contribute, in their order.
    fn sum(&self, threads: Threads<'_>, parts: &[Part], outputs: &[Gradients]) -> [Vec<f32>; 3] {
        let mut readers = vec![Vec::new(); self.segments.len()];
        for (part, gradients) in parts.iter().zip(outputs) {
            let mut block = 0;
            for index in chain(self.segments, part.segment) {
                readers[index].push(Reader { part, gradients, block });
                block += self.places[index].blocks;
            }
        }
        let Heads { query, key, width } = self.heads;
        let all = self.q.len() / (query * width);
        let mut sums = [query, key, key].map(|heads| vec![0.0; all * heads * width]);
        let mut left = sums.each_mut().map(Vec::as_mut_slice);
        let mut tasks = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            for first in (0..segment.len).step_by(SUMMED) {
                let rows = SUMMED.min(segment.len - first);
                let [dq, dk, dv] = &mut left;
                let out = [(dq, query), (dk, key), (dv, key)].map(|(left, heads)| {
                    left.split_off_mut(..rows * heads * width).expect("an output for each row")
                });
                tasks.push((index, first..first + rows, out));
            }
        }
        threads.each_of(tasks, |(index, rows, mut out)| {
            for reader in &readers[index] {
                self.add(reader, index, rows.clone(), &mut out);
            }
        });
        sums
    }

    /// Adds what one part contributes to some rows of a segment.
    fn add(
        &self,
        reader: &Reader<'_>,
        index: usize,
        rows: Range<usize>,
        [dq, dk, dv]: &mut [&mut [f32]; 3],
    ) {
        let (heads, part, place) = (self.heads, reader.part, self.places[index]);
        let (width, padded, group, scale) =
            (heads.width, heads.padded(), heads.group(), heads.scale());
        for (i, row) in rows.enumerate() {
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
            if part.segment == index && (part.first..part.first + part.rows).contains(&row) {
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
    gradients: &'a Gradients,
    block: usize,
}
