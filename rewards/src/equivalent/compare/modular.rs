//! Rational functions by their values modulo two primes of 61 bits.
//!
//! Two rational functions of degree at most `d` that differ agree at a random point modulo a prime
//! `p` with probability at most `d/p` (Schwartz 1980, Zippel 1979): below 2^-40 a point under the
//! degree cap, below 2^-80 for two primes. Points and primes come from Philox, counted by a digest
//! of both answers, so that no answer can be written to fit them: it would have to be a fixed point
//! of the digest.
//!
//! Everything that is no rational function (a sine, a root) is taken for an unknown function of its
//! arguments' values, once [`laws`](super::laws) have taken powers with symbols in the exponent and
//! factorials apart. Agreement then still proves equality; disagreement proves nothing.

use dashu_base::Sign;
use dashu_int::UBig;
use dashu_ratio::RBig;
use rand_philox::philox4x32_10;

use super::{
    super::tree::{Bound, Constant, Function, Id, Node, Tree},
    arithmetic::whole,
    exact::{Exact, arguments},
    field::Field,
    fuel::{Fuel, Trouble},
    laws::Laws,
    structure::infinite,
    term::Term,
};

/// Key of all random points of comparisons.
const KEY: [u32; 2] = [0x7374_6561, 0x7269_6e34];

/// Largest degree of a rational function whose values are believed.
const MAX_DEGREE: u64 = 1 << 20;

/// 64 random bits: a function of where they are needed.
pub(super) fn random(purpose: u64, index: u64) -> u64 {
    let counter = [purpose as u32, (purpose >> 32) as u32, index as u32, (index >> 32) as u32];
    let words = philox4x32_10(counter, KEY);
    u64::from(words[0]) << 32 | u64::from(words[1])
}

/// A name as a number.
pub(super) fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What a term's value at one point says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) residue: u64,
    /// Whether disagreement of two such values means that the terms differ.
    pub(super) faithful: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) value: u64,
    pub(super) degree: u64,
    pub(super) faithful: bool,
}

/// One evaluation: a field, a point, and which term with what is known of it.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) field: &'a Field,
    pub(super) seed: u64,
}

impl Point<'_> {
    /// What stands for pi.
    pub(super) fn pi(&self) -> u64 {
        random(self.seed ^ digest("\\pi"), self.field.p) % self.field.p
    }

    /// Values of all nodes of a term, by node.
    fn values(
        &self,
        term: &Term<'_>,
        exact: &Exact,
        fuel: &mut Fuel,
    ) -> Result<Vec<Option<Known>>, Trouble> {
        let mut values = vec![None; term.root as usize + 1];
        let mut laws = Laws::of(term, exact);
        for (id, node) in term.nodes() {
            fuel.burn(8)?;
            let at = id as usize;
            values[at] = if let Some(value) = &exact.rational[at] {
                fuel.burn(value.numerator().as_sign_words().1.len() as u64 / 2)?;
                let value = self.field.rational(value)?;
                Some(Known { value, degree: 0, faithful: true })
            } else {
                let laws = laws.as_ref();
                match laws.map(|laws| self.by_law(node, exact, &values, laws, fuel)).transpose()? {
                    Some(Some(known)) => Some(known),
                    _ => self.node(term, id, node, exact, &values, fuel)?,
                }
            };
            if let Some(laws) = &mut laws {
                self.combine((id, node), exact, &values, laws, fuel)?;
            }
            if values[at].is_some_and(|known| known.degree > MAX_DEGREE) {
                return Err(Trouble::Spent);
            }
        }
        Ok(values)
    }

    /// The value of a term.
    pub(super) fn value(
        &self,
        term: &Term<'_>,
        exact: &Exact,
        fuel: &mut Fuel,
    ) -> Result<Value, Trouble> {
        let values = self.values(term, exact, fuel)?;
        let known = values[term.root as usize].ok_or(Trouble::Foreign)?;
        Ok(Value { residue: known.value, faithful: known.faithful })
    }

    /// Names for the nodes of a term: equal names mean, but for chance, equal values.
    pub(super) fn names(
        &self,
        term: &Term<'_>,
        exact: &Exact,
        fuel: &mut Fuel,
    ) -> Result<Vec<Option<u64>>, Trouble> {
        let values = self.values(term, exact, fuel)?;
        Ok(values.into_iter().map(|known| known.map(|known| known.value)).collect())
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of node")]
    fn node(
        &self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        exact: &Exact,
        values: &[Option<Known>],
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let field = self.field;
        let get = |id: Id| values[id as usize];
        let unknown = |name: &str, of: &[Id]| -> Option<Known> {
            let mut arguments = Vec::with_capacity(of.len());
            let mut degree = 1;
            for &id in of {
                let known = get(id)?;
                arguments.push(known.value);
                degree = degree.max(known.degree);
            }
            let value = field.unknown(digest(name), &arguments);
            Some(Known { value, degree, faithful: false })
        };
        let opened = |id: Id, negative: bool| {
            get(id).map(|known| {
                let value = if negative { field.negated(known.value) } else { known.value };
                Known { value, ..known }
            })
        };
        Ok(match node {
            Node::Symbol(name) => {
                let value = random(self.seed ^ digest(name), field.p) % field.p;
                Some(Known { value, degree: 1, faithful: true })
            }
            Node::Constant(Constant::I) => {
                Some(Known { value: field.unit, degree: 0, faithful: true })
            }
            // by Lindemann's theorem pi and e are as good as a symbol, but for both together
            Node::Constant(constant @ (Constant::Pi | Constant::E)) => {
                let name = if *constant == Constant::Pi { "\\pi" } else { "\\e" };
                let value = random(self.seed ^ digest(name), field.p) % field.p;
                Some(Known { value, degree: 1, faithful: true })
            }
            Node::Sum(of) => {
                fold(of, values, 0, |a, b| (field.sum(a.value, b.value), a.degree + b.degree))
            }
            Node::Product(of) => fold(of, values, field.one, |a, b| {
                (field.product(a.value, b.value), a.degree + b.degree)
            }),
            Node::Negated(of) => opened(*of, true),
            Node::PlusMinus(of) | Node::MinusPlus(of) => opened(*of, term.takes_minus(id)),
            Node::Percent(of) => match get(*of) {
                Some(known) => {
                    let value = field.product(known.value, field.inverse(field.enter(100))?);
                    Some(Known { value, ..known })
                }
                None => None,
            },
            Node::Degrees(of) if !term.is_angle[id as usize] => get(*of),
            Node::Degrees(of) => {
                let pi = self.pi();
                match get(*of) {
                    Some(known) => {
                        let turn = field.product(known.value, field.inverse(field.enter(180))?);
                        let value = field.product(turn, pi);
                        Some(Known { value, degree: known.degree + 1, ..known })
                    }
                    None => None,
                }
            }
            Node::Unit(of, _) => get(*of),
            Node::Quotient(above, below) => self.quotient(get(*above), get(*below), fuel)?,
            Node::Ratio(of) if of.len() == 2 => self.quotient(get(of[0]), get(of[1]), fuel)?,
            Node::Ratio(of) => unknown("ratio", of),
            Node::Power(base, exponent) => match exact.rational[*exponent as usize].as_ref() {
                Some(times) if times.is_int() => self.power(get(*base), times, fuel)?,
                _ => unknown("power", &[*base, *exponent]),
            },
            Node::Apply(Function::Exp, of) => get(*of).map(|known| {
                let base = random(self.seed ^ digest("\\e"), field.p) % field.p;
                let value = field.unknown(digest("power"), &[base, known.value]);
                Known { value, degree: known.degree.max(1), faithful: false }
            }),
            Node::Apply(function, _) if is_conjugating(*function) && term.has_imaginary_unit() => {
                None
            }
            Node::Apply(function, of) => unknown(function.name(), &[*of]),
            Node::Call(name, of) if matches!(&**name, "max" | "min" | "gcd" | "lcm") => {
                unknown(name, &sorted(arguments(term.tree, of), values))
            }
            // another function at each point: `f(7) = 49` is no multiple of `f(4) = 16`
            Node::Call(name, of) => unknown(&format!("call {name} {}", self.seed), of)
                .map(|known| Known { faithful: exact_call(of, values), ..known }),
            // statements are arguments only: of the probability of an event
            Node::Relation { operator, left, right } => {
                unknown(&format!("{operator:?}"), &[*left, *right])
            }
            Node::Union(of) => unknown("union", &sorted(of, values)),
            Node::Intersection(of) => unknown("intersection", &sorted(of, values)),
            Node::All(of) => unknown("all", of),
            Node::Determinant { rows, entries } => {
                self.determinant(*rows as usize, entries, values, fuel)?
            }
            Node::Root { radicand, index } => unknown("root", &[*radicand, *index]),
            Node::Log { base, of } => unknown("log", &[*base, *of]),
            Node::Bound { operator, of, .. } => self.bound(*operator, of, term.tree, values),
            Node::Factorial(of) => unknown("factorial", &[*of]),
            Node::DoubleFactorial(of) => unknown("double factorial", &[*of]),
            Node::Binomial(n, k) => unknown("binomial", &[*n, *k]),
            _ => None,
        })
    }

    /// An operation over a variable, by what it is of at one value of that variable: as a function
    /// of it, equal values mean equal functions.
    fn bound(
        &self,
        operator: Bound,
        of: &[Id],
        tree: &Tree,
        values: &[Option<Known>],
    ) -> Option<Known> {
        let (mut arguments, mut degree) = (vec![of.len() as u64], 1);
        for &id in of {
            let known = if let Some(sign) = infinite(tree, id) {
                random(digest("infinity"), sign as u64) % self.field.p
            } else {
                let known = values[id as usize]?;
                degree = degree.max(known.degree);
                known.value
            };
            arguments.push(known);
        }
        let value = self.field.unknown(digest(operator.name()), &arguments);
        Some(Known { value, degree, faithful: false })
    }

    /// By elimination.
    fn determinant(
        &self,
        rows: usize,
        entries: &[Id],
        values: &[Option<Known>],
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let known = entries.iter().map(|&id| values[id as usize]).collect::<Option<Vec<_>>>();
        let Some(known) = known.filter(|known| known.len() == rows * rows) else { return Ok(None) };
        fuel.burn((rows * rows * (rows + 40)) as u64)?;
        let field = self.field;
        let mut cells: Vec<u64> = known.iter().map(|known| known.value).collect();
        let mut value = field.one;
        for column in 0..rows {
            let Some(pivot) = (column..rows).find(|row| cells[row * rows + column] != 0) else {
                value = 0;
                break;
            };
            if pivot != column {
                (0..rows).for_each(|at| cells.swap(pivot * rows + at, column * rows + at));
                value = field.negated(value);
            }
            let head = cells[column * rows + column];
            let inverse = field.inverse(head)?;
            for row in column + 1..rows {
                let factor = field.negated(field.product(cells[row * rows + column], inverse));
                for at in column..rows {
                    let less = field.product(factor, cells[column * rows + at]);
                    cells[row * rows + at] = field.sum(cells[row * rows + at], less);
                }
            }
            value = field.product(value, head);
        }
        Ok(Some(Known {
            value,
            degree: known.iter().map(|known| known.degree).sum(),
            faithful: known.iter().all(|known| known.faithful),
        }))
    }

    fn quotient(
        &self,
        above: Option<Known>,
        below: Option<Known>,
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let (Some(above), Some(below)) = (above, below) else { return Ok(None) };
        fuel.burn(40)?;
        let value = self.field.product(above.value, self.field.inverse(below.value)?);
        Ok(Some(Known {
            value,
            degree: above.degree + below.degree,
            faithful: above.faithful && below.faithful,
        }))
    }

    fn power(
        &self,
        base: Option<Known>,
        times: &RBig,
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let Some(base) = base else { return Ok(None) };
        fuel.burn(80)?;
        let (sign, magnitude) = times.numerator().clone().into_parts();
        let negative = sign == Sign::Negative;
        let value = if negative { self.field.inverse(base.value)? } else { base.value };
        if base.value == 0 && magnitude.is_zero() {
            return Err(Trouble::Undefined);
        }
        let reduced = if let Some(times) = whole(times) {
            times.unsigned_abs() % (self.field.p - 1)
        } else {
            // Fermat: only the exponent modulo p - 1 matters
            u64::try_from(magnitude % UBig::from(self.field.p - 1)).map_err(|_| Trouble::Spent)?
        };
        let times = whole(times).map_or(u64::MAX, i64::unsigned_abs);
        let degree = if base.degree == 0 { 0 } else { base.degree.saturating_mul(times) };
        Ok(Some(Known { value: self.field.power(value, reduced), degree, ..base }))
    }
}

/// A sum or a product.
fn fold(
    of: &[Id],
    values: &[Option<Known>],
    first: u64,
    step: impl Fn(Known, Known) -> (u64, u64),
) -> Option<Known> {
    let mut result = Known { value: first, degree: 0, faithful: true };
    for &id in of {
        let known = values[id as usize]?;
        let (value, degree) = step(result, known);
        result = Known { value, degree, faithful: result.faithful && known.faithful };
    }
    Some(result)
}

/// Arguments in an order of their values: for functions that do not care.
fn sorted(of: &[Id], values: &[Option<Known>]) -> Vec<Id> {
    let mut of = of.to_vec();
    of.sort_by_key(|&id| values[id as usize].map(|known| known.value));
    of
}

/// Two calls of an unknown function differ where their arguments do.
fn exact_call(of: &[Id], values: &[Option<Known>]) -> bool {
    of.iter().all(|&id| values[id as usize].is_some_and(|known| known.faithful))
}

/// Functions that tell a number from its conjugate, which residues do not.
fn is_conjugating(function: Function) -> bool {
    use Function as F;
    matches!(function, F::Conjugate | F::Re | F::Im | F::Arg | F::Abs)
}
