//! Comments and prose are wrapped, so that a diff shows the sentence that changed.

use std::fs;
use std::path::{Path, PathBuf};

/// Columns of a line of prose.
const WIDTH: usize = 100;

/// Folders that no file of ours is in.
const OTHERS: &[&str] = &["target", ".git", "models", "data", "runs", "node_modules"];

/// What stands on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Markdown,
    /// TOML, Python, shells: comments begin with a hash.
    Hash,
}

impl Language {
    fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => Some(Self::Rust),
            Some("md") => Some(Self::Markdown),
            Some("toml" | "sh" | "py" | "yml") => Some(Self::Hash),
            None if path.ends_with("justfile") || path.ends_with(".ci/run") => Some(Self::Hash),
            _ => None,
        }
    }

    /// The prose of a line; none on a line of code.
    fn prose(self, line: &str) -> Option<&str> {
        let line = line.trim_start();
        match self {
            Self::Rust => line.strip_prefix("//").map(|text| text.trim_start_matches(['/', '!'])),
            Self::Markdown => Some(line),
            Self::Hash => line.strip_prefix('#'),
        }
    }
}

/// The numbers of the lines that are too long. Tables, the code of Markdown, and words that cannot
/// be broken may be.
fn too_long(language: Language, text: &str) -> Vec<usize> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(prose) = language.prose(line).map(str::trim_start) else { continue };
        if prose.starts_with("```") {
            in_code = !in_code;
        }
        let is_exempt = prose.starts_with('|') || (language == Language::Markdown && in_code);
        let start: String = line.chars().take(WIDTH + 1).collect();
        let indent = line.len() - prose.len();
        let breaks = start.get(indent..).is_some_and(|start| start.trim_end().contains(' '));
        if !is_exempt && line.chars().count() > WIDTH && breaks {
            found.push(index + 1);
        }
    }
    found
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source tree is readable") {
        let path = entry.expect("the source tree is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_dir() {
            into.push(path);
        } else if !OTHERS.contains(&name.as_str()) {
            files(&path, into);
        }
    }
}

#[test]
fn comments_and_prose_are_wrapped() {
    let mut all = Vec::new();
    files(&super::root(), &mut all);
    let mut read = 0;
    let mut faults = Vec::new();
    for path in all {
        let Some(language) = Language::of(&path) else { continue };
        let text = fs::read_to_string(&path).expect("the source tree is readable");
        read += 1;
        let lines = too_long(language, &text).into_iter();
        faults.extend(lines.map(|line| format!("{}:{line}", path.display())));
    }
    assert!(read > 300, "the files are where this test looks, found {read}");
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} lines of more than {WIDTH} columns:\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_long_line_is_found_in_prose_only() {
    let long = "word ".repeat(25);
    let link = format!("<https://{}>", "a".repeat(120));
    for (language, text, expected) in [
        (Language::Rust, format!("/// {long}\nlet code = \"{long}\";\n//! | {long} |"), vec![1]),
        (Language::Rust, format!("    // {link}\n// see {link}"), vec![2]),
        (Language::Markdown, format!("{long}\n```\n{long}\n```\n| {long} |\n- {long}"), vec![1, 6]),
        (Language::Markdown, link.clone(), vec![]),
        (Language::Hash, format!("# {long}\nkey = \"{long}\""), vec![1]),
    ] {
        assert_eq!(too_long(language, &text), expected, "{text}");
    }
}
