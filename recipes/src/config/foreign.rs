//! What a key or a value of another library is here.
//!
//! A name that one key stands for is in that key's documentation (`Names:`). What takes more than
//! one key, or does not exist here, is in `foreign.toml`.

use super::reference::KEYS;

/// The keys that a name stands for, and the libraries that have it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meant {
    /// Their paths, as [`KEYS`] has them.
    pub(super) paths: Vec<&'static str>,
    /// None where a key here has that name.
    pub(super) libraries: Vec<&'static str>,
}

/// The keys that a name of another library stands for, wherever there is one.
pub(super) fn named(name: &str) -> Meant {
    let mut found = Meant::default();
    // A name in full counts more than one that ends alike.
    for is_whole in [true, false] {
        for (path, known) in KEYS.iter() {
            let names = known.names.iter().filter(|(_, there)| {
                there == name || (!is_whole && (ends(there, name) || ends(name, there)))
            });
            let libraries: Vec<_> = names.map(|(library, _)| library.as_str()).collect();
            if !libraries.is_empty() {
                found.paths.push(path);
                let new = libraries.into_iter().filter(|one| !found.libraries.contains(one));
                found.libraries.extend(new.collect::<Vec<_>>());
            }
        }
        if !found.paths.is_empty() {
            return found;
        }
    }
    found
}

/// The keys of this name in other tables.
pub(super) fn same(name: &str) -> Vec<&'static str> {
    let last = |path: &&str| path.rsplit('.').next() == Some(name);
    KEYS.keys().map(String::as_str).filter(last).collect()
}

/// Whether the last parts of `long` are those of `short`.
fn ends(long: &str, short: &str) -> bool {
    long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'))
}

/// Paths of [`KEYS`] for a path in which `stage.` has no kind.
pub(super) fn with_kinds(path: &str) -> Vec<&'static str> {
    let fits = |known: &&str| match (path.strip_prefix("stage."), known.strip_prefix("stage.")) {
        (Some(key), Some(known)) => known.split_once('.').is_some_and(|(_, known)| known == key),
        _ => *known == path,
    };
    KEYS.keys().map(String::as_str).filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::reference::{Foreign, Known, foreign};
    use super::*;

    #[test]
    fn every_key_that_a_note_names_exists() {
        assert!(foreign().count() > 80);
        for (name, Foreign { library, keys, note }) in foreign() {
            assert!(!library.is_empty(), "{name}");
            assert!(!keys.is_empty() || note.is_some(), "{name}");
            for key in keys {
                assert!(!with_kinds(key).is_empty(), "{name}: {key}");
            }
            let Some(note) = note else { continue };
            for number in 1..10 {
                let is_named = note.contains(&format!("{{{number}}}"));
                assert_eq!(is_named, number <= keys.len(), "{name}: {note}");
            }
        }
    }

    #[test]
    fn a_name_is_in_one_table_only() {
        for (name, _) in foreign() {
            let is_named = |known: &Known| known.names.iter().any(|(_, there)| there == name);
            let twice = KEYS.iter().find(|(_, known)| is_named(known));
            assert!(twice.is_none(), "{name} is in foreign.toml and at {twice:?}");
            assert!(same(name).is_empty(), "{name} is a key here");
        }
    }

    #[test]
    fn a_table_that_stands_in_several_places_has_its_names_in_each() {
        let Meant { paths, libraries } = named("max_tokens");
        let expected = ["eval.sampling", "eval.set[].sampling", "stage.rl.rollout"];
        assert_eq!(paths, expected.map(|table| format!("{table}.max_new_tokens")));
        assert_eq!(libraries, ["vLLM"]);
        assert_eq!(named("actor_rollout_ref.rollout.n").paths, ["stage.rl.group_size"]);
        assert_eq!(with_kinds("stage.batch"), ["stage.rl.batch", "stage.sft.batch"]);
        assert_eq!(named("nothing"), Meant::default());
    }
}
