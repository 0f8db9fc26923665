//! Mathematics between delimiters, and dollar signs that are money.

use std::ops::Range;

/// The environments that display mathematics by themselves.
const DISPLAYS: [&str; 8] =
    ["align", "equation", "gather", "multline", "eqnarray", "displaymath", "flalign", "alignat"];

/// Environments whose rows are lines.
const LINES: [&str; 6] = ["aligned", "align", "split", "gathered", "gather", "alignedat"];

/// Most formulas that are joined to one answer.
const MAX_JOINED: usize = 16;

/// A formula: where it stands with its delimiters, and without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formula {
    pub(super) outer: Range<usize>,
    inner: Range<usize>,
}

/// All formulas of a text, in order, those without content left out. Each character is read a few
/// times at most.
pub(super) fn formulas(text: &str) -> Vec<Formula> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut at = 0;
    while let Some(ahead) = text[at..].find(['$', '\\']) {
        at += ahead;
        match formula(text, at, &mut missing) {
            Ok(formula) => {
                at = formula.outer.end;
                if !text[formula.inner.clone()].trim().is_empty() {
                    found.push(formula);
                }
            }
            Err(length) => at += length,
        }
    }
    found
}

/// The formula that begins at `at`, or how many bytes hold none. Closing delimiters that the rest
/// of the text has not are `missing`.
fn formula(text: &str, at: usize, missing: &mut Vec<String>) -> Result<Formula, usize> {
    let rest = &text[at..];
    let mut until = |left: usize, right: &str| {
        let known = missing.iter().any(|other| other == right);
        let length = if known { None } else { rest[left..].find(right) };
        let Some(length) = length else {
            if !known {
                missing.push(right.to_owned());
            }
            return Err(left);
        };
        let inner = at + left..at + left + length;
        Ok(Formula { outer: at..inner.end + right.len(), inner })
    };
    if let Some(command) = rest.strip_prefix('\\') {
        if let Some(name) = command.strip_prefix("begin{").and_then(|name| name.split_once('}')) {
            let name = name.0;
            return if DISPLAYS.contains(&name.trim_end_matches('*')) {
                until(r"\begin{}".len() + name.len(), &format!(r"\end{{{name}}}"))
            } else {
                Err(1)
            };
        }
        return match command.chars().next() {
            Some('(') => until(2, r"\)"),
            Some('[') => until(2, r"\]"),
            next => Err(1 + next.map_or(0, char::len_utf8)),
        };
    }
    if rest.starts_with("$$") {
        return until(2, "$$");
    }
    let length = closing_dollar(&rest[1..]).ok_or(1usize)?;
    let inner = at + 1..at + 1 + length;
    Ok(Formula { outer: at..inner.end + 1, inner })
}

/// How many bytes stand before the dollar sign that closes a formula; `None` where the sign in
/// front is money, as in `$5 and $7`.
fn closing_dollar(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let found = c == '$' && !escaped;
        escaped = c == '\\' && !escaped;
        found
    })?;
    let (inner, after) = (&text[..end], &text[end + 1..]);
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let spaced = inner.ends_with(char::is_whitespace);
    let opens = spaced && after.starts_with(|c: char| c.is_alphanumeric() || c == '\\');
    let amount = digit(inner) && (opens || digit(after) || has_words(inner));
    // between two amounts: `$ and $5`
    let between = inner.starts_with(' ') && spaced && digit(after);
    (!amount && !between && !inner.contains("\n\n")).then_some(end)
}

/// Whether a text has words that belong to no command.
fn has_words(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '\\' || c.is_ascii_alphabetic()) {
        rest = &rest[at..];
        if let Some(command) = rest.strip_prefix('\\') {
            let after = command.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            let argument = after.strip_prefix('{').filter(|_| command.starts_with(['t', 'm']));
            rest = argument.and_then(|inner| inner.split_once('}')).map_or(after, |split| split.1);
            rest = if rest.len() == command.len() { rest.get(1..).unwrap_or("") } else { rest };
            continue;
        }
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if letters > 2 {
            return true;
        }
        rest = &rest[letters..];
    }
    false
}

/// The last formula, together with those that "and", "or" and commas join to it.
pub(super) fn last(text: &str) -> Option<&str> {
    let formulas = formulas(text);
    let last = formulas.last()?;
    let joins = |between: &str| matches!(between, ", and " | ", or " | " and " | " or " | ", ");
    let before = formulas.iter().rev().take(MAX_JOINED);
    let joined = before
        .zip(formulas.iter().rev().skip(1))
        .take_while(|(right, left)| joins(&text[left.outer.end..right.outer.start]))
        .last();
    Some(match joined {
        Some((_, first)) => &text[first.outer.start..last.outer.end],
        None => content(text, last),
    })
}

/// The formula that a text begins with, and what follows it.
pub(super) fn first(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(['$', '\\']) {
        return None;
    }
    let formula = formula(text, 0, &mut Vec::new()).ok()?;
    Some((content(text, &formula), &text[formula.outer.end..]))
}

/// Whether a text begins with a formula that is set on lines of its own.
pub(super) fn is_display(text: &str) -> bool {
    ["$$", r"\[", r"\begin{"].iter().any(|left| text.starts_with(left))
}

/// What a text says that is one displayed formula.
pub(super) fn only_display(text: &str) -> Option<&str> {
    let (said, rest) = first(text).filter(|_| is_display(text))?;
    rest.trim_matches(|c: char| c.is_whitespace() || ".,*".contains(c)).is_empty().then_some(said)
}

/// What a formula says: of a computation over several lines, its last.
fn content<'a>(text: &'a str, formula: &Formula) -> &'a str {
    let whole = text[formula.inner.clone()].trim();
    let named = text[formula.outer.clone()].starts_with(r"\begin");
    let inner = if named { Some(whole) } else { lines(whole) };
    let Some(inner) = inner else { return last_line(whole) };
    let inner = inner
        .strip_prefix("{")
        .map_or(inner, |columns| columns.split_once('}').map_or(inner, |(_, rest)| rest));
    let rows: Vec<_> = inner.split(r"\\").map(str::trim).filter(|row| !row.is_empty()).collect();
    let Some((last, before)) = rows.split_last() else { return whole };
    let sides = |row: &'a str| row.split_once('=').map(|(left, right)| (bare(left), bare(right)));
    match sides(last) {
        // the line above goes on
        Some(("", right)) => right,
        Some((name, right)) if is_name(name) => {
            let system = before
                .iter()
                .all(|row| sides(row).is_some_and(|(other, _)| is_name(other) && other != name));
            match (system && !before.is_empty(), named) {
                (true, true) => &text[formula.outer.clone()],
                (true, false) => whole,
                (false, _) => right,
            }
        }
        _ => bare(last),
    }
}

/// What follows the equals sign of the last line, where lines are broken outside of environments
/// and a computation goes on over them.
fn last_line(whole: &str) -> &str {
    let broken = whole.match_indices(r"\\").all(|(at, _)| {
        !whole[at + 2..].starts_with(|c: char| c.is_ascii_alphabetic() || "([{)]}".contains(c))
    });
    let Some((above, last)) = whole.rsplit_once(r"\\").filter(|_| broken) else { return whole };
    if above.contains(r"\begin") || above.matches('{').count() != above.matches('}').count() {
        return whole;
    }
    match last.split_once('=').map(|(left, right)| (bare(left), bare(right))) {
        Some(("", right)) => right,
        // of other names, the lines are a system
        Some((name, right)) if is_name(name) && above.contains(name) => right,
        _ => whole,
    }
}

/// What stands in an environment of lines that is all there is.
fn lines(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix(r"\begin{")?.split_once('}')?;
    let inner = LINES.contains(&name.trim_end_matches('*')).then_some(rest)?;
    inner
        .trim_end_matches(['.', ',', ' '])
        .strip_suffix('}')?
        .strip_suffix(name)?
        .strip_suffix(r"\end{")
}

/// A cell without the marks of its column.
fn bare(cell: &str) -> &str {
    cell.trim_matches(|edge: char| edge.is_whitespace() || edge == '&')
}

/// Whether a text is one letter, with or without an index.
fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_alphabetic)
        && (letters.as_str().is_empty() || letters.as_str().starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<_> =
            formulas(text).into_iter().map(|formula| &text[formula.inner]).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn money_opens_no_formula() {
        for text in [
            "$200,000 - $130,000 = $70,000.\n\nSo **$70,000**.",
            "He paid $5 and got $7, a profit of $2.",
            "from $5/$6 to US$7",
            "$5 per day, or 35$ per week",
            r"\$5 and \$6",
            "$5, then\n\nagain 6$",
            "$",
            "costs $",
            "$$",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn formulas_are_found_between_all_delimiters() {
        check("$x$ and $5$, $ 6 $", &["x", "5", " 6 "]);
        check(r"\(5\) \[6\] $$7$$", &["5", "6", "7"]);
        check("it costs $5 and $x$ is 6", &["x"]);
        check(r"$5 \text{ apples}$", &[r"5 \text{ apples}"]);
        check(r"$\$5$", &[r"\$5"]);
        check(r"\begin{align*}x&=5\end{align*}", &["x&=5"]);
        check(r"\begin{bmatrix}5\end{bmatrix} \\(5\\)", &[]);
        check("$5 $, $x = 5\n$", &["5 ", "x = 5\n"]);
    }

    #[test]
    fn of_a_computation_the_last_line_counts() {
        for (text, expected) in [
            ("\\begin{align*}\nx &= 2+3 \\\\\n&= 5\n\\end{align*}", "5"),
            (r"\[\begin{aligned} S &= 2 \cdot 3 \\ &= 6. \end{aligned}\]", "6."),
            (r"$$\begin{aligned} 2x + 1 &= 7 \\ 2x &= 6 \\ x &= 3 \end{aligned}$$", "3"),
            (
                r"\begin{align} x &= 1 \\ y &= 2 \end{align}",
                r"\begin{align} x &= 1 \\ y &= 2 \end{align}",
            ),
            (
                r"\[\begin{aligned} x &= 1 \\ y &= 2 \end{aligned}\]",
                r"\begin{aligned} x &= 1 \\ y &= 2 \end{aligned}",
            ),
            (r"\[ x = 2 + 3 = 5 \]", "x = 2 + 3 = 5"),
            (
                r"\[ \begin{pmatrix} 1 \\ 2 \end{pmatrix} \]",
                r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
            ),
            (r"\begin{equation} x^2 + y^2 = 4 \end{equation}", "x^2 + y^2 = 4"),
        ] {
            assert_eq!(last(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn lines_without_an_environment_are_a_computation_or_taken_whole() {
        for (text, expected) in [
            (r"\[ 2x = 24 \\ x = 12 \]", "12"),
            (r"\[ S = 3 \cdot 4 \\ = 12 \]", "12"),
            (r"\[ x = 1 \\ y = 2 \]", r"x = 1 \\ y = 2"),
            (r"\[ 1 \\ 2 \]", r"1 \\ 2"),
            (r"\[ \sum_{\substack{i = 1 \\ i = x}} i \]", r"\sum_{\substack{i = 1 \\ i = x}} i"),
            (r"\[ x = 5 \\ \text{or } x = 6 \]", r"x = 5 \\ \text{or } x = 6"),
            (r"$\\frac{1}{2} = x$", r"\\frac{1}{2} = x"),
        ] {
            assert_eq!(last(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn joined_formulas_are_one() {
        assert_eq!(last("so $1$, $2$ and $3$ it is"), Some("$1$, $2$ and $3$"));
        assert_eq!(last(r"\(1\) or \(2\)"), Some(r"\(1\) or \(2\)"));
        assert_eq!(last("$1$ but $2$"), Some("2"));
        assert_eq!(last("for $5 or $x$"), Some("x"));
    }
}
