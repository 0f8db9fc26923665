use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tensors that a method trains, by name: patterns in which `*` stands for any text. None: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct Scope(Vec<String>);

impl Scope {
    /// The tensors whose name fits one of the patterns; all of them for no patterns.
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether it has the tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern, name))
    }

    /// Everything wrong with it.
    pub fn problems(&self) -> Vec<String> {
        let empty = self.0.iter().filter(|pattern| pattern.is_empty());
        empty.map(|_| "tensors has an empty name, which fits none".to_owned()).collect()
    }

    /// Its patterns, as text.
    pub(super) fn shown(&self) -> String {
        self.0.join(", ")
    }
}

/// Whether `name` is `pattern`, in which each `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        // The earliest place leaves most to those that follow.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let name = "model.layers.10.self_attn.q_proj.weight";
        for pattern in
            ["*", name, "*q_proj*", "model.*.weight", "*.10.*", "model.layers.10*", "**", "*weight"]
        {
            assert!(fits(pattern, name), "{pattern}");
        }
        for pattern in ["", "model", "*q_proj", "*.1.*", "q_proj*", "*weight*weight", "*k_proj*"] {
            assert!(!fits(pattern, name), "{pattern}");
        }
        assert!(!fits("ab*ba", "aba"), "the ends do not overlap");
        assert!(fits("ab*ba", "abba"));
    }

    #[test]
    fn no_pattern_is_every_tensor() {
        assert!(Scope::default().has("x"));
        let scope = Scope::new(vec!["*norm.weight".into(), "head".into()]);
        assert!(scope.has("a.norm.weight") && scope.has("head") && !scope.has("embed"));
        assert!(Scope::new(vec![String::new()]).problems()[0].contains("empty name"));
    }
}
