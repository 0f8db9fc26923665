//! Relations, sets, lists and marks.

use super::*;

#[test]
fn relations_count_up_to_a_factor() {
    let below = |left: i64, operator, right: i64| {
        move |b: &mut Build| {
            let (k, x) = (b.n(left), b.x("x"));
            let (left, right) = (b.times(k, x), b.n(right));
            b.relation(left, operator, right)
        }
    };
    both_ways(below(1, Relation::Less, 5), below(1, Relation::Greater, 5), Different);
    both_ways(below(1, Relation::Less, 1), below(-1, Relation::Greater, -1), Equal);
    both_ways(below(1, Relation::Less, 1), below(-1, Relation::Less, -1), Different);
    both_ways(below(1, Relation::Less, 1), below(1, Relation::LessEqual, 1), Different);
    both_ways(below(2, Relation::Equal, 4), below(-3, Relation::Equal, -6), Equal);
    both_ways(below(2, Relation::Equal, 4), below(2, Relation::Equal, 5), Different);
}

#[test]
fn sets_of_numbers_have_one_form() {
    let infinity = |b: &mut Build, sign: i64| {
        let infinity = b.c(Constant::Infinity);
        if sign < 0 { b.put(Node::Negated(infinity)) } else { infinity }
    };
    // (-oo, 1) or (1, 2] or {1}, in pieces
    let pieces = |b: &mut Build| {
        let (low, one, two) = (infinity(b, -1), b.n(1), b.n(2));
        let first = b.put(Node::Interval { low, high: one, low_closed: false, high_closed: false });
        let second =
            b.put(Node::Interval { low: one, high: two, low_closed: false, high_closed: true });
        let point = b.put(Node::Set(vec![one]));
        b.put(Node::Union(vec![second, first, point]))
    };
    let whole = |b: &mut Build| {
        let (low, high) = (infinity(b, -1), b.n(2));
        b.put(Node::Interval { low, high, low_closed: false, high_closed: true })
    };
    both_ways(pieces, whole, Equal);
    let inequality = |operator| {
        move |b: &mut Build| {
            let (x, four) = (b.x("x"), b.n(4));
            let root = b.root(four);
            b.relation(x, operator, root)
        }
    };
    both_ways(whole, inequality(Relation::LessEqual), Equal);
    both_ways(whole, inequality(Relation::Less), Different);
    let punctured = |b: &mut Build| {
        let (reals, two) = (b.c(Constant::Reals), b.n(2));
        let point = b.put(Node::Set(vec![two]));
        b.put(Node::Difference(reals, point))
    };
    both_ways(punctured, inequality(Relation::NotEqual), Equal);
}

#[test]
fn tuples_have_an_order_and_sets_have_none() {
    let pair = |a: i64, c: i64, wrap: fn(Vec<Id>) -> Node| {
        move |b: &mut Build| {
            let of = vec![b.n(a), b.n(c)];
            b.put(wrap(of))
        }
    };
    both_ways(pair(1, 2, Node::Tuple), pair(2, 1, Node::Tuple), Different);
    both_ways(pair(1, 2, Node::Set), pair(2, 1, Node::List), Equal);
    both_ways(pair(1, 2, Node::Tuple), pair(1, 2, Node::Set), Different);
    both_ways(pair(203, 204, Node::Set), |b| b.n(204), Different);
    both_ways(pair(1, 1, Node::List), |b| b.n(1), Different);
    let sign = |b: &mut Build| {
        let n = b.n(2021);
        b.put(Node::PlusMinus(n))
    };
    both_ways(sign, |b| b.n(2021), Different);
    both_ways(sign, pair(-2021, 2021, Node::List), Equal);
}

#[test]
fn one_different_decimal_in_a_thousand_is_seen() {
    let digits = |last: i64| {
        move |b: &mut Build| {
            let value = RBig::from_parts(
                IBig::from(10).pow(1000) / IBig::from(7) + IBig::from(last),
                UBig::from(10u8).pow(1000),
            );
            b.put(Node::Number { value, places: Some(1000) })
        }
    };
    both_ways(digits(0), digits(1), Different);
    both_ways(digits(3), digits(3), Equal);
}

#[test]
fn percent_signs_follow_the_policy() {
    let percent = |b: &mut Build| {
        let n = b.n(50);
        b.put(Node::Percent(n))
    };
    for strictness in [Strictness::Rl, Strictness::Eval] {
        under(strictness, |b| b.decimal(5, 1), percent, Equal);
        under(strictness, percent, |b| b.decimal(5, 1), Equal);
        under(strictness, percent, |b| b.n(50), Equal);
    }
    under(Strictness::Rl, |b| b.n(50), percent, Different);
    under(Strictness::Eval, |b| b.n(50), percent, Equal);
}

#[test]
fn a_decimal_stands_for_an_irrational_gold_in_scores_only() {
    let root = |b: &mut Build| {
        let two = b.n(2);
        b.root(two)
    };
    under(Strictness::Eval, root, |b| b.decimal(1414, 3), Equal);
    under(Strictness::Rl, root, |b| b.decimal(1414, 3), Different);
    under(Strictness::Eval, root, |b| b.decimal(1415, 3), Different);
    under(Strictness::Eval, root, |b| b.decimal(14, 1), Different);
}
