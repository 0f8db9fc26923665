//! Whether two problems ask the same: what is evaluated is not trained on, nor any copy of it.

use std::collections::HashSet;

use rewards::{Problem, Role};

use super::benchmark::{counts, normal};

/// Between the turns of a chat, and where numbers would run together; no copy is told apart by it.
const MARK: char = '|';

/// What a problem asks, as copies of it are recognised: the turns and the question, each without
/// case, white space and punctuation (by [`normal`]; numbers stay apart). System prompts do not
/// count.
pub fn question(problem: &Problem) -> String {
    let turns = problem.history.iter().filter(|turn| turn.role != Role::System);
    let mut text = String::new();
    for turn in turns {
        text += &normal(&marked(&turn.content));
        text.push(MARK);
    }
    text + &normal(&marked(&problem.problem))
}

/// What all of these problems ask.
pub fn questions<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> HashSet<String> {
    problems.into_iter().map(question).collect()
}

/// How many problems of a set are one before them once more, by what they ask, for people; nothing
/// where none is.
pub fn repeats(set: &str, asked: impl Iterator<Item = String>) -> Option<String> {
    let (mut before, mut all, mut repeated) = (HashSet::new(), 0, 0);
    for question in asked {
        all += 1;
        repeated += usize::from(!before.insert(question));
    }
    (repeated > 0).then(|| {
        format!(
            "{set}: {repeated} of {all} problems repeat another one; intervals take them for \
             different problems, so they are too narrow"
        )
    })
}

/// The text with a mark where [`normal`] would make other numbers of its digits: between two
/// numbers, before the digits of a decimal, and for the sign of a factorial. The comma in 1,000
/// gets none.
fn marked(text: &str) -> String {
    let mut marked = String::with_capacity(text.len());
    // What was left out since the last digit; none after anything else that counts.
    let mut gap: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let next_is_digit = rest.as_str().starts_with(|next: char| next.is_ascii_digit());
        if c.is_ascii_digit() {
            let digits = 1 + rest.as_str().bytes().take_while(u8::is_ascii_digit).count();
            if gap.take().is_some_and(|gap| parts(&gap, digits)) {
                marked.push(MARK);
            }
            gap = Some(String::new());
        } else if let Some(left_out) = gap.as_mut().filter(|_| !counts(c)) {
            if c == '!' && left_out.is_empty() {
                marked.push(MARK);
            }
            left_out.push(c);
        } else {
            gap = None;
            if c == '.' && next_is_digit {
                marked.push(MARK);
            }
        }
        marked.push(c);
    }
    marked
}

/// Whether what is left out between two digits parts two numbers; the second has so many digits.
fn parts(gap: &str, digits: usize) -> bool {
    let has_space = gap.contains(char::is_whitespace);
    let is_thousands = gap.contains(',') && !has_space && digits == 3;
    !is_thousands && (has_space || gap.contains([',', '.', ';', ':']))
}

#[cfg(test)]
mod tests {
    use rewards::Turn;

    use super::*;

    fn of(text: &str) -> String {
        question(&Problem { problem: text.into(), ..Problem::default() })
    }

    #[test]
    fn copies_ask_the_same() {
        for (one, other) in [
            ("Find $x + 1$, where x = \\frac{1}{2}.", "find  x+1 where\n$x = \\frac12$"),
            ("What is 2 + 3?", "what is 2+3"),
            ("It costs \\$1,000.", "it costs $1{,}000$"),
            ("It costs 1000", "It costs $1,\\!000$."),
            ("Numbers 3, 4, 52", "numbers: 3,  4,  52."),
            ("Take 2.5 of 3.", "take $2.5$ of 3"),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
    }

    #[test]
    fn other_numbers_and_signs_ask_something_else() {
        for (one, other) in [
            ("Numbers 3, 4, 52", "Numbers 34, 5, 2"),
            ("Find 1.5 + 2", "Find 15 + 2"),
            ("multiply by .5", "multiply by 5"),
            ("the point (2,34)", "the point (23,4)"),
            ("Compute 5! + 1", "Compute 5 + 1"),
            ("x - 1", "x + 1"),
            ("4 5", "45"),
        ] {
            assert_ne!(of(one), of(other), "{one}");
        }
    }

    #[test]
    fn the_turns_of_a_chat_count_and_its_system_prompt_does_not() {
        let chat = |role, before: &str| Problem {
            history: vec![Turn { role, content: before.into() }],
            problem: "And then?".into(),
            ..Problem::default()
        };
        let asked = |role, before| question(&chat(role, before));
        assert_eq!(asked(Role::System, "Be brief."), of("and then"));
        assert_ne!(asked(Role::User, "One."), asked(Role::User, "Two."));
        assert_eq!(asked(Role::User, "One."), asked(Role::User, "one"));
    }
}
