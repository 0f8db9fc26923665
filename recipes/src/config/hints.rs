//! What a complaint about a setting can add: the names of other libraries, and what to write.

use std::ops::Range;

use toml::de::DeTable;

use super::layers::{self, kind_of};
use super::{message, reference};

/// Serde's words for what is wrong at `span` in ours, with what to write there.
pub(super) fn explained(tree: &DeTable<'_>, span: &Range<usize>, text: &str) -> String {
    let place = Place { tree, path: layers::path_at(tree, span) };
    if text.starts_with("unknown field ")
        && let Some(wrong) = message::culprit(text)
        && let Some(here) = place.elsewhere(wrong)
    {
        return format!("{}\n{here}", message::plain(text));
    }
    let text = message::reword(text);
    let Some(mismatch) = text.strip_prefix("expected text in quotation marks") else { return text };
    match (place.values(), mismatch.split_once(", got ")) {
        (Some(values), Some((_, got))) => format!("expected {values}, got {got}"),
        (Some(values), None) => format!("expected {values}"),
        (None, _) => text,
    }
}

/// Where a complaint stands.
struct Place<'a> {
    tree: &'a DeTable<'a>,
    /// Names and numbers of items.
    path: Vec<String>,
}

impl Place<'_> {
    /// What a key of another library is here.
    fn elsewhere(&self, wrong: &str) -> Option<String> {
        let (mut libraries, mut paths) = (Vec::new(), Vec::new());
        for found in reference::elsewhere(wrong) {
            let path = format!("`{}`", self.addressed(&found.path));
            if !libraries.contains(&found.library) {
                libraries.push(found.library);
            }
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let (libraries, paths) = (libraries.join(", "), paths.join(" or "));
        (!paths.is_empty()).then(|| format!("`{wrong}` ({libraries}) is {paths} here"))
    }

    /// A path of the reference with the stage that is meant: the one that the complaint is about,
    /// else the last that has such a key.
    fn addressed(&self, path: &str) -> String {
        let Some((stage, key)) = path.strip_prefix("stage.").and_then(|rest| rest.split_once('.'))
        else {
            return path.to_owned();
        };
        let kinds = self.stages();
        let fits = |index: &usize| stage == "0" || kinds[*index] == stage;
        let own = self.stage().filter(|index| *index < kinds.len()).filter(fits);
        let Some(index) = own.or_else(|| (0..kinds.len()).rev().find(fits)) else {
            return path.to_owned();
        };
        let same = kinds.iter().filter(|kind| **kind == kinds[index]).count();
        if same == 1 && !kinds[index].is_empty() {
            format!("stage.{}.{key}", kinds[index])
        } else {
            format!("stage.{index}.{key}")
        }
    }

    /// The number of the stage that it is in.
    fn stage(&self) -> Option<usize> {
        match &self.path[..] {
            [stage, index, ..] if stage == "stage" => index.parse().ok(),
            _ => None,
        }
    }

    /// The kinds of all stages.
    fn stages(&self) -> Vec<&str> {
        let stages = self.tree.get("stage").and_then(|stages| stages.get_ref().as_array());
        let stages = stages.into_iter().flat_map(|all| all.iter());
        stages.map(|stage| kind_of(stage.get_ref()).unwrap_or_default()).collect()
    }

    /// What the value there may be, where that is one of several words.
    fn values(&self) -> Option<String> {
        let mut general = String::new();
        for (index, name) in self.path.iter().enumerate() {
            let in_stage = self.path[0] == "stage" && index == 1;
            match name.parse::<usize>() {
                Ok(_) if in_stage => general.push_str(".0"),
                Ok(_) => general.push_str("[]"),
                Err(_) if index == 0 => general.push_str(name),
                Err(_) => general.extend([".", name]),
            }
        }
        let kind = self.stage().and_then(|index| self.stages().get(index).copied());
        let own = kind.map(|kind| general.replacen("stage.0", &format!("stage.{kind}"), 1));
        let types = reference::types(&general).or_else(|| reference::types(&own?));
        types.filter(|types| types.contains('"'))
    }
}
