//! What is compared as one value: a term, or the difference of the two sides of a relation.

use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Function, Id, Node, Tree},
    arithmetic::small_lower,
    ball::{Context, Real, is_negative},
    complex::Complex,
    exact::Exact,
    fuel::{Fuel, Trouble},
    modular::{Point, digest, random},
    place::Place,
    term::Term,
};

/// `3001!!` has 15,168 bits.
pub(super) const VAST_BITS: usize = 15_000;

/// `left - right`, or `left` alone.
#[derive(Debug)]
pub(super) struct Form<'tree> {
    pub(super) parts: Vec<(Term<'tree>, Exact)>,
    /// The value counts times this,
    pub(super) factor: RBig,
    /// and times pi.
    pub(super) times_pi: bool,
    /// and times these.
    pub(super) multipliers: Vec<(Term<'tree>, Exact)>,
}

impl<'tree> Form<'tree> {
    pub(super) fn new(
        tree: &'tree Tree,
        left: Id,
        right: Option<Id>,
        signs: u32,
        fuel: &mut Fuel,
    ) -> Self {
        Self::with_angle(tree, left, right, signs, false, fuel)
    }

    pub(super) fn with_angle(
        tree: &'tree Tree,
        left: Id,
        right: Option<Id>,
        signs: u32,
        as_angle: bool,
        fuel: &mut Fuel,
    ) -> Self {
        let parts = std::iter::once(left)
            .chain(right)
            .map(|id| {
                let term = Term::new(tree, id, signs, as_angle);
                // out of work, every later step says so
                let _ = fuel.burn(100 + 10 * term.order.len() as u64);
                let exact = fuel.lend(8, |fuel| Exact::of(&term, fuel));
                (term, exact)
            })
            .collect();
        Self { parts, factor: RBig::ONE, times_pi: false, multipliers: Vec::new() }
    }

    /// The exact value, where it is rational and small enough to be written out.
    pub(super) fn rational(&self) -> Option<RBig> {
        if self.times_pi {
            return None;
        }
        let mut values =
            self.parts.iter().map(|(term, exact)| exact.rational[term.root as usize].as_ref());
        let first = values.next()??.clone();
        let value = match values.next() {
            Some(second) => first - second?,
            None => first,
        };
        let mut value = value * &self.factor;
        for (term, exact) in &self.multipliers {
            value *= exact.rational[term.root as usize].as_ref()?;
        }
        Some(value)
    }

    /// Whether it is the factorial of a whole number that is too large to be computed, of one step
    /// or of two, and nothing else: then it is more than `2^VAST_BITS`.
    pub(super) fn is_vast(&self) -> bool {
        let ([(term, exact)], []) = (self.parts.as_slice(), self.multipliers.as_slice()) else {
            return false;
        };
        let (Node::Factorial(of) | Node::DoubleFactorial(of)) = term.tree.node(term.root) else {
            return false;
        };
        let is_large = |n: &RBig| n.is_int() && *n > RBig::from(3000);
        let of = exact.rational[*of as usize].as_ref();
        of.is_some_and(is_large) && self.factor == RBig::ONE && !self.times_pi
    }

    /// Multiplies by another value of the same tree.
    pub(super) fn multiply(&mut self, tree: &'tree Tree, id: Id, fuel: &mut Fuel) {
        let term = Term::new(tree, id, 0, false);
        let exact = fuel.lend(8, |fuel| Exact::of(&term, fuel));
        self.multipliers.push((term, exact));
    }

    /// All terms.
    pub(super) fn terms(&self) -> impl Iterator<Item = &(Term<'tree>, Exact)> {
        self.parts.iter().chain(&self.multipliers)
    }

    pub(super) fn scale(&mut self, factor: &RBig) {
        self.factor *= factor;
    }

    pub(super) fn multiply_by_pi(&mut self) {
        self.times_pi = true;
    }

    pub(super) fn has_pi(&self) -> bool {
        self.any(|node| matches!(node, Node::Constant(Constant::Pi)))
    }

    /// Whether it is an angle by the way it is written: multiples and sums of inverses of sines and
    /// the like.
    pub(super) fn is_angle(&self) -> bool {
        use Function as F;
        let (term, exact) = &self.parts[0];
        let mut angle = vec![false; term.root as usize + 1];
        for (id, node) in term.nodes() {
            let is = |id: Id| angle[id as usize];
            let number = |id: Id| exact.rational[id as usize].is_some();
            angle[id as usize] = match node {
                Node::Apply(function, _) => matches!(
                    function,
                    F::Arcsin | F::Arccos | F::Arctan | F::Arccot | F::Arcsec | F::Arccsc | F::Arg
                ),
                Node::Negated(of) | Node::Quotient(of, _) => is(*of),
                Node::Sum(of) => of.iter().all(|&id| is(id)),
                Node::Product(of) => {
                    let angles = of.iter().filter(|&&id| is(id)).count();
                    angles == 1 && of.iter().all(|&id| is(id) || number(id))
                }
                _ => false,
            };
        }
        self.multipliers.is_empty() && angle[term.root as usize]
    }

    /// Whether signs are left open in it.
    pub(super) fn is_open(&self) -> bool {
        self.any(|node| matches!(node, Node::PlusMinus(_) | Node::MinusPlus(_)))
    }

    pub(super) fn has_symbol(&self) -> bool {
        self.any(|node| matches!(node, Node::Symbol(_) | Node::Call(..)))
    }

    /// Whether it holds a function whose value jumps or bends at places that numbers in it decide.
    pub(super) fn has_steps(&self) -> bool {
        self.terms().any(|(term, exact)| {
            term.nodes().any(|(_, node)| match node {
                Node::Apply(function, _) => matches!(function, Function::Floor | Function::Ceil),
                Node::Call(name, of) if matches!(&**name, "max" | "min") => {
                    of.iter().any(|&id| exact.rational[id as usize].is_some())
                }
                _ => false,
            })
        })
    }

    pub(super) fn any(&self, wanted: impl Fn(&Node) -> bool) -> bool {
        self.terms().any(|(term, _)| term.nodes().any(|(_, node)| wanted(node)))
    }

    /// Whether the value is rational by the way it is written, however large.
    pub(super) fn is_rational(&self) -> bool {
        !self.times_pi
            && !self.any(|node| {
                matches!(
                    node,
                    Node::Constant(_)
                        | Node::Symbol(_)
                        | Node::Call(..)
                        | Node::Root { .. }
                        | Node::Log { .. }
                        | Node::Apply(..)
                )
            })
            || self.rational().is_some()
    }

    pub(super) fn needs_whole(&self) -> bool {
        self.terms().any(|(term, exact)| {
            term.nodes().any(|(id, node)| {
                let known = |id: Id| exact.rational[id as usize].as_ref();
                match node {
                    Node::Factorial(_) | Node::DoubleFactorial(_) => known(id).is_none(),
                    // a polynomial, where the lower number is one
                    Node::Binomial(_, lower) => {
                        known(id).is_none() && known(*lower).and_then(small_lower).is_none()
                    }
                    // (-1)^n
                    Node::Power(base, exponent) => {
                        known(*base).is_some_and(is_negative) && known(*exponent).is_none()
                    }
                    _ => false,
                }
            })
        })
    }

    pub(super) fn residue(
        &self,
        point: &Point<'_>,
        fuel: &mut Fuel,
    ) -> Result<(u64, bool), Trouble> {
        let mut result = (0, true);
        for (at, (term, exact)) in self.parts.iter().enumerate() {
            let value = point.value(term, exact, fuel)?;
            let residue = if at == 0 { value.residue } else { point.field.negated(value.residue) };
            result = (point.field.sum(result.0, residue), result.1 && value.faithful);
        }
        if !self.factor.is_one() {
            result.0 = point.field.product(result.0, point.field.rational(&self.factor)?);
        }
        if self.times_pi {
            result.0 = point.field.product(result.0, point.pi());
        }
        for (term, exact) in &self.multipliers {
            let value = point.value(term, exact, fuel)?;
            result.0 = point.field.product(result.0, value.residue);
            result.1 &= value.faithful;
        }
        Ok(result)
    }

    pub(super) fn value(&self, context: &mut Context<'_>, place: Place<'_>) -> Real<Complex> {
        let (term, exact) = &self.parts[0];
        let mut value = context.value(term, exact, place)?;
        if let Some((term, exact)) = self.parts.get(1) {
            let right = context.value(term, exact, place)?;
            value = context.subtract(&value, &right)?;
        }
        if !self.factor.is_one() {
            let factor = context.rational(&self.factor)?;
            value = context.multiply(&value, &factor.into())?;
        }
        if self.times_pi {
            let pi = context.pi()?;
            value = context.multiply(&value, &pi.into())?;
        }
        for (term, exact) in &self.multipliers {
            let multiplier = context.value(term, exact, place)?;
            value = context.multiply(&value, &multiplier)?;
        }
        Ok(value)
    }

    /// A digest of what is written: of the nodes' kinds, names and numbers.
    pub(super) fn digest(&self) -> u64 {
        let mut state = 0;
        for (term, exact) in self.terms() {
            for (id, node) in term.nodes() {
                let word = match (&exact.rational[id as usize], node) {
                    (Some(value), _) => {
                        let words = value.numerator().as_sign_words().1.iter();
                        words
                            .chain(value.denominator().as_words())
                            .fold(7, |hash, &word| random(hash, word))
                    }
                    (None, Node::Symbol(name)) => digest(name),
                    (None, _) => u64::from(id),
                };
                state = random(state, word);
            }
        }
        state
    }
}
