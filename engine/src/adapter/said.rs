//! Which maps an `adapter_config.json` says are adapted.
//!
//! The tensors decide what is computed. Where the file says otherwise, PEFT would leave some of
//! them out, or start others afresh: it computes another function than the one of all tensors.
//!
//! Source: `check_target_module_exists` in `tuners_utils.py` of PEFT 0.21.

use regex::Regex;
use serde_json::{Map, Value};

use crate::ModelConfig;
use crate::weights::Module;

/// Longest value that is shown, in characters.
const SHOWN: usize = 80;

/// Names of modules: exactly, or by what they end with; or a pattern of whole names.
enum Names {
    List(Vec<String>),
    Pattern(Regex),
    All,
}

impl Names {
    /// Reads the value of `key`. `None` where it says nothing, or is a pattern that only Python
    /// reads.
    fn read(keys: &Map<String, Value>, key: &str) -> Result<Option<Self>, String> {
        Ok(match keys.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) if text == "all-linear" => Some(Self::All),
            Some(Value::String(text)) => whole(text, key)?.map(Self::Pattern),
            Some(Value::Array(names)) if names.is_empty() => None,
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                let names = names.collect::<Option<_>>();
                Some(Self::List(names.ok_or_else(|| wrong(keys, key, "names"))?))
            }
            Some(_) => return Err(wrong(keys, key, "a list of names or a pattern")),
        })
    }

    fn has(&self, module: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::List(names) => names.iter().any(|name| {
                let before = module.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
        }
    }
}

/// A pattern of whole names, the value of `key`. `None` where only Python reads it.
///
/// # Errors
///
/// Says what is wrong with one that is no pattern in Python either.
fn whole(pattern: &str, key: &str) -> Result<Option<Regex>, String> {
    let anchored = |pattern: &str| Regex::new(&format!("^(?:{pattern})$"));
    if let Ok(regex) = anchored(pattern) {
        return Ok(Some(regex));
    }
    match anchored(&without_pythons_own(pattern)) {
        Ok(_) => Ok(None),
        Err(error) => Err(format!(
            "{key} is {}, which is no pattern ({}): expected names, or a pattern that Python's re \
             reads; take the file from where the adapter was trained, or save it again with peft",
            shown(&pattern.into()),
            // Its last line says what is wrong, those before show where.
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ")
        )),
    }
}

/// A pattern with what only Python reads in it made a plain group, or an end: it matches other
/// names, and is a pattern where the given one is.
fn without_pythons_own(pattern: &str) -> String {
    const GROUPS: [&str; 5] = ["(?=", "(?!", "(?<=", "(?<!", "(?>"];
    let (mut plain, mut rest) = (String::new(), pattern);
    while let Some(first) = rest.chars().next() {
        let referred = ["(?P=", "(?#"].iter().any(|start| rest.starts_with(start));
        let closed = rest.find(')').filter(|_| referred || rest.starts_with("(?("));
        let (put, taken) = if let Some(group) = GROUPS.iter().find(|one| rest.starts_with(**one)) {
            ("(?:", group.len())
        } else if let Some(end) = closed {
            (if referred { "(?:)" } else { "(?:" }, end + 1)
        } else if rest.starts_with("\\Z") {
            ("$", 2)
        } else if rest.starts_with('\\') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            ("(?:)", 2)
        } else {
            let escaped = rest[1.min(rest.len())..].chars().next().filter(|_| first == '\\');
            let taken = first.len_utf8() + escaped.map_or(0, char::len_utf8);
            (&rest[..taken], taken)
        };
        plain.push_str(put);
        rest = &rest[taken..];
    }
    plain
}

/// Fails unless the file says that `targets` are adapted in every block of a model, and no other
/// maps. A file that does not say is right, and so is one whose pattern only Python reads.
///
/// # Errors
///
/// Says which map differs, and by which keys.
pub(super) fn check(
    keys: &Map<String, Value>,
    targets: &[Module],
    model: &ModelConfig,
) -> Result<(), String> {
    let all = Names::read(keys, "target_modules")?;
    let excluded = Names::read(keys, "exclude_modules")?;
    let layers = layers(keys)?;
    let Some(all) = all else { return Ok(()) };
    for layer in 0..model.num_layers {
        let is_layer_said = layers.as_ref().is_none_or(|layers| layers.contains(&(layer as u64)));
        for map in Module::ALL {
            let name = format!("model.layers.{layer}.{}", map.module());
            let is_excluded = excluded.as_ref().is_some_and(|names| names.has(&name));
            let is_said = all.has(&name) && is_layer_said && !is_excluded;
            if is_said == targets.contains(&map) {
                continue;
            }
            let what = if is_said {
                format!("{name} is adapted, and there are no tensors of it")
            } else {
                format!("{name} is not adapted, and there are tensors of it")
            };
            return Err(format!(
                "says by {} that {what}: config and tensors are of different adapters; take both from \
                 one, or save it again with peft",
                said(keys)
            ));
        }
    }
    Ok(())
}

/// The blocks that are adapted; `None` where they all are.
fn layers(keys: &Map<String, Value>) -> Result<Option<Vec<u64>>, String> {
    const KEY: &str = "layers_to_transform";
    const PATTERN: &str = "layers_pattern";
    let layers = match keys.get(KEY) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(layers)) if layers.is_empty() => return Ok(None),
        Some(Value::Array(layers)) => layers.iter().map(Value::as_u64).collect(),
        Some(one) => one.as_u64().map(|one| vec![one]),
    };
    let layers: Vec<u64> = layers.ok_or_else(|| wrong(keys, KEY, "numbers of blocks"))?;
    // The list of blocks that the pattern names: here there is one, `layers`.
    let patterns = match keys.get(PATTERN) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.as_str()]),
        Some(Value::Array(several)) => several.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let patterns: Vec<&str> = patterns.ok_or_else(|| wrong(keys, PATTERN, "names"))?;
    let mut is_any = patterns.iter().all(|one| one.is_empty());
    for pattern in patterns {
        is_any |= whole(pattern, PATTERN)?.is_some_and(|pattern| pattern.is_match("layers"));
    }
    Ok(Some(if is_any { layers } else { Vec::new() }))
}

/// The keys that say what is adapted, with their values.
fn said(keys: &Map<String, Value>) -> String {
    const KEYS: [&str; 4] =
        ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"];
    let set = KEYS.iter().filter(|key| !keys.get(**key).is_none_or(Value::is_null));
    set.map(|key| format!("{key} {}", shown(&keys[*key]))).collect::<Vec<_>>().join(", ")
}

fn wrong(keys: &Map<String, Value>, key: &str, expected: &str) -> String {
    format!("{key} is {}, expected {expected}", shown(&keys[key]))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
