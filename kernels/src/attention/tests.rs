//! Against loops in double precision, and between all the ways to call it, to the bit.

use super::*;
use crate::testing::{bits, noise, on_every_form, same_on_every_form, worst};
use crate::threads::{Threads, with_team};

/// A pack of segments, and its queries, keys and values.
#[derive(Debug, Clone)]
struct Case {
    heads: Heads,
    segments: Vec<Segment>,
    /// `q`, `k`, `v`
    qkv: [Vec<f32>; 3],
}

impl Case {
    /// Segments by length and parent.
    fn new(heads: Heads, parts: &[(usize, Option<usize>)]) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for &(len, parent) in parts {
            let start = segments.last().map_or(0, |last| last.start + last.len);
            segments.push(Segment { start, len, parent });
        }
        let rows: usize = parts.iter().map(|part| part.0).sum();
        let qkv = [(1, heads.query), (2, heads.key), (3, heads.key)]
            .map(|(seed, count)| noise(seed, rows * count * heads.width));
        Self { heads, segments, qkv }
    }

    fn slices(&self) -> [&[f32]; 3] {
        self.qkv.each_ref().map(Vec::as_slice)
    }

    fn run(&self, threads: Threads<'_>) -> Attended {
        attention(threads, self.heads, self.slices(), &self.segments)
    }

    /// Rows that a row attends to, in order of positions.
    fn seen(&self, row: usize) -> Vec<usize> {
        let own = self.segments.iter().position(|s| (s.start..s.start + s.len).contains(&row));
        let own = own.expect("a segment for each row");
        let rows = packed::chain(&self.segments, own).into_iter().flat_map(|i| {
            let s = self.segments[i];
            s.start..s.start + s.len
        });
        rows.take_while(|&r| r != row).chain([row]).collect()
    }
}

/// Attention in double precision.
fn plain(case: &Case, qkv: &[Vec<f64>; 3]) -> Vec<f64> {
    let Heads { query, key, width } = case.heads;
    let [q, k, v] = qkv;
    let rows = q.len() / (query * width);
    let mut out = Vec::with_capacity(q.len());
    for (row, head) in (0..rows).flat_map(|row| (0..query).map(move |head| (row, head))) {
        let (seen, kv) = (case.seen(row), head / case.heads.group());
        let q = &q[(row * query + head) * width..][..width];
        let at = |x: &Vec<f64>, row: usize, d: usize| x[(row * key + kv) * width + d];
        let e: Vec<f64> = seen
            .iter()
            .map(|&row| {
                let dot: f64 = (0..width).map(|d| q[d] * at(k, row, d)).sum();
                (dot / (width as f64).sqrt()).exp()
            })
            .collect();
        let sum: f64 = e.iter().sum();
        out.extend((0..width).map(|d| {
            let terms = seen.iter().zip(&e).map(|(&row, e)| e / sum * at(v, row, d));
            terms.sum::<f64>()
        }));
    }
    out
}

fn wide(qkv: &[Vec<f32>; 3]) -> [Vec<f64>; 3] {
    qkv.each_ref().map(|x| x.iter().map(|&x| f64::from(x)).collect())
}

const fn heads(query: usize, key: usize, width: usize) -> Heads {
    Heads { query, key, width }
}

#[test]
fn matches_loops_in_double_precision() {
    on_every_form(|| {
        for (query, key) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 1), (7, 1), (6, 2)] {
            for width in [1, 5, 16, 24, 64, 80] {
                let case =
                    Case::new(heads(query, key, width), &[(19, None), (5, Some(0)), (3, Some(1))]);
                let off = worst(&case.run(Threads::One).out, plain(&case, &wide(&case.qkv)));
                assert!(off < 3e-6, "{case:?} is off by {off}");
            }
        }
        for parts in [vec![(1, None)], vec![(32, None), (17, Some(0))], vec![(150, None)]] {
            let case = Case::new(heads(3, 1, 128), &parts);
            let off = worst(&case.run(Threads::One).out, plain(&case, &wide(&case.qkv)));
            assert!(off < 3e-6, "{parts:?} is off by {off}");
        }
    });
}

/// Central differences of the loops in double precision.
#[test]
fn gradients_are_the_slopes() {
    let cases = [
        (heads(2, 1, 6), vec![(7, None), (4, Some(0)), (3, Some(0)), (2, Some(1))]),
        (heads(4, 2, 3), vec![(17, None), (2, Some(0))]),
        (heads(3, 1, 16), vec![(5, None), (1, None)]),
        (heads(1, 1, 32), vec![(9, None)]),
    ];
    on_every_form(|| {
        for (heads, parts) in &cases {
            let case = Case::new(*heads, parts);
            let dy = noise(4, case.qkv[0].len());
            let loss = |qkv: &[Vec<f64>; 3]| -> f64 {
                plain(&case, qkv).iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum()
            };
            let attended = case.run(Threads::One);
            let got = attention_backward(
                Threads::One,
                *heads,
                case.slices(),
                &case.segments,
                &attended,
                &dy,
            );
            let qkv = wide(&case.qkv);
            for (i, got) in got.iter().enumerate() {
                let want = (0..got.len()).map(|j| {
                    let moved = |h: f64| {
                        let mut qkv = qkv.clone();
                        qkv[i][j] += h;
                        loss(&qkv)
                    };
                    (moved(1e-4) - moved(-1e-4)) / 2e-4
                });
                let off = worst(got, want);
                assert!(off < 1e-5, "{parts:?}: gradient {i} is off by {off}");
            }
        }
    });
}

/// A stream of whole numbers below a bound.
fn draws(seed: u32) -> impl FnMut(usize) -> usize {
    let mut i = 0;
    move |bound| {
        i += 1;
        let [word, ..] = rand_philox::philox4x32_10([i, 0, 0, 0], [seed, 7]);
        word as usize % bound
    }
}

/// Random trees of segments, of lengths that are often near a multiple of sixteen.
fn random(seed: u32) -> Case {
    let mut draw = draws(seed);
    let mut length = || match draw(3) {
        0 => 1 + draw(6),
        1 => (16 * draw(4) + 15 + draw(3)).min(99),
        _ => 1 + draw(99),
    };
    let lengths: Vec<usize> = (0..5).map(|_| length()).collect();
    let count = 1 + draw(4);
    let parts: Vec<_> = (0..count)
        .map(|i| (lengths[i], if i == 0 { None } else { [None, Some(draw(i))][draw(4).min(1)] }))
        .collect();
    let (key, group) = (1 + draw(3), 1 + draw(8));
    let width = [2, 8, 16, 36, 64, 80][draw(6)];
    Case::new(heads(key * group, key, width), &parts)
}

/// Each row by itself, over pages that were cut elsewhere than the segments, as decoding has them.
/// What a page holds beyond the positions written is NaN.
fn decoded(case: &Case, cut: usize) -> Vec<f32> {
    let Heads { query, key, width } = case.heads;
    let [q, k, v] = case.slices();
    let (row_len, group) = (query * width, case.heads.group());
    let mut out = vec![f32::NAN; q.len()];
    let mut scratch = Scratch::default();
    for (row, out) in out.chunks_exact_mut(row_len).enumerate() {
        let seen = case.seen(row);
        let cut = cut.min(seen.len() - 1);
        let mut pages: Vec<(Range<usize>, Vec<f32>)> = Vec::new();
        for (position, &row) in seen.iter().enumerate() {
            if position % POSITIONS == 0 || position == cut {
                pages.push((position..position, vec![f32::NAN; case.heads.block_len()]));
            }
            let (held, page) = pages.last_mut().expect("a page");
            held.end = position + 1;
            let at = row * key * width;
            case.heads.write(page, position, &k[at..][..key * width], &v[at..][..key * width]);
        }
        for head in 0..key {
            let blocks = pages.iter().map(|(held, page)| case.heads.read(page, head, held.clone()));
            let values = &q[row * row_len + head * group * width..];
            let position = seen.len() - 1;
            let queries = Queries { values, stride: row_len, rows: 1, group, width, position };
            attend(queries, blocks, &mut scratch, &mut out[head * group * width..]);
        }
    }
    out
}

/// Every sequence of the pack in a pack of its own, as one segment.
fn unshared(case: &Case) -> Vec<f32> {
    let row_len = case.heads.query * case.heads.width;
    let mut out = vec![f32::NAN; case.qkv[0].len()];
    for segment in &case.segments {
        let seen = case.seen(segment.start + segment.len - 1);
        let mut alone = Case::new(case.heads, &[(seen.len(), None)]);
        for (to, from) in alone.qkv.iter_mut().zip(&case.qkv) {
            let len = to.len() / seen.len();
            for (to, &row) in to.chunks_exact_mut(len).zip(&seen) {
                to.copy_from_slice(&from[row * len..][..len]);
            }
        }
        let got = alone.run(Threads::One).out;
        let own = (seen.len() - segment.len) * row_len;
        out[segment.start * row_len..][..segment.len * row_len].copy_from_slice(&got[own..]);
    }
    out
}

#[test]
fn decoding_prefill_and_training_give_the_same_bits() {
    for seed in 0..60 {
        let case = random(seed);
        let cut = draws(seed + 1000)(100);
        same_on_every_form(|| {
            let packed = bits(&case.run(Threads::One).out);
            assert!(packed == bits(&decoded(&case, cut)), "decoded, cut at {cut}: {case:?}");
            assert!(packed == bits(&unshared(&case)), "one segment a sequence: {case:?}");
            packed
        });
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

#[test]
fn results_and_gradients_do_not_depend_on_threads_or_form() {
    let long = Case::new(heads(2, 1, 16), &[(1100, None), (30, Some(0))]);
    for case in (0..12).map(random).chain([long]) {
        let dy = noise(4, case.qkv[0].len());
        let all = |threads: Threads<'_>| {
            let attended = case.run(threads);
            let gradients = attention_backward(
                threads,
                case.heads,
                case.slices(),
                &case.segments,
                &attended,
                &dy,
            );
            [bits(&attended.out)].into_iter().chain(gradients.map(|g| bits(&g))).collect::<Vec<_>>()
        };
        same_on_every_form(|| {
            let one = all(Threads::One);
            for threads in [2, 3] {
                assert!(pool(threads).install(|| all(Threads::Pool)) == one, "in a pool");
                assert!(pool(threads).install(|| with_team(all)) == one, "in a team");
            }
            one
        });
    }
}

#[test]
fn gradients_do_not_depend_on_the_size_of_waves() {
    let shared: Vec<_> = std::iter::once((75, None)).chain([(21, Some(0)); 8]).collect();
    let shared = Case::new(heads(4, 2, 24), &shared);
    let long = Case::new(heads(2, 1, 16), &[(1100, None), (30, Some(0)), (9, Some(0))]);
    for case in (0..12).map(random).chain([shared, long]) {
        let dy = noise(4, case.qkv[0].len());
        let attended = case.run(Threads::One);
        let all = |threads: Threads<'_>, limit| {
            let (qkv, segments) = (case.slices(), &case.segments);
            backward::in_waves(threads, case.heads, qkv, segments, &attended, &dy, limit)
                .map(|gradient| bits(&gradient))
        };
        let one_wave = all(Threads::One, usize::MAX);
        for limit in [0, 1 << 12, 1 << 14, 1 << 16] {
            assert!(all(Threads::One, limit) == one_wave, "waves of {limit}: {case:?}");
            let pooled = pool(3).install(|| all(Threads::Pool, limit));
            assert!(pooled == one_wave, "waves of {limit} on three threads: {case:?}");
        }
    }
}

#[test]
fn what_comes_later_never_reaches_a_row() {
    on_every_form(|| {
        for seed in 0..20 {
            let case = random(seed);
            let want = case.run(Threads::One).out;
            let rows = case.segments.last().map_or(0, |s| s.start + s.len);
            let from = draws(seed)(rows);
            let mut broken = case.clone();
            for x in &mut broken.qkv {
                let len = x.len() / rows;
                x[from * len..].fill(f32::NAN);
            }
            let got = broken.run(Threads::One).out;
            let len = want.len() / rows;
            assert_eq!(bits(&got[..from * len]), bits(&want[..from * len]));
            assert!(got[from * len..].iter().all(|x| x.is_nan()), "a NaN stays in its row");
        }
    });
}

#[test]
#[should_panic(expected = "positions of one block")]
fn a_block_of_two_sixteens_is_refused() {
    let heads = heads(1, 1, 2);
    heads.read(&vec![0.0; heads.block_len()], 0, 12..17);
}

/// What attention says about a pack of segments that it refuses.
#[track_caller]
fn refusal(heads: Heads, parts: &[(usize, Option<usize>)]) -> String {
    let case = Case::new(heads, parts);
    let panic = std::panic::catch_unwind(|| case.run(Threads::One)).expect_err("a refusal");
    *panic.downcast::<String>().expect("a message")
}

#[test]
fn heads_and_segments_that_do_not_fit_are_refused() {
    for key in [2, 0] {
        let message = refusal(heads(3, key, 2), &[(2, None)]);
        assert!(
            message.contains(&format!("a multiple of key heads, got 3 and {key}")),
            "{message}"
        );
    }
    let one = heads(1, 1, 2);
    let message = refusal(one, &[(2, None), (0, Some(0))]);
    assert!(message.contains("segment 1 has no rows"), "{message}");
    for parent in [1, 2, 7] {
        let message = refusal(one, &[(2, None), (3, Some(parent)), (1, None)]);
        assert!(message.contains(&format!("segment 1 continues segment {parent}")), "{message}");
    }
}
