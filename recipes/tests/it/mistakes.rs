//! Mistakes in the shape of a recipe: all of them are told, each with its place.

use crate::config::{PLAIN, read, told};

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_places() {
    let overlay = "\
        seed = \"x\"\n\
        [stage.rl]\n\
        batch = 0\n\
        groupsize = 4\n\
        slots = 1.5\n\
        rewards = [{ kind = \"math\" }, { kind = \"length\", aim = \"shrt\" }]\n\
        [stage.rl.schedule]\n\
        lr = true\n\
        [eval]\n\
        evry = 3\n\
        sampling = { top_k = [] }\n";
    let lines = told(overlay, &["stage.sft.steps=none", "checkpoint.keep=0"]);
    let expected = [
        "10 mistakes in the recipe",
        "layer1.toml:1:8: seed: expected a whole number, 0 or more, got \"x\"",
        "layer1.toml:3:9: stage.1.batch: expected a whole number, 1 or more, got 0",
        "layer1.toml:4:1: unknown key `groupsize` in `stage.1`",
        "did you mean `group_size`?",
        "layer1.toml:5:9: stage.1.slots: expected a whole number, 1 or more, got 1.5",
        "layer1.toml:6:56: stage.1.rewards.1.aim: unknown value `shrt`",
        "did you mean `short`?",
        "layer1.toml:8:6: stage.1.schedule.lr: expected a number, got true",
        "layer1.toml:10:1: unknown key `evry` in `eval`",
        "did you mean `every`?",
        "layer1.toml:11:22: eval.sampling.top_k: expected",
        "--set stage.sft.steps=none: expected a whole number, 1 or more, got \"none\"",
        "--set checkpoint.keep=0: expected a whole number, 1 or more, got 0",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{start}: {lines:#?}");
    }
}

#[test]
fn a_mistake_has_no_further_ones_for_its_cure() {
    for (overlay, count) in [
        ("stage.rl.group_sze = 4", 1),
        ("data.train = { kind = \"jsnl\", path = \"a\" }", 1),
        ("model.path = 5", 1),
        ("data.train = 5", 1),
        ("stage = 5", 1),
        ("model = []", 1),
        ("stage.rl.optim = { kind = \"sgd\", momentum = 0.9 }\nseed = -1", 2),
        ("stage.rl.rewards = [\"mth\", \"lngth\"]", 2),
    ] {
        let places = |line: &&String| line.starts_with("layer1.toml:");
        let lines = told(overlay, &[]);
        assert_eq!(lines.iter().filter(places).count(), count, "{overlay}: {lines:#?}");
    }
}

#[test]
fn an_empty_recipe_is_named_itself() {
    for (text, start) in [
        ("", "layer0.toml:1:1: missing key `model`"),
        ("seed = 2\n", "layer0.toml:1:1: missing key `model`"),
    ] {
        let error = read(&[text], &[]).unwrap_err();
        assert!(error.contains(start), "{error}");
        assert!(error.contains("missing key `data`") && !error.contains("presets"), "{error}");
    }
}

#[test]
fn numbers_beyond_their_types_have_their_place_and_bounds() {
    let whole = "expected a whole number from -9223372036854775808 to 9223372036854775807, got ";
    for key in
        ["seed", "data.seed", "stage.rl.steps", "stage.rl.rollout.top_k", "stage.rl.schedule.lr"]
    {
        for number in ["9223372036854775808", "18446744073709551615", "99999999999999999999"] {
            let error = read(&[PLAIN], &[&format!("{key}={number}")]).unwrap_err();
            assert_eq!(error, format!("--set {key}={number}: {whole}{number}"));
        }
        let text = format!("{key} = {}", "9".repeat(60));
        assert!(read(&[PLAIN, &text], &[]).unwrap_err().starts_with("layer1.toml:1:"));
    }
    for key in ["stage.rl.schedule.lr", "eval.sampling.temperature"] {
        let error = read(&[PLAIN], &[&format!("{key}=1e400")]).unwrap_err();
        assert_eq!(error, format!("--set {key}=1e400: expected a number of at most 1.79e308"));
    }
    assert_eq!(read(&[PLAIN], &["seed=9223372036854775807"]).unwrap().seed, i64::MAX as u64);
}

#[test]
fn a_coefficient_has_the_usual_kind() {
    use engine::loss::Kl;
    use rewards::{EntropyBonus, RewardKl};

    let kl =
        |overrides: &[&str]| crate::config::rl(&read(&[PLAIN], overrides).unwrap()).loss.kl.clone();
    let set = "stage.rl.loss.kl.coefficient=0.1";
    assert_eq!(kl(&[set]), Kl::K3 { coefficient: 0.1 });
    assert_eq!(kl(&["stage.rl.loss.kl=k2", set]), Kl::K2 { coefficient: 0.1 });
    let recipe = read(
        &[PLAIN],
        &["stage.rl.reward_kl.coefficient=0.1", "stage.rl.entropy_bonus.coefficient=0.2"],
    )
    .unwrap();
    let stage = crate::config::rl(&recipe);
    let RewardKl::K1 { coefficient, .. } = stage.reward_kl else { panic!("{:?}", stage.reward_kl) };
    assert!((coefficient - 0.1).abs() < 1e-12);
    assert_eq!(stage.entropy_bonus, EntropyBonus::Fixed { coefficient: 0.2 });
}

#[test]
fn off_is_no_text() {
    let chat = "prompt.system='be brief'\n";
    assert_eq!(read(&[PLAIN, chat], &[]).unwrap().prompt.system.as_deref(), Some("be brief"));
    let recipe = read(&[PLAIN, chat], &["prompt.system=off"]).unwrap();
    assert_eq!(recipe.prompt.system, None);
    // A set may switch off what the run has, also as the recipe is written out.
    let set =
        "[[eval.set]]\nname = 'a'\ndata = { kind = 'jsonl', path = 'a' }\nprompt.system = 'off'";
    let recipe = read(&[PLAIN, chat, set], &[]).unwrap();
    assert_eq!((recipe.prompt.system.is_some(), &recipe.eval.sets[0].prompt.system), (true, &None));
    let again = recipes::config::Recipe::parse("b", &recipe.to_toml().unwrap()).unwrap();
    assert_eq!(again, recipe);
    let empty = read(&[PLAIN], &["prompt.system=''"]).unwrap();
    assert_eq!(empty.prompt.system.as_deref(), Some(""), "a system turn without text");
    let rows = "data.train = { kind = 'jsonl', path = 'a', answer_from = 'off' }";
    let error = read(&[PLAIN, rows], &[]).unwrap_err();
    assert!(error.contains("got \"off\", which is no marker"), "{error}");
    for problem in ["'off'", "['a', 'off']"] {
        let rows = format!("{{ kind = 'jsonl', path = 'a', columns = {{ problem = {problem} }} }}");
        for key in ["data.train", "data.held_out"] {
            let error = read(&[PLAIN, &format!("{key} = {rows}")], &[]).unwrap_err();
            let start =
                format!("{key}.columns.problem: got \"off\", but every row needs a problem");
            assert!(error.contains(&start), "{error}");
        }
    }
}

#[test]
fn the_problems_of_a_set_are_checked_as_those_of_training() {
    let set = |keys: &str| {
        format!(
            "[[eval.set]]\nname = 'a'\ndata = {{ kind = 'arithmetic', operations = ['+'], {keys} }}"
        )
    };
    for (keys, expected) in [
        ("count = 9, min_digits = 3, max_digits = 1", "eval.set.0.data.min_digits: 3 is more than"),
        ("count = 1000, min_digits = 1, max_digits = 1", "eval.set.0.data.count: 1000 problems"),
    ] {
        let error = read(&[PLAIN, &set(keys)], &[]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
