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

const LISTS: &str = "prompt.stop = ['x', 'y']
    [data]
    train = [{ name = 'a', kind = 'jsonl', path = 'a' }, { name = 'b', kind = 'file', path = 'b' }]
    [stage.rl]
    rewards = ['math', { kind = 'length', aim = 'short', weight = 0.5 }]
    [[eval.set]]
    name = 'sums'
    data = { kind = 'arithmetic', count = 5, min_digits = 1, max_digits = 1, operations = ['+'] }";

#[test]
fn items_of_lists_are_set_by_number() {
    let with = |sets: &[&str]| read(&[PLAIN, LISTS], sets).unwrap();
    let recipe = with(&[
        "stage.rl.rewards.1.weight=0.25",
        "stage.1.rewards.0.weight=2",
        "eval.set.0.samples=3",
        "data.train.1.limit=7",
    ]);
    let written = toml::Value::try_from(&recipe).unwrap();
    let rewards = &written["stage"][1]["rewards"];
    assert_eq!(rewards[0]["kind"].as_str(), Some("math"));
    assert_eq!(
        [&rewards[0], &rewards[1]].map(|one| one["weight"].as_float()),
        [Some(2.0), Some(0.25)]
    );
    assert_eq!(recipe.eval.rewards, rl(&recipe).rewards, "an evaluation has those of its stage");
    assert_eq!(recipe.eval.sets[0].samples.get(), 3);
    let train = &written["data"]["train"];
    assert_eq!(train[0]["limit"].as_str(), Some("off"));
    assert_eq!(train[1]["limit"].as_integer(), Some(7));
    // Another kind keeps what it also has, and an evaluation may differ in one item.
    let recipe = with(&[
        "stage.rl.rewards.1.kind=regex",
        "stage.rl.rewards.1.pattern=a",
        "eval.rewards.0.weight=3",
    ]);
    let [stage, eval] =
        [&rl(&recipe).rewards, &recipe.eval.rewards].map(|it| toml::Value::try_from(it).unwrap());
    assert_eq!(
        (stage[1]["kind"].as_str(), stage[1]["weight"].as_float()),
        (Some("regex"), Some(0.5))
    );
    assert_eq!(
        (stage[0]["weight"].as_float(), eval[0]["weight"].as_float()),
        (Some(1.0), Some(3.0))
    );
    assert_eq!(stage[1], eval[1]);
}

#[test]
fn a_place_in_a_message_is_one_that_set_takes() {
    for (wrong, right) in [
        ("stage.rl.rewards.1.weight=-1", "1"),
        ("stage.rl.rewards.1.aim=shrt", "short"),
        ("stage.rl.rewards.0.weight=true", "1"),
        ("prompt.stop.1=5", "z"),
        ("eval.set.0.sampling.top_p=2", "1"),
        ("data.train.1.name=a", "c"),
    ] {
        let error = read(&[PLAIN, LISTS], &[wrong]).expect_err(wrong);
        let (set, last) = wrong.split_once('=').unwrap();
        let said = error.strip_prefix(&format!("--set {wrong}: ")).expect(&error);
        let key = said.split(": ").next().unwrap();
        // The key is left out where it is that of the override.
        let key = if key.contains('.') { key } else { set };
        assert!(!error.contains('['), "{error}");
        read(&[PLAIN, LISTS], &[wrong, &format!("{key}={right}")])
            .unwrap_or_else(|error| panic!("{last}: {key}={right}: {error}"));
    }
}

#[test]
fn what_is_no_item_of_a_list_is_not_offered_as_one() {
    let said = |set: &str| read(&[PLAIN, LISTS], &[set]).expect_err(set);
    for (set, expected) in [
        (
            "stage.rl.rewards[1].weight=2",
            "expected a dot before the number of an item: `stage.rl.rewards.1.weight`",
        ),
        ("model.path[0]=x", "`model.path` is not a list"),
        ("stage.1.steps[0]=2", "`stage.1.steps` is not a list"),
        ("model.path.0=x", "model.path: expected text in quotation marks, got item 0 of a list"),
        (
            "stage.rl.rewards.2.weight=2",
            "stage.1.rewards: expected a list, got item 2 of a list: only items that the recipe writes can be set one by one\nset the whole list",
        ),
        (
            "data.held_out.0.limit=3",
            "unknown key `0` in `data.held_out`: it is a table, and its keys are names",
        ),
    ] {
        // What the recipe writes there is marked where it stands.
        let error = said(set);
        assert!(error.contains(&format!("--set {set}: {expected}")) || set == "model.path.0=x");
        assert!(error.contains(expected), "{set}: {error}");
    }
    for set in ["optim.betas.0=0.9", "optim[0]=0.9"] {
        let error = said(set);
        assert!(error.contains("unknown key `optim`") && !error.contains("optim="), "{error}");
    }
    // The default list is none that the recipe writes.
    assert!(read(&[PLAIN], &["stage.rl.rewards.0.weight=2"]).is_err());
    let args = ["prompt.template_args.\"a[0]\"=1"];
    // Brackets in a quoted key are part of it.
    let error = read(&[PLAIN], &args).unwrap_err();
    assert!(error.contains("`template_args.a[0]` is no name in a template"), "{error}");
}

#[test]
fn a_number_is_a_coefficient_only_where_it_can_be_one() {
    for (set, offer) in [
        ("stage.rl.loss.kl=0.5", Some("write `kl = { kind = \"k3\", coefficient = 0.5 }`")),
        ("stage.rl.loss.kl=0", Some("write `kl = \"off\"`")),
        ("stage.rl.loss.kl=-1", None),
        ("stage.rl.entropy_bonus=0.0", Some("write `entropy_bonus = \"off\"`")),
        ("stage.rl.weighting=0.5", None),
    ] {
        let error = said(set);
        let found = error.lines().find(|line| line.starts_with("write "));
        assert_eq!(found, offer, "{error}");
        if let Some(value) = offer {
            let value = value.split_once(" = ").unwrap().1.trim_end_matches('`');
            read(&[PLAIN], &[&format!("{}={value}", set.split_once('=').unwrap().0)]).unwrap();
        }
    }
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
    let alone = "model.path = 'builtin:atom'\n[[data]]\ntrian = 5\nmax_prompt_tokens = 'x'\n";
    let error = read(&[alone], &[]).unwrap_err();
    assert!(error.contains("unknown key `trian` in `data`"), "{error}");
    assert!(error.contains("data.max_prompt_tokens: expected"), "{error}");
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
    let error = said("record.samples=off");
    assert!(error.ends_with("\nwrite `samples.groups = \"off\"`"), "{error}");
    let error = said("record.samples.groups=0");
    assert!(error.contains("1 or more, or \"off\" for none"), "{error}");
    assert!(read(&[PLAIN], &["record.samples.groups='off'"]).is_ok());
    // Recipes that others have use this one.
    assert_eq!(read(&[PLAIN], &["record.tokens_every=0"]).unwrap().record.tokens_every, 0);
    assert_eq!(read(&[PLAIN], &["record.tokens_every=3"]).unwrap().record.tokens_every, 3);
}
