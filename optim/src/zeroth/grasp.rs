//! Which share of each layer is worth perturbing: `ZO-GraSP`.
//!
//! Scores are `-w H g` for each element, with estimates of the gradient `g` and of its change
//! `H g` along itself. Elements with high scores are left out: without them the gradient's norm is
//! largest. Only how many are kept of each layer is used; the elements of a layer are then
//! drawn at random ([`Mask::Random`]).
//!
//! Sources: arXiv 2310.02025, section 3; 2002.07376 for the score.

use std::cmp::Ordering;

use kernels::noise::{self, Kind, Part, Stream};
use kernels::threads::Threads;

use super::{Mask, Purpose, mix64};
use crate::{Error, Result};

/// How slopes are estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Seed of the run.
    pub run_seed: u64,
    /// Random directions of each of the two gradients.
    pub probes: u32,
    /// How far weights are moved.
    pub epsilon: f64,
}

impl Estimate {
    /// Scores of weights, for a small scope: all vectors are held in memory. Takes
    /// `2 (probes + 1)` evaluations of the loss.
    ///
    /// Shapes: one score for each weight.
    ///
    /// # Errors
    ///
    /// Fails where the loss does.
    pub fn scores(
        &self,
        weights: &[f32],
        mut loss: impl FnMut(&[f32]) -> Result<f64>,
    ) -> Result<Vec<f64>> {
        let gradient = self.gradient(weights, &mut loss)?;
        let along = gradient.iter().zip(weights);
        let moved: Vec<f32> =
            along.map(|(g, w)| (f64::from(*w) + self.epsilon * g) as f32).collect();
        let there = self.gradient(&moved, &mut loss)?;
        let change = there.iter().zip(&gradient).map(|(there, here)| (there - here) / self.epsilon);
        Ok(change.zip(weights).map(|(change, w)| -f64::from(*w) * change).collect())
    }

    /// The mean over random directions `u` of `(f(w + e u) - f(w)) / e u`.
    fn gradient(
        &self,
        weights: &[f32],
        loss: &mut impl FnMut(&[f32]) -> Result<f64>,
    ) -> Result<Vec<f64>> {
        let base = loss(weights)?;
        let epsilon = self.epsilon as f32;
        let mut gradient = vec![0.0; weights.len()];
        let (mut moved, mut direction) = (weights.to_vec(), vec![0.0; weights.len()]);
        for probe in 0..u64::from(self.probes) {
            // The same directions for both gradients, whose difference is taken.
            let seed = mix64(self.run_seed, u32::MAX, probe, Purpose::Mask);
            let stream = Stream { seed, tensor: 0, part: Part::Dense };
            noise::add(Threads::Pool, Kind::Gaussian, stream, 0, epsilon, weights, &mut moved);
            let slope = (loss(&moved)? - base) / f64::from(epsilon) / f64::from(self.probes);
            noise::fill(Threads::Pool, Kind::Gaussian, stream, 0, &mut direction);
            for (gradient, z) in gradient.iter_mut().zip(&direction) {
                *gradient += slope * f64::from(*z);
            }
        }
        Ok(gradient)
    }
}

/// The mask of each layer when a share of all elements is kept, those of the lowest scores; of
/// equal scores, those that come first.
///
/// Shapes: `layers` has the scores of each layer.
///
/// # Errors
///
/// Fails unless `0 < keep <= 1`, and on a score that is not a number.
pub fn masks(layers: &[Vec<f64>], keep: f64) -> Result<Vec<Mask>> {
    if !(keep > 0.0 && keep <= 1.0) {
        let problems = vec![format!("keep is {keep}, expected more than 0, at most 1")];
        return Err(Error::Config { problems });
    }
    let mut all: Vec<(f64, usize)> = layers.concat().into_iter().zip(0..).collect();
    if all.iter().any(|(score, _)| score.is_nan()) {
        return Err(Error::Params("a score is not a number: the loss overflows".to_owned()));
    }
    let kept = ((keep * all.len() as f64).ceil() as usize).min(all.len());
    let Some(last) = kept.checked_sub(1) else { return Ok(vec![Mask::All; layers.len()]) };
    // Zeros of both signs are equal.
    let order = |(a, i): &(f64, usize), (b, j): &(f64, usize)| {
        a.partial_cmp(b).unwrap_or(Ordering::Equal).then(i.cmp(j))
    };
    all.select_nth_unstable_by(last, order);
    let mut first = 0;
    let share = |scores: &Vec<f64>| {
        let layer = first..first + scores.len();
        first = layer.end;
        match layer.len() {
            0 => Ok(Mask::All),
            len => {
                let kept = all[..kept].iter().filter(|(_, at)| layer.contains(at)).count();
                Mask::random(kept as f64 / len as f64)
            }
        }
    };
    layers.iter().map(share).collect()
}
