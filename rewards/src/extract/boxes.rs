//! The boxes of a response.

use std::ops::Range;

/// How many boxes may stand open inside each other before the search gives up.
pub const MAX_OPEN_BOXES: usize = 64;

/// The boxes of a text.
#[derive(Debug, Default)]
pub(crate) struct Boxes {
    /// Content of the last closed box that stands in no other closed box.
    pub(crate) last_closed: Option<Range<usize>>,
    /// That box with its command, from the first of its chain on.
    pub(crate) whole: Range<usize>,
    /// Where the boxes begin that only "or", "and" and commas join to the last closed one, if they
    /// do not all hold the same.
    pub(crate) chain: Option<usize>,
    /// Start of the content of the last box that never closes.
    pub(crate) open: Option<usize>,
    /// How many boxes are opened, nested ones included.
    pub(crate) count: usize,
    /// More than [`MAX_OPEN_BOXES`] stood open at once; the search stopped there.
    pub(crate) too_deep: bool,
}

impl Boxes {
    /// Reads `text` once, as TeX would: a backslash takes the letters after it, or one character.
    pub(crate) fn find(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut found = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let mut closed: Option<Closed> = None;
        let mut depth = 0;
        let mut at = 0;
        while at < bytes.len() {
            if open.is_empty() {
                // braces outside every box are of no concern, balanced or not
                let Some(ahead) = bytes[at..].iter().position(|&byte| byte == b'\\') else { break };
                at += ahead;
            }
            match bytes[at] {
                b'\\' => {
                    let start = at;
                    let (next, content) = command(bytes, at + 1);
                    at = next;
                    let Some(content) = content else { continue };
                    found.count += 1;
                    if open.len() == MAX_OPEN_BOXES {
                        found.too_deep = true;
                        break;
                    }
                    open.push(Open { start, content, depth, before: closed.clone() });
                    depth += 1;
                    continue;
                }
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if let Some(open) = open.pop_if(|open| open.depth == depth) {
                        closed = Some(open.close(text, at));
                    }
                }
                _ => {}
            }
            at += 1;
        }
        found.open = open.last().map(|open| open.content);
        if let Some(closed) = closed {
            found.chain = (!closed.same).then_some(closed.first);
            found.whole = closed.first..closed.content.end + 1;
            found.last_closed = Some(closed.content);
        }
        found
    }
}

/// A box that has not closed.
#[derive(Debug)]
struct Open {
    /// Where its command starts.
    start: usize,
    content: usize,
    /// How many braces stood open around it.
    depth: usize,
    /// What had closed before it.
    before: Option<Closed>,
}

/// A closed box, and those joined to it.
#[derive(Debug, Clone)]
struct Closed {
    content: Range<usize>,
    /// Where the command of the first box of its chain starts.
    first: usize,
    /// All boxes of the chain hold the same.
    same: bool,
}

impl Open {
    fn close(self, text: &str, end: usize) -> Closed {
        let content = self.content..end;
        match self.before {
            Some(before)
                if before.content.end < self.start
                    && joins(&text[before.content.end + 1..self.start]) =>
            {
                let same =
                    before.same && text[before.content].trim() == text[content.clone()].trim();
                Closed { content, first: before.first, same }
            }
            _ => Closed { content, first: self.start, same: true },
        }
    }
}

/// Whether a text between two boxes says only that both are answers.
fn joins(between: &str) -> bool {
    const MAX_BYTES: usize = 64;
    const DRESS: [&str; 13] =
        ["$", r"\(", r"\)", r"\[", r"\]", r"\quad", r"\qquad", r"\ ", r"\,", r"\;", "~", "*", "_"];
    let between = between.trim();
    if between.is_empty() || between.len() > MAX_BYTES {
        return false;
    }
    let mut joined = false;
    let mut rest = between;
    while !rest.is_empty() {
        let joint = joint(rest);
        joined |= joint.is_some();
        match joint.or_else(|| DRESS.into_iter().find_map(|dress| rest.strip_prefix(dress))) {
            Some(after) => rest = after.trim_start(),
            None => return false,
        }
    }
    joined
}

/// What follows a comma, "or" or "and", in any case, also as the argument of a command for text.
fn joint(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix([',', ';']) {
        return Some(rest);
    }
    if let Some(rest) = [r"\lor", r"\vee", r"\land", r"\wedge"]
        .into_iter()
        .find_map(|command| text.strip_prefix(command))
    {
        return (!rest.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(rest);
    }
    let argument = text.strip_prefix('\\').and_then(|command| {
        let inner = command.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        (inner.len() < command.len()).then(|| inner.trim_start().strip_prefix('{')).flatten()
    });
    let word = argument.unwrap_or(text).trim_start();
    let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = word.split_at(letters);
    if !["or", "and"].iter().any(|joint| word.eq_ignore_ascii_case(joint)) {
        return None;
    }
    match argument {
        Some(_) => rest.trim_start_matches([',', ' ']).strip_prefix('}'),
        None => Some(rest),
    }
}

/// The last `\\boxed{...}`, `\beginboxed{...}` or `\boxed ...`.
pub(super) fn misspelled(text: &str) -> Option<&str> {
    let at = text.contains("boxed").then(|| text.rfind("boxed"))??;
    let letters = text[..at].trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if !letters.ends_with('\\') {
        return None;
    }
    let content = text[at + "boxed".len()..].trim_start();
    if !content.starts_with('{') {
        let end = content.find(|c: char| c.is_whitespace() || "$.,".contains(c));
        return Some(&content[..end.unwrap_or(content.len())])
            .filter(|content| !content.is_empty());
    }
    let mut depth = 0;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&content[1..at]).filter(|content| !content.trim().is_empty());
        }
    }
    None
}

/// Reads the command whose name starts at `at`. Returns where reading goes on and, if the command
/// is a box with a braced argument, where that argument starts.
fn command(bytes: &[u8], at: usize) -> (usize, Option<usize>) {
    let letters = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if letters == 0 {
        // `\{`, `\\` and their kind: the character after the backslash is spent
        return (at + 1, None);
    }
    let end = at + letters;
    if !matches!(&bytes[at..end], b"boxed" | b"fbox") {
        return (end, None);
    }
    let spaces = bytes[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let argument = end + spaces;
    if bytes.get(argument) == Some(&b'{') {
        (argument + 1, Some(argument + 1))
    } else {
        (argument, None)
    }
}
