//! Inequalities in one variable, solved: quotients of polynomials by the signs between their roots,
//! absolute values by cases.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::{
    super::{
        super::tree::{Constant, Function, Id, Node, Relation},
        arithmetic::whole,
        form::Form,
        scalar::{Known, order},
    },
    Work,
    polynomial::{Polynomial, Quotient, Root},
};

/// Most absolute values in one inequality.
const MAX_SIZES: usize = 2;

/// Largest power of a quotient.
const MAX_POWER: i64 = 12;

/// What an inequality is about: a symbol, or a function of symbols such as `f(x)`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unknown {
    name: String,
    is_call: bool,
}

/// A place at which the sign may change.
struct Edge {
    root: Id,
    /// How many factors of odd effect are zero here.
    crossings: usize,
    /// There is no value here.
    is_pole: bool,
}

impl Work<'_> {
    /// The membership that an inequality comes to.
    pub(super) fn solved(&mut self, operator: Relation, left: Id, right: Id) -> Option<Id> {
        use Relation as R;
        if !matches!(operator, R::NotEqual | R::Less | R::LessEqual | R::Greater | R::GreaterEqual)
        {
            return None;
        }
        let within = [self.under(left), self.under(right)].concat();
        let unknown = self.unknown(&within)?;
        if !unknown.is_call && (self.is_bound(left, right) || self.is_bound(right, left)) {
            return None;
        }
        let sizes = self.sizes(&within)?;
        let symbol = self.push(Node::Symbol(unknown.name.clone().into()))?;
        let mut cases = Vec::new();
        for signs in 0..1u32 << sizes.len() {
            let known: Vec<(Id, bool)> =
                sizes.iter().enumerate().map(|(at, &id)| (id, signs >> at & 1 == 1)).collect();
            let mut conditions = Vec::new();
            for &(size, negative) in &known {
                let Node::Apply(_, of) = *self.tree.node(size) else { return None };
                let value = self.quotient(of, &unknown, &known)?;
                let sign = if negative { R::Less } else { R::GreaterEqual };
                conditions.push(self.where_holds(&value, sign, symbol)?);
            }
            let (left, right) =
                (self.quotient(left, &unknown, &known)?, self.quotient(right, &unknown, &known)?);
            let difference = left.plus(&right.negated(), self.fuel)?;
            conditions.push(self.where_holds(&difference, operator, symbol)?);
            cases.push(match conditions[..] {
                [only] => only,
                _ => self.push(Node::All(conditions))?,
            });
        }
        match cases[..] {
            [only] => Some(only),
            _ => self.push(Node::Any(cases)),
        }
    }

    /// Whether one side is the variable, or its size, and the other a number: then it is solved.
    fn is_bound(&mut self, one: Id, other: Id) -> bool {
        let is_variable = match self.tree.node(one) {
            Node::Symbol(_) => true,
            Node::Apply(Function::Abs, of) => matches!(self.tree.node(*of), Node::Symbol(_)),
            _ => false,
        };
        is_variable
            && !self
                .under(other)
                .into_iter()
                .any(|id| matches!(self.tree.node(id), Node::Symbol(_)))
    }

    /// The only unknown in some nodes.
    fn unknown(&self, within: &[Id]) -> Option<Unknown> {
        let mut inside_calls = Vec::new();
        let mut found: Option<Unknown> = None;
        // parents before children
        for &id in within.iter().rev() {
            let next = match self.tree.node(id) {
                Node::Symbol(_) if inside_calls.contains(&id) => continue,
                Node::Symbol(name) if !name.is_empty() && !name.starts_with(['#', '…']) => {
                    Unknown { name: name.to_string(), is_call: false }
                }
                Node::Call(name, of) => {
                    let argument = |&id: &Id| match self.tree.node(id) {
                        Node::Symbol(name) => Some(&**name),
                        _ => None,
                    };
                    let names = of.iter().map(argument).collect::<Option<Vec<_>>>()?;
                    inside_calls.extend(of);
                    Unknown { name: format!("{name}({})", names.join(",")), is_call: true }
                }
                Node::Symbol(_) => return None,
                _ => continue,
            };
            if *found.get_or_insert_with(|| next.clone()) != next {
                return None;
            }
        }
        found
    }

    /// The absolute values; `None` where they are too many, or may be those of complex numbers.
    fn sizes(&mut self, within: &[Id]) -> Option<Vec<Id>> {
        let mut sizes = Vec::new();
        for &id in within {
            let &Node::Apply(Function::Abs, of) = self.tree.node(id) else { continue };
            let is_complex = self.under(of).into_iter().any(|id| match self.tree.node(id) {
                Node::Symbol(name) => {
                    name.starts_with(['z', 'w', 'Z', 'W']) || name.starts_with("omega")
                }
                Node::Constant(Constant::I) => true,
                _ => false,
            });
            if is_complex {
                return None;
            }
            if self.rational(id).is_none() {
                sizes.push(id);
            }
        }
        (sizes.len() <= MAX_SIZES).then_some(sizes)
    }

    /// A node as a quotient of polynomials, absolute values having these signs.
    fn quotient(&mut self, id: Id, unknown: &Unknown, known: &[(Id, bool)]) -> Option<Quotient> {
        let within = self.under(id);
        let mut values: Vec<Option<Quotient>> = vec![None; id as usize + 1];
        for at in within {
            self.fuel.burn(40).ok()?;
            let node = self.tree.node(at).clone();
            let get = |id: &Id| values[*id as usize].as_ref();
            let value = match &node {
                Node::Symbol(_) if !unknown.is_call => Some(Quotient::of(Polynomial::variable())),
                Node::Call(..) => Some(Quotient::of(Polynomial::variable())),
                Node::Sum(of) => {
                    let zero = Quotient::of(Polynomial::constant(RBig::ZERO));
                    of.iter().try_fold(zero, |sum, id| sum.plus(get(id)?, self.fuel))
                }
                Node::Product(of) => {
                    let one = Quotient::of(Polynomial::constant(RBig::ONE));
                    of.iter().try_fold(one, |product, id| Some(product.times(get(id)?)))
                }
                Node::Negated(of) => get(of).map(Quotient::negated),
                Node::Quotient(above, below) => match (get(above), get(below)) {
                    (Some(above), Some(below)) => below.inverse().map(|below| above.times(&below)),
                    _ => None,
                },
                Node::Power(base, exponent) => match (get(base).cloned(), self.rational(*exponent))
                {
                    (Some(base), Some(times)) => power(&base, whole(&times)?),
                    _ => None,
                },
                Node::Apply(Function::Abs, of) => {
                    known.iter().find(|size| size.0 == at).and_then(|size| {
                        let of = get(of)?;
                        Some(if size.1 { of.negated() } else { of.clone() })
                    })
                }
                _ => None,
            };
            let value = match value {
                Some(value) => Some(value),
                None => self.rational(at).map(|value| Quotient::of(Polynomial::constant(value))),
            };
            values[at as usize] = value.filter(|value| value.size() <= 64);
        }
        values[id as usize].take()
    }

    /// The numbers at which a quotient relates so to zero, as a membership.
    fn where_holds(&mut self, of: &Quotient, operator: Relation, symbol: Id) -> Option<Id> {
        let is_zero = of.above.iter().any(Polynomial::is_zero);
        let edges = self.edges(of, is_zero)?;
        let leads = of.above.iter().chain(&of.below).filter(|factor| factor.leads_negative());
        let mut sign = match leads.count() % 2 {
            _ if is_zero => Ordering::Equal,
            0 => Ordering::Greater,
            _ => Ordering::Less,
        };
        let holds = |sign: Ordering| match operator {
            Relation::Less => sign.is_lt(),
            Relation::LessEqual => sign.is_le(),
            Relation::Greater => sign.is_gt(),
            Relation::GreaterEqual => sign.is_ge(),
            _ => sign.is_ne(),
        };
        // from the right, a gap and a point in turn
        let mut cells = vec![holds(sign)];
        for edge in edges.iter().rev() {
            cells.push(!edge.is_pole && holds(Ordering::Equal));
            if edge.crossings % 2 == 1 {
                sign = sign.reverse();
            }
            cells.push(holds(sign));
        }
        cells.reverse();
        let roots: Vec<Id> = edges.iter().map(|edge| edge.root).collect();
        let right = self.set(&cells, &roots)?;
        self.push(Node::Relation { operator: Relation::In, left: symbol, right })
    }

    /// The roots of all factors in order; of nothing but zero, only those below count.
    fn edges(&mut self, of: &Quotient, is_zero: bool) -> Option<Vec<Edge>> {
        let mut edges: Vec<Edge> = Vec::new();
        let above = of.above.iter().map(|factor| (factor, false)).filter(|_| !is_zero);
        let below = of.below.iter().map(|factor| (factor, true));
        for (factor, is_pole) in above.chain(below) {
            for root in factor.roots(self.fuel)? {
                let root = self.root(root)?;
                let (mut place, mut same) = (edges.len(), false);
                for (at, edge) in edges.iter().enumerate() {
                    let [a, b] = [root, edge.root].map(|id| {
                        let form = Form::new(&self.tree, id, None, 0, self.fuel);
                        Known::of(form, self.fuel)
                    });
                    match order(&a, &b, self.fuel)? {
                        Ordering::Greater => continue,
                        Ordering::Equal => same = true,
                        Ordering::Less => {}
                    }
                    place = at;
                    break;
                }
                if same {
                    edges[place].crossings += 1;
                    edges[place].is_pole |= is_pole;
                } else {
                    edges.insert(place, Edge { root, crossings: 1, is_pole });
                }
            }
        }
        Some(edges)
    }

    fn root(&mut self, root: Root) -> Option<Id> {
        let rational = self.number(root.rational.clone())?;
        if root.factor == 0 {
            return Some(rational);
        }
        let (radicand, index) = (self.number(root.radicand)?, self.number(2)?);
        let mut away = self.push(Node::Root { radicand, index })?;
        if root.factor < 0 {
            away = self.push(Node::Negated(away))?;
        }
        if root.rational.is_zero() {
            Some(away)
        } else {
            self.push(Node::Sum(vec![rational, away]))
        }
    }

    /// A set by its cells: gaps and points in turn, a gap first and last.
    fn set(&mut self, cells: &[bool], roots: &[Id]) -> Option<Id> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < cells.len() {
            let length = cells[at..].iter().take_while(|&&cell| cell).count();
            if length == 0 {
                at += 1;
                continue;
            }
            let last = at + length - 1;
            pieces.push(self.piece((at, last), cells.len(), roots)?);
            at = last + 1;
        }
        match pieces[..] {
            [] => self.push(Node::Constant(Constant::EmptySet)),
            [only] => Some(only),
            _ => self.push(Node::Union(pieces)),
        }
    }

    fn piece(&mut self, (first, last): (usize, usize), cells: usize, roots: &[Id]) -> Option<Id> {
        let is_point = |cell: usize| cell % 2 == 1;
        if (first, last) == (0, cells - 1) {
            return self.push(Node::Constant(Constant::Reals));
        }
        if first == last && is_point(first) {
            return self.push(Node::Set(vec![roots[first / 2]]));
        }
        let infinity = self.push(Node::Constant(Constant::Infinity))?;
        let low = match first {
            0 => self.push(Node::Negated(infinity))?,
            // the point at the left of a gap, or the point itself
            _ => roots[(first - 1) / 2],
        };
        let high = if last == cells - 1 { infinity } else { roots[last / 2] };
        self.push(Node::Interval {
            low,
            high,
            low_closed: is_point(first),
            high_closed: is_point(last),
        })
    }
}

fn power(base: &Quotient, times: i64) -> Option<Quotient> {
    if times.abs() > MAX_POWER {
        return None;
    }
    let base = if times < 0 { base.inverse()? } else { base.clone() };
    let one = Quotient::of(Polynomial::constant(RBig::ONE));
    let product = (0..times.abs()).fold(one, |product, _| product.times(&base));
    // of a quotient to the power of zero, the places without a value are left
    Some(if times == 0 { Quotient { above: product.above, below: base.below } } else { product })
}
