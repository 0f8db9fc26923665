//! The answer inside of a worked solution.

use crate::config::AnswerFrom;

/// GSM8K's marker.
const HASHES: &str = "####";

impl AnswerFrom {
    /// The answer in `text`; none where the text has no such place.
    pub(super) fn taken(&self, text: &str) -> Option<String> {
        match self {
            Self::Text => Some(text.to_owned()),
            Self::Boxed => boxed(text),
            Self::After(marker) => after(text, marker),
        }
    }
}

/// What GSM8K's marker stands before, in a text that has it.
pub(super) fn after_hashes(text: &str) -> Option<String> {
    after(text, HASHES)
}

/// The answer of a solution that says it in one of the known ways; none where it does in none.
///
/// # Errors
///
/// Fails where it does so in two ways that differ.
pub(super) fn recognised(solution: &str) -> Result<Option<String>, String> {
    match (after_hashes(solution), boxed(solution)) {
        (Some(hashes), Some(boxed)) if hashes != boxed => Err(format!(
            "the solution has `{HASHES} {hashes}` and \\boxed{{{boxed}}}\nset answer_from to \
             \"{HASHES}\" or \"boxed\""
        )),
        (hashes, boxed) => Ok(hashes.or(boxed)),
    }
}

/// What follows the last `marker` on its line.
fn after(text: &str, marker: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once(marker)?;
    let answer = rest.lines().next().unwrap_or_default().trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

/// What is in the last `\boxed{...}` or `\fbox{...}` whose braces close; of nested ones the outer.
fn boxed(text: &str) -> Option<String> {
    let (mut open, mut last, mut escaped) = (Vec::new(), None, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => open.push(at),
            b'}' => {
                let start = open.pop().filter(|&start| is_box(&text[..start]));
                last = start.map(|start| text[start + 1..at].trim()).or(last);
            }
            _ => {}
        }
    }
    last.filter(|answer| !answer.is_empty()).map(str::to_owned)
}

fn is_box(before: &str) -> bool {
    before.ends_with("\\boxed") || before.ends_with("\\fbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_that_closes_is_the_answer() {
        for (text, answer) in [
            (r"so \boxed{1} and \boxed{\frac{1}{2}}.", Some(r"\frac{1}{2}")),
            (r"\boxed{\left\{1\right\}}", Some(r"\left\{1\right\}")),
            (r"\boxed{a\boxed{b}c}", Some(r"a\boxed{b}c")),
            (r"\fbox{7}", Some("7")),
            (r"\boxed{1} then \boxed{2", Some("1")),
            (r"\boxed{\frac{4}{2} but \boxed{5}", Some("5")),
            (r"\boxed{ }", None),
            ("none", None),
        ] {
            assert_eq!(boxed(text).as_deref(), answer, "{text}");
        }
        // In time that grows with the length alone.
        assert_eq!(boxed(&r"\boxed{".repeat(1 << 20)), None);
    }

    #[test]
    fn two_ways_that_differ_are_refused_and_two_that_agree_are_not() {
        assert_eq!(recognised("x\n#### 1,234 ").unwrap().as_deref(), Some("1,234"));
        assert_eq!(recognised("x \\boxed{5}\n#### 5").unwrap().as_deref(), Some("5"));
        assert_eq!(recognised("no sign").unwrap(), None);
        let error = recognised("x \\boxed{6}\n#### 5").unwrap_err();
        assert!(error.contains("answer_from to \"####\" or \"boxed\""), "{error}");
    }

    #[test]
    fn a_marker_stands_before_the_rest_of_its_line() {
        let text = "1 + 1 = 2\nThe answer is: 1\nwrong\nThe answer is:  2 \nmore";
        assert_eq!(after(text, "The answer is:").as_deref(), Some("2"));
        assert_eq!(after("The answer is:", "The answer is:"), None);
    }
}
