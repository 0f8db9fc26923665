//! What commands mean in an answer, and letters that are names without a backslash.

use super::lex::{Bracket, Head, Token};
use super::tree::{Bound, Constant, Function, Relation};

/// What a command says, without its backslash; `None` for one that answers do not need.
pub(super) fn command(name: &str) -> Option<Token<'static>> {
    Some(match name {
        "frac" | "dfrac" | "tfrac" | "cfrac" => Token::Fraction,
        "sqrt" => Token::Root,
        "sum" => Token::Bound(Bound::Sum),
        "prod" => Token::Bound(Bound::Product),
        "int" => Token::Bound(Bound::Integral),
        "lim" => Token::Bound(Bound::Limit),
        "top" | "intercal" => Token::Symbol("T".into()),
        "binom" | "dbinom" | "tbinom" => Token::Binomial,
        "overline" | "bar" => Token::Conjugate,
        "hat" | "widehat" => Token::Accent("hat"),
        "tilde" | "widetilde" => Token::Accent("tilde"),
        "bmod" | "mod" => Token::Modulo,
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
        "choose" => Token::Choose,
        "over" => Token::Over,
        "lfloor" | "llcorner" => Token::Open(Bracket::Floor),
        "rfloor" | "lrcorner" => Token::Close(Bracket::Floor),
        "lceil" | "ulcorner" => Token::Open(Bracket::Ceil),
        "rceil" | "urcorner" => Token::Close(Bracket::Ceil),
        "langle" => Token::Open(Bracket::Angle),
        "rangle" => Token::Close(Bracket::Angle),
        "lbrace" => Token::Open(Bracket::Curly),
        "rbrace" => Token::Close(Bracket::Curly),
        "lbrack" => Token::Open(Bracket::Square),
        "rbrack" => Token::Close(Bracket::Square),
        "lparen" | "lgroup" => Token::Open(Bracket::Round),
        "rparen" | "rgroup" => Token::Close(Bracket::Round),
        "pounds" => Token::Currency("pound sterling"),
        "euro" => Token::Currency("euro"),
        "yen" => Token::Currency("yen"),
        _ => {
            return constant(name)
                .map(Token::Constant)
                .or_else(|| relation(name).map(Token::Relation))
                .or_else(|| head(name).map(Token::Function))
                .or_else(|| operator(name).map(Token::Named))
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

/// Blackboard letters that are functions of random variables and events.
pub(super) fn of_chance(letter: &str) -> Option<&'static str> {
    ["E", "P", "V"].into_iter().find(|&known| known == letter)
}

/// Operators whose one operand may stand without brackets, by their one name.
pub(super) fn operator(name: &str) -> Option<&'static str> {
    Some(match name {
        "det" => "det",
        "Pr" => "P",
        "dim" => "dim",
        "deg" => "deg",
        "ker" => "ker",
        "rank" | "rk" => "rank",
        "nullity" => "nullity",
        "tr" | "Tr" | "trace" => "tr",
        "Var" | "var" => "var",
        "Cov" | "cov" => "cov",
        "ord" => "ord",
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
        "cis" => return Some(Head::Cis),
        "gcd" => return Some(Head::Call("gcd")),
        "lcm" => return Some(Head::Call("lcm")),
        "max" => return Some(Head::Call("max")),
        "min" => return Some(Head::Call("min")),
        _ => return None,
    }))
}

/// Whether a name is that of a letter.
pub(super) fn is_letter(name: &str) -> bool {
    name.chars().count() == 1 || greek(name).is_some()
}

fn greek(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 35] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
        "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar",
        "nabla", "partial",
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

/// Commands that only size the delimiter that follows.
pub(super) fn is_size(name: &str) -> bool {
    let sizes = ["big", "Big", "bigg", "Bigg"];
    sizes.contains(&name.strip_suffix(['l', 'r', 'm']).unwrap_or(name))
}

/// Commands that only dress what follows: fonts, sizes, spaces, arrows over letters.
pub(super) fn is_dress(name: &str) -> bool {
    const DRESS: &str = "therefore large Large LARGE huge Huge small tiny scriptscriptstyle displaystyle textstyle scriptstyle limits nolimits left right mleft mright middle big \
        Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr quad qquad enspace \
        thinspace boxed fbox rm bf it sf tt mathbf bm boldsymbol vec overrightarrow mathit \
        mathsf mathcal mathtt underline angle triangle ensuremath hline measuredangle \
        strut normalsize";
    DRESS.split_whitespace().any(|known| known == name)
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
            | "textup"
            | "textsl"
            | "textsc"
            | "textmd"
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
        "and" | "And" | "AND" => Token::And,
        "or" | "Or" | "OR" => Token::Or,
        "theta" | "alpha" | "beta" | "gamma" | "lambda" | "phi" | "omega" | "sigma" => {
            Token::Symbol(word.into())
        }
        // letters that are products more often than functions
        "tg" | "lg" | "Re" | "Im" | "arg" | "sign" => return None,
        _ => Token::Function(head(word)?),
    })
}

/// A command that a letter was glued to, as in `\\sinx`, and its length.
pub(super) fn glued(name: &str) -> Option<usize> {
    const NAMES: [&str; 18] = [
        "qquad", "quad", "cdot", "times", "sin", "cos", "tan", "cot", "ln", "log", "pi", "sqrt",
        "lvert", "rvert", "vert", "le", "ge", "pm",
    ];
    let length = name.len().checked_sub(1)?;
    NAMES.contains(&&name[..length]).then_some(length)
}

/// A function whose one-letter argument stands right after it, as in `sinx`; and its length.
pub(super) fn function_with_letter(run: &str) -> Option<(Head, usize)> {
    let name = run.get(..run.len().checked_sub(1)?)?;
    matches!(name, "sin" | "cos" | "tan" | "cot" | "sec" | "csc" | "ln" | "log")
        .then(|| Some((head(name)?, name.len())))
        .flatten()
}
