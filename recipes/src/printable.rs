//! Text of models, data sets and servers, as it may reach a terminal.

use std::borrow::Cow;

/// `text` without what a terminal would obey: control characters other than line feed and tab, and
/// the marks that change the direction of the text after them, become U+FFFD. A carriage return
/// before a line feed is dropped.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let replace = |c| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c };
    Cow::Owned(text.replace("\r\n", "\n").chars().map(replace).collect())
}

fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

/// The start of `text`, printable and on one line, in at most `length` characters and a mark that
/// says how many more there are.
pub fn excerpt(text: &str, length: usize) -> String {
    let line = one_line(text);
    let left = line.chars().count().saturating_sub(length);
    if left == 0 {
        return line;
    }
    let head: String = line.chars().take(length).collect();
    format!("{head} … ({left} more characters)")
}

/// The first `length` characters of `text` in one line: what a terminal would obey is shown as an
/// escape such as `\\n` or `\\u{1b}`.
pub fn escaped(text: &str, length: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(length) {
        if is_obeyed(c) || matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(length).is_some() {
        shown.push('…');
    }
    shown
}

/// The start and the end of `text`, printable and on one line, in at most `length` characters of
/// each and a mark that says how many are between.
pub fn both_ends(text: &str, length: usize) -> String {
    let line = one_line(text);
    let count = line.chars().count();
    if count <= 2 * length {
        return line;
    }
    let head: String = line.chars().take(length).collect();
    let tail: String = line.chars().skip(count - length).collect();
    format!("{head} … ({} more characters) … {tail}", count - 2 * length)
}

fn one_line(text: &str) -> String {
    printable(text.trim()).replace('\n', " ⏎ ").replace('\t', " ")
}

/// So many of a thing, with its plural by an `s`: `1 step`, `2 steps`.
pub fn counted(count: impl std::fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let end = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// A text as a string of TOML on one line, in quotation marks.
pub(crate) fn literal(text: &str) -> String {
    // TOML has the escapes of JSON, and asks for one more.
    let json = serde_json::to_string(text).expect("a text becomes JSON");
    json.replace('\u{7f}', "\\u007f")
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A number with a comma before every three digits.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let hostile = "a\u{1b}[2Jb\u{9b}31mc\u{7}d\re\u{202e}f\u{7f}\0";
        let shown = printable(hostile);
        assert_eq!(shown, "a�[2Jb�31mc�d�e�f��");
        assert!(!shown.chars().any(is_obeyed));
        assert_eq!(printable("one\r\ntwo\tä 你"), "one\r\ntwo\tä 你".replace('\r', ""));
        assert!(matches!(printable("plain\n"), Cow::Borrowed(_)), "plain text is not copied");
    }

    #[test]
    fn an_excerpt_is_one_short_line_and_says_what_is_missing() {
        assert_eq!(excerpt(" a\nb\t\u{1b}c ", 20), "a ⏎ b �c");
        assert_eq!(excerpt(&"x".repeat(12), 10), "xxxxxxxxxx … (2 more characters)");
        let lines = "\n".repeat(10_000) + "x" + &"\n".repeat(10_000) + "y";
        assert_eq!(excerpt(&lines, 50).lines().count(), 1);
        assert!(excerpt(&lines, 50).chars().count() < 90);
        assert_eq!(both_ends("abcdef", 3), "abcdef");
        assert_eq!(both_ends("abc---def", 3), "abc … (3 more characters) … def");
    }

    #[test]
    fn what_a_terminal_obeys_can_be_shown_as_an_escape() {
        assert_eq!(escaped("a\r\n\u{1b}[2J\u{202e}é", 20), "a\\r\\n\\u{1b}[2J\\u{202e}é");
        assert_eq!(escaped(&"é".repeat(21), 20), "é".repeat(20) + "…");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(counted(1, "step"), "1 step");
        assert_eq!([counted(0, "step"), counted("1,000", "step")], ["0 steps", "1,000 steps"]);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("stage.rl.steps=3"), "stage.rl.steps=3");
        assert_eq!(quoted("runs/a b"), "'runs/a b'");
        assert_eq!(quoted("name='it'"), r"'name='\''it'\'''");
        assert_eq!(quoted(""), "''");
    }
}
