//! What commands make of their operands.

use super::{Command, Done, Last, Parser, WRONG};
use crate::equivalent::tree::{Function, Id, Node};
use crate::equivalent::units::Unit;

impl Parser<'_> {
    /// A command with its last operand.
    pub(super) fn complete(&mut self, command: Command, id: Id) -> Done<(Id, Last)> {
        let builder = &mut self.builder;
        let node = match command {
            Command::Denominator(above) => {
                let below = self.letter_as_unit(above, id)?;
                return Ok((self.builder.push(Node::Quotient(above, below))?, Last::Other));
            }
            Command::Lower(upper) => Node::Binomial(upper, id),
            Command::Root(index) => {
                let index = match index {
                    Some(index) => index,
                    None => builder.whole(2)?,
                };
                Node::Root { radicand: id, index }
            }
            Command::Exponent(base) => match builder.node(id) {
                Node::Symbol(name) if &**name == "∘" => {
                    return Ok((builder.push(Node::Degrees(base))?, Last::Degrees));
                }
                _ => return Ok((builder.push(Node::Power(base, id))?, Last::Power)),
            },
            Command::Conjugate | Command::Accent(_) if builder.is_plain(id) => {
                return Ok((id, Last::Other));
            }
            Command::Conjugate => Node::Apply(Function::Conjugate, id),
            Command::Accent(accent) => {
                let Node::Symbol(name) = builder.node(id) else { return Err(WRONG) };
                let name = format!("{name} {accent}").into();
                return Ok((builder.push(Node::Symbol(name))?, Last::Letter));
            }
            Command::Named("det") if builder.determinant(id).is_some() => {
                builder.determinant(id).ok_or(WRONG)?
            }
            Command::Named(name) => builder.call_named(name, id),
            Command::Currency(name) => {
                let unit = Unit::read_known(name).ok_or(WRONG)?;
                return Ok((builder.measure(id, unit)?, Last::Other));
            }
            Command::Minus => Node::Negated(id),
            Command::Apply(head, power, base) => {
                return Ok((builder.apply(head, (power, base), id)?, Last::Other));
            }
            Command::Call(name) => builder.call(name, id).ok_or(WRONG)?,
            Command::Composed(names) => return Ok((builder.composed(names, id)?, Last::Other)),
            Command::Mixed(whole) => match (builder.node(whole), builder.proper_fraction(id)) {
                (Node::Number { value, .. }, Some(fraction)) => {
                    Node::Number { value: value.clone() + fraction, places: None }
                }
                _ => Node::Product(vec![whole, id]),
            },
            Command::Numerator
            | Command::Upper
            | Command::FunctionPower
            | Command::FunctionBase
            | Command::Low
            | Command::High => {
                return Err(WRONG);
            }
        };
        Ok((builder.push(node)?, Last::Other))
    }
}
