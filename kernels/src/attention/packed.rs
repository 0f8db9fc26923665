//! Attention over packed sequences: every row attends to its ancestors' rows and to its own
//! segment's rows up to itself.

use super::{Heads, KvBlock, POSITIONS, Queries, Scratch, attend};
use crate::threads::Threads;

/// A run of rows that continues another one, or starts a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: usize,
    /// Number of rows, at least one.
    pub len: usize,
    /// Index of the segment that this one continues, an earlier one.
    pub parent: Option<usize>,
}

/// The result of [`attention`].
#[derive(Debug, Clone, Default)]
pub struct Attended {
    /// (rows, query heads, width)
    pub out: Vec<f32>,
    /// For each row and query head the maximum of the scores and one over the sum of their
    /// exponentials, as the backward pass needs them.
    pub stats: Vec<[f32; 2]>,
}

/// Queries of a task, at most.
const QUERIES: usize = 48;

/// Attention of all rows of a pack.
///
/// Shapes: `q` (rows, query heads, width), `k` and `v` (rows, key heads, width), rotary embedding
/// applied. The segments follow one another and cover all rows.
///
/// # Panics
///
/// Panics when the lengths do not fit together, when the query heads are not a multiple of the key
/// heads, when a segment is empty, and when one continues a segment that is not an earlier one.
///
/// Source: arXiv 1706.03762, equation 1; grouped heads as in arXiv 2305.13245.
pub fn attention(
    threads: Threads<'_>,
    heads: Heads,
    [q, k, v]: [&[f32]; 3],
    segments: &[Segment],
) -> Attended {
    check(heads, [q, k, v], segments);
    let (row, group) = (heads.query * heads.width, heads.group());
    let places = places(segments);
    let kv = Kv::new(threads, heads, [k, v], segments, &places);
    let (mut out, mut stats) = (vec![0.0; q.len()], vec![[0.0; 2]; q.len() / heads.width]);
    let mut tasks = Vec::new();
    let mut left = (out.as_mut_slice(), stats.as_mut_slice());
    for (index, segment) in segments.iter().enumerate() {
        let at_once = (QUERIES / group).max(1);
        for first in (0..segment.len).step_by(at_once) {
            let rows = at_once.min(segment.len - first);
            let out = left.0.split_off_mut(..rows * row).expect("an output for each row");
            let stats = left.1.split_off_mut(..rows * heads.query).expect("and its numbers");
            tasks.push(Task { index, first, rows, out, stats });
        }
    }
    threads.each_of(tasks, |Task { index, first, rows, out, stats }| {
        let mut scratch = Scratch::default();
        for head in 0..heads.key {
            let at = head * group * heads.width;
            let queries = Queries {
                values: &q[(segments[index].start + first) * row + at..],
                stride: row,
                rows,
                group,
                width: heads.width,
                position: places[index].position + first,
            };
            let blocks = kv.blocks(segments, &places, index, head);
            attend(queries, blocks, &mut scratch, &mut out[at..]);
            let rows = stats.chunks_exact_mut(heads.query).zip(scratch.stats().chunks_exact(group));
            for (stats, by_head) in rows {
                stats[head * group..][..group].copy_from_slice(by_head);
            }
        }
    });
    Attended { out, stats }
}

/// Some rows of a segment.
struct Task<'a> {
    index: usize,
    /// First row within the segment.
    first: usize,
    rows: usize,
    out: &'a mut [f32],
    stats: &'a mut [[f32; 2]],
}

/// Panics unless the heads, the lengths and the segments fit together.
pub(super) fn check(heads: Heads, [q, k, v]: [&[f32]; 3], segments: &[Segment]) {
    assert!(
        heads.key > 0 && heads.query.is_multiple_of(heads.key),
        "query heads are a multiple of key heads, got {} and {}",
        heads.query,
        heads.key
    );
    let rows: usize = segments.iter().map(|segment| segment.len).sum();
    assert_eq!(q.len(), rows * heads.query * heads.width, "queries of {rows} rows");
    assert_eq!(k.len(), rows * heads.key * heads.width, "keys of {rows} rows");
    assert_eq!(v.len(), k.len(), "values of {rows} rows");
    let mut next = 0;
    for (index, segment) in segments.iter().enumerate() {
        assert!(segment.len > 0, "segment {index} has no rows, expected at least one");
        if let Some(parent) = segment.parent {
            assert!(
                parent < index,
                "segment {index} continues segment {parent}, expected an earlier one"
            );
        }
        assert_eq!(segment.start, next, "segments follow one another");
        next += segment.len;
    }
}

/// Where a segment is in its sequence, and where its KV blocks are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Absolute position of the first row.
    pub(super) position: usize,
    /// Index of the first KV block.
    pub(super) block: usize,
    /// KV blocks.
    pub(super) blocks: usize,
}

pub(super) fn places(segments: &[Segment]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(segments.len());
    for segment in segments {
        let position = segment.parent.map_or(0, |i| places[i].position + segments[i].len);
        let blocks = (position + segment.len).div_ceil(POSITIONS) - position / POSITIONS;
        let block = places.last().map_or(0, |last| last.block + last.blocks);
        places.push(Place { position, block, blocks });
    }
    places
}

/// A segment and its ancestors, eldest first.
pub(super) fn chain(segments: &[Segment], index: usize) -> Vec<usize> {
    let mut chain: Vec<usize> =
        std::iter::successors(Some(index), |&i| segments[i].parent).collect();
    chain.reverse();
    chain
}

/// The KV blocks of all segments.
pub(super) struct Kv {
    heads: Heads,
    blocks: Vec<f32>,
}

impl Kv {
    /// Shapes: `k` and `v` (rows, key heads, width).
    pub(super) fn new(
        threads: Threads<'_>,
        heads: Heads,
        [k, v]: [&[f32]; 2],
        segments: &[Segment],
        places: &[Place],
    ) -> Self {
        let mut owners: Vec<(usize, usize)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            owners.extend((0..place.blocks).map(|block| (index, block)));
        }
        let mut blocks = vec![0.0; owners.len() * heads.block_len()];
        let row = heads.key * heads.width;
        let tasks = blocks.chunks_exact_mut(heads.block_len()).zip(owners);
        threads.each_of(tasks, |(block, (index, i))| {
            let (segment, first) = (segments[index], places[index].position);
            for position in held(segment, places[index], i) {
                let at = (segment.start + position - first) * row;
                heads.write(block, position, &k[at..][..row], &v[at..][..row]);
            }
        });
        Self { heads, blocks }
    }

    /// What a segment attends to, as one key head sees it.
    pub(super) fn blocks<'a>(
        &'a self,
        segments: &'a [Segment],
        places: &'a [Place],
        index: usize,
        head: usize,
    ) -> impl Iterator<Item = KvBlock<'a>> {
        let len = self.heads.block_len();
        chain(segments, index).into_iter().flat_map(move |index| {
            let place = places[index];
            (0..place.blocks).map(move |i| {
                let block = &self.blocks[(place.block + i) * len..][..len];
                self.heads.read(block, head, held(segments[index], place, i))
            })
        })
    }
}

/// The positions that the `i`-th block of a segment holds.
fn held(segment: Segment, place: Place, i: usize) -> std::ops::Range<usize> {
    let first = (place.position / POSITIONS + i) * POSITIONS;
    first.max(place.position)..(first + POSITIONS).min(place.position + segment.len)
}
