use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Coordinates, CoordinatesConfig, Direction, Es, EsConfig, Estimator, Fzoo, FzooConfig, Mask,
    Noise, Scheme, Scope, Spsa, SpsaConfig, TensorSpec, Tensors, Vectors,
};
use crate::{Error, Result};

/// The form of directions, as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "ZerothDirection", tag = "kind", transform = settings::by_name_or("dense"))]
pub enum DirectionConfig {
    /// A number for each element.
    Dense {
        /// Distribution of the numbers.
        #[serde(default)]
        noise: Noise,
    },
    /// The smallest elements of each tensor, by magnitude. Source: arXiv 2402.15751.
    Smallest {
        /// Distribution of the numbers.
        #[serde(default)]
        noise: Noise,
        /// Share that is trained: the threshold is set at the start, for each tensor. arXiv
        /// 2402.15751: 0.25.
        #[serde(default = "usual_keep")]
        keep: f64,
    },
    /// Elements that are drawn at random. Source: arXiv 2310.02025.
    Random {
        /// Distribution of the numbers.
        #[serde(default)]
        noise: Noise,
        /// Share that is trained, where the layers have no shares of their own.
        keep: f64,
        /// Steps after which they are drawn again.
        #[serde(default = "each_step")]
        interval: u32,
    },
    /// Products of two factors, for matrices. Sources: arXiv 2511.16652 (rank 1, `interval` off),
    /// 2410.07698 (rank 1, `interval = 100`).
    LowRank {
        /// Distribution of the elements of the factors.
        #[serde(default = "gaussian")]
        noise: Noise,
        /// Rank.
        #[serde(default = "rank_one")]
        rank: u32,
        /// Steps for which all directions share the factor of the columns, or `"off"`: each has its
        /// own.
        ///
        /// Names: LOZO `step_interval`.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<u32>")]
        interval: Option<u32>,
        /// Tensors that are no matrices.
        #[serde(default)]
        vectors: Vectors,
    },
}

settings::tagged!(DirectionConfig, "dense");

fn usual_keep() -> f64 {
    0.25
}

fn each_step() -> u32 {
    1
}

fn rank_one() -> u32 {
    1
}

fn gaussian() -> Noise {
    Noise::Gaussian
}

impl Default for DirectionConfig {
    fn default() -> Self {
        Self::Dense { noise: Noise::Rademacher }
    }
}

impl DirectionConfig {
    /// Dense and normal, as in most papers.
    pub fn gaussian() -> Self {
        Self::Dense { noise: Noise::Gaussian }
    }

    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Self::Smallest { keep, .. } | Self::Random { keep, .. } = *self
            && !(keep > 0.0 && keep <= 1.0)
        {
            problems.push(format!("keep is {keep}, expected more than 0, at most 1"));
        }
        if let Self::Random { interval: 0, .. } | Self::LowRank { interval: Some(0), .. } = self {
            problems.push("interval is 0, expected at least 1 step".to_owned());
        }
        if let Self::LowRank { rank: 0, .. } = self {
            problems.push("rank is 0, expected at least 1".to_owned());
        }
        problems
    }

    /// The mask of a tensor with these values at the start of the run.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](Self::problems), and on values that are not numbers.
    pub fn mask(&self, values: &[f32]) -> Result<Mask> {
        match *self {
            Self::Dense { .. } | Self::LowRank { .. } => Ok(Mask::All),
            Self::Smallest { keep, .. } => Mask::smallest(values, keep),
            Self::Random { keep, .. } => Mask::random(keep),
        }
    }

    /// What fixes the directions of a run, for tensors with the masks that they are to have.
    pub fn scheme(&self, run_seed: u64, tensors: Tensors) -> Scheme {
        let (direction, subspace_interval, mask_interval) = match *self {
            Self::Dense { noise } | Self::Smallest { noise, .. } => {
                (Direction::Dense { noise }, None, 1)
            }
            Self::Random { noise, interval, .. } => (Direction::Dense { noise }, None, interval),
            Self::LowRank { noise, rank, interval, vectors } => {
                (Direction::LowRank { noise, rank, vectors }, interval, 1)
            }
        };
        Scheme { subspace_interval, mask_interval, ..Scheme::new(run_seed, tensors, direction) }
    }
}

/// A zeroth-order method and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case")]
#[schemars(rename = "ZerothConfig", tag = "kind", transform = settings::by_name)]
pub enum EstimatorConfig {
    /// Two-point estimates, for losses on fixed tokens. Learning rates of arXiv 2305.17333: 1e-6 to
    /// 1e-7 for all weights, 1e-4 to 5e-5 for adapters.
    Spsa(SpsaConfig),
    /// One-sided estimates over the deviation of the losses.
    Fzoo(FzooConfig),
    /// Evolution strategies, for rewards of generated text.
    Es(EsConfig),
    /// Differences along each coordinate, for some thousand elements.
    Coordinates(CoordinatesConfig),
}

settings::tagged!(EstimatorConfig);

impl EstimatorConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Spsa(config) => config.problems(),
            Self::Fzoo(config) => config.problems(),
            Self::Es(config) => config.problems(),
            Self::Coordinates(config) => config.problems(),
        }
    }

    /// Coefficients of an update, at most.
    pub fn most_coefficients(&self) -> u16 {
        let most = match self {
            Self::Spsa(config) => config.probes,
            Self::Fzoo(config) => config.probes,
            Self::Es(config) => config.members,
            Self::Coordinates(_) => u32::from(u16::MAX),
        };
        u16::try_from(most).unwrap_or(u16::MAX)
    }

    /// The form of directions; none of coordinates.
    pub fn direction(&self) -> Option<&DirectionConfig> {
        match self {
            Self::Spsa(config) => Some(&config.direction),
            Self::Fzoo(config) => Some(&config.direction),
            Self::Es(config) => Some(&config.direction),
            Self::Coordinates(_) => None,
        }
    }

    /// The tensors that are trained, by name.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Spsa(config) => &config.tensors,
            Self::Fzoo(config) => &config.tensors,
            Self::Es(config) => &config.tensors,
            Self::Coordinates(config) => &config.tensors,
        }
    }

    /// These tensors, each with the elements that are trained of it: none of those beyond the
    /// [`scope`](Self::scope). `values` lends those of a tensor at the start of the run.
    ///
    /// # Errors
    ///
    /// Fails where [`Tensors::new`] and [`mask`](Self::mask) do, where `values` does, and when the
    /// scope has none of the tensors.
    pub fn tensors(
        &self,
        all: Vec<TensorSpec>,
        values: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
    ) -> Result<Tensors> {
        let scope = self.scope();
        let Some(first) = all.first().map(|tensor| tensor.name.clone()) else {
            return Tensors::new(all);
        };
        if !all.iter().any(|tensor| scope.has(&tensor.name)) {
            let problem = format!(
                "tensors: none of the {} that can be trained is called {}; the first is {first}",
                all.len(),
                scope.shown()
            );
            return Err(Error::Config { problems: vec![problem] });
        }
        let masked = all.into_iter().enumerate().map(|(index, tensor)| {
            let mask = if !scope.has(&tensor.name) {
                Mask::None
            } else if self.reads_values() {
                self.mask(&values(index)?)?
            } else {
                self.mask(&[])?
            };
            Ok(tensor.with_mask(mask))
        });
        Tensors::new(masked.collect::<Result<_>>()?)
    }

    /// Whether masks depend on the values of the start.
    fn reads_values(&self) -> bool {
        matches!(self.direction(), Some(DirectionConfig::Smallest { .. }))
    }

    /// The mask of a tensor with these values at the start of the run.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](Self::problems), and on values that are not numbers.
    pub fn mask(&self, values: &[f32]) -> Result<Mask> {
        match self {
            Self::Coordinates(config) => Mask::random(config.keep),
            _ => self.direction().map_or(Ok(Mask::All), |direction| direction.mask(values)),
        }
    }

    /// What fixes the directions of a run, for tensors with the masks that they are to have.
    pub fn scheme(&self, run_seed: u64, tensors: Tensors) -> Scheme {
        match self {
            Self::Spsa(config) => config.direction.scheme(run_seed, tensors),
            Self::Fzoo(config) => config.direction.scheme(run_seed, tensors),
            Self::Es(config) => {
                Scheme { decay_to: config.decay_to, ..config.direction.scheme(run_seed, tensors) }
            }
            Self::Coordinates(config) => Scheme {
                mask_interval: config.interval,
                ..Scheme::new(run_seed, tensors, Direction::Coordinates)
            },
        }
    }

    /// The method for these tensors.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](Self::problems), on masks that the directions do not
    /// have, and on more coordinates than a step can have.
    pub fn build(&self, run_seed: u64, tensors: Tensors) -> Result<Box<dyn Estimator>> {
        let mut problems = self.problems();
        let scheme = self.scheme(run_seed, tensors);
        problems.extend(scheme.problems());
        if !problems.is_empty() {
            return Err(Error::Config { problems });
        }
        Ok(match self.clone() {
            Self::Spsa(config) => Box::new(Spsa::new(config, scheme)),
            Self::Fzoo(config) => Box::new(Fzoo::new(config, scheme)),
            Self::Es(config) => Box::new(Es::new(config, scheme)),
            Self::Coordinates(config) => Box::new(Coordinates::new(config, scheme)),
        })
    }
}

/// What is wrong with a number that must be positive.
pub(super) fn positive(key: &str, value: f64) -> Option<String> {
    let fits = value.is_finite() && (value as f32).is_normal() && value > 0.0;
    (!fits).then(|| format!("{key} is {value}, expected a positive number"))
}

/// What is wrong with a number that must be at least 0.
pub(super) fn not_negative(key: &str, value: f64) -> Option<String> {
    let fits = (value as f32).is_finite() && value >= 0.0;
    (!fits).then(|| format!("{key} is {value}, expected a number of at least 0"))
}
