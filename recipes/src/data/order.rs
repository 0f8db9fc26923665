//! The order in which problems are drawn.

use rand_philox::splitmix64;
use rewards::Problem;

use crate::random::{draws, shuffled};

/// Draws in which every source has its share, rounded up or down.
const BLOCK: usize = 64;

/// The order in which problems are drawn: of one source pass after pass, each complete; of several
/// with weights, each source by itself so, and the sources in turn by their weights.
///
/// What comes as a draw is a function of the seed and the draw's number alone.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    parts: Vec<Part>,
    /// Upper ends of the sources' shares, from 0 to 1.
    ends: Vec<f64>,
    /// The draw that comes next, and how often each source was drawn before it.
    next: u64,
    drawn: Vec<u64>,
    block: Option<(u64, Vec<f64>)>,
}

impl Order {
    /// The order of `problems`; `weights` are those of sources by name, none where the problems are
    /// one list.
    ///
    /// # Panics
    ///
    /// Panics where there is no problem, or none of a source with a weight.
    pub fn new(seed: u64, problems: &[Problem], weights: &[(String, f64)], shuffle: bool) -> Self {
        let of = |name: &str| -> Vec<usize> {
            (0..problems.len()).filter(|&at| problems[at].source == name).collect()
        };
        let members = if weights.is_empty() {
            vec![(0..problems.len()).collect()]
        } else {
            weights.iter().map(|(name, _)| of(name)).collect()
        };
        // The first source has the seed itself, so that a source keeps its order when more come.
        let parts: Vec<Part> = (0_u64..)
            .zip(members)
            .map(|(at, members)| {
                let seed = if at == 0 { seed } else { splitmix64(seed ^ splitmix64(at)) };
                Part::new(seed, members, shuffle)
            })
            .collect();
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let ends = weights.iter().scan(0.0, |sum, (_, weight)| {
            *sum += weight / total;
            Some(*sum)
        });
        let (ends, drawn) = (ends.collect(), vec![0; parts.len()]);
        Self { seed, parts, ends, next: 0, drawn, block: None }
    }

    /// Index of the problem that comes as number `draw`, counted from 0 over all passes.
    pub fn at(&mut self, draw: u64) -> usize {
        if self.parts.len() == 1 {
            return self.parts[0].at(draw);
        }
        if draw < self.next {
            self.next = 0;
            self.drawn.fill(0);
        }
        while self.next < draw {
            let source = self.source(self.next);
            self.drawn[source] += 1;
            self.next += 1;
        }
        let source = self.source(draw);
        self.parts[source].at(self.drawn[source])
    }

    /// The source of a draw.
    ///
    /// Systematic sampling: in each block the draws stand at equal distances on the line of the
    /// shares, from a random start, in a random order.
    fn source(&mut self, draw: u64) -> usize {
        let (block, place) = (draw / BLOCK as u64, (draw % BLOCK as u64) as usize);
        if self.block.as_ref().is_none_or(|(own, _)| *own != block) {
            let mut words = draws(splitmix64(self.seed ^ splitmix64(block)), "sources");
            let start = f64::from(words.next_u32()) / 2_f64.powi(32);
            let order = shuffled(BLOCK, &mut words);
            let points = order.iter().map(|&at| (at as f64 + start) / BLOCK as f64).collect();
            self.block = Some((block, points));
        }
        let (_, points) = self.block.as_ref().expect("the block was just made");
        let last = self.ends.len() - 1;
        self.ends.iter().position(|&end| points[place] < end).unwrap_or(last)
    }
}

/// The problems of one source, pass after pass.
#[derive(Debug)]
struct Part {
    seed: u64,
    members: Vec<usize>,
    shuffle: bool,
    epoch: Option<u64>,
    permutation: Vec<usize>,
}

impl Part {
    fn new(seed: u64, members: Vec<usize>, shuffle: bool) -> Self {
        assert!(!members.is_empty(), "a source has a problem");
        Self { seed, members, shuffle, epoch: None, permutation: Vec::new() }
    }

    fn at(&mut self, draw: u64) -> usize {
        let len = self.members.len() as u64;
        let (epoch, place) = (draw / len, (draw % len) as usize);
        if !self.shuffle {
            return self.members[place];
        }
        if self.epoch != Some(epoch) {
            let mut words = draws(splitmix64(self.seed ^ splitmix64(epoch)), "order");
            self.permutation = shuffled(self.members.len(), &mut words);
            self.epoch = Some(epoch);
        }
        self.members[self.permutation[place]]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn problems(sources: &[(&str, usize)]) -> Vec<Problem> {
        let of = |&(source, count): &(&str, usize)| {
            let problem = Problem { source: source.into(), ..Problem::default() };
            std::iter::repeat_n(problem, count)
        };
        sources.iter().flat_map(of).collect()
    }

    fn weights(named: &[(&str, f64)]) -> Vec<(String, f64)> {
        named.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect()
    }

    #[test]
    fn every_pass_is_complete_and_has_its_own_order() {
        let ten = problems(&[("a", 10)]);
        let mut order = Order::new(5, &ten, &[], true);
        let passes: Vec<Vec<usize>> =
            (0..2).map(|pass| (0..10).map(|i| order.at(pass * 10 + i)).collect()).collect();
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(passes[0], passes[1]);
        // From any number on: what a resumed run asks for.
        assert_eq!(Order::new(5, &ten, &[], true).at(17), passes[1][7]);
        assert_eq!(Order::new(5, &ten, &[], false).at(17), 7);
    }

    #[test]
    fn sources_have_their_shares_in_every_block_and_on_the_whole() {
        const BLOCKS: u64 = 400;
        let (all, shares) = (
            problems(&[("a", 3), ("b", 50), ("c", 7)]),
            weights(&[("a", 2.0), ("b", 1.0), ("c", 0.01)]),
        );
        let mut order = Order::new(3, &all, &shares, true);
        let total: f64 = shares.iter().map(|(_, weight)| weight).sum();
        let mut counts = BTreeMap::<String, f64>::new();
        for block in 0..BLOCKS {
            let mut own = BTreeMap::<String, f64>::new();
            for place in 0..BLOCK as u64 {
                let source = &all[order.at(block * BLOCK as u64 + place)].source;
                *own.entry(source.clone()).or_default() += 1.0;
            }
            for (name, weight) in &shares {
                let count = own.get(name).copied().unwrap_or_default();
                let expected = weight / total * BLOCK as f64;
                assert!((count - expected).abs() < 1.0 + 1e-9, "{name}: {count} for {expected}");
                *counts.entry(name.clone()).or_default() += count;
            }
        }
        for (name, weight) in &shares {
            let (expected, draws) = (weight / total, (BLOCKS * BLOCK as u64) as f64);
            // Each block adds less than one with mean zero: 5 standard deviations of their sum.
            let bound = 5.0 * (BLOCKS as f64 / 4.0).sqrt() / draws;
            assert!((counts[name] / draws - expected).abs() < bound, "{name}");
        }
        // Each source by itself goes pass after pass.
        let of_a: Vec<usize> = (0..300).map(|draw| order.at(draw)).filter(|&at| at < 3).collect();
        for pass in of_a.chunks_exact(3) {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, [0, 1, 2]);
        }
    }

    #[test]
    fn a_draw_is_the_same_from_whatever_number_it_is_reached() {
        let (all, shares) = (problems(&[("a", 5), ("b", 9)]), weights(&[("a", 1.0), ("b", 3.0)]));
        let fresh = || Order::new(8, &all, &shares, true);
        let mut order = fresh();
        let unbroken: Vec<usize> = (0..200).map(|draw| order.at(draw)).collect();
        for from in [0, 1, 63, 64, 65, 199] {
            let mut resumed = fresh();
            let rest: Vec<usize> = (from..200).map(|draw| resumed.at(draw)).collect();
            assert_eq!(rest, unbroken[from as usize..]);
        }
        assert_eq!(order.at(3), unbroken[3], "backwards, too");
        // Weights and not sizes decide.
        let b = unbroken.iter().filter(|&&at| at >= 5).count();
        assert!((147..=153).contains(&b), "{b}");
    }
}
