//! What the page says where, so that nothing is said twice and every link leads somewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::foreign;
use super::shape::{Form, Key, Schema, What};
use super::text::{Name, cell, code};
use super::written::Written;

/// More words than this get a section of their own.
const MOST_WORDS: usize = 8;

/// A page that is being put together.
pub(super) struct Page<'a> {
    pub(super) schema: Schema<'a>,
    /// Examples and texts by the path of a section.
    pub(super) written: Written<'a>,
    /// The path of the section that describes a definition.
    homes: BTreeMap<&'a str, String>,
    /// The anchor where the values of a definition are listed below a table.
    pub(super) listed: BTreeMap<&'a str, String>,
    /// A link to where the keys of a table are described.
    pub(super) described: Vec<(Vec<Key<'a>>, String)>,
    /// Names in other libraries, with what they are here.
    names: Vec<(Name<'a>, Here)>,
    /// The paths of the sections that are lists.
    pub(super) lists: Vec<String>,
    /// The keys that every stage has.
    pub(super) every_stage: Vec<&'a str>,
}

/// What a name in another library is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Here {
    /// The path of the key, as [`Page::setting`] has it.
    path: String,
    anchor: String,
    /// The value of the key that it is, where it is one.
    value: Option<String>,
}

impl<'a> Page<'a> {
    pub(super) fn new(schema: Schema<'a>, written: &'a str) -> Self {
        Self {
            schema,
            written: Written::read(written),
            homes: BTreeMap::new(),
            listed: BTreeMap::new(),
            described: Vec::new(),
            names: Vec::new(),
            lists: Vec::new(),
            every_stage: Vec::new(),
        }
    }

    /// A path as `--set` takes it: the stage is `stage.0` where every stage has the key, else
    /// `stage.rl`; `[]` stands for a table of another list.
    fn setting(&self, path: &str) -> String {
        let names: Vec<&str> = path.split('.').collect();
        let (mut out, mut at) = (String::new(), String::new());
        for (index, name) in names.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            out.extend([dot, name]);
            at.extend([dot, name]);
            match names.get(index + 1) {
                Some(&("rl" | "sft")) | None => {}
                Some(next) if at == "stage" => {
                    out.push_str(if self.every_stage.contains(next) { ".0" } else { ".rl" });
                }
                Some(_) if self.lists.contains(&at) => out.push_str("[]"),
                Some(_) => {}
            }
        }
        out
    }

    /// Makes a section the home of a definition; false where another one is that already.
    pub(super) fn settle(&mut self, definition: &'a str, path: &str) -> bool {
        let is_new = !self.homes.contains_key(definition);
        if is_new {
            self.homes.insert(definition, path.to_owned());
        }
        is_new
    }

    /// Whether a value has a section: it has keys of its own, or many values.
    pub(super) fn needs_section(&self, schema: &'a Value) -> bool {
        let (_, forms) = self.schema.item_forms(schema);
        let is_table = |form: &Form<'a>| match &form.what {
            What::Table(table) => !table.keys.is_empty() || table.also.is_some(),
            What::List(items) => {
                let items = self.schema.forms(items);
                items.iter().any(|item| matches!(item.what, What::Table(_)))
            }
            What::Plain(_) | What::Word(_) => false,
        };
        forms.len() > MOST_WORDS || forms.iter().any(is_table)
    }

    /// The path of the section of a value that has one.
    pub(super) fn home(&self, schema: &'a Value, path: &str) -> Option<String> {
        let name = self.schema.identity(schema);
        let home = name.and_then(|name| self.homes.get(name)).cloned();
        self.needs_section(schema).then(|| home.unwrap_or_else(|| path.to_owned()))
    }

    /// The path of the section of a definition.
    pub(super) fn home_of(&self, definition: &str) -> Option<&String> {
        self.homes.get(definition)
    }

    /// Keeps the names for the last section.
    pub(super) fn remember(
        &mut self,
        names: Vec<Name<'a>>,
        path: &str,
        anchor: &str,
        value: Option<&str>,
    ) {
        let path = self.setting(path);
        let here = Here { path, anchor: anchor.to_owned(), value: value.map(str::to_owned) };
        self.names.extend(names.into_iter().map(|name| (name, here.clone())));
    }

    /// The last section: all of them.
    pub(super) fn names_section(&self) -> String {
        let mut out = String::from("<a id=\"names\"></a>\n\n## Names in other libraries\n\n");
        out.push_str(&self.written.text("names"));
        out.push_str("\n\n| library | there | here |\n|---|---|---|\n");
        let mut rows: BTreeMap<(String, String), (&Name<'a>, Vec<&Here>)> = BTreeMap::new();
        for (name, here) in &self.names {
            let order = (name.library.to_lowercase(), name.name.replace('`', "").to_lowercase());
            let (_, all) = rows.entry(order).or_insert_with(|| (name, Vec::new()));
            // The kinds of a table may have the same key, which is one path.
            if !all.iter().any(|one| (&one.path, &one.value) == (&here.path, &here.value)) {
                all.push(here);
            }
        }
        for (name, here) in rows.values() {
            let here = here.iter().map(|here| here.line()).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "| {} | {} | {here} |", name.library, cell(&name.name));
        }
        out + "\n" + &self.foreign_table()
    }

    /// What no single key here stands for.
    fn foreign_table(&self) -> String {
        let mut out = self.written.text("foreign");
        out.push_str("\n\n| library | there | here |\n|---|---|---|\n");
        let mut rows: Vec<_> = foreign::all().collect();
        rows.sort_by_key(|(name, foreign)| (foreign.library.to_lowercase(), name.to_lowercase()));
        let path = |key: &str| code(&self.setting(key));
        for (name, foreign) in rows {
            let said = foreign.said(path).unwrap_or_else(|| {
                foreign.keys.iter().map(|key| path(key)).collect::<Vec<_>>().join(" or ")
            });
            let (name, said) = (code(name), cell(&said));
            let _ = writeln!(out, "| {} | {name} | {said} |", foreign.library);
        }
        out
    }
}

impl Here {
    fn line(&self) -> String {
        let value = self.value.iter().map(|value| format!(": {}", cell(value)));
        link(&self.path, &self.anchor) + &value.collect::<String>()
    }
}

/// A link to a key or a section, as code.
pub(super) fn link(text: &str, anchor: &str) -> String {
    format!("[{}](#{anchor})", cell(&code(text)))
}
