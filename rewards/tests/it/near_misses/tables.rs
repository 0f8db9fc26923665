//! Changes of the answers of our own tables, as they are written there.
#![expect(clippy::unnecessary_wraps, reason = "all changes have one type")]

use rewards::{Equivalence, Strictness, equivalent};

use super::{Draw, Pair, STRANGER};

/// Whether a text is one value, written with numbers, letters, the usual operators and functions:
/// no list, relation, words, unit, percent sign, open sign or infinity.
pub(super) fn is_value(text: &str) -> bool {
    const COMMANDS: [&str; 15] = [
        "frac", "dfrac", "tfrac", "sqrt", "pi", "cdot", "times", "left", "right", "sin", "cos",
        "tan", "ln", "log", "binom",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || " +-*/^{}().\\".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.ends_with('.') {
        return false;
    }
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '\\' || c.is_ascii_alphabetic()) {
        let command = rest[at..].starts_with('\\');
        let name = &rest[at + usize::from(command)..];
        let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
        if command != COMMANDS.contains(&&name[..letters]) || !command && letters > 1 {
            return false;
        }
        rest = &name[letters..];
    }
    // a capital letter alone may be that of a choice, and a constant may be any
    !text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_zero(gold: &str) -> bool {
    equivalent(gold, "0", Strictness::Rl) != Equivalence::Different
}

/// A value other than zero beside a gold without marks that allow for another value.
fn is_nonzero(pair: &Pair) -> bool {
    is_value(&pair.answer) && !is_zero(&pair.gold)
}

pub(super) fn is_marked(pair: &Pair) -> bool {
    [&pair.gold, &pair.answer].iter().any(|text| {
        text.contains('%') || text.contains("per") || text.contains("circ") || text.contains('°')
    })
}

/// A whole number above one, as digits.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|value| digits && *value > 1)
}

/// Changes an answer into another; `None` where that is not certain.
pub(super) type Change = fn(&Pair, &mut Draw) -> Option<String>;

/// The kinds of changes, each with the number of rows that it has to make at least.
pub(super) const CHANGES: [(&str, Change, usize); 16] = [
    ("another value by a sum", a_sum, 100),
    ("another value by a product", a_product, 80),
    ("another digit", a_digit, 60),
    ("another sign", a_sign, 20),
    ("an inverse", an_inverse, 3),
    ("a power", a_power, 15),
    ("a factorial", a_factorial, 3),
    ("another base", a_base, 15),
    ("a scale", a_scale, 100),
    ("a doubt", a_doubt, 100),
    ("a denial", a_denial, 100),
    ("a condition", a_condition, 100),
    ("an approximation", an_approximation, 80),
    ("an alternative", an_alternative, 100),
    ("an equation in an unknown", an_equation, 20),
    ("another place", a_place, 100),
];

fn a_sum(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let sign = draw.of(&["+", "-", "+ \\frac{1}{7} +"]);
    let value = is_value(&pair.answer) && !is_marked(pair);
    value.then(|| format!("{} {sign} {}", pair.answer, 1 + draw.below(999)))
}

fn a_product(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let factor = draw.of(&[r"2 \cdot ", "3", r"\frac{1}{2}", r"\sqrt{2} \cdot ", "1.01", "x"]);
    is_nonzero(pair).then(|| format!(r"{factor} \left( {} \right)", pair.answer))
}

fn a_digit(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let answer = &pair.answer;
    let digits: Vec<_> = answer.bytes().enumerate().filter(|at| at.1.is_ascii_digit()).collect();
    let number = answer.trim_start_matches('-');
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.matches('.').count() < 2
        && !number.ends_with('.');
    if !plain || digits.is_empty() {
        return None;
    }
    let (at, old) = draw.of(&digits);
    let new = (old - b'0' + 1 + draw.below(9) as u8) % 10;
    Some(format!("{}{new}{}", &answer[..at], &answer[at + 1..]))
}

fn a_sign(pair: &Pair, _: &mut Draw) -> Option<String> {
    is_nonzero(pair).then(|| format!("-({})", pair.answer))
}

fn an_inverse(pair: &Pair, _: &mut Draw) -> Option<String> {
    whole(&pair.answer).filter(|_| !is_marked(pair))?;
    Some(format!(r"\frac{{1}}{{{}}}", pair.answer))
}

fn a_power(pair: &Pair, draw: &mut Draw) -> Option<String> {
    whole(&pair.answer)?;
    let power = draw.of(&["^2", "^{3}", r"^{\frac{1}{2}}", "^{-1}", "^0"]);
    (!is_marked(pair)).then(|| format!("{}{power}", pair.answer))
}

fn a_factorial(pair: &Pair, _: &mut Draw) -> Option<String> {
    whole(&pair.answer).filter(|value| (3..1000).contains(value)).map(|value| format!("{value}!"))
}

fn a_base(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let value = whole(&pair.answer).filter(|value| *value > 9)?;
    let base = draw.of(&[
        "_7",
        "_{8}",
        "_{16}",
        r" \text{ in base 7}",
        r" \text{ (octal)}",
        r"_{\text{nine}}",
    ]);
    Some(format!("{value}{base}"))
}

fn a_scale(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const SCALES: [&str; 14] = [
        r"\%",
        r" \text{ percent}",
        r" \text{ per cent}",
        r" \text{ thousand}",
        r" \text{ thousands}",
        r" \text{ million}",
        r" \text{ billion}",
        r" \text{ dozen}",
        r" \text{ dozens}",
        r" \text{ hundred}",
        r" \text{ lakh}",
        r" \text{ crore}",
        r" \text{ basis points}",
        r" \times 10^{3}",
    ];
    let scale = draw.of(&SCALES);
    (is_nonzero(pair) && !is_marked(pair)).then(|| format!("{}{scale}", pair.answer))
}

fn a_doubt(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const DOUBTS: [&str; 12] = [
        "maybe",
        "perhaps",
        "or so",
        "I think",
        "possibly",
        "more or less",
        "give or take",
        "roughly",
        "presumably",
        "if I am not mistaken",
        "or thereabouts",
        "as a guess",
    ];
    Some(format!(r"{} \text{{ {}}}", pair.answer, draw.of(&DOUBTS)))
}

fn a_denial(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const BEFORE: [&str; 4] = ["not ", "anything but ", "never ", "other than "];
    const BEHIND: [&str; 8] = [
        "is wrong",
        "(wrong)",
        "is not the answer",
        "rejected",
        "is refuted",
        "discarded",
        "is excluded",
        "fails",
    ];
    let answer = &pair.answer;
    Some(if draw.below(2) == 0 {
        format!(r"\text{{{}}} {answer}", draw.of(&BEFORE))
    } else {
        format!(r"{answer} \text{{ {}}}", draw.of(&BEHIND))
    })
}

fn a_condition(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const CONDITIONS: [&str; 8] = [
        r"\text{ if } n = 1",
        r"\text{ for even } n",
        r"\text{ unless } n = 0",
        r"\text{ when it rains}",
        r"\text{ provided that } n > 3",
        r"\text{ only for odd n}",
        r"\text{ except at } 0",
        r"\text{ at most}",
    ];
    Some(format!("{} {}", pair.answer, draw.of(&CONDITIONS)))
}

fn an_approximation(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let sign = draw.of(&[
        r"\approx ",
        r"\text{about } ",
        r"\text{approximately } ",
        r"\sim ",
        r"\text{nearly } ",
    ]);
    is_value(&pair.answer).then(|| format!("{sign}{}", pair.answer))
}

fn an_alternative(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let joint = draw.of(&[r" \text{ or } ", " or ", r" \text{ OR } ", ", ", " / ", r" \lor "]);
    // a list may be one beside which another value is easily passed over, but never another list
    is_nonzero(pair).then(|| match draw.below(2) {
        0 => format!("{}{joint}{STRANGER}", pair.answer),
        _ => format!("{STRANGER}{joint}{}", pair.answer),
    })
}

fn an_equation(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let left =
        draw.of(&["2x", "-x", "x^2", "x + x", r"\frac{x}{2}", "x + 1", r"\sqrt{x}", "3 - x"]);
    let value = whole(&pair.answer)?;
    // both 1 and 3 - 1.5 may solve an equation by themselves
    (value > 3).then(|| format!("{left} = {value}"))
}

/// The right answer where it does not count.
fn a_place(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let answer = &pair.answer;
    let at_end = format!(r"\boxed{{{STRANGER}}}");
    let right = format!(r"\boxed{{{answer}}}");
    let mark = draw.of(&[
        "<end_of_turn>",
        "<|im_end|>",
        "<|eot_id|>",
        "</s>",
        "<eos>",
        "[/INST]",
        "<|end|>",
    ]);
    let tag = draw.of(&["think", "THINK", "Thinking", "reasoning", "Thought", "scratchpad"]);
    let part = draw.of(&[
        ("10^{", "}"),
        (r"\sqrt{", "}"),
        (r"$x = -", "$"),
        (r"\cancel{", "}"),
        ("2 + ", ""),
        ("", r" \cdot 10^3"),
        ("", "^2"),
        ("~~", "~~"),
    ]);
    Some(match draw.below(8) {
        0 => format!("{right}, so {at_end}"),
        1 => format!("{at_end}{mark}\n{right}"),
        2 => format!("<{tag}>{right}</{tag}> so {at_end}"),
        3 => format!("<{tag}>{right}</{tag}>"),
        5 | 6 => format!("{}{right}{}", part.0, part.1),
        4 => format!("{right} and then \\boxed{{{STRANGER}"),
        _ => format!("so {right} OR {at_end}"),
    })
}
