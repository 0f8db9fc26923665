//! How near to zero an algebraic number may be without being zero.
//!
//! The bound of Burnikel, Funke, Mehlhorn, Schirra and Schmitt ("A separation bound for real
//! algebraic expressions", ESA 2001): an expression of integers, `+ - * /` and roots is a quotient
//! of two algebraic integers, `u` and `l` bounding the size of all conjugates of the one above and
//! the one below. With `D` the product of the indices of its distinct roots, a value that is not
//! zero is at least `1 / (u^(D - 1) l)` in size. Bounds are kept as logarithms to the base 2,
//! rounded up.
//!
//! A sine or cosine of a rational multiple of pi is half a sum of two roots of unity: `u = 2`, `l =
//! 2`, and `D` grows by the order of that root. The imaginary unit is a root of index 2.

use dashu_base::BitTest;
use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Function, Node},
    arithmetic::whole,
    exact::Exact,
    term::Term,
};

/// Largest product of root indices for which a bound is stated.
const MAX_DEGREE: u64 = 1 << 12;

/// Logarithms of the two bounds.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    above: u64,
    below: u64,
}

/// The bound of the difference of some terms, built up term by term.
#[derive(Debug, Default)]
pub(super) struct Separation {
    /// Logarithms for each term.
    terms: Vec<(u64, u64)>,
    degree: u64,
    /// What the roots met are known by: equal keys, equal roots.
    roots: Vec<(u64, u64, u64)>,
}

impl Separation {
    pub(super) fn new() -> Self {
        Self { terms: Vec::new(), degree: 1, roots: Vec::new() }
    }

    /// Takes a term in, whose nodes have these `names` (two for each). `None` where it has parts
    /// that are not algebraic, or where the bound grows beyond use.
    pub(super) fn add(
        &mut self,
        term: &Term<'_>,
        exact: &Exact,
        names: &[Vec<Option<u64>>; 2],
    ) -> Option<()> {
        let mut bounds: Vec<Option<Bounds>> = vec![None; term.root as usize + 1];
        for (id, node) in term.nodes() {
            let at = id as usize;
            let value = match &exact.rational[at] {
                Some(value) => Some(Bounds {
                    above: log_of(value.numerator().bit_len()),
                    below: log_of(value.denominator().bit_len()),
                }),
                None => self.node(term, id, node, exact, &bounds, names),
            };
            bounds[at] = value.filter(|bounds| bounds.above.max(bounds.below) < 1 << 20);
        }
        let root = bounds[term.root as usize]?;
        self.terms.push((root.above, root.below));
        Some(())
    }

    /// Makes room for a rational factor of some of the terms.
    pub(super) fn scale(&mut self, factor: &RBig) {
        for (above, below) in &mut self.terms {
            *above += log_of(factor.numerator().bit_len());
            *below += log_of(factor.denominator().bit_len());
        }
    }

    /// `b` such that the difference is zero or at least `2^-b` in size.
    pub(super) fn bits(&self) -> Option<u64> {
        let below: u64 = self.terms.iter().map(|term| term.1).sum();
        let above = self.terms.iter().map(|term| term.0 + below - term.1).max()?;
        let above = above + ceil_log(self.terms.len());
        above.checked_mul(self.degree - 1)?.checked_add(below)
    }

    /// Counts a root once, however often it stands.
    fn meet(&mut self, key: (u64, u64, u64), index: u64) -> Option<()> {
        if !self.roots.contains(&key) {
            self.roots.push(key);
            self.degree = self.degree.checked_mul(index).filter(|degree| *degree <= MAX_DEGREE)?;
        }
        Some(())
    }

    fn node(
        &mut self,
        term: &Term<'_>,
        id: u32,
        node: &Node,
        exact: &Exact,
        bounds: &[Option<Bounds>],
        names: &[Vec<Option<u64>>; 2],
    ) -> Option<Bounds> {
        let get = |id: u32| bounds[id as usize];
        let name = |id: u32| Some((names[0][id as usize]?, names[1][id as usize]?));
        match node {
            Node::Constant(Constant::I) => {
                self.meet((0, 0, 2), 2)?;
                Some(Bounds { above: 0, below: 0 })
            }
            Node::Sum(of) => {
                let terms = of.iter().map(|&id| get(id)).collect::<Option<Vec<_>>>()?;
                let below: u64 = terms.iter().map(|term| term.below).sum();
                let above = terms.iter().map(|term| term.above + below - term.below).max()?;
                Some(Bounds { above: above + ceil_log(terms.len()), below })
            }
            Node::Product(of) => of.iter().try_fold(Bounds { above: 0, below: 0 }, |a, &id| {
                let b = get(id)?;
                Some(Bounds { above: a.above + b.above, below: a.below + b.below })
            }),
            Node::Negated(of) | Node::PlusMinus(of) | Node::MinusPlus(of) | Node::Unit(of, _) => {
                get(*of)
            }
            Node::Degrees(of) if !term.is_angle[id as usize] => get(*of),
            Node::Percent(of) => get(*of).map(|of| Bounds { below: of.below + 7, ..of }),
            Node::Quotient(above, below) => quotient(get(*above)?, get(*below)?),
            Node::Ratio(of) if of.len() == 2 => quotient(get(of[0])?, get(of[1])?),
            Node::Root { radicand, index } => {
                let index = exact.rational[*index as usize].as_ref().and_then(whole)?;
                let (first, second) = name(*radicand)?;
                self.root(get(*radicand)?, (first, second), index)
            }
            Node::Power(base, exponent) => {
                let power = exact.rational[*exponent as usize].as_ref();
                let Some(power) = power else { return self.unity(exact, id, term) };
                let times = i64::try_from(power.numerator()).ok()?;
                let index = i64::try_from(power.denominator()).ok()?;
                let base_bounds = get(*base)?;
                let base_bounds = match index {
                    1 => base_bounds,
                    _ => self.root(base_bounds, name(*base)?, index)?,
                };
                let many = times.unsigned_abs();
                let (above, below) =
                    (base_bounds.above.checked_mul(many)?, base_bounds.below.checked_mul(many)?);
                Some(if times < 0 {
                    Bounds { above: below, below: above }
                } else {
                    Bounds { above, below }
                })
            }
            Node::Apply(function, of) => self.circular(*function, exact, *of, id, term),
            _ => None,
        }
    }

    fn root(&mut self, of: Bounds, name: (u64, u64), index: i64) -> Option<Bounds> {
        let k = u64::try_from(index).ok().filter(|k| (1..=64).contains(k))?;
        self.meet((name.0, name.1, k), k)?;
        // either side may take the root: the smaller bound wins
        Some(if of.above >= of.below {
            Bounds { above: (of.above + of.below * (k - 1)).div_ceil(k), below: of.below }
        } else {
            Bounds { above: of.above, below: (of.above * (k - 1) + of.below).div_ceil(k) }
        })
    }

    /// `e^(i pi c)`.
    fn unity(&mut self, exact: &Exact, id: u32, term: &Term<'_>) -> Option<Bounds> {
        let exponent = match term.tree.node(id) {
            Node::Power(base, exponent) => match term.tree.node(*base) {
                Node::Constant(Constant::E) => *exponent,
                _ => return None,
            },
            Node::Apply(Function::Exp, of) => *of,
            _ => return None,
        };
        let turn = exact.turn(exponent)?;
        let order = u64::try_from(turn.denominator()).ok()?.checked_mul(2)?;
        self.meet((1, order, 0), order)?;
        Some(Bounds { above: 0, below: 0 })
    }

    fn circular(
        &mut self,
        function: Function,
        exact: &Exact,
        of: u32,
        id: u32,
        term: &Term<'_>,
    ) -> Option<Bounds> {
        if function == Function::Exp {
            return self.unity(exact, id, term);
        }
        let turns = exact.pi_multiple(of)?;
        let order = u64::try_from(turns.denominator()).ok()?.checked_mul(2)?;
        let half_sum = Bounds { above: 1, below: 1 };
        let bounds = match function {
            Function::Sin | Function::Cos | Function::Sec | Function::Csc => half_sum,
            Function::Tan | Function::Cot => Bounds { above: 2, below: 2 },
            _ => return None,
        };
        // a sine has the imaginary unit below
        if !matches!(function, Function::Cos | Function::Sec) {
            self.meet((0, 0, 2), 2)?;
        }
        self.meet((1, order, 0), order)?;
        Some(bounds)
    }
}

fn quotient(above: Bounds, below: Bounds) -> Option<Bounds> {
    Some(Bounds {
        above: above.above.checked_add(below.below)?,
        below: above.below.checked_add(below.above)?,
    })
}

/// A whole number at least the logarithm of a number of so many bits.
fn log_of(bits: usize) -> u64 {
    if bits <= 1 { 0 } else { bits as u64 }
}

/// A whole number at least the logarithm of a count.
fn ceil_log(count: usize) -> u64 {
    u64::from(usize::BITS - count.saturating_sub(1).leading_zeros())
}
