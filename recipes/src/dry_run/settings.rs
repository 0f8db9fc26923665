//! The settings of a stage that decide what it does, with who set them.

use serde_json::Value;
use settings::off::OFF;

use crate::config::{Origin, Origins, Stage};

/// Rows of settings, with the keys of the stage in them. What the plan says elsewhere is not here.
const ROWS: [(&str, &[&str]); 5] = [
    ("settings", &["algorithm", "advantage", "epochs", "updates_per_step", "micro_batch_tokens"]),
    (
        "schedule",
        &[
            "schedule",
            "schedule.lr",
            "schedule.warmup",
            "schedule.warmup_ratio",
            "schedule.min_ratio",
            "schedule.decay_ratio",
            "optim",
            "optim.weight_decay",
            "optim.epsilon",
            "optim.probes",
            "optim.tensors",
            "optim.max_grad_norm",
            "optim.lr_ratio_b",
        ],
    ),
    (
        "rollout",
        &[
            "rollout.max_new_tokens",
            "rollout.temperature",
            "rollout.top_p",
            "rollout.top_k",
            "rollout.min_p",
            "dynamic_sampling",
        ],
    ),
    (
        "loss",
        &[
            "loss.policy_loss",
            "loss.policy_loss.clip_low",
            "loss.policy_loss.clip_high",
            "loss.policy_loss.dual_clip",
            "loss.aggregation",
            "loss.kl",
            "loss.kl.coefficient",
            "weighting",
            "importance",
        ],
    ),
    (
        "rewards",
        &[
            "rewards",
            "reward_kl",
            "reward_kl.coefficient",
            "entropy_bonus",
            "entropy_bonus.coefficient",
            "overlong_filtering",
        ],
    ),
];

/// What is shown also where it is off by default: whether there is a reference.
const ALWAYS: &str = "loss.kl";

/// What marks a setting, and why.
pub(super) const MARKS: &str = "* set by the recipe or --set, + by the algorithm; no mark: default";

/// Which is not shown by default where an adapter is trained, since it has none.
const OF_WEIGHTS: &str = "optim.weight_decay";

/// Rows of the settings of a stage, each with its title. What is off by default is left out.
/// `is_adapter` says whether an adapter is trained.
pub(super) fn rows(
    index: usize,
    stage: &Stage,
    origins: &Origins,
    is_adapter: bool,
) -> Vec<(&'static str, String)> {
    let Ok(settings) = serde_json::to_value(stage) else { return Vec::new() };
    let row = |(title, keys): &(&'static str, &[&'static str])| {
        let said = keys.iter().flat_map(|key| {
            let values = find(&settings, key).into_iter().flat_map(|value| items(key, value));
            let said = values.filter_map(|(path, value)| {
                let origin = origins.origin(&format!("stage.{index}.{path}"));
                let is_none = is_off(value) || (is_adapter && *key == OF_WEIGHTS);
                let is_shown = origin.is_some() || *key == ALWAYS || !is_none;
                is_shown.then(|| said(title, key, value, origin))
            });
            said.collect::<Vec<_>>()
        });
        let said: Vec<_> = said.collect();
        (!said.is_empty()).then(|| (*title, said.join(", ")))
    };
    ROWS.iter().filter_map(row).collect()
}

fn find<'a>(settings: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(settings, |value, name| value.get(name))
}

/// The values of a key with their paths: of a list each, of a table its kind, or what comes first.
fn items<'a>(key: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value {
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.flat_map(|(at, item)| self::items(&format!("{key}.{at}"), item)).collect()
        }
        Value::Object(table) if !table.contains_key("kind") => {
            table.iter().take(1).map(|(name, value)| (format!("{key}.{name}"), value)).collect()
        }
        Value::Object(table) => vec![(key.to_owned(), &table["kind"])],
        _ => vec![(key.to_owned(), value)],
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(word) => word == OFF || word == "uniform",
        _ => false,
    }
}

fn said(title: &str, key: &str, value: &Value, origin: Option<Origin>) -> String {
    let mark = match origin {
        Some(Origin::Recipe) => "*",
        Some(Origin::Preset) => "+",
        None => "",
    };
    let value = match value {
        Value::String(text) => text.clone(),
        // 1e-6 is read more easily than 0.000001.
        Value::Number(number) => match number.as_f64() {
            Some(small) if small != 0.0 && small.abs() < 1e-3 => format!("{small:e}"),
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    };
    let mut names = key.rsplit('.');
    let name = match (names.next(), names.next()) {
        (Some("coefficient"), Some(table)) => format!("{table} coefficient "),
        (Some(name), _) if name != title => format!("{name} "),
        _ => String::new(),
    };
    format!("{name}{value}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, load};

    const RECIPE: &str = r#"
        model = { path = "builtin:atom" }
        data.train = { kind = "arithmetic", count = 50, min_digits = 1, max_digits = 1, operations = ["+"] }
        [[stage]]
        kind = "rl"
        algorithm = "grpo"
        steps = 1
        batch = 4
        group_size = 2
        schedule = { kind = "constant", lr = 1e-6 }
        loss.kl = { kind = "k3", coefficient = 0.01 }
    "#;

    #[test]
    fn a_setting_is_marked_by_who_set_it() {
        let set = ["stage.rl.rollout.top_p=1.0".to_owned()];
        let loaded = load(&[Layer::text("plain", RECIPE)], &set).unwrap();
        let found = rows(0, &loaded.recipe.stages[0], &loaded.origins, false);
        let expected = [
            (
                "settings",
                "algorithm grpo*, advantage grpo+, epochs 1, updates_per_step 1, micro_batch_tokens \
                 4096",
            ),
            ("schedule", "constant*, lr 1e-6*, optim adamw, weight_decay 0.01, max_grad_norm 1"),
            ("rollout", "max_new_tokens 256, temperature 1, top_p 1*"),
            (
                "loss",
                "policy_loss clipped-surrogate+, clip_low 0.2+, clip_high 0.2+, dual_clip off+, \
                 aggregation seq-mean-token-mean+, kl k3*, kl coefficient 0.01*",
            ),
            ("rewards", "math"),
        ];
        assert_eq!(found, expected.map(|(title, row)| (title, row.to_owned())));
    }

    #[test]
    fn weight_decay_that_an_adapter_does_not_have_is_not_shown() {
        let schedule = |set: &[&str]| {
            let set: Vec<_> =
                ["model.adapter=lora"].iter().chain(set).map(|&it| it.into()).collect();
            let loaded = load(&[Layer::text("plain", RECIPE)], &set).unwrap();
            let found = rows(0, &loaded.recipe.stages[0], &loaded.origins, true);
            found.into_iter().find(|(title, _)| *title == "schedule").unwrap().1
        };
        assert_eq!(schedule(&[]), "constant*, lr 1e-6*, optim adamw, max_grad_norm 1");
        assert_eq!(
            schedule(&["stage.rl.optim.weight_decay=0.1", "stage.rl.optim.lr_ratio_b=16"]),
            "constant*, lr 1e-6*, optim adamw, weight_decay 0.1*, max_grad_norm 1, lr_ratio_b 16*"
        );
    }

    #[test]
    fn every_key_of_a_row_exists() {
        for key in ROWS.iter().flat_map(|(_, keys)| *keys) {
            let path = format!("stage.rl.{key}");
            assert!(crate::config::is_key(&path), "{path}");
        }
    }
}
