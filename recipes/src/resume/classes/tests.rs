//! Which class a change has.

use super::*;

const THEN: &str = r#"
        name = "a"
        seed = 1
        model = { path = "m", dtype = "f32", device = "cpu" }
        eval = { every = 2, rewards = [{ kind = "math" }] }
        checkpoint = { every = 1 }
        record = { tokens_every = 1 }

        [[stage]]
        kind = "sft"
        steps = 3
        batch = 4

        [[stage]]
        kind = "rl"
        steps = 6
        slots = 8
        loss = { kl = { kind = "off" } }
        reward_kl = "off"
        weighting = { kind = "uniform" }
        schedule = { kind = "linear", lr = 0.1 }

        [[stage]]
        kind = "rl"
        steps = 2
        weighting = { kind = "uniform" }
        schedule = { kind = "constant", lr = 0.1 }
    "#;

fn state(step: u64, stage: usize) -> TrainerState {
    TrainerState { step, stage, ..TrainerState::start() }
}

fn found(changes: &[(&str, &str)], state: Option<&TrainerState>) -> Vec<Difference> {
    let mut now = THEN.to_owned();
    for (old, new) in changes {
        assert!(now.contains(old), "{old}");
        now = now.replacen(old, new, 1);
    }
    differences(THEN, &now, state).unwrap()
}

fn class(old: &str, new: &str, state: Option<&TrainerState>) -> Class {
    let found = found(&[(old, new)], state);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].change.class
}

/// In the second stage, after two of its steps.
fn under_way() -> TrainerState {
    state(5, 1)
}

#[test]
fn what_changes_no_step_is_free() {
    for (old, new) in [
        ("name = \"a\"", "name = \"b\""),
        ("every = 2", "every = 3"),
        ("kind = \"math\"", "kind = \"countdown\""),
        ("checkpoint = { every = 1 }", "checkpoint = { every = 9 }"),
        ("tokens_every = 1", "tokens_every = 0"),
        ("slots = 8", "slots = 9"),
        ("steps = 6", "steps = 7"),
        ("steps = 2", "steps = 7"),
    ] {
        assert_eq!(class(old, new, Some(&under_way())), Class::Free, "{new}");
    }
    let longer = found(&[("steps = 6", "steps = 7")], Some(&under_way()));
    assert!(longer[0].note.as_ref().unwrap().contains("linear schedule"), "{longer:?}");
    let longer = found(&[("steps = 2", "steps = 7")], Some(&under_way()));
    assert_eq!(longer[0].note, None, "a constant rate does not know the end");
}

#[test]
fn what_changes_the_steps_to_come_is_changing() {
    for (old, new) in [
        ("seed = 1", "seed = 2"),
        ("device = \"cpu\"", "device = \"cuda\""),
        ("kind = \"linear\", lr = 0.1", "kind = \"linear\", lr = 0.2"),
        ("kind = \"linear\"", "kind = \"cosine\""),
        ("slots = 8", "slots = 8\n        batch = 3"),
        ("steps = 6", "steps = 5"),
        ("steps = 6", "steps = 2"),
        ("kind = \"constant\"", "kind = \"linear\""),
    ] {
        assert_eq!(class(old, new, Some(&under_way())), Class::Changing, "{new}");
    }
}

#[test]
fn what_a_run_cannot_go_on_with_is_impossible() {
    for (old, new) in [
        ("path = \"m\"", "path = \"n\""),
        ("dtype = \"f32\"", "dtype = \"bf16\""),
        ("batch = 4", "batch = 5"),
        ("steps = 3", "steps = 4"),
        ("steps = 6", "steps = 1"),
        ("kind = \"uniform\"", "kind = \"stare\""),
        ("kind = \"off\"", "kind = \"k3\""),
        ("kind = \"rl\"", "kind = \"sft\""),
    ] {
        let found = found(&[(old, new)], Some(&under_way()));
        assert_eq!(found[0].change.class, Class::Impossible, "{new}");
        assert!(found[0].note.is_some(), "{new}: it says why");
    }
}

#[test]
fn an_adapter_stays_as_it_is_and_how_its_base_is_held_is_free() {
    let model = "model = { path = \"m\", dtype = \"f32\", device = \"cpu\" }";
    let with = |more: &str| {
        let all = format!("model = {{ path = \"m\", dtype = \"f32\", device = \"cpu\"{more} }}");
        THEN.replace(model, &all)
    };
    assert!(THEN.contains(model));
    let adapter = ", base = \"f32\", adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    let classes = |then: &str, now: &str| -> Vec<_> {
        let found = differences(then, now, Some(&under_way())).unwrap();
        found.into_iter().map(|one| (one.change.key, one.change.class)).collect()
    };
    let then = with(adapter);
    let stored = with(&adapter.replace("\"f32\"", "\"as-stored\""));
    assert_eq!(classes(&then, &stored), [("model.base".to_owned(), Class::Free)]);
    let other = with(&adapter.replace("rank = 4", "rank = 8"));
    assert_eq!(classes(&then, &other), [("model.adapter.rank".to_owned(), Class::Impossible)]);
    let [from, other] =
        ["a", "b"].map(|name| with(&format!(", adapter = {{ kind = \"lora\", from = {name:?} }}")));
    let from_is = |class| vec![("model.adapter.from".to_owned(), class)];
    assert_eq!(classes(&from, &other), from_is(Class::Free), "it is not read again");
    let found = differences(&from, &other, None).unwrap();
    assert_eq!(found[0].change.class, Class::Impossible, "the run starts from it");
    let off = with(", adapter = \"off\"");
    assert_eq!(classes(THEN, &off), [], "as before there were adapters");
    let kind = || ("model.adapter.kind".to_owned(), Class::Impossible);
    assert_eq!(classes(&off, &with(&adapter[14..])), [kind()]);
    assert_eq!(classes(&with(&adapter[14..]), THEN), [kind()]);
}

#[test]
fn the_class_depends_on_where_the_run_stands() {
    let kl = ("kind = \"off\"", "kind = \"k3\"");
    assert_eq!(class(kl.0, kl.1, None), Class::Changing);
    assert_eq!(class(kl.0, kl.1, Some(&state(3, 0))), Class::Changing, "it has not begun");
    assert_eq!(class(kl.0, kl.1, Some(&state(4, 1))), Class::Impossible);
    assert_eq!(class("batch = 4", "batch = 5", Some(&state(2, 0))), Class::Changing);
    assert_eq!(class("batch = 4", "batch = 5", Some(&state(3, 0))), Class::Impossible);
    // A stage that is done, of a run that is done, goes on with more steps.
    let done = state(11, 2);
    assert_eq!(class("steps = 2", "steps = 4", Some(&done)), Class::Free);
    let both = found(
        &[("steps = 2", "steps = 4"), ("kind = \"constant\"", "kind = \"linear\"")],
        Some(&done),
    );
    assert!(both.iter().all(|one| one.change.class != Class::Impossible), "{both:?}");
}

#[test]
fn a_kl_in_the_reward_needs_the_weights_of_the_stages_start() {
    let classes = |then: &str, state: &TrainerState| {
        let now = then.replace("reward_kl = \"off\"", "reward_kl = { kind = \"k1\" }");
        let found = differences(then, &now, Some(state)).unwrap();
        found.into_iter().map(|one| one.change.class).collect::<Vec<_>>()
    };
    assert_eq!(classes(THEN, &state(3, 0)), [Class::Changing], "it has not begun");
    assert_eq!(classes(THEN, &state(4, 1)), [Class::Impossible]);
    let kept = THEN.replace("kind = \"off\"", "kind = \"k3\"");
    assert_eq!(classes(&kept, &state(4, 1)), [Class::Changing], "the loss had them kept");
    let kept = THEN.replace("reward_kl = \"off\"", "reward_kl = { kind = \"k1\" }");
    let now = kept.replace("kind = \"off\"", "kind = \"k3\"");
    let found = differences(&kept, &now, Some(&state(4, 1))).unwrap();
    let found: Vec<_> = found.into_iter().map(|one| one.change.class).collect();
    assert_eq!(found, [Class::Changing], "the reward had them kept");
}

#[test]
fn a_reference_keeps_its_kind_in_a_stage_that_has_begun() {
    let with = |reference: &str| THEN.replace("reward_kl = \"off\"", reference);
    let on = "reward_kl = { kind = \"k1\" }";
    let looking = |reference: &str| with(&format!("{on}\nreference = {reference}"));
    let classes = |then: &str, now: &str, state: &TrainerState| -> Vec<_> {
        let found = differences(then, now, Some(state)).unwrap();
        found.into_iter().map(|one| (one.change.key, one.change.class)).collect()
    };
    let (begun, before) = (under_way(), state(3, 0));
    assert_eq!(classes(&with(on), &looking("\"start\""), &begun), [], "it is the default");
    let kind = |class| vec![("stage.1.reference.kind".to_owned(), class)];
    let [slow, fast] =
        ["0.99", "0.5"].map(|decay| looking(&format!("{{ kind = \"ema\", decay = {decay} }}")));
    assert_eq!(classes(&with(on), &slow, &begun), kind(Class::Impossible));
    assert_eq!(classes(&slow, &with(on), &begun), kind(Class::Impossible));
    assert_eq!(classes(&with(on), &slow, &before), kind(Class::Changing));
    let decay = ("stage.1.reference.decay".to_owned(), Class::Changing);
    assert_eq!(classes(&slow, &fast, &begun), [decay]);
    let base = ("stage.1.reference".to_owned(), Class::Impossible);
    assert_eq!(classes(&with(on), &looking("\"base\""), &begun), [base]);
}

#[test]
fn a_reference_that_no_kl_term_looks_back_at_may_change() {
    let with = |reference: &str| {
        let all = format!("reward_kl = \"off\"\nreference = {reference}");
        THEN.replace("reward_kl = \"off\"", &all)
    };
    let classes = |then: &str, now: &str| -> Vec<_> {
        let found = differences(then, now, Some(&under_way())).unwrap();
        found.into_iter().map(|one| (one.change.key, one.change.class)).collect()
    };
    let free = |key: &str| vec![(format!("stage.1.reference{key}"), Class::Free)];
    let [slow, fast] =
        ["0.99", "0.5"].map(|decay| format!("{{ kind = \"ema\", decay = {decay} }}"));
    assert_eq!(classes(THEN, &with("\"base\"")), free(""));
    assert_eq!(classes(&with(&slow), THEN), free(".kind"));
    assert_eq!(classes(&with(&slow), &with(&fast)), free(".decay"));
    // A KL term cannot be added to the stage, whatever it looks back at.
    let on = with("\"base\"").replace("reward_kl = \"off\"", "reward_kl = { kind = \"k1\" }");
    let found = classes(THEN, &on);
    assert!(found.contains(&("stage.1.reward_kl.kind".to_owned(), Class::Impossible)), "{found:?}");
}

#[test]
fn where_a_named_adapter_is_may_change_as_its_files_are_compared() {
    let model = "device = \"cpu\" }";
    let named = |from: &str| {
        let adapters = format!("adapters = {{ judge = {{ from = \"{from}\" }} }}");
        THEN.replace(model, &format!("device = \"cpu\", adapter = \"lora\", {adapters} }}"))
    };
    let found = differences(&named("a"), &named("b"), Some(&under_way())).unwrap();
    let found: Vec<_> = found.iter().map(|one| (&*one.change.key, one.change.class)).collect();
    assert_eq!(found, [("model.adapters.judge.from", Class::Free)]);
}

#[test]
fn another_kind_is_one_line() {
    let told = |then: &str, now: &str| {
        let found = differences(then, now, None).unwrap();
        found.iter().map(|one| one.change.to_string()).collect::<Vec<_>>()
    };
    let linear = "{ kind = \"linear\", lr = 0.1 }";
    let to = |schedule: &str| told(THEN, &THEN.replace(linear, schedule));
    let kind = "stage.1.schedule.kind: \"linear\" then, \"cosine\" now";
    let cosine = "{ kind = \"cosine\", lr = 0.1, warmup = 3, min_ratio = 0.1 }";
    assert_eq!(to(cosine), [kind]);
    let lr = "stage.1.schedule.lr: 0.1 then, 0.2 now";
    assert_eq!(to(&cosine.replace("0.1, w", "0.2, w")), [kind, lr], "both kinds have it");
    let kind = "kl = { kind = \"off\" }";
    assert!(THEN.contains(linear) && THEN.contains(kind));
    let then = THEN.replace(kind, "kl = \"off\"");
    let now = THEN.replace(kind, "kl = { kind = \"k3\", coefficient = 0.1 }");
    assert_eq!(told(&then, &now), ["stage.1.loss.kl.kind: \"off\" then, \"k3\" now"]);
    assert_eq!(told(&now, &then), ["stage.1.loss.kl.kind: \"k3\" then, \"off\" now"]);
}

#[test]
fn a_difference_names_both_values() {
    let found = found(&[("seed = 1", "seed = 2"), ("slots = 8", "")], Some(&under_way()));
    let lines: Vec<_> = found.iter().map(|one| one.change.to_string()).collect();
    assert_eq!(lines, ["seed: 1 then, 2 now", "stage.1.slots: 8 then, not set now"]);
    assert!(differences(THEN, THEN, None).unwrap().is_empty());
}
