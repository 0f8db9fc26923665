use std::fmt::Debug;

use super::{Probe, Scheme, Update};
use crate::{Error, Result};

/// A zeroth-order method: which weights to score, and what the scores say.
pub trait Estimator: Debug + Send {
    /// What fixes its directions.
    fn scheme(&self) -> &Scheme;

    /// The weights to score at a step. All probes of a step are scored on the same data.
    fn probes(&self, step: u32) -> Vec<Probe>;

    /// What follows from the scores: losses for methods that minimise, rewards for those that
    /// maximise.
    ///
    /// Shapes: `scores` has a list for each probe, in their order, with a score for each part of
    /// the data (a shard of a batch, a prompt); a probe's score is the mean, summed in their order.
    ///
    /// # Errors
    ///
    /// Fails when there are not as many lists as probes, on lists that are empty or of different
    /// lengths, and on a learning rate that is negative or not finite. Scores that are not finite
    /// are no error: the step is skipped, or a member is left out.
    fn reduce(&mut self, step: u32, scores: &[Vec<f64>], lr: f64) -> Result<Reduced>;
}

/// What follows from the scores of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduced {
    /// How the weights are to be moved.
    pub outcome: Outcome,
    /// Statistics.
    pub stats: Stats,
}

/// How weights are moved at the end of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// By this, even if its coefficients are 0.
    Update(Update),
    /// Not at all.
    Skip(Skip),
}

/// A step whose scores say nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Skip {
    /// The step.
    pub step: u32,
    /// Its learning rate.
    pub lr: f32,
    /// Why it moves nothing.
    pub reason: String,
}

/// Statistics of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Mean score of the probes that count.
    pub score: f64,
    /// Population standard deviation of their scores.
    pub deviation: f64,
    /// What coefficients are proportional to, in their order: estimated slopes along directions,
    /// or standardised rewards of members.
    pub signals: Vec<f32>,
    /// Probes that count.
    pub used: usize,
    /// Probes whose score is not finite.
    pub not_finite: usize,
}

/// The mean score of each probe, in order.
pub(super) fn means(step: u32, scores: &[Vec<f64>], probes: usize) -> Result<Vec<f64>> {
    let bad = |problem| Err(Error::Scores { step, problem });
    if scores.len() != probes {
        return bad(format!("of {} probes, expected {probes}", scores.len()));
    }
    let parts = scores.first().map_or(0, Vec::len);
    if let Some((probe, list)) =
        scores.iter().enumerate().find(|(_, list)| list.is_empty() || list.len() != parts)
    {
        return bad(format!(
            "probe {probe} has {}, the first one {parts}: expected as many of each, at least 1",
            list.len()
        ));
    }
    Ok(scores.iter().map(|list| mean(list)).collect())
}

/// A learning rate as it enters updates.
pub(super) fn rate(lr: f64) -> Result<f32> {
    let rounded = lr as f32;
    if rounded.is_finite() && lr >= 0.0 { Ok(rounded) } else { Err(Error::LearningRate { lr }) }
}

/// The sum in order, over the number.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether all are the first one. Asked for before a mean is taken, which may be rounded.
pub(super) fn all_equal(values: &[f64]) -> bool {
    values.iter().all(|value| value - values[0] == 0.0)
}

/// Population standard deviation.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares = values.iter().map(|value| (value - center) * (value - center));
    (squares.sum::<f64>() / values.len() as f64).sqrt()
}

/// The update of these coefficients, or none when one of them overflows.
pub(super) fn moved(
    scheme: &Scheme,
    step: u32,
    (lr, decay): (f32, f32),
    coefficients: &[f32],
) -> Result<Outcome> {
    if coefficients.iter().any(|coefficient| !coefficient.is_finite()) {
        let reason = "a coefficient is beyond f32: the learning rate is too large".to_owned();
        return Ok(Outcome::Skip(Skip { step, lr, reason }));
    }
    Ok(Outcome::Update(scheme.update(step, lr, decay, coefficients)?))
}

/// What a method that minimises makes of slopes: coefficients `-(lr slope)`, or nothing when a
/// score, a slope or a coefficient is not finite.
pub(super) fn descend(
    scheme: &Scheme,
    step: u32,
    (lr, rate, decay): (f32, f32, f32),
    losses: &[f64],
    slopes: Vec<f32>,
) -> Result<Reduced> {
    let not_finite = losses.iter().filter(|loss| !loss.is_finite()).count();
    let finite: Vec<f64> = losses.iter().copied().filter(|loss| loss.is_finite()).collect();
    let outcome = if not_finite > 0 {
        let reason = format!("{not_finite} of {} losses are not finite", losses.len());
        Outcome::Skip(Skip { step, lr, reason })
    } else if slopes.iter().any(|slope| !slope.is_finite()) {
        Outcome::Skip(Skip { step, lr, reason: "a slope is beyond f32".to_owned() })
    } else {
        let coefficients: Vec<f32> = slopes.iter().map(|slope| -(rate * slope)).collect();
        moved(scheme, step, (lr, decay), &coefficients)?
    };
    let stats = Stats {
        score: mean(&finite),
        deviation: deviation(&finite),
        signals: slopes,
        used: finite.len(),
        not_finite,
    };
    Ok(Reduced { outcome, stats })
}
