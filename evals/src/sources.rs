//! Where problems come from, where that is worth telling apart.

use std::collections::{BTreeMap, BTreeSet};

/// Sources that are told apart, at most: with more, each says little, and the metrics are many.
const MOST: usize = 32;

/// The sources of 2 to 32 different ones, in the order of their names, each with its part of a
/// metric key; none where there is one or more than 32.
///
/// Characters other than letters and digits of ASCII, `-`, `_` and `.` become `-`, no name becomes
/// `none`. Where that makes two keys equal, later ones get a number.
pub fn told_apart<'a>(sources: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, String)> {
    let mut names = BTreeSet::new();
    for source in sources {
        // Most rows have the source of the row before.
        if names.last() != Some(&source) {
            names.insert(source);
        }
        if names.len() > MOST {
            return Vec::new();
        }
    }
    if names.len() < 2 {
        return Vec::new();
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let with_key = |name| {
        let mut key = plain(name);
        let times = *taken.entry(key.clone()).and_modify(|times| *times += 1).or_insert(1);
        if times > 1 {
            key = format!("{key}~{times}");
        }
        (name, key)
    };
    names.into_iter().map(with_key).collect()
}

fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    if name.is_empty() { "none".to_owned() } else { name.chars().map(plain).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_sources_are_told_apart_by_their_keys() {
        let keys = |sources: &[&'static str]| told_apart(sources.iter().copied());
        assert_eq!(keys(&[]), []);
        assert_eq!(keys(&["math", "math"]), []);
        let found = keys(&["math", "a/b", "math", "", "a-b", "a b"]);
        let expected =
            [("", "none"), ("a b", "a-b"), ("a-b", "a-b~2"), ("a/b", "a-b~3"), ("math", "math")];
        assert_eq!(found, expected.map(|(name, key)| (name, key.to_owned())));
        let many: Vec<String> = (0..33).map(|at| at.to_string()).collect();
        let count = |most: usize| told_apart(many[..most].iter().map(String::as_str)).len();
        assert_eq!((count(32), count(33)), (32, 0));
    }
}
