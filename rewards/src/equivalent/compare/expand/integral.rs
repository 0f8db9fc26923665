//! Integrals of polynomials, exactly: a polynomial of degree `d` is the sum of its values at `0` to
//! `d` times those polynomials that are one at one of these places and zero at the others
//! (Lagrange).

use dashu_ratio::RBig;

use super::{
    super::super::tree::{Id, Node},
    Work,
};

/// Largest degree that is integrated.
const MAX_DEGREE: u32 = 8;

impl Work<'_> {
    pub(super) fn integral(&mut self, level: u32, body: Id, low: Id, high: Id) -> Option<Id> {
        let shape = self.shape(body, level)?;
        if !shape.is_polynomial() || shape.degree > MAX_DEGREE {
            return None;
        }
        let degree = shape.degree as usize;
        let mut terms = Vec::with_capacity(degree + 1);
        for place in 0..=degree {
            let at = self.number(place as u32)?;
            let value = self.substituted(body, level, at)?;
            let antiderivative = antiderivative(place, degree);
            let (from, to) = (self.at(&antiderivative, low)?, self.at(&antiderivative, high)?);
            let weight = self.difference(to, from)?;
            terms.push(self.product(vec![value, weight])?);
        }
        self.sum(terms)
    }

    /// The value of a polynomial, its coefficients from the constant on.
    fn at(&mut self, coefficients: &[RBig], place: Id) -> Option<Id> {
        if let Some(place) = self.rational(place) {
            let value = coefficients.iter().rev().fold(RBig::ZERO, |sum, c| sum * &place + c);
            return self.number(value);
        }
        let mut sum = self.number(0)?;
        for coefficient in coefficients.iter().rev() {
            let product = self.push(Node::Product(vec![sum, place]))?;
            let coefficient = self.number(coefficient.clone())?;
            sum = self.push(Node::Sum(vec![product, coefficient]))?;
        }
        Some(sum)
    }
}

/// The antiderivative of the polynomial of this degree that is one at `place` and zero at the
/// others of `0` to `degree`; coefficients from the constant on.
fn antiderivative(place: usize, degree: usize) -> Vec<RBig> {
    let mut basis = vec![RBig::ONE];
    for zero in (0..=degree).filter(|&zero| zero != place) {
        let scale = RBig::from(place) - RBig::from(zero);
        let mut next = vec![RBig::ZERO; basis.len() + 1];
        for (at, coefficient) in basis.iter().enumerate() {
            let part = coefficient / &scale;
            next[at] -= &part * RBig::from(zero);
            next[at + 1] += part;
        }
        basis = next;
    }
    let integrated = basis.into_iter().enumerate().map(|(at, c)| c / RBig::from(at + 1));
    std::iter::once(RBig::ZERO).chain(integrated).collect()
}
