//! docs/recipes.md says all there is to say of a recipe's keys, in Markdown that holds together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use recipes::config::{Recipe, reference, schema};
use serde_json::Value;

const COMMAND: &str = "stearin schema --format markdown > docs/recipes.md";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes.md")
}

#[test]
fn the_reference_is_current() {
    let there = fs::read_to_string(path()).unwrap_or_default();
    assert!(there == reference().unwrap(), "docs/recipes.md is stale; rewrite it: {COMMAND}");
}

fn events(markdown: &str) -> Vec<Event<'_>> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES).collect()
}

/// Words without punctuation, so that links and escapes make no difference.
fn words(markdown: &str) -> String {
    let mut out = String::new();
    for event in events(markdown) {
        match event {
            Event::Text(text) | Event::Code(text) => out.push_str(&text.replace("docs/", "")),
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => {}
            _ => out.push(' '),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of all tables, each cell as words.
fn rows(markdown: &str) -> Vec<Vec<String>> {
    let (mut rows, mut cell) = (Vec::new(), None::<String>);
    for event in events(markdown) {
        match (event, &mut cell) {
            (Event::Start(Tag::TableRow), _) => rows.push(Vec::new()),
            (Event::Start(Tag::TableCell), _) => cell = Some(String::new()),
            (Event::End(TagEnd::TableCell), Some(text)) if !rows.is_empty() => {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                rows.last_mut().expect("it is not empty").push(text);
                cell = None;
            }
            (Event::Text(text) | Event::Code(text), Some(cell)) => {
                cell.push_str(&text.replace("docs/", ""));
            }
            _ => {}
        }
    }
    rows
}

/// A key or a value of the schema, and what is said of it.
struct Described {
    name: String,
    doc: String,
    is_key: bool,
}

/// Every key but the tags, and every value that has a name.
fn described(schema: &Value) -> Vec<Described> {
    fn walk(node: &Value, definitions: &Value, out: &mut Vec<Described>) {
        let own = |node: &Value| node["description"].as_str().map(str::to_owned);
        let doc = |node: &Value| {
            let union = node["anyOf"].as_array().and_then(|union| union.first());
            let target = node.get("$ref").or_else(|| union?.get("$ref")).and_then(Value::as_str);
            let target = target.and_then(|name| definitions.get(name.rsplit('/').next()?));
            own(node).or_else(|| own(target?)).unwrap_or_default()
        };
        if let Some(properties) = node["properties"].as_object() {
            for (name, key) in properties.iter().filter(|(_, key)| key.get("const").is_none()) {
                // The one key of such a table is the name of a variant, which the table describes.
                let is_variant = properties.len() == 1 && doc(key).is_empty();
                let doc = if is_variant { doc(node) } else { doc(key) };
                out.push(Described { name: name.clone(), doc, is_key: true });
            }
        }
        // What the word `"off"` means is said where it is used.
        let values = node["oneOf"].as_array().filter(|values| {
            values.len() > 1 || values.iter().any(|value| value.get("const").is_none())
        });
        for one in values.into_iter().flatten() {
            let tag = one["properties"].as_object().into_iter().flatten();
            let tag = tag.filter_map(|(_, key)| key.get("const")).chain(one.get("const")).next();
            if let Some(name) = tag.and_then(Value::as_str) {
                let name = name.to_owned();
                out.push(Described { name, doc: doc(one), is_key: false });
            }
        }
        match node {
            Value::Array(items) => items.iter().for_each(|item| walk(item, definitions, out)),
            Value::Object(entries) => {
                entries.values().for_each(|value| walk(value, definitions, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(schema, &schema["$defs"], &mut out);
    out
}

/// Keys and values that nothing is said of, and those that the page does not have with all that is
/// said of them.
fn gaps(schema: &Value, page: &str) -> Vec<String> {
    let (rows, all) = (rows(page), words(page));
    let mut gaps = Vec::new();
    for Described { name, doc, is_key } in described(schema) {
        let doc = words(doc.split("Names: ").next().unwrap_or_default());
        let there = if is_key {
            rows.iter().any(|row| row[0] == name && row.contains(&doc))
        } else {
            all.contains(&doc) && all.contains(&name)
        };
        if doc.is_empty() {
            gaps.push(format!("{name} is not described"));
        } else if !there {
            gaps.push(format!("{name} is not in the reference: {doc}"));
        }
    }
    gaps
}

#[test]
fn every_key_is_described_and_in_the_reference() {
    let (mut schema, page): (Value, _) =
        (serde_json::from_str(&schema().unwrap()).unwrap(), reference().unwrap());
    assert!(described(&schema).len() > 200, "the keys are where this test looks");
    assert_eq!(gaps(&schema, &page), [""; 0]);
    assert_eq!(
        gaps(&schema, &page.replace("| `top_p`", "| `top`").replace(">`top_p`", ">`top`")).len(),
        1
    );
    let sampling = schema["$defs"]["Sampling"]["properties"]["top_p"].as_object_mut().unwrap();
    sampling.remove("description");
    assert_eq!(gaps(&schema, &page), ["top_p is not described"]);
}

#[test]
fn names_of_other_libraries_are_in_one_form() {
    let page = reference().unwrap();
    let (_, names) = page.split_once("\n## Names in other libraries\n").unwrap();
    let rows = rows(names);
    assert!(rows.len() > 60, "{} names", rows.len());
    let libraries: BTreeSet<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let known = [
        "FZOO", "HF", "LOZO", "MeZO", "PEFT", "PyTorch", "Python", "STARE", "TRL", "Unsloth",
        "ZO2", "datasets", "open-r1", "prime-rl", "vLLM", "verl",
    ];
    assert_eq!(libraries, BTreeSet::from(known));
    assert!(rows.iter().all(|row| row.iter().all(|cell| !cell.is_empty())));
    assert!(!page.contains("Names: "));
}

#[test]
fn the_markdown_is_well_formed() {
    let page = reference().unwrap();
    let (mut anchors, mut links) = (BTreeSet::new(), BTreeSet::new());
    for event in events(&page) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let html = html.trim();
                let anchor = html.strip_prefix("<a id=\"").and_then(|id| id.strip_suffix("\">"));
                if let Some(anchor) = anchor {
                    assert!(anchors.insert(anchor.to_owned()), "{anchor} is twice");
                } else {
                    assert!(
                        ["</a>", "<br>"].contains(&html) || html.starts_with("<!-- "),
                        "{html}"
                    );
                }
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                links.insert(dest_url.into_string());
            }
            Event::Text(text) => {
                assert!(!text.contains("](") && !text.contains('`'), "{text}");
            }
            Event::Start(tag @ (Tag::Image { .. } | Tag::Strikethrough)) => panic!("{tag:?}"),
            _ => {}
        }
    }
    for link in links {
        if let Some(anchor) = link.strip_prefix('#') {
            assert!(anchors.contains(anchor), "{link} leads nowhere");
        } else {
            let file = link.split('#').next().unwrap_or_default();
            assert!(path().with_file_name(file).is_file(), "{link} leads nowhere");
        }
    }
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut columns = None;
    for line in page.lines() {
        columns = line.starts_with('|').then(|| *columns.get_or_insert_with(|| cells(line)));
        assert!(columns.is_none_or(|columns| columns == cells(line)), "{line}");
    }
    for row in rows(&page) {
        assert!(!row[0].is_empty(), "{row:?}");
    }
}

/// What a snippet leaves out to be a recipe.
const REST: &str = r#"
    model = { path = "builtin:atom" }
    data.train = { kind = "arithmetic", count = 900, min_digits = 1, max_digits = 2, operations = ["+"] }
    data.held_out = { kind = "split", count = 5 }
    stage = [{ kind = "rl", steps = 90, batch = 4, group_size = 2, schedule = { kind = "constant", lr = 1e-4 } }]
"#;

/// The recipe of a snippet: itself, with what every recipe needs where it does not say it.
pub(crate) fn recipe(snippet: &str) -> Result<Recipe, String> {
    // Tables and rewards of a stage alone belong to a stage of reinforcement learning.
    let is_part = snippet.contains("[stage.") || snippet.starts_with("rewards = ");
    let is_part = is_part && !snippet.contains("[[stage]]");
    let begun = if is_part { "[[stage]]\nkind = \"rl\"\n" } else { "" };
    let text = format!("{begun}{snippet}");
    let mut table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let rest: toml::Table = REST.parse().expect("it is TOML");
    for (key, value) in &rest {
        table.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let fill = |table: &mut toml::Value, rest: &toml::Value| {
        let (Some(table), Some(rest)) = (table.as_table_mut(), rest.as_table()) else { return };
        for (key, value) in rest {
            table.entry(key.clone()).or_insert_with(|| value.clone());
        }
    };
    fill(&mut table["data"], &rest["data"]);
    let stages = table["stage"].as_array_mut().ok_or("stage: expected a list")?;
    for stage in stages {
        let mut rest = rest["stage"][0].clone();
        if stage["kind"].as_str() == Some("sft") {
            rest.as_table_mut().expect("it is a table").remove("group_size");
        }
        fill(stage, &rest);
    }
    let text = toml::to_string(&table).map_err(|error| error.to_string())?;
    Recipe::parse("snippet", &text).map_err(|error| format!("{error:#}\n{text}"))
}

fn snippets(markdown: &str) -> Vec<String> {
    let (mut snippets, mut inside) = (Vec::new(), false);
    for event in events(markdown) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                assert_eq!(kind, CodeBlockKind::Fenced("toml".into()));
                inside = true;
                snippets.push(String::new());
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(text) if inside => {
                snippets.last_mut().expect("one has begun").push_str(&text);
            }
            _ => {}
        }
    }
    snippets
}

#[test]
fn every_section_has_an_example_and_every_example_is_a_recipe() {
    let page = reference().unwrap();
    for snippet in snippets(&page) {
        recipe(&snippet).unwrap_or_else(|error| panic!("{error}\n\n{snippet}"));
    }
    assert!(recipe("[stage.rollout]\ntop_q = 0.9").unwrap_err().contains("top_q"));
    let (_, sections) = page.split_once("\n## Index\n").unwrap();
    let (sections, _) = sections.split_once("<a id=\"names\">").unwrap();
    let titled =
        |line: &str| line.starts_with("## ") || line.contains("# `[") || line.contains("# `stage");
    let mut without = None::<&str>;
    for line in sections.lines() {
        if line.starts_with("```toml") {
            without = None;
        } else if line.starts_with('#') && titled(line) {
            assert_eq!(without, None, "there is no example");
            without = Some(line);
        }
    }
    assert_eq!(without, None, "there is no example");
}
