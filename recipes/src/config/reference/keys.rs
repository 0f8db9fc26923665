//! The keys of a table: a row each, and below them what their values mean.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::page::{Page, link};
use super::shape::{Form, Key, Schema, What};
use super::text::{cell, code, toml, wrapped};

/// A table of keys below `path`, and lists of the values that have names. Keys of one kind have
/// their anchors below `anchor`.
pub(super) fn table<'a>(page: &mut Page<'a>, path: &str, anchor: &str, keys: &[Key<'a>]) -> String {
    let elsewhere = keys.iter().any(|key| !key.doc.names().is_empty());
    let mut out = String::from(if elsewhere {
        "| key | type | default | meaning | elsewhere |\n|---|---|---|---|---|\n"
    } else {
        "| key | type | default | meaning |\n|---|---|---|---|\n"
    });
    let mut lists = String::new();
    for key in keys {
        let below = |of: &str| {
            if of.is_empty() { key.name.to_owned() } else { format!("{of}.{}", key.name) }
        };
        let (own, path) = (below(anchor), below(path));
        let home = page.home(key.schema, &own);
        let name = match &home {
            Some(home) => link(key.name, home),
            None => format!("<a id=\"{own}\"></a>{}", cell(&code(key.name))),
        };
        page.remember(key.doc.names(), &path, home.as_ref().unwrap_or(&own), None);
        let mut types = type_name(page.schema, key.schema);
        if home.is_none() {
            match listed(page, &path, &own, key) {
                Listed::Nothing => {}
                Listed::Here(list) => lists.push_str(&list),
                Listed::There(anchor) => {
                    let _ = write!(types, " ([meaning](#{anchor}))");
                }
            }
        }
        let default = default(page.schema, key);
        let meaning = page.schema.key_doc(key).line();
        let _ =
            write!(out, "| {name} | {} | {} | {} |", cell(&types), cell(&default), cell(&meaning));
        if elsewhere {
            let _ = write!(out, " {} |", cell(&key.doc.names_line()));
        }
        out.push('\n');
    }
    out + "\n" + &lists
}

/// Where the meaning of a key's values is listed.
enum Listed {
    /// There is nothing to list.
    Nothing,
    /// Below this table: the list.
    Here(String),
    /// At this anchor.
    There(String),
}

fn listed<'a>(page: &mut Page<'a>, path: &str, anchor: &str, key: &Key<'a>) -> Listed {
    let (_, forms) = page.schema.item_forms(key.schema);
    if forms.iter().all(|form| form.doc.is_empty())
        || matches!(&forms[..], [form] if !form.is_word())
    {
        return Listed::Nothing;
    }
    let identity = page.schema.identity(key.schema);
    if let Some(known) = identity.and_then(|name| page.listed.get(name)) {
        return Listed::There(known.clone());
    }
    if let Some(name) = identity {
        page.listed.insert(name, anchor.to_owned());
    }
    let doc = page.schema.type_doc(key.schema);
    // One sentence says no more than the key's own.
    let more =
        if doc.line() == doc.sentence() { String::new() } else { format!(" {}", doc.line()) };
    let title = format!("Values of {}:{more}", code(key.name));
    let mut out = wrapped(&title, "") + "\n\n";
    for form in &forms {
        let name = form_name(page.schema, form);
        page.remember(form.doc.names(), path, anchor, Some(&name));
        let mut line = format!("- {name}: {}", form.doc.line());
        let names = form.doc.names_line();
        if !names.is_empty() {
            let _ = write!(line, " Elsewhere: {names}.");
        }
        out.push_str(&wrapped(&line, "  "));
        out.push('\n');
    }
    Listed::Here(out + "\n")
}

/// How a form is written.
pub(super) fn form_name<'a>(schema: Schema<'a>, form: &Form<'a>) -> String {
    match &form.what {
        What::Plain(name) => name.to_string(),
        What::Word(word) => code(&toml(word)),
        What::List(items) => format!("list of {}", plural(&type_name(schema, items))),
        What::Table(table) => match table.tag {
            Some((_, kind)) if table.by_name && table.keys.is_empty() => {
                code(&format!("\"{kind}\""))
            }
            Some((tag, kind)) if table.by_name => {
                format!(
                    "{} or {}",
                    code(&format!("{tag} = \"{kind}\"")),
                    code(&format!("\"{kind}\""))
                )
            }
            Some((tag, kind)) => code(&format!("{tag} = \"{kind}\"")),
            None => "table".to_owned(),
        },
    }
}

/// The types of a value, with "or" between them.
pub(super) fn type_name<'a>(schema: Schema<'a>, value: &'a Value) -> String {
    let mut names: Vec<String> = Vec::new();
    let forms = schema.forms(value);
    for form in &forms {
        let name = match &form.what {
            What::Table(_) => "table".to_owned(),
            What::Word(_) if forms.len() > 8 => "a name".to_owned(),
            _ => form_name(schema, form),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let by_name = |form: &Form<'a>| matches!(&form.what, What::Table(table) if table.by_name);
    if forms.iter().any(by_name) {
        names.push("a name".to_owned());
    }
    match &names[..] {
        [] => "any value".to_owned(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

fn plural(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_lowercase()) { format!("{name}s") } else { name.to_owned() }
}

/// What holds where a key is left out.
fn default<'a>(schema: Schema<'a>, key: &Key<'a>) -> String {
    if key.required {
        return "**required**".to_owned();
    }
    match key.schema.get("default") {
        Some(_) | None if key.doc.says_the_default() => "see meaning".to_owned(),
        Some(value) => match short(schema, key.schema, value) {
            Value::Object(table) if table.is_empty() => "see its keys".to_owned(),
            value => code(&toml(&value)),
        },
        None => "none".to_owned(),
    }
}

/// A value without the entries that are the defaults of their own keys.
fn short<'a>(schema: Schema<'a>, value_schema: &'a Value, value: &'a Value) -> Value {
    match value {
        Value::Array(items) => {
            let (_, forms) = schema.item_forms(value_schema);
            Value::Array(items.iter().map(|item| short_table(&forms, item)).collect())
        }
        _ => short_table(&schema.forms(value_schema), value),
    }
}

fn short_table<'a>(forms: &[Form<'a>], value: &'a Value) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    let table = forms.iter().find_map(|form| match &form.what {
        What::Table(table) => {
            let fits = table.tag.is_none_or(|(tag, kind)| entries.get(tag) == Some(&kind.into()));
            fits.then_some(table)
        }
        _ => None,
    });
    let Some(table) = table else { return value.clone() };
    let differs = |(name, value): &(&String, &'a Value)| {
        let key = table.keys.iter().find(|key| key.name == name.as_str());
        let default = key.and_then(|key| key.schema.get("default"));
        default.is_none_or(|default| default != *value)
    };
    let kept = entries.iter().filter(differs);
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}
