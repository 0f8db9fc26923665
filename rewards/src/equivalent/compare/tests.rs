//! Comparisons of trees built by hand: what the reader makes of a text does not matter here.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::*;
use crate::equivalent::tree::{Constant, Function, Id, Node, Relation};

use Equivalence::{Different, Equal, Undecided};

mod structures;

/// With the work of a whole pair.
fn compare(gold: &Tree, answer: &Tree, strictness: Strictness) -> Equivalence {
    super::compare(gold, answer, strictness, &mut Fuel::new())
}

/// A tree by its nodes, each function adding one.
#[derive(Debug, Default)]
struct Build(Vec<Node>);

impl Build {
    fn put(&mut self, node: Node) -> Id {
        self.0.push(node);
        self.0.len() as Id - 1
    }

    fn n(&mut self, value: i64) -> Id {
        self.put(Node::Number { value: value.into(), places: None })
    }

    fn decimal(&mut self, digits: i64, places: u32) -> Id {
        let value = RBig::from_parts(IBig::from(digits), UBig::from(10u8).pow(places as usize));
        self.put(Node::Number { value, places: Some(places) })
    }

    fn x(&mut self, name: &str) -> Id {
        self.put(Node::Symbol(name.into()))
    }

    fn c(&mut self, constant: Constant) -> Id {
        self.put(Node::Constant(constant))
    }

    fn apply(&mut self, function: Function, of: Id) -> Id {
        self.put(Node::Apply(function, of))
    }

    fn root(&mut self, of: Id) -> Id {
        let index = self.n(2);
        self.put(Node::Root { radicand: of, index })
    }

    fn sum(&mut self, a: Id, b: Id) -> Id {
        self.put(Node::Sum(vec![a, b]))
    }

    fn minus(&mut self, a: Id, b: Id) -> Id {
        let b = self.put(Node::Negated(b));
        self.put(Node::Sum(vec![a, b]))
    }

    fn times(&mut self, a: Id, b: Id) -> Id {
        self.put(Node::Product(vec![a, b]))
    }

    fn over(&mut self, a: Id, b: Id) -> Id {
        self.put(Node::Quotient(a, b))
    }

    fn power(&mut self, a: Id, b: Id) -> Id {
        self.put(Node::Power(a, b))
    }

    fn relation(&mut self, left: Id, operator: Relation, right: Id) -> Id {
        self.put(Node::Relation { operator, left, right })
    }
}

fn tree(build: impl FnOnce(&mut Build) -> Id) -> Tree {
    let mut nodes = Build::default();
    let root = build(&mut nodes);
    assert_eq!(root as usize + 1, nodes.0.len(), "the root is last");
    Tree { nodes: nodes.0 }
}

/// Under both, and both directions.
#[track_caller]
fn both_ways(
    gold: impl FnOnce(&mut Build) -> Id,
    answer: impl FnOnce(&mut Build) -> Id,
    wanted: Equivalence,
) {
    let (gold, answer) = (tree(gold), tree(answer));
    for strictness in [Strictness::Rl, Strictness::Eval] {
        assert_eq!(compare(&gold, &answer, strictness), wanted, "{strictness:?}");
        assert_eq!(compare(&answer, &gold, strictness), wanted, "{strictness:?}, turned around");
    }
}

#[track_caller]
fn under(
    strictness: Strictness,
    gold: impl FnOnce(&mut Build) -> Id,
    answer: impl FnOnce(&mut Build) -> Id,
    wanted: Equivalence,
) {
    assert_eq!(compare(&tree(gold), &tree(answer), strictness), wanted);
}

fn one_over_e(build: &mut Build) -> Id {
    let (one, e) = (build.n(1), build.c(Constant::E));
    build.over(one, e)
}

#[test]
fn a_sign_before_a_transcendental_number_counts() {
    let minus = |b: &mut Build| {
        let (one, small) = (b.n(1), one_over_e(b));
        b.minus(one, small)
    };
    let plus = |b: &mut Build| {
        let (one, small) = (b.n(1), one_over_e(b));
        b.sum(one, small)
    };
    both_ways(minus, plus, Different);
    let inverse = |b: &mut Build| {
        let (one, e, exponent) = (b.n(1), b.c(Constant::E), b.n(-1));
        let small = b.power(e, exponent);
        b.minus(one, small)
    };
    both_ways(minus, inverse, Equal);
}

#[test]
fn numbers_too_small_or_large_to_print_are_told_apart() {
    let inverse_factorial = |n: i64| {
        move |b: &mut Build| {
            let (one, n) = (b.n(1), b.n(n));
            let factorial = b.put(Node::Factorial(n));
            b.over(one, factorial)
        }
    };
    both_ways(inverse_factorial(2004), inverse_factorial(2006), Different);
    both_ways(inverse_factorial(2004), |b| b.n(0), Different);
    let power = |base: i64, exponent: i64| {
        move |b: &mut Build| {
            let (base, exponent) = (b.n(base), b.n(exponent));
            b.power(base, exponent)
        }
    };
    both_ways(power(2, 2025), power(3, 2025), Different);
    both_ways(power(2, 2_000_000_000), power(3, 2_000_000_000), Different);
    both_ways(power(4, 1_000_000_000), power(2, 2_000_000_000), Equal);
    both_ways(power(10, 400), power(10, 401), Different);
    let enormous = |b: &mut Build| {
        let (two, forty_nine) = (b.n(2), b.n(49));
        let exponent = b.power(two, forty_nine);
        let exponent = b.power(two, exponent);
        b.power(two, exponent)
    };
    assert_ne!(compare(&tree(|b| b.n(1)), &tree(enormous), Strictness::Rl), Equal);
    let factorial = |b: &mut Build| {
        let n = b.n(1_000_000_000);
        b.put(Node::Factorial(n))
    };
    both_ways(factorial, |b| b.n(1), Different);
    both_ways(factorial, |b| b.n(1_000_000_000), Different);
    let googol = |b: &mut Build| {
        let (ten, hundred) = (b.n(10), b.n(100));
        b.power(ten, hundred)
    };
    let of_googol = |node: fn(Id) -> Node| {
        move |b: &mut Build| {
            let n = googol(b);
            b.put(node(n))
        }
    };
    for node in [Node::Factorial as fn(Id) -> Node, Node::DoubleFactorial] {
        both_ways(of_googol(node), |b| b.n(1), Different);
        both_ways(of_googol(node), googol, Different);
        both_ways(of_googol(node), of_googol(node), Equal);
    }
}

#[test]
fn a_near_integer_is_no_integer() {
    let ramanujan = |b: &mut Build| {
        let (e, pi, n) = (b.c(Constant::E), b.c(Constant::Pi), b.n(163));
        let root = b.root(n);
        let exponent = b.times(pi, root);
        b.power(e, exponent)
    };
    both_ways(ramanujan, |b| b.n(262_537_412_640_768_744), Different);
}

#[test]
fn radicals_are_decided_by_their_separation_bound() {
    // sqrt 2 + sqrt 3 = sqrt(5 + 2 sqrt 6)
    let sum = |b: &mut Build| {
        let (two, three) = (b.n(2), b.n(3));
        let (two, three) = (b.root(two), b.root(three));
        b.sum(two, three)
    };
    let nested = |b: &mut Build| {
        let (five, two, six) = (b.n(5), b.n(2), b.n(6));
        let six = b.root(six);
        let double = b.times(two, six);
        let under = b.sum(five, double);
        b.root(under)
    };
    both_ways(sum, nested, Equal);
    // and its square is rational after all: exact, also where the gold is a whole number
    let square = |b: &mut Build| {
        let (s, five, two, six, exponent) = (nested(b), b.n(5), b.n(2), b.n(6), b.n(2));
        let square = b.power(s, exponent);
        let six = b.root(six);
        let double = b.times(two, six);
        let rest = b.sum(five, double);
        b.minus(square, rest)
    };
    both_ways(square, |b| b.n(0), Equal);
    both_ways(sum, |b| b.decimal(3_146_264_369_941_972_352, 18), Different);
}

#[test]
fn cosines_of_rational_angles_are_algebraic() {
    let cosine = |b: &mut Build| {
        let n = b.n(36);
        let angle = b.put(Node::Degrees(n));
        b.apply(Function::Cos, angle)
    };
    let radical = |b: &mut Build| {
        let (one, five, four) = (b.n(1), b.n(5), b.n(4));
        let five = b.root(five);
        let sum = b.sum(one, five);
        b.over(sum, four)
    };
    both_ways(radical, cosine, Equal);
    // cos pi/7 - cos 2pi/7 + cos 3pi/7 = 1/2, a proof against a rational gold
    let sum = |b: &mut Build| {
        let term = |b: &mut Build, k: i64| {
            let (k, pi, seven) = (b.n(k), b.c(Constant::Pi), b.n(7));
            let angle = b.times(k, pi);
            let angle = b.over(angle, seven);
            b.apply(Function::Cos, angle)
        };
        let (one, two, three) = (term(b, 1), term(b, 2), term(b, 3));
        let two = b.put(Node::Negated(two));
        b.put(Node::Sum(vec![one, two, three]))
    };
    both_ways(|b| b.decimal(5, 1), sum, Equal);
}

#[test]
fn a_turn_of_half_a_circle_is_minus_one() {
    let turn = |b: &mut Build| {
        let (e, i, pi) = (b.c(Constant::E), b.c(Constant::I), b.c(Constant::Pi));
        let exponent = b.times(i, pi);
        b.power(e, exponent)
    };
    both_ways(|b| b.n(-1), turn, Equal);
    both_ways(|b| b.n(1), turn, Different);
}

#[test]
fn a_transcendental_answer_needs_a_proof_against_a_rational_gold() {
    let eleven = |b: &mut Build| {
        let n = b.n(11);
        b.apply(Function::Sin, n)
    };
    both_ways(|b| b.n(-1), eleven, Different);
    // e^{2 ln 2} = 4 agrees, which is no proof
    let four = |b: &mut Build| {
        let (e, n) = (b.c(Constant::E), b.n(2));
        let log = b.apply(Function::Ln, n);
        let double = b.times(n, log);
        b.power(e, double)
    };
    under(Strictness::Rl, |b| b.n(4), four, Undecided);
    under(Strictness::Eval, |b| b.n(4), four, Equal);
}

#[test]
fn rational_functions_are_compared_as_functions() {
    let quotient = |b: &mut Build| {
        let (x, two, one) = (b.x("x"), b.n(2), b.n(1));
        let square = b.power(x, two);
        let (above, below) = (b.minus(square, one), b.minus(x, one));
        b.over(above, below)
    };
    let plus = |number: i64| {
        move |b: &mut Build| {
            let (x, n) = (b.x("x"), b.n(number));
            b.sum(x, n)
        }
    };
    both_ways(plus(1), quotient, Equal);
    both_ways(plus(2), quotient, Different);
    both_ways(plus(0), |b| b.x("x"), Equal);
    both_ways(|b| b.x("x_1"), |b| b.x("x_2"), Different);
    let size = |b: &mut Build| {
        let (x, two) = (b.x("x"), b.n(2));
        let square = b.power(x, two);
        b.root(square)
    };
    both_ways(|b| b.x("x"), size, Different);
    let absolute = |b: &mut Build| {
        let x = b.x("x");
        b.apply(Function::Abs, x)
    };
    both_ways(absolute, size, Equal);
}

#[test]
fn functions_of_variables_agree_at_places() {
    let double = |b: &mut Build| {
        let (two, x) = (b.n(2), b.x("x"));
        let angle = b.times(two, x);
        b.apply(Function::Sin, angle)
    };
    let product = |b: &mut Build| {
        let (two, x) = (b.n(2), b.x("x"));
        let (sine, cosine) = (b.apply(Function::Sin, x), b.apply(Function::Cos, x));
        b.put(Node::Product(vec![cosine, two, sine]))
    };
    both_ways(double, product, Equal);
    let inverse = |b: &mut Build| {
        let x = b.x("x");
        b.apply(Function::Arcsin, x)
    };
    let reciprocal = |b: &mut Build| {
        let (one, x) = (b.n(1), b.x("x"));
        let sine = b.apply(Function::Sin, x);
        b.over(one, sine)
    };
    both_ways(inverse, reciprocal, Different);
    let factorial = |b: &mut Build| {
        let n = b.x("n");
        b.put(Node::Factorial(n))
    };
    both_ways(factorial, |b| b.x("n"), Different);
    let shifted = |b: &mut Build| {
        let (n, one) = (b.x("n"), b.n(1));
        let before = b.minus(n, one);
        let factorial = b.put(Node::Factorial(before));
        b.times(n, factorial)
    };
    both_ways(factorial, shifted, Equal);
}
