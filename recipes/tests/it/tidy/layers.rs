//! The modules of this crate keep to the layers that `src/lib.rs` draws, and the files of a folder
//! import one another without a circle.
//!
//! Only imports count: paths that start with `crate::` or `super::`, outside tests. A module and
//! its children count as one, since a parent may define what its children share. A name that a
//! parent re-exports counts as imported from the child that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by the names on its path; the crate's root has none.
type Module = Vec<String>;

/// The modules of a crate, by their code without comments and tests.
struct Tree {
    layers: Vec<Vec<String>>,
    code: BTreeMap<Module, String>,
}

impl Tree {
    /// `files` are paths below `src` and their texts; `lib.rs` has the picture.
    fn new(files: &[(String, String)]) -> Self {
        let lib = files.iter().find(|(path, _)| path == "lib.rs").map(|(_, text)| text.as_str());
        let picture = lib.and_then(|text| text.split("//! ```").nth(1)).unwrap_or_default();
        // Names are one word; what is said of a layer comes after several blanks and has more.
        let layer = |line: &str| -> Vec<String> {
            let names = line.trim_start_matches("//!").split("  ").map(str::trim);
            let names = names.filter(|name| !name.is_empty() && !name.contains(' '));
            names.map(str::to_owned).collect()
        };
        let layers = picture.lines().skip(1).map(layer).filter(|names| !names.is_empty()).collect();
        let module = |path: &str| -> Module {
            let path = path.trim_end_matches(".rs");
            path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
        };
        let code = files
            .iter()
            .filter(|(path, _)| path != "main.rs")
            .map(|(path, text)| (module(path), code(text)))
            .collect();
        Self { layers, code }
    }

    /// Everything wrong, one line each.
    fn faults(&self) -> Vec<String> {
        let drawn: BTreeSet<&String> = self.layers.iter().flatten().collect();
        let there: BTreeSet<&String> =
            self.code.keys().filter_map(|module| module.first()).collect();
        let undrawn = there.difference(&drawn).map(|name| format!("{name} is in no layer"));
        let gone = drawn.difference(&there).map(|name| format!("there is no module {name}"));
        let mut faults: Vec<_> = undrawn.chain(gone).collect();
        let mut folders: BTreeMap<Module, BTreeSet<(String, String)>> = BTreeMap::new();
        for (module, code) in &self.code {
            for path in paths(code, module) {
                let target = self.definer(&path);
                let shared = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) else {
                    continue;
                };
                if shared > 0 {
                    let imports = folders.entry(module[..shared].to_vec()).or_default();
                    imports.insert((from.clone(), to.clone()));
                } else if self.layer(from) >= self.layer(to) {
                    let (module, path) = (module.join("/"), path.join("::"));
                    faults.push(format!("{module} imports crate::{path}, which is not below it"));
                }
            }
        }
        for (folder, imports) in folders {
            faults.extend(circle(&imports).map(|on| {
                format!("{}: a circle of imports through {}", folder.join("/"), on.join(", "))
            }));
        }
        faults
    }

    /// Counted from the top.
    fn layer(&self, name: &String) -> Option<usize> {
        self.layers.iter().position(|names| names.contains(name))
    }

    /// The module that defines what `path` names.
    fn definer(&self, path: &[String]) -> Module {
        let is_module = |length: &usize| self.code.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module).unwrap_or_default();
        let module = &path[..length];
        let (Some(code), Some(name)) = (self.code.get(module), path.get(length)) else {
            return module.to_vec();
        };
        let exported =
            code.split("pub use ").chain(code.split("pub(crate) use ")).find_map(|after| {
                let tree = after.split(';').next()?.trim_start_matches("self::");
                let path =
                    expand(tree, module).into_iter().find(|path| path.last() == Some(name))?;
                self.code.contains_key(&path[..path.len() - 1]).then_some(path)
            });
        exported.map_or_else(|| module.to_vec(), |path| path[..path.len() - 1].to_vec())
    }
}

/// A text without comment lines and without its tests.
fn code(text: &str) -> String {
    let own = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = own.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths of `code` that start with `crate::` or `super::`, from the crate's root on.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..start].chars().next_back();
        // The middle of a path is read with its start.
        if before.is_some_and(|c| c.is_alphanumeric() || "_:".contains(c)) {
            continue;
        }
        let mut rest = &code[start..];
        let mut from = module;
        if let Some(after) = rest.strip_prefix("crate::") {
            (rest, from) = (after, &[]);
        }
        while let Some(after) = rest.strip_prefix("super::") {
            rest = after;
            from = from.split_last().map_or(&[], |(_, parent)| parent);
        }
        found.extend(expand(rest, from));
    }
    found
}

/// The paths of a tree such as `a::{b, c::d}`, each with `prefix` before it.
fn expand(tree: &str, prefix: &[String]) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let (mut depth, mut start, mut found) = (0, 0, Vec::new());
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.extend(expand(&group[start..at], prefix));
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
        return found;
    }
    let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let mut path = prefix.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(below) => expand(below, &path),
        None => vec![path],
    }
}

/// Modules that import one another in a circle, if any do.
fn circle(imports: &BTreeSet<(String, String)>) -> Option<Vec<String>> {
    let mut left: BTreeSet<&(String, String)> = imports.iter().collect();
    loop {
        // What imports nothing that is left, or is imported by nothing, is on no circle.
        let importing: BTreeSet<&String> = left.iter().map(|(from, _)| from).collect();
        let imported: BTreeSet<&String> = left.iter().map(|(_, to)| to).collect();
        let before = left.len();
        left.retain(|(from, to)| importing.contains(to) && imported.contains(from));
        if left.len() == before {
            let on: BTreeSet<String> = left.into_iter().map(|(from, _)| from.clone()).collect();
            return (!on.is_empty()).then(|| on.into_iter().collect());
        }
    }
}

fn sources(folder: &Path, below: &str, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the source tree is readable") {
        let path = entry.expect("the source tree is readable").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy();
        let name = format!("{below}{name}");
        if path.is_dir() {
            sources(&path, &format!("{name}/"), into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push((name, fs::read_to_string(&path).expect("the source tree is readable")));
        }
    }
}

#[test]
fn modules_import_only_what_is_below_them_and_never_in_a_circle() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let tree = Tree::new(&files);
    assert!(tree.layers.len() > 5 && tree.code.len() > 40, "the sources are where this test looks");
    let faults = tree.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const PICTURE: &str =
    "//! ```text\n//! top\n//! left  right    two beside each other\n//! low\n//! ```";

/// The faults of modules with this code, each in its file; the others are empty.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let mut all = BTreeMap::from([("lib.rs", PICTURE)]);
    all.extend(["top.rs", "left.rs", "right.rs", "low.rs"].map(|path| (path, "")));
    all.extend(files.iter().copied());
    let all: Vec<_> =
        all.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    Tree::new(&all).faults()
}

#[test]
fn an_upward_import_is_found_wherever_it_stands() {
    assert_eq!(
        faults(&[("top.rs", "use crate::{low, right::{self, Name}};")]),
        Vec::<String>::new()
    );
    let upward = ["low imports crate::top::run, which is not below it"];
    assert_eq!(faults(&[("low.rs", "fn f() { crate::top::run() }")]), upward);
    assert_eq!(faults(&[("low.rs", "use super::top::run;")]), upward);
    assert_eq!(faults(&[("low.rs", "use crate::{\n    top::run,\n};")]), upward);
    let beside = ["left/deep imports crate::right::Name, which is not below it"];
    assert_eq!(faults(&[("left/deep.rs", "use crate::right::Name;")]), beside);
    assert_eq!(faults(&[("left/deep.rs", "use super::super::right::Name;")]), beside);
    for silent in ["// use crate::top;", "#[cfg(test)]\nmod tests {\n    use crate::top;\n}"] {
        assert_eq!(faults(&[("low.rs", silent)]), Vec::<String>::new());
    }
}

#[test]
fn a_circle_of_siblings_is_found_behind_a_name_of_their_parent() {
    let files = [
        ("top.rs", "pub use a::{A, B};\npub(crate) use c::C;"),
        ("top/a.rs", "use super::b::B;"),
        ("top/b.rs", "use super::C;"),
        ("top/c.rs", "use super::{D, E};"),
    ];
    assert_eq!(faults(&files), Vec::<String>::new());
    let closed = [&files[..3], &[("top/c.rs", "use super::A;")]].concat();
    assert_eq!(faults(&closed), ["top: a circle of imports through a, b, c"]);
}

#[test]
fn a_module_that_is_not_drawn_and_one_that_is_not_there_are_found() {
    assert_eq!(faults(&[("new.rs", "")]), ["new is in no layer"]);
    let picture = PICTURE.replace("low", "low  lower");
    assert_eq!(faults(&[("lib.rs", &picture)]), ["there is no module lower"]);
}
