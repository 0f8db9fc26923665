//! Linear maps, and what an adapter adds to them.

use super::both;
use crate::Result;

/// A linear map, or one value for each of its parameters: `y = x W^T + b`, and with an adapter
/// `y = x W^T + b + (s x A^T) B^T`.
///
/// Code outside this file takes it apart by its fields, so that a new part does not compile until
/// every backend computes it.
#[derive(Debug, Clone, Copy)]
pub struct Linear<T> {
    /// `W`: (out, in).
    pub weight: T,
    /// `b`: (out).
    pub bias: Option<T>,
    /// What an adapter adds.
    pub lora: Option<Lora<T>>,
}

/// A map of low rank, or one value for each of its parameters: `(s x A^T) B^T`.
///
/// Source: arXiv 2106.09685, equation 3.
#[derive(Debug, Clone, Copy)]
pub struct Lora<T> {
    /// `A`: (rank, in).
    pub a: T,
    /// `B`: (out, rank).
    pub b: T,
    /// `s`.
    pub scale: f64,
}

impl<T> Linear<T> {
    /// A map without an adapter.
    pub fn dense(weight: T, bias: Option<T>) -> Self {
        Self { weight, bias, lora: None }
    }

    /// References to the values.
    pub fn as_ref(&self) -> Linear<&T> {
        let Self { weight, bias, lora } = self;
        Linear { weight, bias: bias.as_ref(), lora: lora.as_ref().map(Lora::as_ref) }
    }

    /// Maps every value: the weight, the bias, `A`, `B`.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Linear<U>, E> {
        let Self { weight, bias, lora } = self;
        Ok(Linear {
            weight: f(weight)?,
            bias: bias.map(&mut f).transpose()?,
            lora: lora.map(|lora| lora.try_map(f)).transpose()?,
        })
    }

    /// Pairs the values of two maps.
    ///
    /// # Errors
    ///
    /// Fails when one has a bias or an adapter and the other does not.
    pub fn zip<U>(self, other: Linear<U>) -> Result<Linear<(T, U)>> {
        let Self { weight, bias, lora } = self;
        let lora = both(lora, other.lora, "an adapter")?.map(|(lora, other)| lora.zip(other));
        let bias = both(bias, other.bias, "a bias")?;
        Ok(Linear { weight: (weight, other.weight), bias, lora })
    }
}

impl<T> Lora<T> {
    /// References to the values.
    pub fn as_ref(&self) -> Lora<&T> {
        Lora { a: &self.a, b: &self.b, scale: self.scale }
    }

    /// Maps both values, `A` first.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Lora<U>, E> {
        Ok(Lora { a: f(self.a)?, b: f(self.b)?, scale: self.scale })
    }

    /// Pairs the values of two maps; the scale is that of the first.
    fn zip<U>(self, other: Lora<U>) -> Lora<(T, U)> {
        Lora { a: (self.a, other.a), b: (self.b, other.b), scale: self.scale }
    }
}
