//! The forms of a setting: a name, a table with `kind`, and "off".
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use engine::loss::{Aggregation, ClippedSurrogate, Kl, PolicyLoss};
use recipes::config::{HeldOut, Source};
use recipes::verifiers::RewardConfig;
use rewards::weighting::Select;
use rewards::{AdvantageConfig, EntropyBonus, Importance, RewardKl, WeightingConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use settings::Tagged;

use crate::config::{PLAIN, read, rl};

/// Reads every kind of `T` in each of its forms, and what is written of it. `required` are the keys
/// that a kind needs.
#[track_caller]
fn every_kind_reads_back<T>(required: &[(&str, &str)])
where
    T: for<'de> Tagged<'de> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct At<T> {
        at: T,
    }
    let parse = |text: &str| toml::from_str::<At<T>>(text);
    let kinds = <T as Tagged<'static>>::kinds();
    assert!(!kinds.is_empty());
    assert!(required.iter().all(|(kind, _)| kinds.contains(kind)));
    for kind in kinds {
        let keys = required.iter().find(|(name, _)| *name == kind).map_or("", |(_, keys)| keys);
        let table = format!("at = {{ kind = \"{kind}\"{keys} }}");
        let read = parse(&table).unwrap();
        let named = parse(&format!("at = \"{kind}\""));
        if keys.is_empty() {
            assert_eq!(named.unwrap(), read);
        } else {
            assert!(named.unwrap_err().message().starts_with("missing field"), "{kind}");
        }
        let written = toml::to_string(&read).unwrap();
        assert_eq!(parse(&written).unwrap(), read, "{written}");
        let short = format!("at = \"{kind}\"\n");
        assert!(written == short || written.starts_with(&format!("[at]\nkind = \"{kind}\"\n")));
        let wrong = format!("at = {{ kind = \"{kind}\"{keys}, nonsense = 1 }}");
        let error = parse(&wrong).unwrap_err();
        assert!(error.message().starts_with("unknown field `nonsense`"), "{error}");
        assert_eq!(error.span(), wrong.find("nonsense").map(|at| at..at + 8), "{error}");
    }
}

#[test]
fn every_kind_of_every_setting_reads_back() {
    every_kind_reads_back::<Kl>(&[]);
    every_kind_reads_back::<Aggregation>(&[("seq-mean-token-sum-norm", ", scale = 2.0")]);
    every_kind_reads_back::<PolicyLoss>(&[]);
    every_kind_reads_back::<AdvantageConfig>(&[]);
    every_kind_reads_back::<WeightingConfig>(&[]);
    every_kind_reads_back::<Select>(&[]);
    every_kind_reads_back::<Importance>(&[]);
    every_kind_reads_back::<RewardKl>(&[]);
    every_kind_reads_back::<EntropyBonus>(&[("fixed", ", coefficient = 0.5")]);
    every_kind_reads_back::<evals::Template>(&[("plain", ", text = \"{problem}\"")]);
    every_kind_reads_back::<optim::OptimConfig>(&[]);
    let lr = ["constant", "linear", "cosine", "wsd"].map(|kind| (kind, ", lr = 0.5"));
    every_kind_reads_back::<optim::Schedule>(&lr);
    every_kind_reads_back::<RewardConfig>(&[
        ("length", ", aim = \"short\""),
        ("overlong", ", buffer = 4"),
        ("format", ", require = [\"answer-tags\"]"),
        ("regex", ", pattern = \"a\""),
        ("process", ", command = [\"judge\"]"),
        ("http", ", url = \"http://a\""),
    ]);
    every_kind_reads_back::<Source>(&[
        ("jsonl", ", path = \"a\""),
        ("file", ", path = \"a\""),
        ("arithmetic", ", count = 5, min_digits = 1, max_digits = 1, operations = [\"+\"]"),
        ("countdown", ", count = 5"),
    ]);
    every_kind_reads_back::<HeldOut>(&[
        ("split", ", count = 5"),
        ("jsonl", ", path = \"a\""),
        ("file", ", path = \"a\""),
    ]);
}

#[test]
fn a_table_without_a_kind_is_of_the_default_one_and_keeps_the_places_of_mistakes() {
    let overlay = "[stage.rl]\noptim = { beta2 = 0.9 }\nloss.policy_loss.clip_high = 0.28\n\
                   advantage = { eps = 0.1 }";
    let recipe = read(&[PLAIN, overlay], &[]).unwrap();
    let stage = rl(&recipe);
    let surrogate = ClippedSurrogate { clip_high: 0.28, ..ClippedSurrogate::default() };
    assert_eq!(stage.loss.policy_loss, PolicyLoss::ClippedSurrogate(surrogate));
    assert_eq!(stage.advantage, AdvantageConfig::Grpo { eps: 0.1 });
    for (overlay, expected) in [
        ("stage.rl.optim = { beta2 = 0.9, beta3 = 0.9 }", "layer1.toml:1:33: unknown key `beta3`"),
        ("stage.rl.optim = { beta3 = 0.9 }", "layer1.toml:1:20: unknown key `beta3`"),
        (
            "stage.rl.optim = { beta2 = true }",
            "layer1.toml:1:28: stage.1.optim.beta2: expected a number, got true",
        ),
        (
            "stage.rl.importance = { cap = 1 }",
            "layer1.toml:1:23: missing key `kind` in `stage.1.importance`, expected",
        ),
        ("stage.rl.loss.kl = { c = 1, kind = \"k3\" }", "layer1.toml:1:22: unknown key `c`"),
        (
            "stage.rl.loss.kl = { kind = \"k9\" }",
            "layer1.toml:1:29: stage.1.loss.kl.kind: unknown value `k9`",
        ),
        ("stage.rl.loss.kl = \"k9\"", "layer1.toml:1:20: stage.1.loss.kl: unknown value `k9`"),
        (
            "stage.rl.rewards = [\"math\", \"mth\"]",
            "layer1.toml:1:29: stage.1.rewards.1: unknown value `mth`",
        ),
        ("stage.rl.rewards = [\"overlong\"]", "layer1.toml:1:21: missing key `buffer`"),
        (
            "stage.rl.rewards = [{ kind = \"process\", command = 5 }]",
            "layer1.toml:1:51: stage.1.rewards.0.command: expected a list",
        ),
    ] {
        let error = read(&[PLAIN, overlay], &[]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_name_is_a_table_with_that_kind() {
    let names = "prompt.template = \"none\"\n[stage.rl]\nrewards = [\"gsm8k\"]\nadvantage = \"rloo\"\n\
                 weighting = \"top-entropy\"\nimportance = \"off\"\nreward_kl = \"k1\"\noptim = \"adamw\"\n\
                 loss = { kl = \"k3\", aggregation = \"seq-mean-token-mean\", policy_loss = \"gspo\" }";
    let tables = in_full(names);
    assert_ne!(names, tables);
    let recipe = read(&[PLAIN, names], &[]).unwrap();
    assert_eq!(recipe, read(&[PLAIN, &tables], &[]).unwrap());
    let resolved = recipe.to_toml().unwrap();
    for line in ["template = \"none\"", "advantage = \"rloo\"", "importance = \"off\""] {
        assert!(resolved.lines().any(|found| found == line), "{line}: {resolved}");
    }
}

/// The same with `{ kind = "x" }` for every `"x"`.
fn in_full(names: &str) -> String {
    let parts = names.split('"').enumerate();
    let tables = parts.map(|(at, part)| match at % 2 {
        0 => part.to_owned(),
        _ => format!("{{ kind = \"{part}\" }}"),
    });
    tables.collect()
}

#[test]
fn names_and_tables_merge_as_tables_do() {
    let k3 = "stage.rl.loss.kl = \"k3\"";
    let kl =
        |layers: &[&str]| rl(&read(&[&[PLAIN], layers].concat(), &[]).unwrap()).loss.kl.clone();
    assert_eq!(kl(&[k3, "stage.rl.loss.kl.coefficient = 0.5"]), Kl::K3 { coefficient: 0.5 });
    let table = "stage.rl.loss.kl = { kind = \"k3\", coefficient = 0.5 }";
    assert_eq!(kl(&[table, k3]), Kl::K3 { coefficient: 0.5 });
    // Another kind keeps what both kinds have, in every form.
    for form in ["kl = \"k2\"", "kl = { kind = \"k2\" }", "kl.kind = \"k2\""] {
        let overlay = format!("stage.rl.loss.{form}");
        assert_eq!(kl(&[table, &overlay]), Kl::K2 { coefficient: 0.5 }, "{form}");
    }
    let off = "stage.rl.loss.kl = \"off\"";
    assert_eq!(kl(&[table, off]), Kl::Off {});
    assert_eq!(kl(&[table, off, k3]), Kl::K3 { coefficient: 0.001 });
    let on = "stage.rl.dynamic_sampling.max_batches = 2";
    let off = "stage.rl.dynamic_sampling = \"off\"";
    let dynamic = |layers: &[&str]| {
        rl(&read(&[&[PLAIN], layers].concat(), &[]).unwrap()).dynamic_sampling.is_some()
    };
    assert!(!dynamic(&[]) && dynamic(&[on]) && !dynamic(&[on, off]) && dynamic(&[off, on]));
}

#[test]
fn off_is_one_word() {
    const KEYS: [&str; 17] = [
        "eval.every",
        "record.tokens_every",
        "checkpoint.best",
        "data.max_solution_tokens",
        "prompt.suffix",
        "eval.sampling.top_k",
        "stage.rl.rollout.min_p",
        "stage.rl.optim.max_grad_norm",
        "stage.rl.dynamic_sampling",
        "stage.rl.probe",
        "stage.rl.reward_kl",
        "stage.rl.importance",
        "stage.rl.entropy_bonus",
        "stage.rl.loss.kl",
        "stage.rl.loss.policy_loss.dual_clip",
        "stage.sft.optim.max_grad_norm",
        "eval.sampling.min_p",
    ];
    let all: Vec<String> = KEYS.iter().map(|key| format!("{key}=off")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let recipe = read(&[PLAIN], &all).unwrap();
    let resolved: toml::Table = recipe.to_toml().unwrap().parse().unwrap();
    let resolved = toml::Value::Table(resolved);
    for key in KEYS {
        let path = key.replace("stage.rl.", "stage.1.").replace("stage.sft.", "stage.0.");
        let found = path.split('.').fold(&resolved, |value, name| match name.parse::<usize>() {
            Ok(at) => &value[at],
            Err(_) => &value[name],
        });
        assert_eq!(found.as_str(), Some("off"), "{key}");
        for other in ["0", "false"] {
            let set = format!("{key}={other}");
            let read = read(&[PLAIN], &[&set]);
            if key.starts_with("record.") && other == "0" {
                assert_eq!(read.unwrap().record, {
                    let own = format!("{key}=off");
                    self::read(&[PLAIN], &[&own]).unwrap().record
                });
                continue;
            }
            let error = read.unwrap_err();
            let kinds = ["reward_kl", "importance", "entropy_bonus", "kl"];
            if kinds.iter().any(|kind| key.ends_with(kind)) {
                assert!(error.contains("expected a name or a table with `kind`, got"), "{error}");
            } else {
                assert!(error.contains(&format!("got {other}: write \"off\"")), "{error}");
            }
        }
    }
    // STARE's and the adaptive penalty's are settings of a kind.
    for (kind, key) in [("weighting.kind=stare", "weighting"), ("reward_kl.kind=k1", "reward_kl")] {
        let kind = format!("stage.rl.{kind}");
        let resolved = read(&[PLAIN], &[&kind]).unwrap().to_toml().unwrap();
        assert!(resolved.contains("adaptive = \"off\""), "{key}: {resolved}");
        let error = read(&[PLAIN], &[&kind, &format!("stage.rl.{key}.adaptive=0")]).unwrap_err();
        assert!(error.contains("write \"off\""), "{error}");
    }
}
