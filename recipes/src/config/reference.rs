//! The reference of a recipe's keys, docs/recipes.md, written from the JSON schema.
//!
//! What a key means is said once, in the comment at its field; this only arranges it. Texts and
//! examples that belong to a whole table are in `reference/sections.md`, by the path of the table.

mod foreign;
mod keys;
mod layout;
mod page;
mod paths;
mod section;
mod shape;
mod text;
mod written;

use std::fmt::Write as _;

use anyhow::Result;

use super::Recipe;
use super::algorithm::PRESETS;
#[cfg(test)]
pub(super) use foreign::all as foreign;
pub(super) use foreign::{Foreign, noted};
#[cfg(test)]
pub(super) use paths::Known;
pub(super) use paths::{KEYS, keys_of};
pub(super) use shape::ANY_NAME;
use shape::Schema;

/// Examples, and what else is said of a table, by its path: `%% stage.loss` and what follows it.
const WRITTEN: &str = include_str!("reference/sections.md");

/// The reference as Markdown.
///
/// # Errors
///
/// Fails when the schema has no JSON form, which would be a defect.
pub fn reference() -> Result<String> {
    let schema = serde_json::to_value(schemars::schema_for!(Recipe))?;
    let written = WRITTEN.replace("{presets}", presets(PRESETS).trim_end());
    Ok(layout::print(Schema::new(&schema), &written))
}

/// A table of what each algorithm sets.
fn presets(text: &str) -> String {
    let mut out = String::from("| algorithm | sets |\n|---|---|\n");
    for preset in text.split("\n[").skip(1) {
        let (name, settings) = preset.split_once("]\n").unwrap_or((preset, ""));
        let settings = settings.lines().filter(|line| !line.is_empty()).map(text::code);
        let settings = settings.collect::<Vec<_>>().join("<br>");
        let name = text::code(&format!("\"{}\"", name.trim_matches('"')));
        let _ = writeln!(out, "| {name} | {} |", text::cell(&settings));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(properties: &str, definitions: &str) -> String {
        let text = format!(
            r#"{{ "properties": {{ {properties} }}, "required": ["must"], "$defs": {{ {definitions} }} }}"#
        );
        let schema = serde_json::from_str(&text).unwrap();
        layout::print(Schema::new(&schema), "%% top\nBefore.\n")
    }

    fn holds(page: &str, lines: &[&str]) {
        for line in lines {
            assert!(page.lines().any(|there| there == *line), "{line}\nis not in\n{page}");
        }
    }

    #[test]
    fn types_defaults_and_names_are_cells_without_markup_of_their_own() {
        let page = page(
            r#""must": { "type": "string", "description": "A | b <c>, d_e* and `x|y`.\n\nNames: verl `f`, TRL `g`." },
               "may": { "type": ["integer", "null"], "minimum": 1, "description": "May. Left out: 3." },
               "list": { "type": "array", "items": { "type": "number" }, "default": [1e-7, 0.5], "description": "[`Numbers`](crate::Number), docs/data.md." },
               "word": { "enum": ["a", "b", null], "default": "a", "description": "A word." }"#,
            "",
        );
        holds(
            &page,
            &[
                "Before.",
                "| key | type | default | meaning | elsewhere |",
                r#"| <a id="must"></a>`must` | string | **required** | A \| b \<c>, d\_e\* and `x\|y`. | verl `f`, TRL `g` |"#,
                r#"| <a id="may"></a>`may` | integer ≥ 1 | see meaning | May. Left out: 3. |  |"#,
                r#"| <a id="list"></a>`list` | list of numbers | `[1e-7, 0.5]` | `Numbers`, [data.md](data.md). |  |"#,
                r#"| <a id="word"></a>`word` | `"a"` or `"b"` | `"a"` | A word. |  |"#,
                "| verl | `f` | [`must`](#must) |",
            ],
        );
    }

    #[test]
    fn a_union_lists_its_forms_and_a_definition_is_described_once() {
        let kinds = r#""Kind": { "description": "Which.", "oneOf": [
            { "const": "off", "description": "None." },
            { "type": "object", "description": "One. It is good.\n\nNames: TRL `one`.", "required": ["kind"],
              "properties": { "kind": { "const": "one" }, "x": { "type": "number", "description": "X." } } },
            { "type": "object", "description": "Two.", "required": ["kind", "y"],
              "properties": { "kind": { "const": "two" }, "y": { "type": "boolean", "description": "Y." },
                "x": { "type": "number", "description": "X." } } },
            { "type": "string", "enum": ["one"], "description": "By name." } ] }"#;
        let page = page(
            r##""must": { "$ref": "#/$defs/Kind", "description": "First.", "default": { "kind": "one", "x": 1.0 } },
                "again": { "anyOf": [{ "$ref": "#/$defs/Kind" }, { "type": "null" }], "description": "Second." }"##,
            kinds,
        );
        holds(
            &page,
            &[
                r#"| [`must`](#must) | `"off"`, table or a name | **required** | First. |"#,
                r#"| [`again`](#must) | `"off"`, table or a name | none | Second. |"#,
                "## `[must]`",
                r#"- `"off"`: None."#,
                r#"- <a id="must.one"></a>`kind = "one"` or `"one"`: One. It is good. Elsewhere: TRL `one`."#,
                r#"- [`kind = "two"`](#must.two): Two."#,
                "Keys of every `kind` that has keys:",
                r#"| <a id="must.x"></a>`x` | number | none | X. |"#,
                r#"| <a id="must.two.y"></a>`y` | boolean | **required** | Y. |"#,
                r#"| TRL | `one` | [`must`](#must): `kind = "one"` or `"one"` |"#,
            ],
        );
        assert_eq!(page.matches("`[must]`").count(), 2, "the index and one section: {page}");
    }
}
