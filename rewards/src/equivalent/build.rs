//! Nodes under construction: every one is counted and knows how deep it is.

mod quantity;

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::grouping::group;
use super::lex::Head;
use super::literal::Literal;
use super::tree::{
    Bound, Constant, Function, Id, MAX_DEPTH, MAX_NODES, Node, Tree, Unreadable, bound_name,
};

/// How many nodes may be built on the way to a tree, those that others replace included.
const MAX_BUILT: usize = 4 * MAX_NODES;

pub(super) type Built = Result<Id, Unreadable>;

#[derive(Debug, Default)]
pub(super) struct Builder {
    nodes: Vec<Node>,
    depths: Vec<u8>,
}

impl Builder {
    /// Adds a node; a fraction with a written zero below it has no value and is none. Units under
    /// it are computed with, so that one stands around it at most.
    pub(super) fn push(&mut self, node: Node) -> Built {
        let node = self.with_units_outside(node)?;
        if let Node::Quotient(_, below) = node
            && matches!(self.node(below), Node::Number { value, .. } if value.is_zero())
        {
            return Err(Unreadable::NotMathematics);
        }
        let mut depth = 0;
        node.for_each_child(|child| depth = depth.max(self.depths[child as usize] + 1));
        if self.nodes.len() == MAX_BUILT || usize::from(depth) >= MAX_DEPTH {
            return Err(Unreadable::Limit);
        }
        self.nodes.push(node);
        self.depths.push(depth);
        Ok(self.nodes.len() as Id - 1)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn number(&mut self, literal: Literal) -> Built {
        let Literal { value, places } = literal;
        self.push(Node::Number { value, places })
    }

    pub(super) fn whole(&mut self, value: u32) -> Built {
        self.push(Node::Number { value: RBig::from(value), places: None })
    }

    /// Replaces a list that brackets close around by what it then is.
    pub(super) fn enclose(&mut self, list: Id, with: impl FnOnce(Vec<Id>) -> Node) -> Id {
        if let Node::List(items) = &mut self.nodes[list as usize] {
            let items = std::mem::take(items);
            self.nodes[list as usize] = with(items);
        }
        list
    }

    pub(super) fn rename(&mut self, symbol: Id, suffix: &str) -> bool {
        // the base of a power may have its subscript after its exponent
        let target = match self.node(symbol) {
            &Node::Power(base, _) => base,
            _ => symbol,
        };
        match &mut self.nodes[target as usize] {
            Node::Symbol(name) => {
                *name = format!("{name}{suffix}").into();
                true
            }
            constant @ Node::Constant(Constant::E | Constant::I) => {
                let letter = if *constant == Node::Constant(Constant::E) { "e" } else { "i" };
                *constant = Node::Symbol(format!("{letter}{suffix}").into());
                true
            }
            _ => false,
        }
    }

    /// An operation over a variable, which its bounds do not know.
    pub(super) fn bound(
        &mut self,
        operator: Bound,
        variable: &str,
        body: Id,
        bounds: &[Id],
    ) -> Built {
        let within = self.under(body);
        let levels = within.iter().map(|&id| match self.node(id) {
            Node::Bound { level, .. } => *level,
            _ => 0,
        });
        let level = levels.max().unwrap_or(0) + 1;
        let is_variable = |node: &Node| match node {
            Node::Symbol(name) => renamed(name, variable, "").is_some(),
            Node::Constant(Constant::I) => variable == "i",
            _ => false,
        };
        let mut outside = bounds.iter().flat_map(|&id| self.under(id));
        if outside.any(|id| is_variable(self.node(id))) {
            return Err(Unreadable::NotMathematics);
        }
        let bound = bound_name(level);
        for id in within {
            let name = match self.node(id) {
                Node::Symbol(name) => renamed(name, variable, &bound),
                Node::Constant(Constant::I) if variable == "i" => Some(bound.clone()),
                _ => None,
            };
            if let Some(name) = name {
                self.nodes[id as usize] = Node::Symbol(name.into());
            }
        }
        let of = std::iter::once(body).chain(bounds.iter().copied()).collect();
        self.push(Node::Bound { operator, level, of })
    }

    /// All nodes under one, itself included.
    fn under(&self, id: Id) -> Vec<Id> {
        let mut needed = vec![false; id as usize + 1];
        needed[id as usize] = true;
        for at in (0..=id as usize).rev() {
            if needed[at] {
                self.nodes[at].for_each_child(|child| needed[child as usize] = true);
            }
        }
        (0..=id).filter(|&id| needed[id as usize]).collect()
    }

    pub(super) fn determinant(&self, matrix: Id) -> Option<Node> {
        match self.node(matrix) {
            Node::Matrix { rows, entries } => {
                Some(Node::Determinant { rows: *rows, entries: entries.clone() })
            }
            _ => None,
        }
    }

    /// A call of what a symbol names.
    pub(super) fn call(&self, name: Id, argument: Id) -> Option<Node> {
        match self.node(name) {
            Node::Symbol(name) => Some(self.call_named(name, argument)),
            _ => None,
        }
    }

    pub(super) fn call_named(&self, name: &str, argument: Id) -> Node {
        let arguments = match self.node(argument) {
            Node::Tuple(items) => items.clone(),
            _ => vec![argument],
        };
        Node::Call(name.into(), arguments)
    }

    /// Functions one after the other, the last of them first.
    pub(super) fn composed(&mut self, names: Id, mut argument: Id) -> Built {
        let Node::Tuple(names) = self.node(names) else { return Err(Unreadable::NotMathematics) };
        for name in names.clone().into_iter().rev() {
            let call = self.call(name, argument).ok_or(Unreadable::NotMathematics)?;
            argument = self.push(call)?;
        }
        Ok(argument)
    }

    /// Numbers, and points side by side: a bar over them marks a segment or an arc.
    pub(super) fn is_plain(&self, id: Id) -> bool {
        let is_point = |&id: &Id| match self.node(id) {
            Node::Symbol(name) => name.starts_with(|first: char| first.is_ascii_uppercase()),
            _ => false,
        };
        match self.node(id) {
            Node::Number { .. } => true,
            Node::Product(points) => points.iter().all(is_point),
            _ => false,
        }
    }

    /// The whole number that a node is.
    pub(super) fn integer(&self, id: Id) -> Option<IBig> {
        match self.node(id) {
            Node::Number { value, .. } if value.is_int() => Some(value.numerator().clone()),
            Node::Negated(of) => match self.node(*of) {
                Node::Number { value, .. } if value.is_int() => Some(-value.numerator().clone()),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_infinite(&self, id: Id) -> bool {
        match *self.node(id) {
            Node::Constant(Constant::Infinity) => true,
            Node::Negated(of) => *self.node(of) == Node::Constant(Constant::Infinity),
            _ => false,
        }
    }

    /// A fraction of two whole numbers below one, as it stands in a mixed number.
    pub(super) fn proper_fraction(&self, id: Id) -> Option<RBig> {
        let &Node::Quotient(above, below) = self.node(id) else { return None };
        match (self.node(above), self.node(below)) {
            (
                Node::Number { value: above, places: None },
                Node::Number { value: below, places: None },
            ) if above.is_int() && below.is_int() && above > &RBig::ZERO && above < below => {
                Some(above.clone() / below.clone())
            }
            _ => None,
        }
    }

    /// A function of its argument, with what stood raised and lowered at its name.
    pub(super) fn apply(
        &mut self,
        head: Head,
        (power, base): (Option<Id>, Option<Id>),
        argument: Id,
    ) -> Built {
        let inverse = match power.map(|power| self.node(power)) {
            Some(Node::Negated(one)) => {
                matches!(self.node(*one), Node::Number { value, .. } if *value == RBig::ONE)
            }
            _ => false,
        };
        let value = match head {
            Head::Apply(function) => {
                let function = if inverse {
                    inverted(function).ok_or(Unreadable::NotMathematics)?
                } else {
                    function
                };
                if base.is_some() {
                    return Err(Unreadable::NotMathematics);
                }
                self.push(Node::Apply(function, argument))?
            }
            // neither has a function of many an inverse, nor is the maximum over `x` one of numbers
            Head::Cis | Head::Call(_) if inverse || base.is_some() => {
                return Err(Unreadable::NotMathematics);
            }
            Head::Cis => {
                let cosine = self.push(Node::Apply(Function::Cos, argument))?;
                let sine = self.push(Node::Apply(Function::Sin, argument))?;
                let unit = self.push(Node::Constant(Constant::I))?;
                let imaginary = self.push(Node::Product(vec![unit, sine]))?;
                self.push(Node::Sum(vec![cosine, imaginary]))?
            }
            Head::Log | Head::Lg if inverse => return Err(Unreadable::NotMathematics),
            Head::Log | Head::Lg => match (base, head) {
                (Some(base), _) => self.push(Node::Log { base, of: argument })?,
                (None, Head::Lg) => {
                    let base = self.whole(10)?;
                    self.push(Node::Log { base, of: argument })?
                }
                (None, _) => self.push(Node::Apply(Function::Ln, argument))?,
            },
            Head::Call(name) => {
                let arguments = match self.node(argument) {
                    Node::Tuple(items) | Node::List(items) => items.clone(),
                    _ => vec![argument],
                };
                self.push(Node::Call(name.into(), arguments))?
            }
        };
        match power {
            Some(power) if !inverse => self.push(Node::Power(value, power)),
            _ => Ok(value),
        }
    }

    /// The tree under `root`, without what is not part of it.
    pub(super) fn finish(mut self, root: Id) -> Result<Tree, Unreadable> {
        group(&mut self.nodes[..=root as usize]);
        let mut used = vec![false; self.nodes.len()];
        used[root as usize] = true;
        for at in (0..=root as usize).rev() {
            if used[at] {
                self.nodes[at].for_each_child(|child| used[child as usize] = true);
            }
        }
        let mut places = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (at, mut node) in self.nodes.drain(..).enumerate() {
            if used[at] {
                node.for_each_child_mut(|child| *child = places[*child as usize]);
                places[at] = nodes.len() as Id;
                nodes.push(node);
            }
        }
        if nodes.len() > MAX_NODES {
            return Err(Unreadable::Limit);
        }
        let tree = Tree { nodes };
        if ellipsis_in_terms(&tree) { Err(Unreadable::NotMathematics) } else { Ok(tree) }
    }
}

/// A name in which a variable is called otherwise; `None` where the variable does not occur. A
/// subscript may hold it, too.
fn renamed(name: &str, variable: &str, other: &str) -> Option<String> {
    if name == variable {
        return Some(other.to_owned());
    }
    let (letter, subscript) = name.split_once('_')?;
    let found = subscript.contains(variable);
    found.then(|| format!("{letter}_{}", subscript.replace(variable, other)))
}

/// An ellipsis stands for elements of a list; what it would mean between terms is a guess.
fn ellipsis_in_terms(tree: &Tree) -> bool {
    let is_ellipsis = |id: Id| matches!(tree.node(id), Node::Symbol(name) if &**name == "…");
    tree.nodes.iter().any(|node| {
        let mut found = false;
        if !matches!(node, Node::List(_) | Node::Set(_) | Node::Tuple(_)) {
            node.for_each_child(|child| found |= is_ellipsis(child));
        }
        found
    }) || is_ellipsis(tree.root())
}

/// The inverse of a circular function.
fn inverted(function: Function) -> Option<Function> {
    Some(match function {
        Function::Sin => Function::Arcsin,
        Function::Cos => Function::Arccos,
        Function::Tan => Function::Arctan,
        Function::Cot => Function::Arccot,
        Function::Sec => Function::Arcsec,
        Function::Csc => Function::Arccsc,
        _ => return None,
    })
}
