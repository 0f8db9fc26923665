//! Every example of a recipe in the documentation is one, or a part of one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use crate::reference::recipe;

/// The Markdown files of the project that a user reads.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    ["README.md", "ARCHITECTURE.md"].map(|name| root.join(name)).into_iter().chain(docs).collect()
}

/// The blocks of TOML in a page.
fn examples(markdown: &str) -> Vec<String> {
    let (mut examples, mut inside) = (Vec::new(), false);
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) if &*kind == "toml" => {
                inside = true;
                examples.push(String::new());
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(text) if inside => examples.last_mut().unwrap().push_str(&text),
            _ => {}
        }
    }
    examples
}

#[test]
fn every_example_of_the_documentation_is_a_recipe() {
    let (mut found, mut faults) = (0, Vec::new());
    for page in pages() {
        for example in examples(&fs::read_to_string(&page).unwrap()) {
            found += 1;
            if let Err(error) = recipe(&example) {
                faults.push(format!("{}: {error}\n{example}", page.display()));
            }
        }
    }
    assert!(found >= 45, "{found}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let unknown = "[[stage]]\nkind = \"sft\"\nslots = 3\n";
    assert!(recipe(unknown).unwrap_err().contains("slots"));
}
