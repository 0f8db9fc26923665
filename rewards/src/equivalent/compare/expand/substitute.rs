//! Another value in the place of a bound variable, and what depends on one.

use super::{
    super::super::tree::{Id, Node, bound_name},
    Work,
};

/// How an expression depends on a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its degree, where it is a polynomial times what follows.
    pub(super) degree: u32,
    /// Whether a power with the variable in its exponent is a factor.
    pub(super) geometric: bool,
}

const FREE: Shape = Shape { degree: 0, geometric: false };

impl Shape {
    pub(super) fn is_polynomial(self) -> bool {
        !self.geometric
    }

    pub(super) fn is_free(self) -> bool {
        self == FREE
    }
}

impl Work<'_> {
    /// The nodes under one, itself last.
    pub(super) fn under(&mut self, id: Id) -> Vec<Id> {
        // out of work, every later step says so
        let _ = self.fuel.burn(u64::from(id / 4));
        let mut needed = vec![false; id as usize + 1];
        needed[id as usize] = true;
        for at in (0..=id as usize).rev() {
            if needed[at] {
                self.tree.nodes[at].for_each_child(|child| needed[child as usize] = true);
            }
        }
        (0..=id).filter(|&id| needed[id as usize]).collect()
    }

    /// The expression `body` with the value `by` in place of the variable of this level.
    pub(super) fn substituted(&mut self, body: Id, level: u32, by: Id) -> Option<Id> {
        let variable = bound_name(level);
        let digits = match self.tree.node(by) {
            Node::Number { value, .. } if value.is_int() => Some(value.to_string()),
            _ => None,
        };
        let within = self.under(body);
        self.fuel.burn(body.into()).ok()?;
        let mut places: Vec<Id> = (0..=body).collect();
        for id in within {
            let node = self.tree.node(id);
            if let Node::Symbol(name) = node {
                if **name == *variable {
                    places[id as usize] = by;
                } else if let Some((letter, subscript)) = name.split_once('_')
                    && subscript.contains(&variable)
                {
                    // `a_k` with a number for `k`; `a_{n-k}` has another name then, which is a
                    // guess
                    let digits = digits.as_ref().filter(|_| subscript == variable)?;
                    let name = format!("{letter}_{digits}").into();
                    places[id as usize] = self.push(Node::Symbol(name))?;
                }
                continue;
            }
            let mut changed = false;
            node.for_each_child(|child| changed |= places[child as usize] != child);
            if changed {
                let mut node = node.clone();
                node.for_each_child_mut(|child| *child = places[*child as usize]);
                places[id as usize] = self.add(node)?;
            }
        }
        Some(places[body as usize])
    }

    /// How `body` depends on the variable of this level; `None` where in no way that is known.
    pub(super) fn shape(&mut self, body: Id, level: u32) -> Option<Shape> {
        let variable = bound_name(level);
        let within = self.under(body);
        let mut shapes: Vec<Option<Shape>> = vec![None; body as usize + 1];
        for id in within {
            self.fuel.burn(10).ok()?;
            let node = self.tree.node(id).clone();
            shapes[id as usize] = self.shape_of(&node, &variable, &shapes);
        }
        shapes[body as usize]
    }

    fn shape_of(&mut self, node: &Node, variable: &str, shapes: &[Option<Shape>]) -> Option<Shape> {
        let get = |id: Id| shapes[id as usize];
        let mut free = true;
        node.for_each_child(|child| free &= get(child).is_some_and(Shape::is_free));
        match node {
            Node::Symbol(name) if **name == *variable => {
                Some(Shape { degree: 1, geometric: false })
            }
            Node::Symbol(name) => (!name.contains(variable)).then_some(FREE),
            _ if free => Some(FREE),
            Node::Sum(of) => of.iter().try_fold(FREE, |sum, &id| {
                let shape = get(id).filter(|shape| shape.is_polynomial())?;
                Some(Shape { degree: sum.degree.max(shape.degree), ..FREE })
            }),
            Node::Product(of) => of.iter().try_fold(FREE, |product, &id| {
                let shape = get(id)?;
                Some(Shape {
                    degree: product.degree.checked_add(shape.degree)?,
                    geometric: product.geometric | shape.geometric,
                })
            }),
            Node::Negated(of) => get(*of),
            Node::Quotient(above, below) => {
                let (above, below) = (get(*above)?, get(*below)?);
                let geometric = above.geometric | below.geometric;
                (below.degree == 0).then_some(Shape { degree: above.degree, geometric })
            }
            Node::Power(base, exponent) => {
                let (base, power) = (get(*base)?, get(*exponent)?);
                if base.is_free() && power == (Shape { degree: 1, geometric: false })
                    || base.geometric && base.degree == 0 && power.is_free()
                {
                    return Some(Shape { degree: 0, geometric: true });
                }
                let times = self.rational(*exponent).filter(dashu_ratio::RBig::is_int)?;
                let times = u32::try_from(times.numerator().clone()).ok()?;
                let degree = base.degree.checked_mul(times)?;
                base.is_polynomial().then_some(Shape { degree, geometric: false })
            }
            _ => None,
        }
    }
}
