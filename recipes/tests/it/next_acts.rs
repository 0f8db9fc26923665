//! What can be written in place of a value that is refused, and what a kind leaves of a table.

use crate::config::{PLAIN, read, rl};

/// What is said about an override.
#[track_caller]
fn said(set: &str) -> String {
    read(&[PLAIN], &[set]).expect_err(set)
}

/// An override as `--set` in a shell takes it, out of a message.
fn offered<'a>(error: &'a str, key: &str) -> &'a str {
    let start = error.find(&format!("`{key} = ")).unwrap_or_else(|| panic!("{key}: {error}"));
    error[start + 1..].split('`').next().unwrap_or_default()
}

#[test]
fn another_kind_keeps_the_keys_that_it_also_has() {
    let lr =
        |recipe: &recipes::config::Recipe| toml::Value::try_from(&rl(recipe).schedule).unwrap();
    let cosine = "[stage.rl.schedule]\nkind = 'cosine'\nlr = 0.5\nmin_ratio = 0.25\nwarmup = 3";
    let linear = read(&[PLAIN, cosine], &["stage.rl.schedule.kind=linear"]).unwrap();
    let linear = lr(&linear);
    assert_eq!(linear["kind"].as_str(), Some("linear"));
    assert_eq!(
        [&linear["lr"], &linear["min_ratio"]].map(toml::Value::as_float),
        [Some(0.5), Some(0.25)]
    );
    assert_eq!(linear["warmup"].as_integer(), Some(3));
    // `min_ratio` is no key of a constant rate, and its absence is no mistake.
    let constant = lr(&read(&[PLAIN, cosine], &["stage.rl.schedule.kind=constant"]).unwrap());
    assert_eq!(constant["lr"].as_float(), Some(0.5));
    assert!(constant.get("min_ratio").is_none());
    let own = lr(&read(&[PLAIN, cosine], &["stage.rl.schedule={kind='linear', lr=0.1}"]).unwrap());
    assert_eq!(own["lr"].as_float(), Some(0.1));
    // What the preset of an algorithm sets belongs to its kind.
    let kinds = |set: &str| {
        let recipe = read(&[PLAIN], &["stage.rl.algorithm=dapo", set]).unwrap();
        toml::Value::try_from(&rl(&recipe).loss).unwrap()["policy_loss"].clone()
    };
    let dapo = kinds("stage.rl.slots=4");
    assert_eq!(dapo["clip_high"].as_float(), Some(0.28), "{dapo}");
    let alone = read(&[PLAIN], &["stage.rl.loss.policy_loss.kind=cispo"]).unwrap();
    let alone = toml::Value::try_from(&rl(&alone).loss).unwrap()["policy_loss"].clone();
    assert_eq!(kinds("stage.rl.loss.policy_loss.kind=cispo"), alone);
}

#[test]
fn a_value_of_another_shape_is_answered_with_what_to_write() {
    for (set, key) in [
        ("stage.rl.loss.kl=0.001", "kl"),
        ("stage.rl.reward_kl=0.05", "reward_kl"),
        ("stage.rl.entropy_bonus=0.01", "entropy_bonus"),
        ("stage.rl.rewards=accuracy_reward", "rewards"),
        ("stage.rl.rewards='math'", "rewards"),
    ] {
        let error = said(set);
        let table = set.split(key).next().unwrap();
        let offered = format!("{table}{}", offered(&error, key).replacen(" = ", "=", 1));
        read(&[PLAIN], &[&offered]).unwrap_or_else(|error| panic!("{offered}: {error}"));
        let number = set.split('=').next_back().unwrap();
        assert!(offered.contains(number) || key == "rewards", "{offered}");
    }
    let error = said("stage.rl.rewards=[{ kind='process', command='python3 -u judge.py' }]");
    assert_eq!(offered(&error, "command"), "command = [\"python3\", \"-u\", \"judge.py\"]");
}

#[test]
fn names_of_trl_are_answered_with_key_and_value() {
    for set in ["stage.rl.scale_rewards=false", "stage.rl.advantage.scale_rewards=\"none\""] {
        let error = said(set);
        assert!(error.contains("is `stage.rl.advantage` here"), "{error}");
        assert!(error.contains("false and \"none\" are \"dr-grpo\""), "{error}");
    }
    let math = "is a verifier here: `stage.rl.rewards` = [{ kind = \"math\" }]";
    for set in [
        "stage.rl.rewards=['accuracy_reward']",
        "stage.rl.rewards=[{ kind = 'accuracy_reward' }]",
        "stage.rl.reward_funcs=['accuracy_reward']",
        "stage.rl.reward_funcs='accuracy_reward'",
    ] {
        assert!(said(set).contains(math), "{}", said(set));
    }
}

#[test]
fn an_item_of_a_list_is_answered_with_what_set_takes() {
    for set in ["stage.rl.rewards.0.weight=2", "stage.rl.rewards[0].weight=2"] {
        let error = said(set);
        assert!(error.starts_with(&format!("--set {set}: ")), "{error}");
        assert!(
            error.ends_with("a list can only be set whole: --set 'stage.rl.rewards=[...]'"),
            "{error}"
        );
    }
    assert!(read(&[PLAIN], &["stage.1.batch=3"]).is_ok(), "stages can be reached into");
}

#[test]
fn more_mistakes_than_are_shown_are_counted() {
    let many = |count: usize| {
        let keys: Vec<_> = (0..count).map(|at| format!("zzq{at} = 1\n")).collect();
        keys.concat()
    };
    let error = read(&[&format!("{}{PLAIN}", many(27))], &[]).unwrap_err();
    assert!(error.starts_with("27 mistakes in the recipe\n"), "{error}");
    assert!(error.ends_with("\n\nand 7 more that are not shown"), "{error}");
    assert_eq!(error.matches("unknown key").count(), 20);
    let error = read(&[&format!("{}{PLAIN}", many(150))], &[]).unwrap_err();
    assert!(error.starts_with("at least 100 mistakes in the recipe\n"), "{error}");
    let error = read(&[&format!("{}{PLAIN}", many(20))], &[]).unwrap_err();
    assert!(!error.contains("not shown"), "{error}");
}

#[test]
fn a_list_of_tables_in_place_of_a_table_is_named_as_that() {
    let error = read(&[&PLAIN.replace("[data]", "[[data]]")], &[]).unwrap_err();
    let begin = "layer0.toml:5:1: data: expected a table, got a list of tables; \
                 write `[data]` in place of `[[data]]`, with one bracket on each side";
    assert!(error.starts_with(begin), "{error}");
    assert_eq!(error.matches("layer0.toml").count(), 1, "{error}");
    let both = PLAIN.replace("[data]", "[[data]]").replace("seed = 3", "seeed = 3");
    let error = read(&[&both], &[]).unwrap_err();
    assert!(error.starts_with("2 mistakes"), "{error}");
}

#[test]
fn long_texts_are_cut_in_messages() {
    let long = "v".repeat(300_000);
    for text in [
        format!("{long} = 1\n{PLAIN}"),
        PLAIN.replace("\"builtin:arithmetic\"", &format!("\"x\"\ndtype = \"{long}\"")),
        PLAIN.replace("kind = \"constant\", lr", &format!("kind = \"{long}\", lr")),
        PLAIN.replace("seed = 3", &format!("seed = \"{long}\"")),
        PLAIN.replace("seed = 3", &format!("name = \"{long}/\"")),
    ] {
        let error = read(&[&text], &[]).unwrap_err();
        assert!(error.len() < 3000, "{}", error.len());
        assert!(error.contains('…'), "{error}");
    }
    assert!(said(&format!("seed={long}")).len() < 3000);
}

#[test]
fn another_format_than_toml_is_named() {
    for (name, text, format) in [
        ("a.yaml", "model:\n  path: x\n", "YAML"),
        ("a.toml", "model:\n  path: x\n", "YAML"),
        ("a.toml", "{\"model\": 1}\n", "JSON"),
    ] {
        let layer = recipes::config::Layer::text(name, text);
        let error = format!("{:#}", recipes::config::load(&[layer], &[]).unwrap_err());
        assert!(error.contains(&format!("this is {format}: a recipe is TOML")), "{error}");
    }
    let error = read(&["seed = = 3"], &[]).unwrap_err();
    assert!(!error.contains("a recipe is TOML"), "{error}");
}

#[test]
fn no_groups_is_off() {
    let error = said("record.samples.groups=0");
    assert!(error.contains("1 or more, or \"off\" for none"), "{error}");
    assert!(read(&[PLAIN], &["record.samples.groups='off'"]).is_ok());
    // Recipes that others have use this one.
    assert_eq!(read(&[PLAIN], &["record.tokens_every=0"]).unwrap().record.tokens_every, 0);
    assert_eq!(read(&[PLAIN], &["record.tokens_every=3"]).unwrap().record.tokens_every, 3);
}
