//! The kinds of linear maps.

use super::both;
use crate::Result;

/// A linear map, or one value for each of its parameters.
///
/// The set of kinds is closed: code outside this file matches on it, so that a new kind does not
/// compile until every backend computes it.
#[derive(Debug, Clone, Copy)]
pub enum Linear<T> {
    /// `y = x W^T + b`.
    Dense {
        /// (out, in)
        weight: T,
        /// (out)
        bias: Option<T>,
    },
}

impl<T> Linear<T> {
    /// References to the values.
    pub fn as_ref(&self) -> Linear<&T> {
        let Self::Dense { weight, bias } = self;
        Linear::Dense { weight, bias: bias.as_ref() }
    }

    /// Maps every value, the weight first.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Linear<U>, E> {
        let Self::Dense { weight, bias } = self;
        Ok(Linear::Dense { weight: f(weight)?, bias: bias.map(f).transpose()? })
    }

    /// Pairs the values of two maps.
    ///
    /// # Errors
    ///
    /// Fails when one has a bias and the other does not.
    pub fn zip<U>(self, other: Linear<U>) -> Result<Linear<(T, U)>> {
        let (Self::Dense { weight, bias }, Linear::Dense { weight: w, bias: b }) = (self, other);
        Ok(Linear::Dense { weight: (weight, w), bias: both(bias, b, "a bias")? })
    }
}
