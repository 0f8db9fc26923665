use kernels::noise::{self, Part, Stream};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which elements of a tensor are perturbed and updated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mask {
    /// All of them.
    #[default]
    All,
    /// Those whose magnitude is at most a threshold at the start of the step. The threshold is
    /// fixed; the elements below it change as they move.
    ///
    /// Source: arXiv 2402.15751.
    Magnitude {
        /// The bits of the threshold, an `f32`.
        bits: u32,
    },
    /// Elements drawn at random for some steps: those whose word is below `share`.
    ///
    /// Source: arXiv 2310.02025, section 3.
    Random {
        /// The share that is kept, in units of `2^-32`.
        share: u32,
    },
    /// None: the tensor stays as it is, without decay.
    None,
}

impl Mask {
    /// Elements of at most this magnitude.
    pub fn magnitude(at_most: f32) -> Self {
        Self::Magnitude { bits: at_most.to_bits() }
    }

    /// The smallest elements: the threshold is the magnitude of the last one that is kept. Where
    /// all have one magnitude, as in an adapter's half of zeros, as many are drawn at random.
    ///
    /// # Errors
    ///
    /// Fails unless `0 < keep <= 1`, and on a value that is not a number.
    pub fn smallest(values: &[f32], keep: f64) -> Result<Self> {
        check_keep(keep)?;
        let kept = ((keep * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1));
        let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        if magnitudes.iter().any(|magnitude| magnitude.is_nan()) {
            return Err(Error::Params("a weight is not a number: no threshold".to_owned()));
        }
        if kept >= magnitudes.len() {
            return Ok(Self::All);
        }
        if magnitudes.iter().all(|magnitude| magnitude.to_bits() == magnitudes[0].to_bits()) {
            // A threshold would keep all of them now, and none once they have moved.
            return Self::random(keep);
        }
        let (_, threshold, _) = magnitudes.select_nth_unstable_by(kept - 1, f32::total_cmp);
        Ok(Self::magnitude(*threshold))
    }

    /// A share of the elements, drawn at random; none for a share that rounds to 0.
    ///
    /// # Errors
    ///
    /// Fails unless `0 <= keep <= 1`.
    pub fn random(keep: f64) -> Result<Self> {
        if keep == 0.0 {
            return Ok(Self::None);
        }
        check_keep(keep)?;
        let share = (keep * f64::from(2.0_f32.powi(32))).round();
        Ok(match share {
            0.0 => Self::None,
            share if share <= f64::from(u32::MAX) => Self::Random { share: share as u32 },
            _ => Self::All,
        })
    }

    /// Which of the elements `first..` are kept, given their values at the start of the step;
    /// nothing when all are.
    pub(super) fn kept(
        self,
        seed: u64,
        tensor: u32,
        first: u64,
        values: &[f32],
    ) -> Option<Vec<bool>> {
        match self {
            Self::All => None,
            Self::None => Some(vec![false; values.len()]),
            Self::Magnitude { bits } => {
                let at_most = f32::from_bits(bits);
                Some(values.iter().map(|value| value.abs() <= at_most).collect())
            }
            Self::Random { share } => {
                let mut words = vec![0; values.len()];
                noise::words(Stream { seed, tensor, part: Part::Mask }, first, &mut words);
                Some(words.into_iter().map(|word| word < share).collect())
            }
        }
    }
}

fn check_keep(keep: f64) -> Result<()> {
    if keep > 0.0 && keep <= 1.0 {
        return Ok(());
    }
    Err(Error::Config {
        problems: vec![format!("keep is {keep}, expected more than 0, at most 1")],
    })
}
