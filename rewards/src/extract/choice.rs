//! Letters of a multiple choice in prose.

use super::clause::{denies, is_among, words};

/// Words after which a clause says why, and not what.
const REASONS: [&str; 6] = [" because ", " since ", " as ", " while ", " whereas ", " unlike "];

/// The letter of a choice: one that begins the text with a mark after it, or the only one of the
/// last clause that names one and does not deny it.
pub(super) fn last(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.len() > 1 && is_letter(bytes[0]) && matches!(bytes[1], b'.' | b')' | b':') {
        return Some(&text[..1]);
    }
    let sentences = text.rsplit(['.', '!', '?', '\n', '。']);
    sentences.into_iter().flat_map(clauses).find_map(named).filter(|letter| !letter.is_empty())
}

/// The clauses of a sentence without its reason, the last first.
fn clauses(sentence: &str) -> impl Iterator<Item = &str> {
    let reason = REASONS.iter().filter_map(|&reason| sentence.find(reason)).min();
    let stated = &sentence[..reason.unwrap_or(sentence.len())];
    let conclusion = [" therefore ", " so ", " hence ", " thus "]
        .iter()
        .filter_map(|&word| sentence.rfind(word))
        .max()
        .filter(|&at| at >= stated.len())
        .map_or("", |at| &sentence[at..]);
    [conclusion, stated]
        .into_iter()
        .flat_map(|part| part.rsplit([',', ';', ':', '，', '；']))
        .flat_map(statements)
}

/// The statements of a clause that "but" or "so" join, the last first.
fn statements(clause: &str) -> impl Iterator<Item = &str> {
    const JOINTS: [&str; 7] =
        [" but ", " so ", " therefore ", " hence ", " thus ", " leaving ", " which leaves "];
    let mut rest = Some(clause);
    std::iter::from_fn(move || {
        let whole = rest?;
        let joint = JOINTS.iter().filter_map(|joint| Some((whole.rfind(joint)?, joint.len())));
        // "anything but D"
        let joint = joint.max().filter(|(at, _)| !whole[..*at].ends_with("anything"));
        rest = joint.map(|(at, _)| &whole[..at]);
        Some(joint.map_or(whole, |(at, length)| &whole[at + length..]))
    })
}

/// Whether a clause says of a choice that it is none.
fn rejects(clause: &str) -> bool {
    const REJECTING: &str = "tempting plausible eliminate eliminates eliminated eliminating exclude \
        excludes excluded excluding reject rejects rejecting dismiss dismisses dismissed discard \
        discards discarding implausible inconsistent contradicts contradicted fails fail distractor \
        trap unsuitable inadequate";
    let words: Vec<_> = words(clause).collect();
    words.iter().any(|word| is_among(REJECTING, word))
        || words.windows(2).any(|pair| match &*pair[1] {
            "out" => is_among(
                "rule rules ruled ruling cross crosses crossed strike struck is are",
                &pair[0],
            ),
            _ => pair[0] == "too",
        })
}

/// The letter that a clause names without denying it; empty where it names several.
fn named(clause: &str) -> Option<&str> {
    // a contrast: "C and not A"
    let contrast = [" not ", " non ", " rather than ", " instead of ", "不是"]
        .iter()
        .filter_map(|&contrast| clause.find(contrast))
        .min()
        .filter(|&at| letters(&clause[..at]).next().is_some() && !denies(&clause[..at]))
        // "D is not possible" is none
        .filter(|&at| {
            let verb = clause[..at].rsplit(' ').next().unwrap_or_default();
            !is_among("is was are were does did can could will would may might should", verb)
        });
    let said = &clause[..contrast.unwrap_or(clause.len())];
    let mut named = letters(said);
    let at = named.next().filter(|_| !denies(said) && !rejects(said))?;
    let same = named.all(|other| said.as_bytes()[other] == said.as_bytes()[at]);
    Some(if same { &said[at..=at] } else { "" })
}

fn is_letter(byte: u8) -> bool {
    (b'A'..=b'J').contains(&byte)
}

/// Where letters of choices stand alone. `A` and `I` may be words.
fn letters(text: &str) -> impl Iterator<Item = usize> + '_ {
    let bytes = text.as_bytes();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'\'';
    (0..bytes.len()).filter(move |&at| {
        let before = at == 0 || !part(&bytes[at - 1]);
        let after = bytes.get(at + 1).is_none_or(|next| !part(next));
        let word = match bytes[at] {
            b'A' => {
                bytes.get(at + 1) == Some(&b' ')
                    && bytes.get(at + 2).is_some_and(u8::is_ascii_lowercase)
                    && !["is ", "and ", "or ", "because ", "since ", "as ", "not ", "was "]
                        .iter()
                        .any(|verb| text[at + 2..].starts_with(verb))
            }
            b'I' => bytes.get(at + 1).is_some_and(|next| *next != b')'),
            _ => false,
        };
        is_letter(bytes[at]) && before && after && !word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_not_denied_is_the_choice() {
        for (text, expected) in [
            ("for sure E, it can't be B or C", Some("E")),
            ("It cannot be A or B, so I take D", Some("D")),
            ("It is (C), not A", Some("C")),
            ("I think it is B since A and C are too small", Some("B")),
            ("Option D is correct.", Some("D")),
            ("D is right. A is wrong.", Some("D")),
            ("B. It can't be A", Some("B")),
            ("C, C again", Some("C")),
            ("A is the largest", Some("A")),
            ("I take D because A, B and C are too small", Some("D")),
            ("Not A since A is too small, so it must be D", Some("D")),
            ("between A and C", None),
            ("A or B", None),
            ("Neither A nor B", None),
            ("A triangle has none", None),
            ("I have no idea", None),
            ("It is not D", None),
            ("D不是 A", Some("D")),
            ("D is tempting, but C is right", Some("C")),
            ("D is tempting but C is right", Some("C")),
            ("C is right, though D is tempting", Some("C")),
            ("D is too small so it is C", Some("C")),
            ("It turns out D fits best", Some("D")),
            ("It is C too", Some("C")),
            ("By elimination it is D", Some("D")),
            ("not A but C", Some("C")),
            ("I would rule out D", None),
            ("D can be ruled out", None),
            ("D is out", None),
            ("option (D) is eliminated", None),
            ("D is not possible", None),
            ("D does not fit", None),
            ("D and not another", Some("D")),
            ("D is too small", None),
            ("This contradicts D", None),
            ("It is anything but D", None),
        ] {
            assert_eq!(last(text), expected, "{text}");
        }
    }
}
