//! From the Markdown of doc comments to that of a page.

use std::fmt::Write as _;

use serde_json::Value;

/// What begins the last paragraph of the documentation of a key that other libraries have, too.
const NAMES: &str = "Names: ";

/// Documentation of a key, a form or a type.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Doc<'a>(&'a str);

/// What another library calls a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name<'a> {
    pub(super) library: &'a str,
    /// Its name there, or several, as they are written: with backticks.
    pub(super) name: String,
}

impl<'a> Doc<'a> {
    /// What stands in a schema.
    pub(super) fn of(schema: &'a Value) -> Self {
        Self(schema.get("description").and_then(Value::as_str).unwrap_or_default())
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn parts(self) -> (&'a str, &'a str) {
        let at = if self.0.starts_with(NAMES) { Some(0) } else { self.0.rfind("\n\nNames: ") };
        at.map_or((self.0, ""), |at| {
            let (text, names) = self.0.split_at(at);
            (text, names.trim_start().trim_start_matches(NAMES).trim_end().trim_end_matches('.'))
        })
    }

    /// Whether it says itself what holds where the key is left out.
    pub(super) fn says_the_default(self) -> bool {
        self.0.contains("Left out")
    }

    /// Its text, without the names that other libraries have for it.
    pub(super) fn paragraphs(self) -> String {
        let paragraphs = self.parts().0.split("\n\n").map(|one| plain(&one.replace('\n', " ")));
        paragraphs.map(|one| wrapped(&one, "")).collect::<Vec<_>>().join("\n\n")
    }

    /// Its text on one line.
    pub(super) fn line(self) -> String {
        plain(&self.parts().0.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Its first sentence on one line.
    pub(super) fn sentence(self) -> String {
        let line = self.line();
        let end = line.match_indices(". ").map(|(at, _)| at + 1).find(|at| {
            // A full stop within code ends no sentence.
            line[..*at].matches('`').count().is_multiple_of(2)
        });
        end.map_or(line.clone(), |end| line[..end].to_owned())
    }

    /// The names that other libraries have for it.
    pub(super) fn names(self) -> Vec<Name<'a>> {
        let mut names = Vec::new();
        for part in split_outside_code(self.parts().1) {
            let library = part.split('`').next().unwrap_or_default().trim();
            let name = part[part.find('`').unwrap_or(part.len())..].replace('\n', " ");
            names.push(Name { library, name });
        }
        names
    }

    /// The same as text.
    pub(super) fn names_line(self) -> String {
        let names = self.names();
        let names = names.iter().map(|one| format!("{} {}", one.library, one.name));
        names.collect::<Vec<_>>().join(", ").trim().to_owned()
    }
}

/// The parts between commas that are not within backticks.
fn split_outside_code(text: &str) -> Vec<&str> {
    let mut code = false;
    let parts = text.split(|c: char| {
        code ^= c == '`';
        c == ',' && !code
    });
    parts.map(|one| one.trim().trim_start_matches("and ")).filter(|one| !one.is_empty()).collect()
}

/// Markdown in which nothing but code stands for anything: links of rustdoc become their text, and
/// the characters that begin emphasis, tags or links are escaped.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for (index, piece) in text.split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        if index % 2 == 1 {
            out.push_str(piece);
            continue;
        }
        let piece = without_targets(piece);
        for c in piece.chars() {
            match c {
                '[' | ']' => {}
                '<' | '*' | '_' | '\\' => out.extend(['\\', c]),
                _ => out.push(c),
            }
        }
    }
    linked_docs(&out)
}

/// The text after a rustdoc link's text, without the link's target.
fn without_targets(piece: &str) -> String {
    let mut parts = piece.split("](");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    out
}

/// Names of other pages become links to them.
fn linked_docs(text: &str) -> String {
    let mut parts = text.split("docs/");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(".md") {
            Some((name, rest)) if name.chars().all(|c| c.is_ascii_lowercase()) => {
                let _ = write!(out, "[{name}.md]({name}.md){rest}");
            }
            _ => out.extend(["docs/", part]),
        }
    }
    out
}

/// Columns of a line of prose.
const WIDTH: usize = 100;

/// A paragraph in lines of at most [`WIDTH`] columns; those after the first begin with `indent`.
///
/// A line begins with a word only, since numbers and signs there can begin a list or a heading.
pub(super) fn wrapped(text: &str, indent: &str) -> String {
    let may_begin = |word: &str| {
        word.starts_with(|c: char| c.is_alphabetic() || "`([\"".contains(c))
            && !word.starts_with("id=")
    };
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match pieces.last_mut() {
            Some(last) if !may_begin(word) => last.extend([" ", word]),
            _ => pieces.push(word.to_owned()),
        }
    }
    let mut out = String::new();
    let mut width = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let length = piece.chars().count();
        if index > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(indent);
            width = indent.len();
        } else if index > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(piece);
        width += length;
    }
    out
}

/// Text for the cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Code, in as many backticks as it takes.
pub(super) fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// A value as TOML writes it.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float)
                if number.is_f64() && float != 0.0 && !(1e-3..1e6).contains(&float.abs()) =>
            {
                format!("{float:e}")
            }
            Some(float) if number.is_f64() => format!("{float:?}"),
            _ => number.to_string(),
        },
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
