//! Log-probabilities and entropies of chosen tokens, forward and backward, in one pass over
//! vocabulary chunks: (rows, vocabulary) never exists at once.

use std::ops::Range;

use candle::{DType, Device, Tensor};

use crate::backend::{Backend, cpu, reference};
use crate::policy::Head;
use crate::{Error, MatmulPrecision, Policy, Result, Target};
use kernels::likeliest::Likeliest;
use kernels::logits::{self, CHUNK, Distribution, LogitStats};

/// What the full distribution at a target's row says, one entry a target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Log-probability of the target's token, in nats.
    pub log_probs: Vec<f32>,
    /// Entropy of the row's distribution, in nats.
    pub entropies: Vec<f32>,
    /// `sum_v pi_v^2 (ln pi_v + H)`, the sum behind the entropy sensitivity
    /// `Phi(p) = p (ln p + H) - phi_sum` (arXiv 2606.19236, section 3).
    pub phi_sums: Vec<f32>,
    /// The likeliest tokens of the row with their log-probabilities, in nats, the likeliest first,
    /// the lowest id first among equals: as many for each target as were asked for and the
    /// vocabulary has.
    pub alternatives: Vec<(u32, f32)>,
}

/// A forward pass over the head, and what its backward needs.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The distinct rows that have targets, ascending.
    pub(crate) rows: Vec<u32>,
    pub(crate) stats: Vec<Distribution>,
    /// One a row.
    likeliest: Vec<Likeliest>,
    /// One a target: index into `rows`, and the token.
    pub(crate) targets: Vec<(usize, usize)>,
    log_probs: Vec<f64>,
    pub(crate) inverse_temperature: f64,
    /// The same number as the sampler has it, which multiplies logits in f32.
    pub(crate) scale: f32,
    backend: Backend,
}

/// Which gradients [`backward`] computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    /// With respect to the hidden states.
    pub(crate) hidden: bool,
    /// With respect to the head.
    pub(crate) head: bool,
}

/// Scores `targets` under the distributions of their rows.
///
/// Shapes: `hidden` (rows, width), `head` (vocabulary, width). A temperature of zero counts as one.
/// So many `alternatives` of each row are found.
pub(crate) fn forward(
    backend: Backend,
    hidden: &Tensor,
    head: &Head<'_>,
    targets: &[Target],
    temperature: f64,
    alternatives: usize,
) -> Result<Pass> {
    let mut pass = Pass::new(hidden.dim(0)?, head.shape()[0], targets, temperature)?;
    pass.backend = backend;
    let hidden = pass.gather(hidden)?;
    let likeliest = vec![Likeliest::new(alternatives); pass.rows.len()];
    let read = match backend {
        Backend::Cpu { .. } => cpu::head::forward(&pass, hidden, head, likeliest)?,
        Backend::Reference => reference::head::forward(&pass, &hidden, head, likeliest)?,
    };
    Ok(pass.finished(read))
}

/// [`forward`] on a CPU of several passes, each with its policy, hidden states and targets. A chunk
/// of the head of `base` serves all of them.
pub(crate) fn forward_each(
    base: Policy<'_>,
    passes: Vec<(Policy<'_>, Tensor, &[Target])>,
    temperature: f64,
) -> Result<Vec<Pass>> {
    let head = base.head()?;
    let mut begun = Vec::with_capacity(passes.len());
    for (policy, hidden, targets) in passes {
        let mut pass = Pass::new(hidden.dim(0)?, head.shape()[0], targets, temperature)?;
        pass.backend = base.backend();
        let hidden = pass.gather(&hidden)?;
        let likeliest = vec![Likeliest::new(0); pass.rows.len()];
        let reading = cpu::head::Reading::new(&pass, hidden, likeliest);
        begun.push((policy, pass, reading));
    }
    cpu::head::forward_each(&head, &mut begun)?;
    Ok(begun.into_iter().map(|(_, pass, reading)| pass.finished(reading.read)).collect())
}

/// What a pass over the head finds.
#[derive(Debug)]
pub(crate) struct Read {
    /// One a row.
    pub(crate) sums: Vec<LogitStats>,
    /// One a row.
    pub(crate) likeliest: Vec<Likeliest>,
    /// The scaled logit of each target.
    pub(crate) logits: Vec<f64>,
}

impl Read {
    pub(crate) fn new(pass: &Pass, likeliest: Vec<Likeliest>) -> Self {
        let sums = vec![LogitStats::EMPTY; pass.rows.len()];
        Self { sums, likeliest, logits: vec![0.0; pass.targets.len()] }
    }
}

/// Gradients with respect to the hidden states and to the head, those that `want` names, given
/// those with respect to every target's log-probability and entropy.
///
/// Shapes: `hidden` (rows, width), `head` (vocabulary, width); results the same. The head's is in
/// f32 at least.
///
/// Source: `d log pi_a / dz_v = 1[v=a] - pi_v`; `dH / dz_v = -pi_v (ln pi_v + H)`
/// (arXiv 2606.19236, lemma 2.1).
pub(crate) fn backward(
    pass: &Pass,
    hidden: &Tensor,
    head: &Head<'_>,
    d_log_probs: &[f64],
    d_entropies: &[f64],
    want: Want,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let gathered = pass.gather(hidden)?;
    let grad = ScoreGrad::new(pass, d_log_probs, d_entropies);
    let (d_gathered, d_head) = match pass.backend {
        Backend::Cpu { .. } => cpu::head::backward(pass, &grad, &gathered, head, want)?,
        Backend::Reference => reference::head::backward(pass, &grad, &gathered, head, want)?,
    };
    let rows = Tensor::new(pass.rows.as_slice(), hidden.device())?;
    let spread = |gathered: Tensor| hidden.zeros_like()?.index_add(&rows, &gathered, 0);
    Ok((d_gathered.map(spread).transpose()?, d_head))
}

/// The upstream gradients, gathered by row.
#[derive(Debug)]
pub(crate) struct ScoreGrad {
    /// Sum of the gradients of the row's log-probabilities.
    pub(crate) log_prob: Vec<f64>,
    /// Sum of the gradients of the row's entropy.
    pub(crate) entropy: Vec<f64>,
    /// (row, token, gradient of the log-probability), by token.
    targets: Vec<(usize, usize, f64)>,
}

impl ScoreGrad {
    fn new(pass: &Pass, d_log_probs: &[f64], d_entropies: &[f64]) -> Self {
        let mut grad = Self {
            log_prob: vec![0.0; pass.rows.len()],
            entropy: vec![0.0; pass.rows.len()],
            targets: Vec::with_capacity(pass.targets.len()),
        };
        for (i, &(row, token)) in pass.targets.iter().enumerate() {
            grad.log_prob[row] += d_log_probs[i];
            grad.entropy[row] += d_entropies[i];
            grad.targets.push((row, token, d_log_probs[i]));
        }
        grad.targets.sort_by_key(|&(row, token, _)| (token, row));
        grad
    }

    /// The chunks of the vocabulary, each with its targets.
    pub(crate) fn chunks(
        &self,
        vocab: usize,
    ) -> impl Iterator<Item = (Range<usize>, &[(usize, usize, f64)])> {
        chunks(vocab, &self.targets, |&(_, token, _)| token)
    }
}

/// The chunks in which both backends pass over a vocabulary, forward and backward, each with the
/// entries whose token lies in it. `entries` are in order of their tokens.
pub(crate) fn chunks<T>(
    vocab: usize,
    entries: &[T],
    token: impl Fn(&T) -> usize,
) -> impl Iterator<Item = (Range<usize>, &[T])> {
    let mut rest = entries;
    (0..vocab).step_by(CHUNK).map(move |start| {
        let end = vocab.min(start + CHUNK);
        let within = rest.partition_point(|entry| token(entry) < end);
        let (within, after) = rest.split_at(within);
        rest = after;
        (start..end, within)
    })
}

impl Pass {
    fn new(rows: usize, vocab: usize, targets: &[Target], temperature: f64) -> Result<Self> {
        if targets.is_empty() {
            return Err(Error::Input("there is nothing to score: no targets".into()));
        }
        // Scaled logits have to stay finite in f32.
        if temperature != 0.0 && !(1e-6..=1e6).contains(&temperature) {
            return Err(Error::Input(format!(
                "temperature {temperature} cannot be scored at: expected 0.000001 to 1000000, or 0, \
                 which counts as 1"
            )));
        }
        if let Some(t) = targets.iter().find(|t| t.row >= rows || t.token as usize >= vocab) {
            return Err(Error::Input(format!(
                "target token {} after row {} lies outside {rows} rows and {vocab} tokens",
                t.token, t.row
            )));
        }
        let temperature = if temperature == 0.0 { 1.0 } else { temperature };
        let mut distinct: Vec<u32> = targets.iter().map(|t| t.row as u32).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let index = |t: &Target| distinct.partition_point(|&row| (row as usize) < t.row);
        Ok(Self {
            targets: targets.iter().map(|t| (index(t), t.token as usize)).collect(),
            rows: distinct,
            stats: Vec::new(),
            likeliest: Vec::new(),
            log_probs: Vec::new(),
            inverse_temperature: 1.0 / temperature,
            scale: logits::scale(temperature),
            backend: Backend::Reference,
        })
    }

    /// The same pass with what the head says.
    fn finished(mut self, read: Read) -> Self {
        self.likeliest = read.likeliest;
        self.stats = read.sums.into_iter().map(|sums| sums.finish(self.scale)).collect();
        let scored = self.targets.iter().zip(read.logits);
        self.log_probs = scored.map(|(&(row, _), logit)| logit - self.stats[row].log_sum).collect();
        self
    }

    fn gather(&self, hidden: &Tensor) -> Result<Tensor> {
        let rows = Tensor::new(self.rows.as_slice(), hidden.device())?;
        Ok(hidden.index_select(&rows, 0)?)
    }

    /// The targets in order of their tokens, as [`chunks`] takes them: (index of the target, row,
    /// token).
    pub(crate) fn by_token(&self) -> Vec<(usize, usize, usize)> {
        let mut order: Vec<_> =
            self.targets.iter().enumerate().map(|(i, &(row, token))| (i, row, token)).collect();
        order.sort_by_key(|&(_, row, token)| (token, row));
        order
    }

    /// The precision of its matrix products.
    pub(crate) fn precision(&self) -> MatmulPrecision {
        self.backend.precision()
    }

    /// The scores, one entry a target.
    pub(crate) fn scores(&self) -> Scores {
        let stats = |f: fn(&Distribution) -> f64| {
            self.targets.iter().map(|&(row, _)| f(&self.stats[row]) as f32).collect()
        };
        let alternatives = self.targets.iter().flat_map(|&(row, _)| {
            let log_prob = move |logit| self.stats[row].log_prob(logit) as f32;
            self.likeliest[row].found().iter().map(move |&(token, logit)| (token, log_prob(logit)))
        });
        Scores {
            alternatives: alternatives.collect(),
            log_probs: self.log_probs.iter().map(|&x| x as f32).collect(),
            entropies: stats(|s| s.entropy),
            phi_sums: stats(|s| s.phi_sum),
        }
    }

    /// Log-probabilities and entropies as a loss sees them: f64 on the host, of shape (targets).
    ///
    /// Unless the model computes in f64, log-probabilities are rounded to f32 as in [`Scores`], so
    /// that the ratio to the same number from sampling is exactly 1.
    pub(crate) fn columns(&self, model: DType) -> Result<(Tensor, Tensor)> {
        let round = |x: &f64| if model == DType::F64 { *x } else { f64::from(*x as f32) };
        let entropies = self.targets.iter().map(|&(row, _)| self.stats[row].entropy);
        let log_probs = self.log_probs.iter().map(round);
        Ok((
            Tensor::from_iter(log_probs, &Device::Cpu)?,
            Tensor::from_iter(entropies, &Device::Cpu)?,
        ))
    }
}
