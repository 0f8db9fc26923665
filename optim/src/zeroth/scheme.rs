use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Direction, Draw, Mask, Probe, Purpose, Tensors, Term, Update, mix64};
use crate::{Error, Result};

/// What weight decay pulls weights towards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ZerothDecayTo")]
pub enum DecayTo {
    /// `w = (1 - lr weight_decay) w`.
    #[default]
    Zero,
    /// `w = w - lr weight_decay (w - w0)` with the weights `w0` at the start of the run. Source:
    /// arXiv 2605.30148.
    Start,
}

/// Elements of a tensor, at most.
const MOST: u64 = 1 << 40;

/// Rank of a direction, at most.
const MOST_RANK: u32 = 1 << 16;

/// What fixes every bit of an update together with its step, learning rate, decay and
/// coefficients. A log has it in its header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Seed of the run, that of every direction.
    pub run_seed: u64,
    /// What is trained.
    pub tensors: Tensors,
    /// The form of directions.
    pub direction: Direction,
    /// Steps for which directions of low rank share one factor `B`; none: each direction has its
    /// own.
    pub subspace_interval: Option<u32>,
    /// Steps for which random masks are kept.
    pub mask_interval: u32,
    /// What weights decay to.
    pub decay_to: DecayTo,
}

impl Scheme {
    /// Directions of one form for these tensors: new ones at each step, decay towards zero.
    pub fn new(run_seed: u64, tensors: Tensors, direction: Direction) -> Self {
        let decay_to = DecayTo::Zero;
        Self { run_seed, tensors, direction, subspace_interval: None, mask_interval: 1, decay_to }
    }

    /// Everything wrong with it. What a damaged file may say is bounded here, before memory is
    /// taken for it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for tensor in self.tensors.all().iter().filter(|tensor| tensor.len() as u64 > MOST) {
            problems.push(format!("{} has more than {MOST} elements", tensor.name));
        }
        if self.subspace_interval == Some(0) || self.mask_interval == 0 {
            problems.push("an interval is 0, expected at least 1 step".to_owned());
        }
        for tensor in self.tensors.all() {
            let mask = tensor.mask;
            let all_or_none = matches!(mask, Mask::All | Mask::None);
            let fits = match self.direction {
                Direction::Dense { .. } => true,
                Direction::LowRank { .. } => all_or_none || tensor.matrix().is_none(),
                Direction::Coordinates => all_or_none || matches!(mask, Mask::Random { .. }),
            };
            if !fits {
                problems.push(format!("{}: no such direction with {mask:?}", tensor.name));
            }
        }
        match self.direction {
            Direction::LowRank { rank, .. } if !(1..=MOST_RANK).contains(&rank) => {
                problems.push(format!("rank is {rank}, expected 1 to {MOST_RANK}"));
            }
            Direction::Coordinates => {
                let tensors = self.tensors.own().filter(|tensor| tensor.mask != Mask::None);
                let elements = tensors.fold(0_usize, |sum, own| sum.saturating_add(own.len()));
                let most = u16::MAX;
                if elements > usize::from(most) {
                    problems.push(format!(
                        "{elements} elements are trained one at a time, expected at most {most}: name \
                         fewer tensors"
                    ));
                }
            }
            _ => {}
        }
        problems
    }

    /// What the directions of a step have in common.
    pub fn draw(&self, step: u32) -> Draw {
        let shared =
            |interval: u32, purpose| mix64(self.run_seed, step / interval.max(1), 0, purpose);
        Draw {
            subspace: self.subspace_interval.map(|steps| shared(steps, Purpose::Subspace)),
            mask: shared(self.mask_interval, Purpose::Mask),
        }
    }

    /// The directions of a step, in the order of its coefficients: `count` that are drawn, or all
    /// coordinates that are trained, whatever `count` is.
    pub fn seeds(&self, step: u32, count: usize) -> Vec<u64> {
        match self.direction {
            Direction::Coordinates => self.coordinates(step),
            _ => (0..count as u64)
                .map(|member| mix64(self.run_seed, step, member, Purpose::Noise))
                .collect(),
        }
    }

    fn coordinates(&self, step: u32) -> Vec<u64> {
        let seed = self.draw(step).mask;
        let of = |tensor: &super::TensorSpec| {
            // Masks by magnitude are refused, so no values are needed.
            let kept = tensor.mask.kept(seed, tensor.id, 0, &vec![0.0; tensor.len()]);
            let id = u64::from(tensor.id) << 32;
            (0..tensor.len())
                .filter(move |at| kept.as_ref().is_none_or(|kept| kept[*at]))
                .map(move |at| id | at as u64)
                .collect::<Vec<_>>()
        };
        let trained = self.tensors.own().filter(|tensor| tensor.mask != Mask::None);
        trained.flat_map(of).collect()
    }

    /// A probe of a step.
    pub fn probe(&self, step: u32, terms: Vec<Term>) -> Probe {
        Probe { direction: self.direction, draw: self.draw(step), terms }
    }

    /// The update of a step. The learning rate is part of it from now on.
    ///
    /// # Errors
    ///
    /// Fails on a number that is not finite, and unless there are as many coefficients as the step
    /// has coordinates.
    pub fn update(&self, step: u32, lr: f32, decay: f32, coefficients: &[f32]) -> Result<Update> {
        let bad = |problem| Err(Error::Update { step, problem });
        let numbers = [("learning rate", lr), ("weight decay", decay)];
        let coefficients_named = coefficients.iter().map(|value| ("coefficient", *value));
        for (name, value) in numbers.into_iter().chain(coefficients_named) {
            if !value.is_finite() {
                return bad(format!("a {name} is {value}, expected a finite number"));
            }
        }
        let seeds = self.seeds(step, coefficients.len());
        if seeds.len() != coefficients.len() {
            return bad(format!(
                "{} coefficients, expected {}, one for each coordinate that is trained",
                coefficients.len(),
                seeds.len()
            ));
        }
        let terms = seeds.into_iter().zip(coefficients);
        Ok(Update {
            step,
            lr,
            decay,
            decay_to: self.decay_to,
            direction: self.direction,
            draw: self.draw(step),
            terms: terms.map(|(seed, scale)| Term { seed, scale: *scale }).collect(),
        })
    }
}
