//! Where symbols stand when expressions in them are compared by their values.
//!
//! What tells `x` from `|x|` or `\max(x, y)` from `x` is not left to chance: the first places are
//! positive, then every pattern of signs of two symbols occurs, and each symbol is the largest
//! once.

use dashu_int::IBig;

use super::{
    super::tree::{Constant, Function, Node},
    ball::Ball,
    complex::Complex,
    form::Form,
    modular::{digest, random},
};

/// How many places there are.
pub(super) const PLACES: u64 = 16;

/// The first place at which symbols are negative, and the first at which signs are drawn.
const FIRST_SIGNED: u64 = 5;
const FIRST_DRAWN: u64 = 10;

/// The places that are enough where no function in sight has an edge.
const ENOUGH: u64 = 8;

/// Whether symbols have to be whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    No,
    /// `(-1)^n`.
    Yes,
    /// `n!`.
    Positive,
}

/// What two forms ask of the places.
#[derive(Debug)]
pub(super) struct Survey<'tree> {
    /// In order.
    names: Vec<&'tree str>,
    seed: u64,
    whole: Whole,
    real: bool,
    complex: bool,
    /// Places that have to be visited.
    pub(super) needed: u64,
}

/// One place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    names: &'a [&'a str],
    seed: u64,
    pub(super) index: u64,
    whole: Whole,
    /// Nothing is complex: a square root or a logarithm of a negative number has no value.
    pub(super) real: bool,
    complex: bool,
}

/// Whether a function has an edge, at which it may leave another that it agrees with before.
fn has_edge(node: &Node) -> bool {
    use Function as F;
    match node {
        Node::Apply(function, _) => matches!(
            function,
            F::Abs
                | F::Floor
                | F::Ceil
                | F::Sign
                | F::Ln
                | F::Arcsin
                | F::Arccos
                | F::Arctan
                | F::Arccot
                | F::Arcsec
                | F::Arccsc
                | F::Conjugate
                | F::Re
                | F::Im
                | F::Arg
        ),
        Node::Root { .. } | Node::Log { .. } | Node::Call(..) | Node::Power(..) => true,
        _ => false,
    }
}

impl<'tree> Survey<'tree> {
    pub(super) fn of(gold: &Form<'tree>, answer: &Form<'tree>, seed: u64) -> Self {
        let mut names = Vec::new();
        for form in [gold, answer] {
            for (_, node) in form.terms().flat_map(|(term, _)| term.nodes()) {
                if let Node::Symbol(name) = node {
                    names.push(&**name);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        let any = |wanted: fn(&Node) -> bool| gold.any(wanted) || answer.any(wanted);
        let has_unit = any(|node| matches!(node, Node::Constant(Constant::I)));
        let complex = any(|node| {
            use Function as F;
            matches!(node, Node::Apply(F::Conjugate | F::Re | F::Im | F::Arg, _))
        });
        let whole = match (gold.needs_whole(), answer.needs_whole()) {
            _ if any(|node| {
                matches!(node, Node::Factorial(_) | Node::DoubleFactorial(_) | Node::Binomial(..))
            }) && (gold.needs_whole() || answer.needs_whole()) =>
            {
                Whole::Positive
            }
            (false, false) => Whole::No,
            _ => Whole::Yes,
        };
        Self {
            whole,
            real: !names.is_empty() && !has_unit && !complex,
            complex: complex && !names.is_empty(),
            needed: if any(has_edge) { PLACES } else { ENOUGH },
            names,
            seed,
        }
    }

    /// Whether symbols are whole numbers at all places.
    pub(super) fn is_whole(&self) -> bool {
        self.whole != Whole::No
    }

    pub(super) fn place(&self, index: u64) -> Place<'_> {
        let Self { names, seed, whole, real, complex, .. } = self;
        Place { names, seed: *seed, index, whole: *whole, real: *real, complex: *complex }
    }
}

impl Place<'_> {
    /// For constants that are known to be real.
    pub(super) fn without_symbols() -> Self {
        Place { names: &[], seed: 0, index: 0, whole: Whole::No, real: true, complex: false }
    }

    pub(super) fn symbol(&self, name: &str) -> Complex {
        let rank = self.names.binary_search(&name).unwrap_or(0) as u64;
        let bits = random(self.seed ^ digest(name), 0x1000 + self.index);
        let negative = self.is_negative(rank, bits);
        if self.whole != Whole::No {
            let parity = (self.index + (rank & (self.index >> 1))) & 1;
            let value = IBig::from(2 + 2 * (bits >> 8) % 18 + parity);
            let negative = negative && self.whole == Whole::Yes;
            return Ball::integer(if negative { -value } else { value }).into();
        }
        let re = self.draw(rank, bits, negative);
        if !self.complex {
            return re.into();
        }
        let other = random(bits, 0x2000 + self.index);
        Complex { re, im: self.draw(rank, other, other & 1 == 1) }
    }

    fn is_negative(&self, rank: u64, bits: u64) -> bool {
        match self.index {
            ..FIRST_SIGNED => false,
            FIRST_SIGNED => true,
            6 => rank & 1 == 1,
            7 => rank & 1 == 0,
            8 => rank >> 1 & 1 == 1,
            9 => rank >> 1 & 1 == 0,
            FIRST_DRAWN.. => bits & 1 == 1,
        }
    }

    /// A number of the place's size, never whole.
    fn draw(&self, rank: u64, bits: u64, negative: bool) -> Ball {
        let (width, start) = match self.index {
            // two places lie far out
            4 => (10i64, 1_000u64),
            7 => (11, 500),
            index => [(1, 1), (0, 0), (3, 2), (-2, 0)][index as usize % 4],
        };
        let count = self.names.len() as u64;
        let largest = count > 1 && self.index % count == rank;
        // start + width * (an odd fraction of 2^40); the largest has at least half the width, 16
        // times
        let fraction = IBig::from(bits >> 24 | 1 | if largest { 1 << 39 } else { 0 });
        let mantissa = fraction + (IBig::from(start) << (40 - width) as usize);
        Ball {
            mantissa: if negative { -mantissa } else { mantissa },
            exponent: width - 40 + if largest { 4 } else { 0 },
            error: None,
        }
    }
}
