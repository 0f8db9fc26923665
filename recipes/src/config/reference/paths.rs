//! Every key of a recipe by its path, wherever its table stands.
//!
//! The page describes a table once; a mistake can be in any place that has it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::super::Recipe;
use super::keys::type_name;
use super::shape::{Form, Key, Schema, Table, What};

/// A table within a table, at most: the schema of a recipe is not recursive.
const DEEPEST: usize = 12;

/// What is known of a key.
#[derive(Debug, Default)]
pub(in crate::config) struct Known {
    /// The types of its value.
    pub(in crate::config) types: String,
    /// The words that its value may be, and the kinds of its table.
    pub(in crate::config) words: Vec<String>,
    /// The kinds of its table that have the key.
    pub(in crate::config) kinds: Vec<String>,
    /// Its names in other libraries: library and name.
    pub(in crate::config) names: Vec<(String, String)>,
    /// What the key means, which tells it from others of its name.
    pub(in crate::config) meaning: String,
}

/// All keys by path: `stage.rl` and `stage.sft` stand for stages, `[]` for a table of another list.
/// Paths have no other kinds in them.
pub(in crate::config) static KEYS: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let schema = schemars::schema_for!(Recipe).to_value();
    let schema = Schema::new(&schema);
    let mut found = BTreeMap::new();
    visit(schema, "", schema.top(), 0, &mut found);
    found
});

/// The keys of the table at `path`, with a path for those of the recipe itself being empty.
pub(in crate::config) fn keys_of(path: &str) -> impl Iterator<Item = &'static str> {
    let start = if path.is_empty() { String::new() } else { format!("{path}.") };
    KEYS.keys().filter_map(move |key| key.strip_prefix(&start).filter(|key| !key.contains('.')))
}

fn visit<'a>(
    schema: Schema<'a>,
    path: &str,
    value: &'a Value,
    depth: usize,
    found: &mut BTreeMap<String, Known>,
) {
    if depth > DEEPEST {
        return;
    }
    let (is_list, forms) = schema.item_forms(value);
    for form in &forms {
        match &form.what {
            What::Table(table) => visit_table(schema, path, is_list, table, depth, found),
            What::List(items) => visit_items(schema, path, items, depth, found),
            What::Plain(_) | What::Word(_) => {}
        }
    }
}

fn visit_items<'a>(
    schema: Schema<'a>,
    path: &str,
    items: &'a Value,
    depth: usize,
    found: &mut BTreeMap<String, Known>,
) {
    for item in schema.forms(items) {
        if let What::Table(table) = &item.what {
            visit_table(schema, path, true, table, depth, found);
        }
    }
}

fn visit_table<'a>(
    schema: Schema<'a>,
    path: &str,
    in_list: bool,
    table: &Table<'a>,
    depth: usize,
    found: &mut BTreeMap<String, Known>,
) {
    let below = match (path, table.kind()) {
        ("", _) => String::new(),
        ("stage", Some(kind)) => format!("stage.{kind}."),
        _ if in_list => format!("{path}[]."),
        _ => format!("{path}."),
    };
    if let Some((tag, kind)) = table.tag {
        let known = found.entry(format!("{below}{tag}")).or_default();
        known.words.push(kind.to_owned());
    }
    for key in &table.keys {
        let path = format!("{below}{}", key.name);
        let known = found.entry(path.clone()).or_default();
        known.kinds.extend(table.kind().map(str::to_owned));
        add(schema, key, known);
        visit(schema, &path, key.schema, depth + 1, found);
    }
    let also = table.also.map(|also| schema.union_forms(also)).unwrap_or_default();
    for form in &also {
        if let What::Table(table) = &form.what {
            visit_table(schema, path, in_list, table, depth + 1, found);
        }
    }
}

fn add<'a>(schema: Schema<'a>, key: &Key<'a>, known: &mut Known) {
    let word = |form: &Form<'a>| match &form.what {
        What::Word(word) => word.as_str().map(str::to_owned),
        What::Table(table) => table.kind().map(str::to_owned),
        What::Plain(_) | What::List(_) => None,
    };
    known.words.extend(schema.forms(key.schema).iter().filter_map(word));
    let types = type_name(schema, key.schema);
    if known.types.is_empty() {
        known.types = types;
        known.meaning = format!("{}: {}", key.name, schema.key_doc(key).line());
    }
    for name in key.doc.names() {
        let name = (name.library.to_owned(), name.name.trim_matches('`').to_owned());
        if !known.names.contains(&name) {
            known.names.push(name);
        }
    }
}
