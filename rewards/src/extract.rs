//! First layer: where in a response the answer stands.
//!
//! Every rule reads the response once, without recursion and in bounded memory. It does not know
//! what an answer means: that is [`equivalent`](mod@crate::equivalent)'s part.

mod announced;
mod boxes;
mod choice;
mod clause;
mod delimited;
mod labels;
mod lenient;
mod lines;
mod marks;
mod markup;
mod operand;
mod prose;

pub(crate) use boxes::Boxes;
pub use boxes::MAX_OPEN_BOXES;
pub(crate) use marks::after_reasoning;

use crate::{Marker, Strictness};

/// What was found where the answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extracted<'a> {
    /// The text of the answer, without surrounding white space.
    Answer(&'a str),
    /// There is nothing where an answer is looked for, or it is empty.
    NoAnswer,
    /// The last box never closes: what it would have held is unknown.
    Unclosed,
    /// The answer is too long, or boxes are nested too deeply, to be looked at.
    Limit,
}

/// Finds the answer of `response`, in what follows its reasoning and precedes its end-of-turn
/// token.
///
/// Under `rl` it stands where `marker` says: in the last `\boxed{...}` or `\fbox{...}`, which must
/// be closed, or on the last line that begins with `Answer:` or `####`. Boxes joined by nothing but
/// "or", "and" or a comma are one answer, of several values. A box within a larger formula, as in
/// `10^{\boxed{5}}`, is no answer.
///
/// Under `eval` it may stand elsewhere. In this order: the marked line, where the marker is one;
/// the last box, with small mistakes in its command; what follows the last "answer is", "answer:"
/// or "result is"; a fenced block of one line at the end; a response that is an answer and no
/// prose; the last delimited mathematics; the last line, if it is no prose; the last number; the
/// last capital letter of a choice. Emphasis and quotation marks around it are taken off. Labels of
/// items and steps, words, and what is only begun at the end are no answers there.
///
/// Work is linear in the length of `response`.
///
/// Source: the order of `inspect_ai`'s `math()`; DAPO's and GSM8K's lines.
pub fn extract(response: &str, strictness: Strictness, marker: Marker) -> Extracted<'_> {
    let text = after_reasoning(marks::turn(response));
    let max_bytes = strictness.max_answer_bytes();
    let line = match marker {
        Marker::Boxed => None,
        Marker::AnswerLine => lines::last_answer(text),
        Marker::Hashes => lines::last_hashes(text),
    };
    let line = line.filter(|line| strictness == Strictness::Rl || !line.is_empty());
    match (strictness, marker) {
        (Strictness::Rl, Marker::Boxed) => in_boxes(text, &Boxes::find(text), max_bytes),
        (Strictness::Eval, _) if line.is_none() => {
            let boxes = Boxes::find(text);
            match boxes.count {
                // one empty box is the prompt's
                1 if boxes
                    .last_closed
                    .clone()
                    .is_some_and(|content| text[content].trim().is_empty()) =>
                {
                    bounded(lenient::answer(text), max_bytes)
                }
                0 => bounded(lenient::answer(text), max_bytes),
                _ => in_boxes(text, &boxes, max_bytes),
            }
        }
        _ => bounded(line, max_bytes),
    }
}

fn bounded(answer: Option<&str>, max_bytes: usize) -> Extracted<'_> {
    match answer.map(str::trim) {
        None | Some("") => Extracted::NoAnswer,
        Some(answer) if answer.len() > max_bytes => Extracted::Limit,
        Some(answer) => Extracted::Answer(answer),
    }
}

fn in_boxes<'a>(text: &'a str, boxes: &Boxes, max_bytes: usize) -> Extracted<'a> {
    match (boxes.last_closed.clone(), boxes.open) {
        _ if boxes.too_deep => Extracted::Limit,
        // a box is opened after the last closed one: the response was about to answer again
        (Some(closed), Some(open)) if open > closed.start => Extracted::Unclosed,
        // nothing says what the formula around it is worth
        (Some(_), _) if operand::is_operand(text, &boxes.whole) => Extracted::NoAnswer,
        (Some(closed), _) => {
            let content = trimmed(&text[closed.clone()]);
            match boxes.chain {
                Some(start) if !content.is_empty() => {
                    bounded(Some(&text[start..=closed.end]), max_bytes)
                }
                _ => bounded(Some(content), max_bytes),
            }
        }
        (None, Some(_)) => Extracted::Unclosed,
        (None, None) => Extracted::NoAnswer,
    }
}

/// `content` of a closed box without the white space around it, the control spaces at its end
/// included.
fn trimmed(content: &str) -> &str {
    let mut answer = content.trim();
    // In a closed box, only a control space `\ ` leaves an unpaired backslash at the end.
    while answer.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
        answer = answer[..answer.len() - 1].trim_end();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Extracted<'_>) {
        assert_eq!(extract(response, Strictness::Rl, Marker::Boxed), expected, "{response}");
    }

    #[test]
    fn the_last_closed_box_is_the_answer() {
        check(r"\boxed{1} then \boxed{2}", Extracted::Answer("2"));
        check(r"\fbox {\frac{1}{2}} }}", Extracted::Answer(r"\frac{1}{2}"));
        check(r"\boxed{\{1\}}", Extracted::Answer(r"\{1\}"));
        check(r"\boxed{5 \ \ }", Extracted::Answer("5"));
        check(r"\boxed{5\\ }", Extracted::Answer(r"5\\"));
        check(r"\boxed{a\boxed{b}c}", Extracted::Answer(r"a\boxed{b}c"));
        check(r"\boxed{\frac{1}{2} but \boxed{5}", Extracted::Answer("5"));
    }

    #[test]
    fn what_is_no_box_is_no_answer() {
        for response in
            ["", "42", r"\boxed 42", r"\boxedx{42}", r"\\boxed{42}", r"\boxed{ }", r"\boxed{\ }"]
        {
            check(response, Extracted::NoAnswer);
        }
        check(r"\boxed{1} \boxed{}", Extracted::NoAnswer);
    }

    #[test]
    fn an_open_last_box_is_unclosed() {
        for response in [r"\boxed{20", r"\boxed{", r"\boxed{1} so \boxed{20", r"\boxed{\frac{4}{2}"]
        {
            check(response, Extracted::Unclosed);
        }
    }

    #[test]
    fn only_what_follows_the_reasoning_counts() {
        check(r"<think>\boxed{1}</think>\boxed{2}", Extracted::Answer("2"));
        check(r"<think>\boxed{1}</think>so 2", Extracted::NoAnswer);
        check(r"<think>\boxed{1}", Extracted::NoAnswer);
        check(r"\boxed{1}</think>", Extracted::NoAnswer);
    }

    #[test]
    fn a_part_of_a_formula_is_no_answer() {
        for response in [
            r"10^{\boxed{5}}",
            r"10^\boxed{5}",
            r"$-\boxed{5}$",
            r"$x = - \boxed{5}$",
            r"so it is -\boxed{5}.",
            r"$3 - \boxed{5}$",
            r"\cancel{\boxed{5}}",
            r"\sout{the answer is \boxed{5}}",
            r"\sqrt{\boxed{5}}",
            r"\sqrt\boxed{5}",
            r"\sqrt[3]{\boxed{5}}",
            r"\frac{1}{\boxed{5}}",
            r"\dfrac{\boxed{5}}{2}",
            r"\text{so } \frac{\boxed{5}}{2}",
            r"\sqrt{\text{\boxed{5}}}",
            r"x_{\boxed{5}}",
            r"2\boxed{5}",
            r"2 \cdot \boxed{5}",
            r"2 + \boxed{5}",
            r"2/\boxed{5}",
            r"$2*\boxed{5}$",
            r"x \ne \boxed{5}",
            r"x \not= \boxed{5} \ne \boxed{5}",
            r"\sin\boxed{5}",
            r"\sin(\boxed{5})",
            r"f(\boxed{5})",
            r"|\boxed{-5}|",
            r"\lfloor \boxed{5} \rfloor",
            r"\boxed{5}^2",
            r"\boxed{5}^{10}",
            r"\boxed{5}_8",
            r"$\boxed{5}!$",
            r"\boxed{5} + 3",
            r"\boxed{5} - 3",
            r"\boxed{5}/2",
            r"\boxed{5}-x",
            r"\boxed{5} - \sqrt{2}",
            r"\boxed{5} \cdot 10^3",
            r"\boxed{5}\times 10^3",
            r"\boxed{5}\,\pi",
            r"$\boxed{5}x$",
            r"$\boxed{5}00$",
            r"\boxed{5}.5",
            r"~~\boxed{5}~~",
            r"The answer is ~~\boxed{5}~~.",
        ] {
            for strictness in [Strictness::Rl, Strictness::Eval] {
                let said = extract(response, strictness, Marker::Boxed);
                assert_eq!(said, Extracted::NoAnswer, "{response}");
            }
        }
    }

    #[test]
    fn what_leaves_a_box_its_value_may_stand_around_it() {
        for response in [
            r"$x = \boxed{5}$",
            r"\[ 2 + 3 = \boxed{5}. \]",
            r"{\boxed{5}}",
            r"\textbf{\boxed{5}}",
            r"\textbf{The answer is $\boxed{5}$.}",
            r"\textcolor{red}{\boxed{5}}",
            r"{\color{red}\boxed{5}}",
            r"\color{red}{\boxed{5}}",
            r"\colorbox{yellow}{$\boxed{5}$}",
            r"\begin{align*} x &= 2 + 3 \\ &= \boxed{5} \end{align*}",
            r"\begin{center}{\boxed{5}}\end{center}",
            r"\therefore {\boxed{5}}",
            r"\therefore\quad\boxed{5}",
            r"\implies \boxed{5}",
            r"x \approx \boxed{5}",
            r"\left(\boxed{5}\right)",
            r"**\boxed{5}**",
            r"**Answer:** \boxed{5}",
            r"_\boxed{5}_",
            "- \\boxed{5}",
            "* \\boxed{5}",
            "Steps:\n- \\boxed{5}",
            "1. \\boxed{5}",
            "Final answer - \\boxed{5}",
            "Final answer: \u{2014} \\boxed{5}",
            "2 + 3 is 5 -> \\boxed{5}",
            r"The answer is\boxed{5}",
            r"The cost is \$\boxed{5}",
            r"$\$\boxed{5}$",
            r"\boxed{5}^\circ",
            r"$\boxed{5}^{\circ}$",
            r"\boxed{5}\%",
            r"\boxed{5}\text{ cm}^2",
            r"\boxed{5} cm",
            r"\boxed{5}!",
            r"\boxed{5}! And $2+2=4$.",
            r"\boxed{5}.",
            r"\boxed{5} - the only one",
            r"a regular \boxed{5}-sided polygon",
            r"\boxed{5}/\text{hour}",
            r"\boxed{5} - \text{as it was}",
            r"$\small{\boxed{5}}$",
            r"\boxed{5} = 2 + 3",
            r"\frac{1}{2} and so \boxed{5}",
            "a stray \\frac{1 and\n\nthen \\boxed{5}",
            "a stray \\sqrt{ and then \\boxed{5}",
            r"x^{2} = 25, x = \boxed{5}",
            r"\boxed{4} +++ \boxed{5}",
            "| n | x |\n| 1 | \\boxed{5} |",
        ] {
            check(response, Extracted::Answer("5"));
        }
    }

    #[test]
    fn limits_are_exact() {
        let max = Strictness::Rl.max_answer_bytes();
        let digits = "1".repeat(max);
        check(&format!(r"\boxed{{ {digits} }}"), Extracted::Answer(&digits));
        check(&format!(r"\boxed{{{digits}1}}"), Extracted::Limit);
        let open = r"\boxed{".repeat(MAX_OPEN_BOXES);
        check(&open, Extracted::Unclosed);
        check(&format!(r"{open}\boxed{{1}}"), Extracted::Limit);
    }
}
