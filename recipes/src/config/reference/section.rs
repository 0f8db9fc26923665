//! A section: a table of a recipe, or a choice between several forms of a value.

use std::fmt::Write as _;

use serde_json::Value;

use super::keys::{self, form_name};
use super::page::{Page, link};
use super::shape::{Form, Key, Schema, Table, What};
use super::text::{code, wrapped};

/// A table of a recipe, or a choice between several forms of a value.
pub(super) struct Section<'a> {
    pub(super) path: String,
    schema: &'a Value,
    is_list: bool,
    parts: Vec<Part<'a>>,
    /// The keys that all tables have, with one meaning.
    shared: Vec<Key<'a>>,
}

/// One form of a section's value.
struct Part<'a> {
    form: Form<'a>,
    /// How it is written.
    name: String,
    anchor: String,
    /// Its keys but for those that all tables of the section have.
    own: Vec<Key<'a>>,
    /// The definition whose tables are written into it, beside its own keys.
    also: Option<&'a str>,
}

/// The table that a form is, or that the items of its list are.
fn table<'a>(schema: Schema<'a>, form: &Form<'a>) -> Option<Table<'a>> {
    match &form.what {
        What::Table(table) => Some(table.clone()),
        What::List(items) => schema.forms(items).iter().find_map(|item| match &item.what {
            What::Table(table) => Some(table.clone()),
            _ => None,
        }),
        What::Plain(_) | What::Word(_) => None,
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(schema: Schema<'a>, path: &str, value: &'a Value) -> Self {
        let (is_list, forms) = schema.item_forms(value);
        let tables = || forms.iter().filter(|form| matches!(form.what, What::Table(_)));
        let tables: Vec<_> = tables().filter_map(|form| table(schema, form)).collect();
        let tables: Vec<_> = tables.iter().filter(|table| !table.keys.is_empty()).collect();
        let everywhere = |key: &&Key<'a>| tables.iter().all(|table| table.keys.contains(key));
        let first = tables.first().map(|table| &table.keys[..]).unwrap_or_default();
        let shared: Vec<_> = first.iter().filter(everywhere).copied().collect();
        let part = |form: &Form<'a>| {
            let table = table(schema, form);
            let kind = table.as_ref().and_then(Table::kind);
            let anchor = match (&form.what, kind) {
                (What::List(_), _) => format!("{path}.list"),
                (_, Some(kind)) => format!("{path}.{kind}"),
                (_, None) => path.to_owned(),
            };
            let own = table.as_ref().map(|table| &table.keys[..]).unwrap_or_default();
            Part {
                form: form.clone(),
                name: form_name(schema, form),
                anchor,
                own: own.iter().filter(|key| !shared.contains(key)).copied().collect(),
                also: table.and_then(|table| schema.copied_from(table.also?)),
            }
        };
        let parts = forms.iter().map(part).collect();
        Self { path: path.to_owned(), schema: value, is_list, parts, shared }
    }

    /// The keys of all its tables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key<'a>> {
        self.shared.iter().chain(self.parts.iter().flat_map(|part| &part.own))
    }

    /// The path of a part's keys, as they are written: only of a stage it has the kind.
    fn below(&self, part: &Part<'a>) -> String {
        match part.form.what {
            What::List(_) => format!("{}[]", self.path),
            _ if self.path == "stage" => part.anchor.clone(),
            _ => self.path.clone(),
        }
    }

    /// Whether it is a list of tables.
    pub(super) fn is_list(&self) -> bool {
        self.is_list
    }

    /// The keys that all its tables have.
    pub(super) fn shared(&self) -> impl Iterator<Item = &'a str> {
        self.shared.iter().map(|key| key.name)
    }

    fn title(&self) -> String {
        if self.path.is_empty() {
            return "Top level".to_owned();
        }
        let is_table = |part: &Part<'a>| matches!(part.form.what, What::Table(_));
        code(&match (self.parts.iter().any(is_table), self.is_list) {
            (true, true) => format!("[[{}]]", self.path),
            (true, false) => format!("[{}]", self.path),
            (false, _) => self.path.clone(),
        })
    }

    fn anchor(&self) -> &str {
        if self.path.is_empty() { "top" } else { &self.path }
    }

    /// 1 for a table of the recipe.
    fn depth(&self) -> usize {
        self.path.split('.').count()
    }

    pub(super) fn index_line(&self) -> String {
        let indent = "  ".repeat(self.depth() - 1);
        format!("{indent}- [{}](#{})\n", self.title(), self.anchor())
    }

    /// Everything about it.
    pub(super) fn print(&self, page: &mut Page<'a>) -> String {
        let mut out = heading(self.depth() + 1, &self.title(), self.anchor());
        let doc = page.schema.type_doc(self.schema).paragraphs();
        for text in [doc, page.written.text(self.anchor())] {
            if !text.is_empty() {
                let _ = writeln!(out, "{}\n", text.trim_end());
            }
        }
        let told: Vec<_> = self.parts.iter().map(|part| self.told(part, page)).collect();
        // A key may be `"off"` in place of its one table, which needs no list.
        let told_of = self.parts.iter().filter(|part| !part.form.doc.is_empty()).count();
        if told_of > 1 || self.parts.iter().any(Part::is_tagged) {
            out.push_str("One of:\n\n");
            let is_told = |part: &Part<'a>| part.is_tagged() || !part.form.doc.is_empty();
            for (part, told) in self.parts.iter().zip(&told).filter(|(part, _)| is_told(part)) {
                out.push_str(&self.overview(part, told.as_deref(), page));
            }
            out.push('\n');
        }
        if !self.shared.is_empty() {
            let tables = self.parts.iter().filter(|part| part.is_tagged()).count();
            if tables > 1 {
                out.push_str("Keys of every `kind` that has keys:\n\n");
            }
            for part in self.parts.iter().filter(|part| told_of > 1 && part.has_long_text()) {
                let _ = writeln!(out, "{}\n", part.form.doc.paragraphs());
            }
            out.push_str(&keys::table(page, &self.path, &self.path, &self.shared));
        }
        for (part, told) in self.parts.iter().zip(&told) {
            if told.is_none() && !part.own.is_empty() {
                out.push_str(&self.part(part, page));
            }
        }
        out
    }

    /// Where the keys of a part are described already; from now on they are here.
    fn told(&self, part: &Part<'a>, page: &mut Page<'a>) -> Option<String> {
        if part.own.is_empty() {
            return None;
        }
        let here = format!("[`{}`, {}](#{})", self.path, part.name, part.anchor);
        let known = page.described.iter().find(|(keys, _)| *keys == part.own);
        let known = known.map(|(_, link)| link.clone());
        if known.is_none() {
            page.described.push((part.own.clone(), here));
        }
        known
    }

    /// A line about one of several forms. What has keys is told below in full.
    fn overview(&self, part: &Part<'a>, told: Option<&str>, page: &mut Page<'a>) -> String {
        let doc = part.form.doc;
        page.remember(doc.names(), &self.path, self.anchor(), Some(&part.name));
        if told.is_none() && !part.own.is_empty() {
            let line = format!("- [{}](#{}): {}", part.name, part.anchor, doc.sentence());
            return wrapped(&line, "  ") + "\n";
        }
        let text = if part.has_long_text() { doc.sentence() } else { doc.line() };
        let mut line = format!("- {}: {text}", part.name);
        if part.is_tagged() && part.anchor != self.path {
            line.insert_str(2, &format!("<a id=\"{}\"></a>", part.anchor));
        }
        let names = doc.names_line();
        if !names.is_empty() {
            let _ = write!(line, " Elsewhere: {names}.");
        }
        if let Some(told) = told {
            let _ = write!(line, " Its keys are those of {told}.");
        }
        wrapped(&line, "  ") + "\n"
    }

    /// One of several forms, with its keys.
    fn part(&self, part: &Part<'a>, page: &mut Page<'a>) -> String {
        let mut out = String::new();
        if self.parts.len() > 1 {
            out.push_str(&heading(self.depth() + 2, &part.name, &part.anchor));
            let names = part.form.doc.names_line();
            let _ = writeln!(out, "{}\n", part.form.doc.paragraphs());
            if !names.is_empty() {
                let names = wrapped(&format!("Elsewhere: {names}."), "");
                let _ = writeln!(out, "{names}\n");
            }
        }
        out.push_str(&keys::table(page, &self.below(part), &part.anchor, &part.own));
        if let Some(home) = part.also.and_then(|name| page.home_of(name)) {
            let _ = writeln!(out, "Beside them it has the keys of one of {}.\n", link(home, home));
        }
        out
    }
}

impl Part<'_> {
    /// Whether it is a table by no name of which more is said than fits into a list.
    fn has_long_text(&self) -> bool {
        let is_table = matches!(self.form.what, What::Table(_)) && !self.is_tagged();
        is_table && self.form.doc.paragraphs().contains("\n\n")
    }

    fn is_tagged(&self) -> bool {
        matches!(&self.form.what, What::Table(table) if table.tag.is_some())
    }
}

fn heading(level: usize, title: &str, anchor: &str) -> String {
    format!("<a id=\"{anchor}\"></a>\n\n{} {title}\n\n", "#".repeat(level.min(5)))
}
