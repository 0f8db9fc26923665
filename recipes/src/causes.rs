//! An error with its causes, on one line, and the error of work that had begun.

use std::fmt;

/// The error of an evaluation or an export that had begun, with what to do next.
#[derive(Debug)]
pub struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// The messages of an error and its causes, outermost first. A cause that the message before it
/// ends with already is not repeated, nor is a path that ends a message and begins its cause.
pub(crate) fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for message in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = message;
        } else if let Some(kept) = before_path(&text, &message) {
            text = format!("{kept}{message}");
        } else if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

/// What comes before the path at the end of `text`, if `cause` begins with that path or with one in
/// it.
fn before_path<'a>(text: &'a str, cause: &str) -> Option<&'a str> {
    let starts = std::iter::once(0).chain(text.match_indices(' ').map(|(at, _)| at + 1));
    let mut starts = starts.filter(|&start| start < text.len());
    let is_again = |start: &usize| {
        let rest = cause.strip_prefix(&text[*start..]);
        rest.is_some_and(|rest| rest.starts_with(": ") || rest.starts_with('/'))
    };
    starts.find(is_again).map(|start| &text[..start])
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use anyhow::Context as _;
    use candle::{DType, Device};

    use super::*;

    #[test]
    fn a_file_that_is_missing_is_told_once() {
        let path = Path::new("/nowhere/model.gguf");
        let loaded = engine::load(path, &Device::Cpu, DType::F32).map(drop);
        let error = loaded.context("opening model").unwrap_err();
        assert_eq!(
            with_causes(&error),
            "opening model: /nowhere/model.gguf: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_path_that_a_message_ends_with_is_not_told_again() {
        for (cause, context, expected) in [
            ("a/x.gguf: cut short", "opening a/x.gguf", "opening a/x.gguf: cut short"),
            (
                "a b/c.json: no such file",
                "opening the adapter a b",
                "opening the adapter a b/c.json: no such file",
            ),
            ("x: cut short", "x", "x: cut short"),
            // Another path, and a word that is none.
            ("a/xy: cut short", "opening a/x", "opening a/x: a/xy: cut short"),
            ("disk full", "the disk", "the disk: disk full"),
        ] {
            let error = anyhow::anyhow!(cause.to_owned()).context(context).context("--adapter");
            assert_eq!(with_causes(&error), format!("--adapter: {expected}"));
        }
    }

    #[test]
    fn causes_that_say_more_are_kept() {
        let full = io::Error::other("disk full");
        let error = anyhow::Error::new(full).context("writing").context("saving");
        assert_eq!(with_causes(&error), "saving: writing: disk full");
        let error = anyhow::anyhow!("full").context("the disk is full").context("saving");
        assert_eq!(with_causes(&error), "saving: the disk is full");
        let error = anyhow::anyhow!("a").context("a is first, then b");
        assert_eq!(with_causes(&error), "a is first, then b: a");
    }
}
