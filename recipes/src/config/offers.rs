//! What to write for a value of a wrong shape, where it shows what is meant.

use settings::Tagged as _;
use settings::off::OFF;
use toml::de::DeValue;

use super::brief::{MOST_OF_LINE, WRITE};
use super::message;
use super::place::Place;
use super::reference::{KEYS, keys_of, noted};
use crate::printable::literal;
use crate::verifiers::{RewardConfig, as_list, is_script};

/// What to write in place of the value there: a table for a number that can only be a coefficient,
/// "off" for none, a list for one text.
pub(super) fn offer(place: &Place<'_>, text: &str) -> Option<String> {
    let name = place.path.last().filter(|name| name.parse::<usize>().is_err())?;
    let offer = match place.value()? {
        value @ (DeValue::Float(_) | DeValue::Integer(_))
            if text.starts_with("expected a name or a table with `kind`") =>
        {
            let known = KEYS.get(&format!("{}.coefficient", place.general()))?;
            let words = place.words();
            // Where the first kind has none, a number is as likely another key of another kind.
            let usual = words.iter().find(|word| *word != OFF)?;
            let named = |name: &str| known.kinds.iter().find(|kind| *kind == name);
            let kind = named("k3").or_else(|| named(usual))?;
            let number = number(value)?;
            match number.replace('_', "").parse::<f64>().ok()? {
                0.0 if words.iter().any(|word| word == OFF) => format!("{name} = \"{OFF}\""),
                coefficient if coefficient > 0.0 => {
                    format!("{name} = {{ kind = \"{kind}\", coefficient = {number} }}")
                }
                _ => return None,
            }
        }
        DeValue::String(written) if written == OFF && text.starts_with("expected a table, ") => {
            let table = place.general();
            let has_off = |key: &&str| {
                KEYS.get(&format!("{table}.{key}")).is_some_and(|known| known.types.contains(OFF))
            };
            let mut keys = keys_of(&table).filter(has_off);
            let (Some(key), None) = (keys.next(), keys.next()) else { return None };
            format!("{name}.{key} = \"{OFF}\"")
        }
        DeValue::String(written) if text.starts_with("expected a list, got ") => {
            let list = match &**name {
                "rewards" => match verifier(written) {
                    Some(list) => list,
                    None => return Some(kinds()),
                },
                "command" => as_list(written),
                _ => format!("[{}]", literal(written)),
            };
            format!("{name} = {list}")
        }
        _ => return None,
    };
    let line = format!("{WRITE}`{offer}`");
    (line.chars().count() <= MOST_OF_LINE).then_some(line)
}

/// The list of verifiers that is meant by a text in its place.
fn verifier(written: &str) -> Option<String> {
    let text = written.trim();
    if let Some(list) = noted(&text.to_lowercase()).and_then(|noted| noted.list()) {
        return Some(list.to_owned());
    }
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let is_one = words.next().is_none();
    if is_one && ["http://", "https://"].iter().any(|scheme| first.starts_with(scheme)) {
        return Some(format!("[{{ kind = \"http\", url = {} }}]", literal(first)));
    }
    let is_path = ["/", "./", "../"].iter().any(|start| first.starts_with(start));
    if is_path || text.split_whitespace().any(is_script) {
        // A script by its name alone is no program.
        let interpreter = match first.rsplit_once('.') {
            Some((_, "py")) if !is_path => "python3 ",
            Some((_, "sh")) if !is_path => "sh ",
            _ => "",
        };
        let command = as_list(&format!("{interpreter}{text}"));
        return Some(format!("[{{ kind = \"process\", command = {command} }}]"));
    }
    // Some kinds need more than their name.
    let named = format!("{{ kind = {} }}", literal(text));
    toml::from_str::<RewardConfig>(&format!("kind = {}", literal(text))).ok()?;
    Some(format!("[{named}]"))
}

/// The kinds of verifiers, where none of them can be told from the text.
fn kinds() -> String {
    format!(
        "its items are tables, each with its `kind` ({}), such as `[{{ kind = \"math\" }}]`",
        message::one_of(&RewardConfig::kinds())
    )
}

/// A number as it is written.
fn number(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;
    use super::super::reference::foreign;
    use super::*;

    fn with_rewards(list: &str) -> anyhow::Result<Recipe> {
        let text = format!(
            "[model]\npath = 'builtin:atom'\n[data]\ntrain = {{ kind = 'jsonl', path = 'a' }}\n\
             [[stage]]\nkind = 'rl'\nsteps = 1\nbatch = 2\ngroup_size = 2\n\
             rollout = {{ max_new_tokens = 6 }}\nschedule = {{ kind = 'constant', lr = 1e-3 }}\n\
             rewards = {list}"
        );
        Recipe::parse("a", &text)
    }

    #[test]
    fn every_list_that_is_offered_for_a_name_of_another_library_loads() {
        let mut offered = 0;
        for (name, foreign) in foreign() {
            let note = foreign.note.as_deref().unwrap_or_default();
            if !note.contains("= [") && !note.contains("= {") {
                continue;
            }
            assert_eq!(foreign.keys, ["stage.rewards"], "{name}");
            let list = foreign.list().unwrap_or_else(|| panic!("{name}: {note}"));
            with_rewards(list).unwrap_or_else(|error| panic!("{name}: {list}: {error}"));
            offered += 1;
        }
        assert!(offered > 6, "{offered}");
    }

    #[test]
    fn a_text_in_place_of_verifiers_keeps_what_it_names() {
        let process = |command: &str| format!("[{{ kind = \"process\", command = {command} }}]");
        for (written, list) in [
            ("python3 judge.py", process("[\"python3\", \"judge.py\"]")),
            ("judge.py --strict", process("[\"python3\", \"judge.py\", \"--strict\"]")),
            ("./judge", process("[\"./judge\"]")),
            ("A=1 python3 judge.py", process("[\"sh\", \"-c\", \"A=1 python3 judge.py\"]")),
            ("https://x/y", "[{ kind = \"http\", url = \"https://x/y\" }]".to_owned()),
            ("math", "[{ kind = \"math\" }]".to_owned()),
            ("custom_reward_function", process("[\"python3\", \"judge.py\"]")),
        ] {
            assert_eq!(verifier(written).as_deref(), Some(&*list), "{written}");
            with_rewards(&list).unwrap_or_else(|error| panic!("{list}: {error}"));
        }
        for written in ["", "length", "some words", "Org/model", "math\nx"] {
            assert_eq!(verifier(written), None, "{written}");
        }
        assert!(kinds().contains("`process`") && kinds().contains("`math`"), "{}", kinds());
    }
}
