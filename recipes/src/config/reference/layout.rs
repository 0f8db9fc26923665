//! Which tables have a section, in which order, and what is before and after them.

use serde_json::Value;

use super::page::Page;
use super::section::Section;
use super::shape::Schema;

/// Tables in the order in which a recipe is written; others come after them.
const ORDER: &[&str] = &["model", "data", "prompt", "eval", "stage", "record", "checkpoint"];

/// The whole page, of the recipe's schema and what is written by hand.
pub(super) fn print<'a>(schema: Schema<'a>, written: &'a str) -> String {
    let mut page = Page::new(schema, written);
    let sections = sections(&mut page);
    page.lists = sections.iter().filter(|one| one.is_list()).map(|one| one.path.clone()).collect();
    let stage = sections.iter().find(|one| one.path == "stage");
    page.every_stage = stage.into_iter().flat_map(Section::shared).collect();
    let mut out = page.written.text("intro");
    out.push_str("\n\n## Index\n\n");
    for section in &sections {
        out.push_str(&section.index_line());
    }
    out.push_str("- [Names in other libraries](#names)\n\n");
    for section in &sections {
        out.push_str(&section.print(&mut page));
    }
    out.push_str(&page.names_section());
    out
}

/// All sections, in the order of the page.
fn sections<'a>(page: &mut Page<'a>) -> Vec<Section<'a>> {
    let top = Section::new(page.schema, "", page.schema.top());
    let rank = |name: &str| ORDER.iter().position(|one| *one == name).unwrap_or(ORDER.len());
    let mut keys: Vec<_> = top.keys().filter(|key| page.needs_section(key.schema)).collect();
    // What a stage and the evaluation share is described at the stage.
    keys.sort_by_key(|key| (key.name == "eval", rank(key.name)));
    let mut groups: Vec<(usize, Vec<Section<'a>>)> = Vec::new();
    for key in keys {
        let mut group = Vec::new();
        visit(page, key.name, key.schema, &mut group);
        groups.push((rank(key.name), group));
    }
    groups.sort_by_key(|(rank, _)| *rank);
    std::iter::once(top).chain(groups.into_iter().flat_map(|(_, group)| group)).collect()
}

/// The section of a value, unless there is one already, and those of what it contains.
fn visit<'a>(page: &mut Page<'a>, path: &str, schema: &'a Value, into: &mut Vec<Section<'a>>) {
    if page.schema.identity(schema).is_some_and(|name| !page.settle(name, path)) {
        return;
    }
    for member in page.schema.members(schema) {
        page.settle(member, path);
    }
    let section = Section::new(page.schema, path, schema);
    let mut children: Vec<(String, &'a Value)> = Vec::new();
    for key in section.keys().filter(|key| page.needs_section(key.schema)) {
        let child = format!("{path}.{}", key.name);
        if !children.iter().any(|(other, _)| *other == child) {
            children.push((child, key.schema));
        }
    }
    into.push(section);
    for (child, schema) in children {
        visit(page, &child, schema, into);
    }
}
