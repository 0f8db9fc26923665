//! Phrases which say that there is no solution, no value, or no end of solutions.
//!
//! Both layers need them: in prose, "no" usually denies an answer, and here it is one.

/// The longest phrase that is looked at, in words.
const MAX_WORDS: usize = 20;

/// What a phrase says instead of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Nothing solves the problem.
    NoSolution,
    /// The expression has no value.
    NoValue,
    /// Infinitely many values solve the problem.
    Endless,
}

/// What may have, or be without, a solution or a value.
const SUBJECTS: &str = "there it we this that these those the a an given original equation equations \
    system systems inequality inequalities problem congruence polynomial quadratic function \
    expression limit value sum series integral derivative sequence determinant inverse slope \
    answer solution solutions root roots of real";

/// Verbs before the object of a phrase.
const VERBS: &str = "is are has have exist exists admits admit";

/// What narrows the solutions down without changing the answer to most questions.
const ADJECTIVES: &str = "real such possible valid";

/// What solves a problem.
const NOUNS: &str = "solution solutions root roots value values";

/// What is missing where nothing "such" exists.
const SUCH_NOUNS: &str = "number numbers integer integers pair pairs triple triples function functions \
    polynomial polynomials set sets triangle triangles";

/// Words behind the noun that say no more than the problem does. Single letters are names.
const TAIL: &str = "exist exists to for of in the this that which these given equation equations \
    system inequality inequalities problem real number numbers such satisfy satisfies satisfying work works";

/// What the whole of `text` says, if it is such a phrase and nothing else.
pub(crate) fn absence(text: &str) -> Option<Absence> {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    let words: Vec<String> = text
        .split_whitespace()
        .take(MAX_WORDS + 1)
        .map(|word| word.trim_matches('$').to_lowercase().replace('\u{2019}', "'"))
        .collect();
    let is_plain = |word: &String| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '\'')
    };
    if words.len() > MAX_WORDS || !words.iter().all(is_plain) {
        return None;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let subject = words.iter().take_while(|word| is_name(word) || is_among(SUBJECTS, word)).count();
    let (subject, rest) = words.split_at(subject);
    missing(subject, rest).or_else(|| object(subject, rest))
}

/// "the limit does not exist", "it is undefined".
fn missing(subject: &[&str], rest: &[&str]) -> Option<Absence> {
    let is_missing = match rest {
        ["does" | "do", "not", "exist"] | ["doesn't" | "don't", "exist"] => true,
        ["is" | "are", rest @ ..] | rest => {
            matches!(rest, ["not", "defined"] | ["undefined" | "dne"])
        }
    };
    let is_solution = |word: &&str| matches!(*word, "solution" | "solutions" | "root" | "roots");
    let said = if subject.iter().any(is_solution) { Absence::NoSolution } else { Absence::NoValue };
    is_missing.then_some(said)
}

/// "the equation has no solution", "there are infinitely many solutions", "none".
fn object(subject: &[&str], rest: &[&str]) -> Option<Absence> {
    use Absence::{Endless, NoSolution};
    let is_article = |word: &&str| matches!(*word, "a" | "an");
    let what = match rest {
        ["does" | "do", "not", "have", "a" | "any", what @ ..]
        | ["doesn't" | "don't", "have", "a" | "any", what @ ..] => {
            return is_solutions(what).then_some(NoSolution);
        }
        [verb, what @ ..] if is_among(VERBS, verb) => what,
        _ if subject.iter().all(is_article) => rest,
        _ => return None,
    };
    let what = if let ["a" | "an", rest @ ..] = what { rest } else { what };
    match what {
        ["none"] | ["none", "exist" | "exists"] => Some(NoSolution),
        ["no", what @ ..] | ["not", "any", what @ ..] => is_solutions(what).then_some(NoSolution),
        ["infinitely", "many"] | ["infinite", "number"] => Some(Endless),
        ["infinitely", "many", what @ ..]
        | ["infinite", "number", "of", what @ ..]
        | ["infinite", what @ ..] => is_solutions(what).then_some(Endless),
        _ => None,
    }
}

/// "real solutions to the equation", "values of x", "such x".
fn is_solutions(words: &[&str]) -> bool {
    let adjectives = words.iter().take_while(|word| is_among(ADJECTIVES, word)).count();
    let (adjectives, rest) = words.split_at(adjectives);
    let Some((noun, tail)) = rest.split_first() else { return false };
    let such = adjectives.contains(&"such") && (is_name(noun) || is_among(SUCH_NOUNS, noun));
    let real = adjectives.contains(&"real") && matches!(*noun, "number" | "numbers");
    (such || real || is_among(NOUNS, noun))
        && tail.iter().all(|word| is_name(word) || is_among(TAIL, word))
}

/// Whether a word is a name in mathematics.
fn is_name(word: &str) -> bool {
    word.len() == 1
}

fn is_among(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_says_what_is_missing() {
        use Absence::{Endless, NoSolution, NoValue};
        for (text, expected) in [
            ("no solution", NoSolution),
            ("No real roots.", NoSolution),
            ("none", NoSolution),
            ("There are none", NoSolution),
            ("There are no values of $x$ that satisfy this equation", NoSolution),
            ("the system of equations does not have any solutions", NoSolution),
            ("no such integer exists", NoSolution),
            ("there is no real number x such that x", NoSolution),
            ("the equation x has no roots", NoSolution),
            ("the solution doesn\u{2019}t exist", NoSolution),
            ("does not exist", NoValue),
            ("The limit does not exist.", NoValue),
            ("the derivative is not defined", NoValue),
            ("DNE", NoValue),
            ("infinitely many", Endless),
            ("The equation has an infinite number of solutions", Endless),
            ("infinite solutions", Endless),
        ] {
            assert_eq!(absence(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_phrase_that_says_more_or_less_is_none() {
        for text in [
            "",
            "no",
            "not",
            "no 5",
            "none of these",
            "none of the above",
            "no other solutions",
            "no doubt",
            "there is no doubt that it is 5",
            "no positive solutions",
            "no solution unless x is even",
            "no such luck",
            "there is a solution",
            "the equation no solution",
            "exist",
            "infinite",
            "infinitely many primes",
            "finitely many solutions",
            "the limit does not exist for odd n",
            "the second equation has no solution",
        ] {
            assert_eq!(absence(text), None, "{text}");
        }
    }
}
