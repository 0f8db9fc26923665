//! From where something is written to its path, and back.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The span of the key or the text `name` inside the value that spans `span`, if there is one.
///
/// Tagged tables are buffered while they are read, so that a mistake inside is only known to lie
/// somewhere in the table.
pub(super) fn find(table: &DeTable<'_>, span: &Range<usize>, name: &str) -> Option<Range<usize>> {
    table.iter().find_map(|(_, value)| find_below(value, span, name))
}

fn find_below(
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    name: &str,
) -> Option<Range<usize>> {
    if value.span() == *span {
        return find_name(value, name);
    }
    match value.get_ref() {
        DeValue::Table(table) => find(table, span, name),
        DeValue::Array(array) => array.iter().find_map(|v| find_below(v, span, name)),
        _ => None,
    }
}

fn find_name(value: &Spanned<DeValue<'_>>, name: &str) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::String(text) => (text == name).then(|| value.span()),
        DeValue::Array(array) => array.iter().find_map(|v| find_name(v, name)),
        DeValue::Table(table) => table.iter().find_map(|(key, value)| {
            if key.get_ref() == name { Some(key.span()) } else { find_name(value, name) }
        }),
        _ => None,
    }
}

/// The names and numbers of items that lead to the smallest value or key around `span`. What an
/// evaluation has from elsewhere has its path there.
pub(super) fn path_at(table: &DeTable<'_>, span: &Range<usize>) -> Vec<String> {
    let is_eval = |path: &[String]| path.first().is_some_and(|first| first == "eval");
    let all = paths_at(table, span).into_iter();
    all.min_by_key(|path| (is_eval(path), path.len())).unwrap_or_default()
}

/// All paths of one length to the smallest value or key around `span`: a value that several tables
/// have from one place has several.
pub(super) fn paths_at(table: &DeTable<'_>, span: &Range<usize>) -> Vec<Vec<String>> {
    let mut best = Best { length: usize::MAX, paths: Vec::new() };
    for (key, value) in table {
        best.below(key, value, span, &mut Vec::new());
    }
    best.paths
}

/// The smallest that was found.
struct Best {
    /// Its length.
    length: usize,
    /// In the order of the tree.
    paths: Vec<Vec<String>>,
}

impl Best {
    /// Looks at a value and all below it; what is put together of several places has the span of
    /// one of them, so that a part may stand outside.
    fn below(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        span: &Range<usize>,
        path: &mut Vec<String>,
    ) {
        path.push(key.get_ref().to_string());
        self.consider(&value.span(), span, path);
        self.within(value, span, path);
        path.pop();
    }

    fn within(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        span: &Range<usize>,
        path: &mut Vec<String>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    // A complaint about a key is about the table that it is in.
                    self.consider(&key.span(), span, path);
                    self.below(key, value, span, path);
                }
            }
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    path.push(index.to_string());
                    self.consider(&value.span(), span, path);
                    self.within(value, span, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn consider(&mut self, around: &Range<usize>, span: &Range<usize>, path: &[String]) {
        if !(around.start <= span.start && span.end <= around.end) || around.len() > self.length {
            return;
        }
        if around.len() < self.length {
            self.length = around.len();
            self.paths.clear();
        }
        // Within a value of the same span, such as the first table of an array, it is the outer
        // one that is meant.
        if !self.paths.iter().any(|known| path.starts_with(known)) {
            self.paths.push(path.to_vec());
        }
    }
}

/// The value at a path.
pub(super) fn value_at<'t, 'a>(
    tree: &'t DeTable<'a>,
    path: &[impl AsRef<str>],
) -> Option<&'t Spanned<DeValue<'a>>> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(tree.get(first.as_ref())?, |value, name| match value.get_ref() {
        DeValue::Table(table) => table.get(name.as_ref()),
        DeValue::Array(items) => items.get(name.as_ref().parse::<usize>().ok()?),
        _ => None,
    })
}

/// The span of the value at `path`, names and numbers of items with dots between.
pub(super) fn span_at(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    value_at(table, &path.split('.').collect::<Vec<_>>()).map(Spanned::span)
}
