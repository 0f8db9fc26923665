//! Notations that are put in other words before a text is parsed: binomials written `{}_{10}C_3`,
//! and `m\angle A` for the measure of an angle.

use std::borrow::Cow;

/// The text with binomials as `\binom`, and angles without the letter that says that they are
/// measured.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    if text.contains('C') && text.contains('_') {
        while let Some(changed) = combination(&plain) {
            plain = Cow::Owned(changed);
        }
    }
    if text.contains("angle")
        && let Some(changed) = measured(&plain)
    {
        plain = Cow::Owned(changed);
    }
    plain
}

/// Writes the first `{}_{n}C_{k}`, `{}^{n}C_{k}` or the like, also without braces, as
/// `\binom{n}{k}`.
fn combination(text: &str) -> Option<String> {
    text.match_indices('C').find_map(|(at, _)| {
        let (before, upper) = script_before(text[..at].trim_end())?;
        let (lower, rest) = script_behind(text[at + 1..].trim_start())?;
        let bare = before.strip_suffix("{}").unwrap_or(before);
        // behind an operand it would be a script of that
        let stands = bare.len() < before.len()
            || bare.trim_end().is_empty()
            || bare.trim_end().ends_with(|c: char| "=+-*/(,[$&".contains(c));
        stands.then(|| format!(r"{bare}\binom{{{upper}}}{{{lower}}}{rest}"))
    })
}

/// A script that ends a text, in braces or of one character, and the text before it.
fn script_before(text: &str) -> Option<(&str, &str)> {
    let (before, script) = match text.strip_suffix('}') {
        Some(inner) => inner.rsplit_once('{')?,
        None => text.split_at_checked(text.len().checked_sub(1)?)?,
    };
    let before = before.strip_suffix(['_', '^'])?;
    is_number_or_letter(script).then_some((before, script))
}

/// A lower script that begins a text, and the text behind it.
fn script_behind(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('_')?;
    let (script, rest) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => text.split_at_checked(1)?,
    };
    is_number_or_letter(script).then_some((script, rest))
}

fn is_number_or_letter(script: &str) -> bool {
    let is_number = !script.is_empty() && script.bytes().all(|byte| byte.is_ascii_digit());
    is_number || script.len() == 1 && script.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Takes the letters `m` before angles off.
fn measured(text: &str) -> Option<String> {
    const ANGLES: [&str; 2] = [r"\angle", r"\measuredangle"];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('m') {
        let (before, letter) = rest.split_at(at);
        plain.push_str(before);
        rest = &letter[1..];
        let is_alone = !plain.ends_with(|c: char| c.is_alphanumeric() || c == '\\' || c == '}');
        if !is_alone || !ANGLES.iter().any(|angle| rest.trim_start().starts_with(angle)) {
            plain.push('m');
        }
    }
    plain.push_str(rest);
    (plain.len() < text.len()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn combinations_are_binomials() {
        for (text, expected) in [
            (r"{}_{10}C_3", r"\binom{10}{3}"),
            (r"{}^{10}C_{3}", r"\binom{10}{3}"),
            (r"_nC_k", r"\binom{n}{k}"),
            (r"2 \cdot {}_5C_2", r"2 \cdot \binom{5}{2}"),
            (r"{}_5C_2 + {}_5C_3", r"\binom{5}{2} + \binom{5}{3}"),
            (r"x_5C_2", r"x_5C_2"),
            (r"x_{5}C_2", r"x_{5}C_2"),
            (r"C_2", r"C_2"),
            (r"_5C", r"_5C"),
            (r"_é C_2", r"_é C_2"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn angles_are_measured() {
        for (text, expected) in [
            (r"m\angle A", r"\angle A"),
            (r"m \angle A = m \measuredangle B", r" \angle A =  \measuredangle B"),
            (r"xm\angle A", r"xm\angle A"),
            (r"\mathrm{m}\angle A", r"\mathrm{m}\angle A"),
            (r"m A", r"m A"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
