//! What commands and words mean in an answer.

use super::lex::{Bracket, Head, Token};
use super::tree::{Constant, Function, Relation};

/// What a command says, without its backslash; `None` for one that answers do not need.
pub(super) fn command(name: &str) -> Option<Token<'static>> {
    Some(match name {
        "frac" | "dfrac" | "tfrac" | "cfrac" => Token::Fraction,
        "sqrt" => Token::Root,
        "binom" | "dbinom" | "tbinom" => Token::Binomial,
        "overline" | "bar" => Token::Conjugate,
        "cdot" | "times" | "ast" | "bullet" => Token::Times,
        "div" => Token::Divide,
        "pm" => Token::PlusMinus,
        "mp" => Token::MinusPlus,
        "cup" | "bigcup" => Token::Union,
        "cap" | "bigcap" => Token::Intersection,
        "setminus" | "backslash" => Token::Difference,
        "colon" => Token::Colon,
        "land" | "wedge" => Token::And,
        "lor" | "vee" => Token::Or,
        "dots" | "ldots" | "cdots" => Token::Ellipsis,
        "circ" => Token::Circle,
        "degree" => Token::Degree,
        "prime" => Token::Prime,
        "lvert" => Token::LeftBar,
        "rvert" => Token::RightBar,
        "vert" | "lVert" | "rVert" | "Vert" => Token::Bar,
        "lfloor" => Token::Open(Bracket::Floor),
        "rfloor" => Token::Close(Bracket::Floor),
        "lceil" => Token::Open(Bracket::Ceil),
        "rceil" => Token::Close(Bracket::Ceil),
        "langle" => Token::Open(Bracket::Angle),
        "rangle" => Token::Close(Bracket::Angle),
        "lbrace" => Token::Open(Bracket::Curly),
        "rbrace" => Token::Close(Bracket::Curly),
        "lbrack" => Token::Open(Bracket::Square),
        "rbrack" => Token::Close(Bracket::Square),
        "lparen" => Token::Open(Bracket::Round),
        "rparen" => Token::Close(Bracket::Round),
        "pounds" | "euro" | "yen" => Token::Currency,
        _ => {
            return constant(name)
                .map(Token::Constant)
                .or_else(|| relation(name).map(Token::Relation))
                .or_else(|| head(name).map(Token::Function))
                .or_else(|| greek(name).map(|name| Token::Symbol(name.into())));
        }
    })
}

fn constant(name: &str) -> Option<Constant> {
    Some(match name {
        "pi" => Constant::Pi,
        "infty" => Constant::Infinity,
        "emptyset" | "varnothing" => Constant::EmptySet,
        "R" | "reals" | "Reals" => Constant::Reals,
        "Z" => Constant::Integers,
        "N" => Constant::Naturals,
        "Q" => Constant::Rationals,
        _ => return None,
    })
}

/// The number sets of blackboard letters.
pub(super) fn number_set(letter: &str) -> Option<Constant> {
    Some(match letter {
        "R" => Constant::Reals,
        "Z" => Constant::Integers,
        "N" => Constant::Naturals,
        "Q" => Constant::Rationals,
        "C" => Constant::Complexes,
        _ => return None,
    })
}

fn relation(name: &str) -> Option<Relation> {
    Some(match name {
        "ne" | "neq" => Relation::NotEqual,
        "lt" => Relation::Less,
        "gt" => Relation::Greater,
        "le" | "leq" | "leqslant" | "leqq" => Relation::LessEqual,
        "ge" | "geq" | "geqslant" | "geqq" => Relation::GreaterEqual,
        "in" => Relation::In,
        "notin" => Relation::NotIn,
        "subset" => Relation::Subset,
        "subseteq" => Relation::SubsetEqual,
        "approx" | "simeq" | "doteq" | "thickapprox" | "approxeq" => Relation::Approximately,
        "to" | "mapsto" | "rightarrow" | "longrightarrow" => Relation::MapsTo,
        "equiv" => Relation::Equivalent,
        "mid" => Relation::Divides,
        "parallel" => Relation::Parallel,
        "perp" => Relation::Perpendicular,
        "sim" => Relation::Similar,
        "cong" => Relation::Congruent,
        _ => return None,
    })
}

/// Functions that take what follows them.
pub(super) fn head(name: &str) -> Option<Head> {
    Some(Head::Apply(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" | "ctg" => Function::Cot,
        "sec" => Function::Sec,
        "csc" | "cosec" => Function::Csc,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" | "arctg" => Function::Arctan,
        "arccot" | "acot" => Function::Arccot,
        "arcsec" | "asec" => Function::Arcsec,
        "arccsc" | "acsc" => Function::Arccsc,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "ln" => Function::Ln,
        "exp" => Function::Exp,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" | "ceiling" => Function::Ceil,
        "Re" => Function::Re,
        "Im" => Function::Im,
        "arg" => Function::Arg,
        "sgn" | "sign" => Function::Sign,
        "log" => return Some(Head::Log),
        "lg" => return Some(Head::Lg),
        "gcd" => return Some(Head::Call("gcd")),
        "lcm" => return Some(Head::Call("lcm")),
        "max" => return Some(Head::Call("max")),
        "min" => return Some(Head::Call("min")),
        _ => return None,
    }))
}

fn greek(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 33] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
        "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar",
    ];
    let name = match name {
        "varepsilon" => "epsilon",
        "vartheta" => "theta",
        "varphi" => "phi",
        "varrho" => "rho",
        "varsigma" => "sigma",
        _ => name,
    };
    NAMES.into_iter().find(|&known| known == name)
}

/// Commands that only dress what follows: fonts, sizes, spaces, arrows over letters.
pub(super) fn is_dress(name: &str) -> bool {
    const DRESS: [&str; 53] = [
        "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "left", "right", "mleft",
        "mright", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
        "biggr", "Biggl", "Biggr", "quad", "qquad", "enspace", "thinspace", "boxed", "fbox", "rm",
        "bf", "it", "sf", "tt", "mathbf", "bm", "boldsymbol", "vec", "overrightarrow", "mathit",
        "mathsf", "mathcal", "mathtt", "underline", "angle", "triangle", "ensuremath", "hline",
        "measuredangle", "widehat", "hat", "tilde", "strut", "normalsize",
    ];
    DRESS.contains(&name)
}

/// Commands whose argument is words, or mathematics after all.
pub(super) fn is_text(name: &str) -> bool {
    matches!(
        name,
        "text"
            | "textbf"
            | "textit"
            | "textrm"
            | "textsf"
            | "texttt"
            | "textnormal"
            | "mbox"
            | "hbox"
            | "mathrm"
            | "operatorname"
            | "emph"
    )
}

/// Letters that are one name although no backslash stands before them.
pub(super) fn plain(word: &str) -> Option<Token<'static>> {
    Some(match word {
        "sqrt" => Token::Root,
        "pi" | "Pi" => Token::Constant(Constant::Pi),
        "infinity" | "inf" | "oo" | "infty" => Token::Constant(Constant::Infinity),
        "and" | "And" => Token::And,
        "or" | "Or" | "OR" => Token::Or,
        "theta" | "alpha" | "beta" | "gamma" | "lambda" | "phi" | "omega" | "sigma" => {
            Token::Symbol(word.into())
        }
        // letters that are products more often than functions
        "tg" | "lg" | "Re" | "Im" | "arg" | "sign" => return None,
        _ => Token::Function(head(word)?),
    })
}

/// A function whose one-letter argument stands right after it, as in `sinx`; and its length.
pub(super) fn function_with_letter(run: &str) -> Option<(Head, usize)> {
    let name = &run[..run.len().checked_sub(1)?];
    matches!(name, "sin" | "cos" | "tan" | "cot" | "sec" | "csc" | "ln" | "log")
        .then(|| Some((head(name)?, name.len())))
        .flatten()
}

/// How many ones a word of number stands for, by its exponent of ten.
pub(super) fn magnitude(word: &str) -> Option<usize> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" => 6,
        "billion" => 9,
        "trillion" => 12,
        _ => return None,
    })
}

/// The small numbers by name.
pub(super) fn number_word(word: &str) -> Option<u8> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    WORDS.iter().position(|&known| known == word).map(|at| at as u8)
}

/// Two or three letters that are a unit after a number, and no product.
pub(super) fn is_short_unit(word: &str) -> bool {
    const UNITS: [&str; 34] = [
        "cm", "mm", "km", "kg", "mg", "lb", "lbs", "oz", "ft", "yd", "mi", "mph", "kph", "ml", "mL",
        "hr", "hrs", "sec", "mins", "pct", "sq", "cal", "rad", "deg", "USD", "usd", "AM", "PM", "am",
        "pm", "yrs", "way", "day", "men",
    ];
    UNITS.contains(&word)
}

/// The one spelling of a unit or noun: lower case, singular. `None` for words that are no unit, since
/// they say something about the number.
pub(super) fn unit(words: &str) -> Option<Box<str>> {
    let mut name = String::new();
    for (count, word) in words.split_whitespace().enumerate() {
        let word = word.trim_end_matches('.').to_lowercase();
        if count == 4 || says_something(&word) || number_word(&word).is_some() {
            return None;
        }
        if !word.chars().all(|letter| letter.is_alphabetic() || letter == '-' || letter == '/') {
            return None;
        }
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(singular(&word));
    }
    (!name.is_empty()).then(|| name.into())
}

fn says_something(word: &str) -> bool {
    const WORDS: [&str; 46] = [
        "or", "and", "not", "no", "nor", "is", "are", "was", "if", "when", "wrong", "incorrect",
        "false", "either", "maybe", "to", "from", "minus", "plus", "times", "over", "than", "less",
        "more", "least", "most", "half", "third", "thirds", "quarter", "quarters", "dozen", "hundred",
        "thousand", "million", "billion", "trillion", "mod", "modulo", "base", "but", "between",
        "undefined", "none", "negative", "squared",
    ];
    WORDS.contains(&word)
}

fn singular(word: &str) -> &str {
    match word {
        "centimeters" | "centimeter" | "centimetres" | "centimetre" => "cm",
        "millimeters" | "millimeter" => "mm",
        "kilometers" | "kilometer" | "kilometres" | "kilometre" => "km",
        "meters" | "meter" | "metres" | "metre" => "m",
        "inches" => "inch",
        "feet" | "ft" => "foot",
        "yd" | "yds" => "yard",
        "mi" => "mile",
        "hr" | "hrs" => "hour",
        "min" | "mins" => "minute",
        "sec" | "secs" => "second",
        "kilograms" | "kilogram" | "kgs" => "kg",
        "grams" | "gram" => "g",
        "lb" | "lbs" | "pounds" => "pound",
        "sq" => "square",
        "s" => "s",
        _ if word.ends_with("ss") => word,
        _ => word.strip_suffix('s').unwrap_or(word),
    }
}
