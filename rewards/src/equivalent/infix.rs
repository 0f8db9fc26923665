//! Operators between two operands.

use dashu_base::RemEuclid;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::build::{Builder, Built};
use super::lex::Token;
use super::tree::{Constant, Id, Node, Relation, Unreadable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Infix {
    Or,
    And,
    Semicolon,
    Comma,
    /// Splits the whole group it stands in: `{n \choose k}`.
    Choose,
    Over,
    Relation(Relation),
    Union,
    Intersection,
    Difference,
    Ratio,
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    Divide,
    /// The remainder, of whole numbers only.
    Modulo,
    /// Side by side in a function's bare argument.
    Factor,
}

impl Infix {
    pub(super) fn of(token: &Token<'_>) -> Option<Self> {
        Some(match token {
            Token::Or => Self::Or,
            Token::And => Self::And,
            Token::Semicolon => Self::Semicolon,
            Token::Comma => Self::Comma,
            Token::Choose => Self::Choose,
            Token::Over => Self::Over,
            Token::Relation(relation) => Self::Relation(*relation),
            Token::Union => Self::Union,
            Token::Intersection => Self::Intersection,
            Token::Difference => Self::Difference,
            Token::Colon => Self::Ratio,
            Token::Plus => Self::Plus,
            Token::Minus => Self::Minus,
            Token::PlusMinus => Self::PlusMinus,
            Token::MinusPlus => Self::MinusPlus,
            Token::Times => Self::Times,
            Token::Divide => Self::Divide,
            Token::Modulo => Self::Modulo,
            _ => return None,
        })
    }

    /// The higher, the tighter. Operators of one precedence are joined from left to right.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Semicolon => 2,
            Self::Comma => 3,
            Self::Choose | Self::Over => 5,
            Self::Relation(_) => 10,
            Self::Union | Self::Intersection | Self::Difference => 20,
            Self::Ratio => 30,
            Self::Plus | Self::Minus | Self::PlusMinus | Self::MinusPlus => 50,
            Self::Times | Self::Divide | Self::Modulo => 60,
            Self::Factor => 62,
        }
    }
}

/// One node of operators of one precedence and their operands, one more than operators.
pub(super) fn join(builder: &mut Builder, run: &[Infix], operands: Vec<Id>) -> Built {
    match run[0] {
        Infix::Or => {
            let some_list = operands.iter().any(|&id| matches!(builder.node(id), Node::List(_)));
            let node =
                if some_list { Node::List(flat(builder, operands)) } else { Node::Any(operands) };
            builder.push(node)
        }
        Infix::And | Infix::Semicolon => {
            // inequalities that hold together are a chain
            let chain = |&id: &Id| match builder.node(id) {
                Node::Relation { operator, .. } => *operator != Relation::Equal,
                Node::All(_) => true,
                _ => false,
            };
            if run[0] == Infix::And && operands.iter().all(chain) {
                let links = links(builder, &operands);
                return builder.push(Node::All(links));
            }
            // lists of lists stay as they are; `1, 2 and 3` is one list
            let all_lists = operands.iter().all(|&id| matches!(builder.node(id), Node::List(_)));
            let items = if all_lists { operands } else { flat(builder, operands) };
            list(builder, items)
        }
        Infix::Comma => list(builder, operands),
        Infix::Choose | Infix::Over => match operands[..] {
            [upper, lower] if run[0] == Infix::Choose => builder.push(Node::Binomial(upper, lower)),
            [above, below] => builder.push(Node::Quotient(above, below)),
            _ => Err(Unreadable::NotMathematics),
        },
        Infix::Relation(_) => relations(builder, run, &operands),
        Infix::Union | Infix::Intersection | Infix::Difference => sets(builder, run, operands),
        Infix::Ratio => builder.push(Node::Ratio(operands)),
        Infix::Plus | Infix::Minus | Infix::PlusMinus | Infix::MinusPlus => {
            sum(builder, run, operands)
        }
        Infix::Times | Infix::Divide | Infix::Modulo | Infix::Factor => {
            product(builder, run, operands)
        }
    }
}

/// A list, unless its items are conditions that hold together: `x \ne 1, 2`, `x > 0, x \ne 1`.
fn list(builder: &mut Builder, items: Vec<Id>) -> Built {
    if let Some(links) = excluded(builder, &items)? {
        return builder.push(Node::All(links));
    }
    let names: Vec<_> = items.iter().map(|&id| condition_on(builder, id)).collect();
    let one_name = names.windows(2).all(|pair| pair[0] == pair[1]);
    // two bounds may be two pieces: only exclusions and sets surely hold together with what stands
    // beside
    let is_bound = |&&id: &&Id| {
        !matches!(
            builder.node(id),
            Node::Relation { operator: Relation::NotEqual | Relation::In | Relation::NotIn, .. }
        )
    };
    if names[0].is_some() && one_name && items.iter().filter(is_bound).count() <= 1 {
        let links = links(builder, &items);
        return builder.push(Node::All(links));
    }
    builder.push(Node::List(items))
}

/// The points of `x \ne 1, 2`, each with its relation.
fn excluded(builder: &mut Builder, items: &[Id]) -> Result<Option<Vec<Id>>, Unreadable> {
    let Some((&first, points)) = items.split_first() else { return Ok(None) };
    let &Node::Relation { operator: operator @ Relation::NotEqual, left, .. } = builder.node(first)
    else {
        return Ok(None);
    };
    let is_value = |&id: &Id| {
        matches!(
            builder.node(id),
            Node::Number { .. }
                | Node::Symbol(_)
                | Node::Negated(_)
                | Node::Quotient(..)
                | Node::Root { .. }
                | Node::PlusMinus(_)
                | Node::Sum(_)
                | Node::Product(_)
                | Node::Constant(Constant::Pi | Constant::E)
        )
    };
    if points.is_empty()
        || !matches!(builder.node(left), Node::Symbol(_))
        || !points.iter().all(is_value)
    {
        return Ok(None);
    }
    let mut links = vec![first];
    for &right in points {
        links.push(builder.push(Node::Relation { operator, left, right })?);
    }
    Ok(Some(links))
}

/// The variable that an inequality, a chain of them or a membership is about.
fn condition_on(builder: &Builder, id: Id) -> Option<&str> {
    let symbol = |id: Id| match builder.node(id) {
        Node::Symbol(name) => Some(&**name),
        _ => None,
    };
    match builder.node(id) {
        Node::Relation { operator: Relation::In | Relation::NotIn, left, .. } => symbol(*left),
        Node::Relation {
            operator:
                Relation::NotEqual
                | Relation::Less
                | Relation::LessEqual
                | Relation::Greater
                | Relation::GreaterEqual,
            left,
            right,
        } => symbol(*left).or_else(|| symbol(*right)),
        Node::All(of) => {
            let mut names = of.iter().map(|&link| condition_on(builder, link));
            let first = names.next()??;
            names.all(|name| name == Some(first)).then_some(first)
        }
        _ => None,
    }
}

fn flat(builder: &Builder, operands: Vec<Id>) -> Vec<Id> {
    let mut items = Vec::with_capacity(operands.len());
    for id in operands {
        match builder.node(id) {
            Node::List(inner) => items.extend(inner),
            _ => items.push(id),
        }
    }
    items
}

/// The links of chains, one after the other.
fn links(builder: &Builder, chains: &[Id]) -> Vec<Id> {
    let mut links = Vec::with_capacity(chains.len());
    for &id in chains {
        match builder.node(id) {
            Node::All(inner) => links.extend(inner),
            _ => links.push(id),
        }
    }
    links
}

fn relations(builder: &mut Builder, run: &[Infix], operands: &[Id]) -> Built {
    let mut links = Vec::with_capacity(run.len());
    for (infix, pair) in run.iter().zip(operands.windows(2)) {
        let &Infix::Relation(operator) = infix else { return Err(Unreadable::NotMathematics) };
        links.push(builder.push(Node::Relation { operator, left: pair[0], right: pair[1] })?);
    }
    match links[..] {
        [only] => Ok(only),
        _ => builder.push(Node::All(links)),
    }
}

fn sets(builder: &mut Builder, run: &[Infix], operands: Vec<Id>) -> Built {
    if run.iter().all(|&infix| infix == Infix::Union) {
        return builder.push(Node::Union(operands));
    }
    let mut operands = operands.into_iter();
    let mut set = operands.next().expect("one operand more than operators");
    for (infix, next) in run.iter().zip(operands) {
        set = builder.push(match infix {
            Infix::Union => Node::Union(vec![set, next]),
            Infix::Intersection => Node::Intersection(vec![set, next]),
            _ => Node::Difference(set, next),
        })?;
    }
    Ok(set)
}

fn sum(builder: &mut Builder, run: &[Infix], mut terms: Vec<Id>) -> Built {
    // `A - B` of sets
    if let ([Infix::Minus], &[set, without]) = (run, &terms[..])
        && matches!(builder.node(without), Node::Set(_) | Node::Interval { .. })
    {
        return builder.push(Node::Difference(set, without));
    }
    for (infix, term) in run.iter().zip(&mut terms[1..]) {
        *term = match infix {
            Infix::Minus => builder.push(Node::Negated(*term))?,
            Infix::PlusMinus => builder.push(Node::PlusMinus(*term))?,
            Infix::MinusPlus => builder.push(Node::MinusPlus(*term))?,
            _ => *term,
        };
    }
    builder.push(Node::Sum(terms))
}

fn product(builder: &mut Builder, run: &[Infix], operands: Vec<Id>) -> Built {
    let mut operands = operands.into_iter();
    let mut factors = vec![operands.next().expect("one operand more than operators")];
    for (infix, next) in run.iter().zip(operands) {
        if *infix == Infix::Modulo {
            let [only] = factors[..] else { return Err(Unreadable::NotMathematics) };
            factors = vec![remainder(builder, only, next).ok_or(Unreadable::NotMathematics)??];
            continue;
        }
        if *infix != Infix::Divide {
            factors.push(next);
            continue;
        }
        let above = match factors[..] {
            [only] => only,
            _ => builder.push(Node::Product(factors))?,
        };
        factors = vec![builder.push(Node::Quotient(above, next))?];
    }
    match factors[..] {
        [only] => Ok(only),
        _ => builder.push(Node::Product(factors)),
    }
}

fn remainder(builder: &mut Builder, of: Id, modulus: Id) -> Option<Built> {
    let (of, modulus) = (builder.integer(of)?, builder.integer(modulus)?);
    if modulus <= IBig::ZERO {
        return None;
    }
    let value = RBig::from(of.rem_euclid(modulus));
    Some(builder.push(Node::Number { value, places: None }))
}
