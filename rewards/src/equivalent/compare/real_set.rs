//! Sets of real numbers with constant ends, as cells between and at all ends that either side
//! names.
//!
//! `n` ends in order cut the line into `2n + 1` cells, alternately open gaps and points. A union,
//! an intersection, a complement and equality are then those of lists of bits.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Function, Id, Node, Relation, Tree},
    form::Form,
    fuel::Fuel,
    scalar::{Known, order},
    structure::infinite,
    term::Term,
};
use crate::Equivalence;

type Cells = Vec<bool>;

/// The ends of both sides, with the trees they stand in.
struct Line<'tree> {
    /// Every end met, and its rank among the distinct ones.
    ends: Vec<(&'tree Tree, End, usize)>,
    distinct: usize,
}

/// An end: a node, or its negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    id: Id,
    negated: bool,
}

impl From<Id> for End {
    fn from(id: Id) -> Self {
        Self { id, negated: false }
    }
}

/// Which number of a relation is a constant, and on which side the variable stands.
struct Ray {
    operator: Relation,
    end: Id,
    /// It is the size of the variable that is compared with the constant.
    size: bool,
}

/// A variable: false, or its size: true. Names that complex numbers have are none, since their
/// sizes bound discs.
fn variable(tree: &Tree, id: Id) -> Option<bool> {
    match tree.node(id) {
        Node::Symbol(_) => Some(false),
        Node::Apply(Function::Abs, of) => match tree.node(*of) {
            Node::Symbol(name) if name.starts_with(['z', 'w', 'Z', 'W']) => None,
            Node::Symbol(name) => (!name.starts_with("omega")).then_some(true),
            _ => None,
        },
        _ => None,
    }
}

fn ray(tree: &Tree, operator: Relation, left: Id, right: Id) -> Option<Ray> {
    use Relation as R;
    if let Some(size) = variable(tree, left) {
        return Some(Ray { operator, end: right, size });
    }
    let size = variable(tree, right)?;
    let operator = match operator {
        R::Less => R::Greater,
        R::LessEqual => R::GreaterEqual,
        R::Greater => R::Less,
        R::GreaterEqual => R::LessEqual,
        R::Equal | R::NotEqual => operator,
        _ => return None,
    };
    Some(Ray { operator, end: left, size })
}

/// Compares two nodes as sets of real numbers. `None` where one of them is none with constant ends.
pub(super) fn compare(
    gold: (&Tree, Id),
    answer: (&Tree, Id),
    fuel: &mut Fuel,
) -> Option<Equivalence> {
    let (left, right) =
        (Term::new(gold.0, gold.1, 0, false), Term::new(answer.0, answer.1, 0, false));
    let (gold_names, answer_names) = (variables(&left), variables(&right));
    if gold_names.len() > 1 || answer_names.len() > 1 {
        return None;
    }
    let line = Line::through([&left, &right], fuel)?;
    if gold_names != answer_names && !gold_names.is_empty() && !answer_names.is_empty() {
        return Some(Equivalence::Different);
    }
    let (gold, answer) = (line.cells(&left)?, line.cells(&right)?);
    Some(if gold == answer { Equivalence::Equal } else { Equivalence::Different })
}

/// The variables of all relations in a term.
fn variables<'tree>(term: &Term<'tree>) -> Vec<&'tree str> {
    let mut names: Vec<_> = term
        .nodes()
        .filter_map(|(_, node)| match node {
            Node::Symbol(name) => Some(&**name),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The ends that a node names, or `None` where it is no set.
fn ends(tree: &Tree, node: &Node) -> Option<Vec<End>> {
    let all = |of: &[Id]| of.iter().map(|&id| id.into()).collect();
    Some(match node {
        Node::Interval { low, high, .. } => all(&[*low, *high]),
        Node::Tuple(of) if of.len() == 2 => all(of),
        Node::Set(of) => all(of),
        Node::Constant(Constant::EmptySet | Constant::Reals)
        | Node::Union(_)
        | Node::Intersection(_)
        | Node::Difference(..)
        | Node::All(_)
        | Node::Any(_) => Vec::new(),
        Node::Relation { operator: Relation::In | Relation::NotIn, left, .. } => {
            matches!(tree.node(*left), Node::Symbol(_)).then(Vec::new)?
        }
        Node::Relation { operator, left, right } => {
            let ray = ray(tree, *operator, *left, *right)?;
            // no size is infinite
            if ray.size && infinite(tree, ray.end).is_some() {
                return None;
            }
            let opposite = ray.size.then_some(End { id: ray.end, negated: true });
            std::iter::once(ray.end.into()).chain(opposite).collect()
        }
        _ => return None,
    })
}

/// The sets that a node is made of.
fn parts(node: &Node) -> Vec<Id> {
    match node {
        Node::Union(of) | Node::Intersection(of) | Node::All(of) | Node::Any(of) => of.clone(),
        Node::Difference(a, b) => vec![*a, *b],
        Node::Relation { operator: Relation::In | Relation::NotIn, right, .. } => vec![*right],
        _ => Vec::new(),
    }
}

/// The nodes of a term that are sets, children before parents.
fn sets(term: &Term<'_>) -> Option<Vec<Id>> {
    let mut sets = vec![term.root];
    let mut at = 0;
    while at < sets.len() {
        let node = term.tree.node(sets[at]);
        ends(term.tree, node)?;
        sets.extend(parts(node));
        at += 1;
    }
    sets.sort_unstable();
    Some(sets)
}

impl<'tree> Line<'tree> {
    /// Collects and orders the ends of some terms.
    fn through(terms: [&Term<'tree>; 2], fuel: &mut Fuel) -> Option<Self> {
        let mut ends_met = Vec::new();
        for term in terms {
            for id in sets(term)? {
                let finite = ends(term.tree, term.tree.node(id))?.into_iter();
                ends_met.extend(
                    finite
                        .filter(|end| infinite(term.tree, end.id).is_none())
                        .map(|end| (term.tree, end)),
                );
            }
        }
        // each end is looked up among all of them
        fuel.burn((ends_met.len() * ends_met.len()) as u64).ok()?;
        let mut forms = Vec::with_capacity(ends_met.len());
        for &(tree, end) in &ends_met {
            let mut form = Form::new(tree, end.id, None, 0, fuel);
            if end.negated {
                form.scale(&RBig::NEG_ONE);
            }
            if form.has_symbol() || form.is_open() {
                return None;
            }
            forms.push(form);
        }
        let known: Vec<_> = forms.into_iter().map(|form| Known::of(form, fuel)).collect();
        let mut sorted: Vec<Vec<usize>> = Vec::new();
        for at in 0..known.len() {
            let (mut low, mut high) = (0, sorted.len());
            let mut same = None;
            while low < high {
                let middle = usize::midpoint(low, high);
                match order(&known[at], &known[sorted[middle][0]], fuel)? {
                    Ordering::Less => high = middle,
                    Ordering::Greater => low = middle + 1,
                    Ordering::Equal => {
                        same = Some(middle);
                        break;
                    }
                }
            }
            match same {
                Some(place) => sorted[place].push(at),
                None => sorted.insert(low, vec![at]),
            }
        }
        let mut ends = Vec::with_capacity(known.len());
        for (rank, group) in sorted.iter().enumerate() {
            ends.extend(group.iter().map(|&at| (ends_met[at].0, ends_met[at].1, rank)));
        }
        Some(Self { ends, distinct: sorted.len() })
    }

    /// The cell of an end: its point, or one before or behind all others where it is infinite.
    /// Cells count from one.
    fn cell(&self, tree: &Tree, end: impl Into<End>) -> Option<usize> {
        let end = end.into();
        match infinite(tree, end.id) {
            Some(Ordering::Less) => return Some(0),
            Some(_) => return Some(self.behind()),
            None => {}
        }
        let met = self.ends.iter().find(|met| std::ptr::eq(met.0, tree) && met.1 == end)?;
        Some(2 * met.2 + 2)
    }

    fn behind(&self) -> usize {
        2 * self.distinct + 2
    }

    fn between(&self, low: usize, high: usize, closed: (bool, bool)) -> Cells {
        let (first, behind) = (low + usize::from(!closed.0), high + usize::from(closed.1));
        (1..self.behind()).map(|cell| (first..behind).contains(&cell)).collect()
    }

    /// The variables whose size relates so to a number, the cells of that number and its negative
    /// given: nothing is smaller than a negative number.
    fn of_size(&self, operator: Relation, low: usize, high: usize) -> Option<Cells> {
        let both = || {
            let (low, high) =
                (self.between(low, low, (true, true)), self.between(high, high, (true, true)));
            low.iter().zip(&high).map(|(&a, &b)| a || b).collect::<Cells>()
        };
        let points = || if low <= high { both() } else { vec![false; 2 * self.distinct + 1] };
        Some(match operator {
            Relation::Less => self.between(low, high, (false, false)),
            Relation::LessEqual => self.between(low, high, (true, true)),
            Relation::Greater => complement(self.between(low, high, (true, true))),
            Relation::GreaterEqual => complement(self.between(low, high, (false, false))),
            Relation::Equal => points(),
            Relation::NotEqual => complement(points()),
            _ => return None,
        })
    }

    fn cells(&self, term: &Term<'_>) -> Option<Cells> {
        let mut known: Vec<Option<Cells>> = vec![None; term.root as usize + 1];
        for id in sets(term)? {
            known[id as usize] = Some(self.of_node(term.tree, term.tree.node(id), &known)?);
        }
        known[term.root as usize].take()
    }

    fn of_node(&self, tree: &Tree, node: &Node, known: &[Option<Cells>]) -> Option<Cells> {
        let get = |id: Id| known[id as usize].clone();
        let empty = || vec![false; 2 * self.distinct + 1];
        let fold = |of: &[Id], first: bool, step: fn(bool, bool) -> bool| {
            of.iter().try_fold(vec![first; 2 * self.distinct + 1], |cells, &id| {
                let other = get(id)?;
                Some(cells.iter().zip(&other).map(|(&a, &b)| step(a, b)).collect::<Cells>())
            })
        };
        Some(match node {
            Node::Interval { low, high, low_closed, high_closed } => {
                let (low, high) = (self.cell(tree, *low)?, self.cell(tree, *high)?);
                self.between(low, high, (*low_closed, *high_closed))
            }
            Node::Tuple(of) => {
                self.between(self.cell(tree, of[0])?, self.cell(tree, of[1])?, (false, false))
            }
            Node::Set(of) => {
                let mut cells = empty();
                for &id in of {
                    *cells.get_mut(self.cell(tree, id)?.checked_sub(1)?)? = true;
                }
                cells
            }
            Node::Constant(Constant::EmptySet) => empty(),
            Node::Constant(Constant::Reals) => complement(empty()),
            Node::Union(of) | Node::Any(of) => fold(of, false, |a, b| a || b)?,
            Node::Intersection(of) | Node::All(of) => fold(of, true, |a, b| a && b)?,
            Node::Difference(a, b) => {
                let (a, b) = (get(*a)?, get(*b)?);
                a.iter().zip(&b).map(|(&a, &b)| a && !b).collect()
            }
            Node::Relation { operator: Relation::In, right, .. } => get(*right)?,
            Node::Relation { operator: Relation::NotIn, right, .. } => complement(get(*right)?),
            Node::Relation { operator, left, right } => {
                let ray = ray(tree, *operator, *left, *right)?;
                let end = self.cell(tree, ray.end)?;
                if ray.size {
                    let low = self.cell(tree, End { id: ray.end, negated: true })?;
                    return self.of_size(ray.operator, low, end);
                }
                match ray.operator {
                    Relation::Less => self.between(0, end, (false, false)),
                    Relation::LessEqual => self.between(0, end, (false, true)),
                    Relation::Greater => self.between(end, self.behind(), (false, false)),
                    Relation::GreaterEqual => self.between(end, self.behind(), (true, false)),
                    Relation::Equal => self.between(end, end, (true, true)),
                    Relation::NotEqual => complement(self.between(end, end, (true, true))),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

fn complement(cells: Cells) -> Cells {
    cells.into_iter().map(|cell| !cell).collect()
}
