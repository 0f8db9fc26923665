//! Whether a box is a part of a formula: of `10^{\boxed{5}}` the answer is not 5.
//!
//! What stands right before the box, right behind it, and what encloses it decide. Layout, words,
//! signs of relations and units leave the box an answer.

use std::ops::Range;

use super::clause::is_among;

/// How far around a box is looked, in bytes.
const MAX_REACH: usize = 512;

/// Commands whose argument is printed as it is.
const LAYOUT: &str = "text textbf textit textrm textsf texttt textsc textnormal textcolor textup emph \
    mathbf mathrm mathit mathsf mathtt mathnormal boldsymbol bm pmb mbox hbox makebox framebox \
    colorbox fcolorbox color underline ensuremath underbrace overbrace centerline parbox section \
    subsection paragraph caption boxed fbox begin end";

/// Commands without an argument, behind which a brace groups.
const BARE: &str = "displaystyle textstyle tiny scriptsize footnotesize small normalsize large \
    Large LARGE huge Huge bf bfseries it rm item quad qquad therefore because implies iff to \
    rightarrow longrightarrow Rightarrow Longrightarrow \
    leftrightarrow Leftrightarrow approx equiv le leq ge geq left right big Big bigg Bigg";

/// Commands that take what follows them as an operand.
const BEFORE: &str = "cdot times div ast pm mp neg lnot not ne neq sqrt sin cos tan cot sec csc log ln \
    lg exp arcsin arccos arctan sinh cosh tanh frac dfrac tfrac cfrac binom dbinom tbinom over cancel \
    bcancel xcancel sout phantom bmod mod gcd lcm min max pi lvert lVert lfloor lceil";

/// Commands that take what stands before them as an operand.
const BEHIND: &str = "cdot times div ast pm mp over choose bmod mod pi sqrt frac dfrac tfrac binom sin \
    cos tan log ln alpha beta theta";

/// Whether the box that `command` covers, from its backslash to its closing brace, is a part of a
/// formula or is struck out.
pub(super) fn is_operand(text: &str, command: &Range<usize>) -> bool {
    let before = near_end(&text[..command.start]);
    let behind = near_start(&text[command.end..]);
    takes_next(before) || takes_last(behind) || is_between_marks(before, behind) || {
        // most boxes stand in no braces
        let closed = closings(behind);
        closed > 0 && owners(before).iter().rev().take(closed).any(|owner| *owner == Owner::Formula)
    }
}

/// The last of a text, from its last blank line on.
fn near_end(text: &str) -> &str {
    let mut start = text.len().saturating_sub(MAX_REACH);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let near = &text[start..];
    near.rfind("\n\n").map_or(near, |at| &near[at..])
}

fn near_start(text: &str) -> &str {
    let mut end = text.len().min(MAX_REACH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let near = &text[..end];
    near.find("\n\n").map_or(near, |at| &near[..at])
}

/// The command that a text ends with, without its backslash.
fn last_command(text: &str) -> Option<&str> {
    let name = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    name.ends_with('\\').then(|| &text[name.len()..]).filter(|name| !name.is_empty())
}

/// Whether what stands before a box takes it as an operand.
fn takes_next(before: &str) -> bool {
    let tight = before;
    let before = before.trim_end_matches([' ', '\t']);
    let is_tight = before.len() == tight.len();
    if let Some(name) = last_command(before) {
        return is_among(BEFORE, name);
    }
    let Some(sign) = before.chars().next_back() else { return false };
    let rest = &before[..before.len() - sign.len_utf8()];
    let left = rest.trim_end_matches([' ', '\t']);
    let starts_line = left.is_empty() || left.ends_with('\n');
    let is_value = |c: char| c.is_ascii_alphanumeric() || ")]}".contains(c);
    match sign {
        '^' | '/' => true,
        // a row of them separates
        '+' if left.ends_with('+') => false,
        '+' | '\u{00d7}' | '\u{00b7}' | '\u{00f7}' | '\u{00b1}' | '\u{221a}' | '\u{2260}' => {
            !starts_line || is_tight
        }
        // a dash behind a word, or a bullet
        '-' | '\u{2212}' if is_tight => !left.ends_with('-'),
        '-' | '\u{2212}' => left.ends_with(|c: char| c.is_ascii_digit() || "=$}(".contains(c)),
        // the argument of a function
        '(' if is_tight => {
            let name = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            last_command(rest).is_some_and(|name| is_among(BEFORE, name))
                || !name.ends_with('\\') && rest.len() == name.len() + 1
                || rest.ends_with(|c: char| c.is_ascii_digit() || c == '^')
        }
        // emphasis elsewhere
        '*' | '_' => is_tight && rest.ends_with(is_value),
        '0'..='9' => is_tight,
        // a factor, and no word that a space is missing behind
        c if c.is_ascii_alphabetic() => {
            is_tight
                && left.len() == rest.len()
                && rest.ends_with(|c: char| "$+-=^(){}0123456789".contains(c))
        }
        _ => false,
    }
}

/// Whether what stands behind a box takes it as an operand.
fn takes_last(behind: &str) -> bool {
    let tight = behind;
    let behind = behind.trim_start_matches([' ', '\t']);
    let is_tight = behind.len() == tight.len();
    let mut rest = behind;
    while let Some(after) =
        [r"\,", r"\;", r"\:", r"\!", r"\ "].iter().find_map(|space| rest.strip_prefix(space))
    {
        rest = after.trim_start();
    }
    if let Some(command) = rest.strip_prefix('\\') {
        let letters = command.bytes().take_while(u8::is_ascii_alphabetic).count();
        return is_among(BEHIND, &command[..letters]);
    }
    let mut signs = rest.chars();
    let sign = signs.next();
    let next = signs.as_str();
    match sign {
        Some('^') => {
            let raised = next.trim_start_matches(['{', ' ']);
            !raised.starts_with(r"\circ") && !raised.starts_with(r"\degree")
        }
        Some('_') => next.starts_with(|c: char| c == '{' || c.is_ascii_digit()),
        Some('+' | '-' | '\u{2212}' | '/') => begins_operand(next, is_tight),
        Some('*') => is_tight && next.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '\\'),
        Some('\u{00d7}' | '\u{00b7}' | '\u{00f7}' | '\u{00b1}') => true,
        Some('0'..='9') => is_tight,
        Some('.') => is_tight && next.starts_with(|c: char| c.is_ascii_digit()),
        // a factorial within a formula, and no end of a sentence
        Some('!') => {
            let next = next.trim_start_matches(' ');
            is_tight
                && ["$", r"\)", r"\]", "=", "+", "-", "/"].iter().any(|end| next.starts_with(end))
        }
        Some(c) if c.is_ascii_alphabetic() => {
            is_tight && !next.starts_with(|c: char| c.is_alphabetic())
        }
        _ => false,
    }
}

/// Whether a text begins with an operand: a number, a letter or a command. Words, as in
/// `\boxed{5}-sided` and `\boxed{5} - the only one`, are none.
fn begins_operand(text: &str, is_tight: bool) -> bool {
    const WORDS: &str = "text textbf textit textrm mathrm mbox quad qquad";
    let text = text.trim_start_matches([' ', '\t']);
    let letters = |text: &str| text.bytes().take_while(u8::is_ascii_alphabetic).count();
    if let Some(command) = text.strip_prefix('\\') {
        let name = &command[..letters(command)];
        return !name.is_empty() && !is_among(WORDS, name);
    }
    text.starts_with(|c: char| c.is_ascii_digit()) || is_tight && letters(text) == 1
}

/// `~~\boxed{5}~~` and `|\boxed{5}|`.
fn is_between_marks(before: &str, behind: &str) -> bool {
    if before.ends_with('|') && (behind.starts_with('|') || behind.starts_with(r"\right|")) {
        return true;
    }
    let marks = |text: &str| text.matches("~~").count() % 2 == 1;
    let line = before.rsplit('\n').next().unwrap_or_default();
    let rest = behind.split('\n').next().unwrap_or_default();
    marks(line) && marks(rest)
}

/// What the argument is of that a brace opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Nothing: the brace groups.
    None,
    Layout,
    /// A command that makes something of its argument, a power or an index.
    Formula,
}

/// The owners of the braces that a text leaves open, the innermost last.
fn owners(text: &str) -> Vec<Owner> {
    let (mut open, mut last) = (Vec::new(), Owner::None);
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => {
                let letters =
                    bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                last = match &text[at..at + letters] {
                    "" => Owner::None,
                    name if is_among(BARE, name) => Owner::None,
                    name if is_among(LAYOUT, name) => Owner::Layout,
                    _ => Owner::Formula,
                };
                // the character after the backslash is spent
                at += letters.max(usize::from(text.is_char_boundary(at + 1)));
            }
            b'^' | b'_' => last = Owner::Formula,
            b'{' => {
                open.push(last);
                last = Owner::None;
            }
            // further arguments belong to the same command
            b'}' => last = open.pop().unwrap_or(Owner::None),
            b' ' | b'*' => {}
            // optional arguments
            b'[' if last != Owner::None => {
                at += text[at..].find(']').map_or(0, |end| end + 1);
            }
            _ => last = Owner::None,
        }
    }
    open
}

/// How many braces a text closes that it does not open.
fn closings(text: &str) -> usize {
    let (mut depth, mut closed) = (0usize, 0);
    let mut is_spent = false;
    for byte in text.bytes() {
        match byte {
            _ if is_spent => is_spent = false,
            b'\\' => is_spent = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => closed += 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    closed
}
