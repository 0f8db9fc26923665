//! The tokens with the largest keys, without a full sort.

use std::cmp::Ordering;

/// Number of tokens that a share of `n` selects: none for a share of 0 or less, else the share
/// rounded up, within 1 to `n`; a share that is off a whole number by less than a millionth counts
/// as that.
///
/// Source: the reference code of STARE, `compute_stare_token_weights`, in f64.
pub fn budget(n: usize, share: f64) -> usize {
    if n == 0 || share.is_nan() || share <= 0.0 {
        return 0;
    }
    ((n as f64 * share + 0.999_999) as usize).clamp(1, n)
}

/// The `k` tokens of `candidates` with the largest keys, in no order; of equal keys the lower
/// index.
pub(super) fn largest(candidates: Vec<usize>, k: usize, key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ranked = ranked(candidates, key);
    if k == 0 {
        return Vec::new();
    }
    if k < ranked.len() {
        ranked.select_nth_unstable_by(k - 1, descending);
        ranked.truncate(k);
    }
    ranked.into_iter().map(|(_, index)| index).collect()
}

/// Those, and every token with the same key as the last of them.
pub(super) fn largest_with_ties(
    candidates: Vec<usize>,
    k: usize,
    key: impl Fn(usize) -> f64,
) -> Vec<usize> {
    let mut ranked = ranked(candidates, key);
    if k == 0 {
        return Vec::new();
    }
    if k < ranked.len() {
        let (_, (threshold, _), _) = ranked.select_nth_unstable_by(k - 1, descending);
        let threshold = *threshold;
        ranked.retain(|(key, _)| key.total_cmp(&threshold).is_ge());
    }
    ranked.into_iter().map(|(_, index)| index).collect()
}

// Keys beside indices: the selection then reads memory in order.
fn ranked(candidates: Vec<usize>, key: impl Fn(usize) -> f64) -> Vec<(f64, usize)> {
    // + 0, since a surprisal of -0 is no smaller than one of 0
    candidates.into_iter().map(|index| (key(index) + 0.0, index)).collect()
}

fn descending(a: &(f64, usize), b: &(f64, usize)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
