//! Noise as a function of a seed, a tensor and an element: no state, no order of draws.
//!
//! Element `i` of a stream is a function of [`Stream`] and `i` alone, so a slice of a tensor can be
//! perturbed without what comes before it. Every function here gives the same bits whatever the
//! slices, the threads and the vector instructions.
//!
//! The generator is Philox4x32-10. Its key is the seed, low word first. Its counter is the low and
//! the high word of the block's number, the tensor and the part.
//!
//! Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

pub mod low_rank;

mod expand;
mod philox;

#[cfg(test)]
mod tests;

use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Threads;
use expand::GROUP;
use philox::BLOCKS;

/// A distribution of mean 0 and variance 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 1 or -1. A block has 128 elements: bit `i % 32` of word `i / 32`, where a set bit is -1.
    Rademacher,
    /// `(n - 16) / sqrt(8)` with the number `n` of bits that are set in a word. A block has four
    /// elements.
    Binomial,
    /// Normal, by the transform of Box and Muller in `f32` with logarithm, sine and cosine of the
    /// crate `libm`: those of the system differ from machine to machine. A block has four elements.
    Gaussian,
}

/// What the numbers of a stream are for: the last word of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Part {
    /// A direction with one number for each element of the tensor.
    Dense = 0,
    /// The factor for the rows of a matrix of low rank.
    A = 1,
    /// The factor for its columns.
    B = 2,
    /// Which elements are perturbed.
    Mask = 3,
}

/// Where noise comes from. Equal numbers in different fields do not meet: each field is a word of
/// its own in key or counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    /// Seed of the direction.
    pub seed: u64,
    /// Number of the tensor.
    pub tensor: u32,
    /// What the numbers are for.
    pub part: Part,
}

/// Elements of a task, which begins at a multiple of it: whole groups of every kind.
const TASK: usize = 1 << 14;

/// Writes elements `first..` of a stream.
///
/// # Panics
///
/// Panics when the last element's number is beyond `u64`.
pub fn fill(threads: Threads<'_>, kind: Kind, stream: Stream, first: u64, to: &mut [f32]) {
    fill_scaled(threads, kind, stream, first, 1.0, to);
}

/// `to = c z` with elements `first..` of a stream.
fn fill_scaled(
    threads: Threads<'_>,
    kind: Kind,
    stream: Stream,
    first: u64,
    c: f32,
    to: &mut [f32],
) {
    each_task(threads, first, to, |first, _, to| {
        dispatch(Task { kind, stream, first, c, from: Base::Nothing, to });
    });
}

/// `to = from + c z` with elements `first..` of a stream: one addition of `c` or `-c` for
/// [`Kind::Rademacher`], otherwise a product and a sum, each rounded.
///
/// Shapes: `from` and `to` of one length.
///
/// # Panics
///
/// Panics on slices of different lengths, and when the last element's number is beyond `u64`.
pub fn add(
    threads: Threads<'_>,
    kind: Kind,
    stream: Stream,
    first: u64,
    c: f32,
    from: &[f32],
    to: &mut [f32],
) {
    assert_eq!(from.len(), to.len(), "as many numbers to read as to write");
    each_task(threads, first, to, |first, at, to| {
        let from = Base::Slice(&from[at..][..to.len()]);
        dispatch(Task { kind, stream, first, c, from, to });
    });
}

/// [`add`] in place.
///
/// # Panics
///
/// Panics when the last element's number is beyond `u64`.
pub fn add_in_place(
    threads: Threads<'_>,
    kind: Kind,
    stream: Stream,
    first: u64,
    c: f32,
    values: &mut [f32],
) {
    each_task(threads, first, values, |first, _, to| {
        dispatch(Task { kind, stream, first, c, from: Base::Place, to });
    });
}

/// Writes words `first..` of a stream, uniform in all of `u32`: word `i % 4` of block `i / 4`.
///
/// # Panics
///
/// Panics when the last word's number is beyond `u64`.
pub fn words(stream: Stream, first: u64, to: &mut [u32]) {
    struct Words<'a>(Stream, u64, &'a mut [u32]);
    impl Kernel for Words<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, _: S) {
            const PER_GROUP: usize = 4 * BLOCKS;
            let Self(stream, first, to) = self;
            let mut at = 0;
            while at < to.len() {
                let (group, skip) = place(first + at as u64, PER_GROUP);
                let words = philox::blocks(stream, group * BLOCKS as u64);
                let count = (PER_GROUP - skip).min(to.len() - at);
                to[at..][..count].copy_from_slice(&words[skip..][..count]);
                at += count;
            }
        }
    }
    check_numbers(first, to.len());
    dispatch(Words(stream, first, to));
}

/// Calls `work` with slices of `to` that begin at multiples of [`TASK`], each with the number of
/// its first element and where it begins in `to`.
fn each_task(
    threads: Threads<'_>,
    first: u64,
    to: &mut [f32],
    work: impl Fn(u64, usize, &mut [f32]) + Sync,
) {
    check_numbers(first, to.len());
    let (_, skip) = place(first, TASK);
    let (head, rest) = to.split_at_mut((TASK - skip).min(to.len()));
    let begin = head.len();
    let parts = rest.chunks_mut(TASK).enumerate().map(|(i, to)| (begin + i * TASK, to));
    threads.each_of(std::iter::once((0, head)).chain(parts), |(at, to)| {
        work(first + at as u64, at, to);
    });
}

fn check_numbers(first: u64, len: usize) {
    assert!(first.checked_add(len as u64).is_some(), "{len} elements from {first} on exceed u64");
}

/// The group that element `index` is in, and its place there.
#[inline(always)]
fn place(index: u64, per_group: usize) -> (u64, usize) {
    (index / per_group as u64, (index % per_group as u64) as usize)
}

/// What noise is added to.
enum Base<'a> {
    /// Nothing: the noise itself is written.
    Nothing,
    /// These numbers.
    Slice(&'a [f32]),
    /// What is where the sum goes.
    Place,
}

struct Task<'a> {
    kind: Kind,
    stream: Stream,
    first: u64,
    c: f32,
    from: Base<'a>,
    to: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();
    /// The compiler vectorises the loops for the instructions that are enabled.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { kind, stream, first, c, from, to } = self;
        let per_group = expand::per_group(kind);
        let mut noise = [0.0; GROUP];
        let mut at = 0;
        while at < to.len() {
            let (group, skip) = place(first + at as u64, per_group);
            let words = philox::blocks(stream, group * BLOCKS as u64);
            expand::scaled(kind, &words, c, &mut noise);
            let count = (per_group - skip).min(to.len() - at);
            let (noise, to) = (&noise[skip..][..count], &mut to[at..][..count]);
            match from {
                Base::Nothing => to.copy_from_slice(noise),
                Base::Slice(from) => {
                    let from = &from[at..][..count];
                    for i in 0..count {
                        to[i] = from[i] + noise[i];
                    }
                }
                Base::Place => {
                    for i in 0..count {
                        to[i] += noise[i];
                    }
                }
            }
            at += count;
        }
    }
}
