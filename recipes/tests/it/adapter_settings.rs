//! The settings of an adapter: what they stand for, and what is refused in which words.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use engine::{AdapterConfig, Module, Scaling};
use recipes::builtin::Builtin;
use recipes::config::{AdapterChoice, BaseChoice, Layer, Recipe, load};

use crate::adapters::recipe;
use crate::binary::{stderr, stdout, stearin};
use crate::config::{PLAIN, read, told};

/// A recipe with these lines below `[model.adapter]`.
fn adapted(lines: &str) -> Result<Recipe, String> {
    read(&[PLAIN, &format!("[model.adapter]\n{lines}\n")], &[])
}

fn choice(lines: &str) -> AdapterChoice {
    adapted(lines).unwrap().model.adapter.unwrap()
}

#[test]
fn what_is_left_out_is_written_down() {
    let recipe = adapted("").unwrap();
    let expected = AdapterConfig {
        rank: 16,
        alpha: 32.0,
        scaling: Scaling::Rank,
        targets: Module::ALL.to_vec(),
    };
    assert_eq!(recipe.model.adapter.as_ref().unwrap().config(), expected);
    assert_eq!(
        (recipe.model.base, recipe.model.base()),
        (Some(BaseChoice::AsStored), BaseChoice::AsStored)
    );
    assert_eq!(read(&[PLAIN], &["model.adapter=lora"]).unwrap().model, recipe.model);
    let text = recipe.to_toml().unwrap();
    for line in [
        "base = \"as-stored\"",
        "rank = 16",
        "alpha = 32.0",
        "targets = \"all-linear\"",
        "scaling = \"rank\"",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}: {text}");
    }
    assert_eq!(Recipe::parse("again", &text).unwrap().model, recipe.model);
    // What an adapter to start from has is not.
    let from = adapted("from = \"runs/sft\"").unwrap();
    let adapter = from.model.adapter.as_ref().unwrap();
    assert_eq!(adapter.from(), Some("runs/sft"));
    let text = from.to_toml().unwrap();
    assert!(!text.contains("rank") && !text.contains("targets"), "{text}");
    assert_eq!(Recipe::parse("again", &text).unwrap().model, from.model);
}

#[test]
fn without_an_adapter_all_weights_are_trained_in_f32() {
    let plain = read(&[PLAIN], &[]).unwrap();
    assert_eq!((&plain.model.adapter, plain.model.base()), (&None, BaseChoice::F32));
    let text = plain.to_toml().unwrap();
    assert!(text.contains("adapter = \"off\"") && !text.contains("base ="), "{text}");
    let off = read(&[PLAIN, "[model.adapter]\nrank = 4"], &["model.adapter=off"]).unwrap();
    assert_eq!(off.model, plain.model);
}

#[test]
fn targets_are_taken_in_any_order_by_the_names_that_files_have() {
    let targets = |lines: &str| choice(lines).config().targets;
    assert_eq!(targets("targets = [\"down_proj\", \"q_proj\"]"), [Module::Q, Module::Down]);
    for module in Module::ALL {
        assert_eq!(targets(&format!("targets = [\"{}\"]", module.name())), [module]);
    }
    assert_eq!(targets("targets = \"all-linear\""), Module::ALL);
    let scale = |lines: &str| choice(&format!("rank = 4\nalpha = 8\n{lines}")).config().scale();
    assert!((scale("") - 2.0).abs() < 1e-12);
    assert!((scale("scaling = \"rank\"") - 2.0).abs() < 1e-12);
    assert!((scale("scaling = \"sqrt-rank\"") - 4.0).abs() < 1e-12);
}

#[test]
fn every_mistake_of_an_adapter_is_told_at_once() {
    let lines = told(
        "[model.adapter]\n\
         rank = 0\n\
         alpha = -1.0\n\
         targets = [\"q_proj\", \"q_prj\", \"lm_head\", \"input_layernorm\", \"embed_tokens\"]\n\
         scaling = \"sqrt\"\n\
         dropout = 0.1\n\
         [stage.rl.optim]\n\
         lr_ratio_b = 0.0\n",
        &[],
    );
    let expected = [
        "9 mistakes in the recipe",
        "layer1.toml:2:8: model.adapter.rank: expected a whole number, 1 or more, got 0",
        "layer1.toml:3:9: model.adapter.alpha: expected a positive number, got -1",
        "layer1.toml:4:22: model.adapter.targets.1: unknown value `q_prj`, expected one of",
        "did you mean `q_proj`?",
        "layer1.toml:4:31: model.adapter.targets.2: unknown value `lm_head`, expected one of",
        "`lm_head` (HF) cannot be one of `model.adapter.targets` yet: vLLM and llama.cpp would not",
        "layer1.toml:4:42: model.adapter.targets.3: unknown value `input_layernorm`",
        "`input_layernorm` (HF) cannot be one of `model.adapter.targets` yet",
        "layer1.toml:4:61: model.adapter.targets.4: unknown value `embed_tokens`",
        "`embed_tokens` (HF) cannot be one of `model.adapter.targets` yet",
        "layer1.toml:5:11: model.adapter.scaling: unknown value `sqrt`, expected `rank` or",
        "layer1.toml:6:1: unknown key `dropout` in `model.adapter`",
        "`dropout` (prime-rl) does not exist here: there is no dropout; sampling and training are one \
         function",
        "layer1.toml:8:14: stage.1.optim.lr_ratio_b: expected a positive number, got 0",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{start}: {lines:#?}");
    }
}

/// A shipped recipe sets a rank, and can go on from an adapter of another.
#[test]
fn an_adapter_to_start_from_goes_before_the_settings_of_lower_layers() {
    let below = "[model.adapter]\nrank = 8\nalpha = 4.0\ntargets = [\"q_proj\"]\n";
    let choice = |over: &str, set: &[&str]| {
        let recipe = read(&[PLAIN, below, over], set)?;
        Ok::<_, String>(recipe.to_toml().unwrap())
    };
    for text in [
        choice("", &["model.adapter.from=x"]).unwrap(),
        choice("[model.adapter]\nfrom = \"x\"", &[]).unwrap(),
    ] {
        assert!(text.contains("from = \"x\"") && !text.contains("rank"), "{text}");
    }
    let error = choice("[model.adapter]\nfrom = \"x\"\nrank = 8", &[]).unwrap_err();
    assert!(error.contains("remove `rank`"), "{error}");
}

/// Every shipped recipe with an adapter sets `base`, too, and so does what a run makes of a recipe.
#[test]
fn an_adapter_that_is_turned_off_takes_along_what_stands_beside_it() {
    let shipped = recipes::shipped::ALL.iter().filter(|one| one.name.starts_with("lora-"));
    let shipped: Vec<_> = shipped.map(|one| one.text).collect();
    assert_eq!(shipped.len(), 3);
    for text in shipped {
        let on = read(&[text], &[]).unwrap();
        assert!(on.model.base.is_some() && on.model.adapter.is_some());
        for text in [text, &on.to_toml().unwrap()] {
            for (layers, set) in [
                (vec![text], vec!["model.adapter=off"]),
                (vec![text, "[model]\nadapter = \"off\""], vec![]),
            ] {
                let off = read(&layers, &set).unwrap().model;
                assert_eq!((off.base, &off.adapter), (None, &None));
                assert_eq!(off.path, on.model.path);
            }
        }
    }
    let named = "[model]\nbase = \"f32\"\nadapter = \"lora\"\n[model.adapters.judge]\nfrom = \"x\"";
    let plain = read(&[PLAIN], &[]).unwrap().model;
    let off = "[model]\nadapter = \"off\"";
    assert_eq!(read(&[PLAIN, named, off], &[]).unwrap().model, plain);
    // Turned on again, it is beside the defaults.
    let again = read(&[PLAIN, named, off], &["model.adapter=lora"]).unwrap().model;
    assert_eq!((again.base, again.adapters.len()), (Some(BaseChoice::AsStored), 0));
    // What the same layer or a later one sets is a mistake.
    let both = "[model]\nadapter = \"off\"\nbase = \"f32\"";
    for (layers, set) in
        [([PLAIN, named, both], vec![]), ([PLAIN, named, off], vec!["model.base=f32"])]
    {
        let error = read(&layers, &set).unwrap_err();
        assert!(error.contains("model.base: weights that are trained are f32"), "{error}");
    }
}

#[test]
fn a_number_of_hundreds_of_digits_is_written_with_an_exponent() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe()).unwrap();
    for (alpha, shown) in
        [("1e300", "alpha 1e300"), ("1e-300", "alpha 1e-300"), ("16", "alpha 16,")]
    {
        let set = format!("model.adapter.alpha={alpha}");
        let plan = stearin(temp.path(), &["train", "small.toml", "--dry-run", "--set", &set]);
        let said = stdout(&plan);
        assert!(said.contains(shown), "{said}{}", stderr(&plan));
        assert!(!said.contains(&"0".repeat(20)), "{said}");
        let run = stearin(temp.path(), &["train", "small.toml", "--set", &set]);
        assert_eq!(run.status.success(), alpha == "16", "{}", stderr(&run));
        assert!(!stderr(&run).contains(&"0".repeat(20)), "{}", stderr(&run));
    }
    let error = read(&[PLAIN], &["model.adapter.alpha=-1e300"]).unwrap_err();
    assert!(error.contains("expected a positive number, got -1e300"), "{error}");
}

/// What stages say of an adapter goes with it, too.
#[test]
fn an_adapter_that_is_turned_off_takes_along_what_stages_say_of_it() {
    let of_stage = |reference: &str| {
        format!(
            "[model]\nadapter = \"lora\"\nadapters.judge.from = \"x\"\n[stage.rl]\n\
             reference = {reference}\noptim.lr_ratio_b = 16.0\nloss.kl = \"k3\"\n"
        )
    };
    let judge = of_stage("{ kind = \"adapter\", name = \"judge\" }");
    let on = read(&[PLAIN, &judge], &[]).unwrap();
    assert_eq!(on.stages[1].reference().unwrap().adapter(), Some("judge"));
    let off = "[model]\nadapter = \"off\"";
    let resolved = on.to_toml().unwrap();
    for (layers, set) in [
        (vec![PLAIN, &judge], vec!["model.adapter=off"]),
        (vec![PLAIN, &judge, off], vec![]),
        (vec![&resolved], vec!["model.adapter=off"]),
        (
            vec![PLAIN],
            vec!["model.adapter=lora", "stage.rl.optim.lr_ratio_b=2", "model.adapter=off"],
        ),
    ] {
        let read = read(&layers, &set).unwrap();
        assert_eq!(read.model.adapter, None);
        for stage in &read.stages {
            assert_eq!(stage.settings().descent().optim.lr_ratio_b(), None);
            assert!(stage.reference().is_none_or(|reference| reference.adapter().is_none()));
        }
    }
    // A reference that needs no adapter stays, and so do other settings of the optimizer.
    let ema = of_stage("{ kind = \"ema\", decay = 0.5 }") + "optim.weight_decay = 0.5\n";
    let text = read(&[PLAIN, &ema], &["model.adapter=off"]).unwrap().to_toml().unwrap();
    assert!(text.contains("decay = 0.5") && text.contains("weight_decay = 0.5"), "{text}");
    // What the same layer or a later one sets is a mistake.
    let error = read(&[PLAIN, &judge], &["model.adapter=off", "stage.rl.optim.lr_ratio_b=2"]);
    assert!(error.unwrap_err().contains("stage.1.optim.lr_ratio_b: it is of the matrices"));
    let both =
        "[model]\nadapter = \"off\"\n[stage.rl]\nreference = { kind = \"adapter\", name = \"a\" }";
    let error = read(&[PLAIN, both], &[]).unwrap_err();
    assert!(error.contains("stage.1.reference.name: there are no [model.adapters]"), "{error}");
}

#[test]
fn a_list_of_wrong_names_alone_is_not_called_empty() {
    let lines = told("[model.adapter]\ntargets = [\"q\", \"v\"]\n", &[]);
    assert!(lines.iter().any(|line| line.contains("targets.1: unknown value `v`")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("there is none")), "{lines:#?}");
}

#[test]
fn one_name_in_the_place_of_a_list_is_told_how_to_be_one() {
    for (word, list) in [("q_proj", "[\"q_proj\"]"), ("q_proj,v_proj", "[\"q_proj\", \"v_proj\"]")]
    {
        let lines = told(&format!("[model.adapter]\ntargets = {word:?}\n"), &[]);
        let expected =
            format!("expected \"all-linear\" or a list of names, got {word:?}: write {list}");
        assert!(lines.iter().any(|line| line.contains(&expected)), "{lines:#?}");
    }
}

#[test]
fn a_word_for_targets_that_is_no_name_leads_to_what_can_be_written() {
    let all = "write \"all-linear\" for all seven, or a list of some of q_proj, ";
    for (targets, hint) in [
        ("\"all\"", all),
        ("\"all_linear\"", all),
        ("\"attention\"", all),
        ("\"q_prj, V_proj\"", "write [\"q_proj\", \"v_proj\"] for a list"),
        ("[\"all-linear\"]", "write `targets = \"all-linear\"`, without brackets, for all seven"),
        ("[\"all\"]", "write `targets = \"all-linear\"`, without brackets, for all seven"),
    ] {
        let lines = told(&format!("[model.adapter]\ntargets = {targets}\n"), &[]);
        assert!(lines.iter().any(|line| line.contains(hint)), "{targets}: {lines:#?}");
        // What it says to write is taken.
        let written = ["\"all-linear\"", "[\"q_proj\", \"v_proj\"]"];
        let written = written.into_iter().find(|written| hint.contains(written)).unwrap();
        adapted(&format!("targets = {written}")).unwrap();
    }
}

/// A key that a later layer's `from` drops is told with its place, whichever layers they are.
#[test]
fn settings_that_an_adapter_to_start_from_replaces_are_told() {
    let layer = |name: &str, text: &str| Layer::text(name, text);
    let below = "[model.adapter]\nrank = 8\ntargets = [\"q_proj\"]\n";
    let notes = |layers: &[&str], set: &[&str]| {
        let named = layers.iter().enumerate();
        let layers: Vec<_> =
            named.map(|(at, text)| layer(&format!("layer{at}.toml"), text)).collect();
        let set: Vec<_> = set.iter().map(|&set| set.to_owned()).collect();
        load(&layers, &set).unwrap().notes
    };
    let dropped = |key: &str, place: &str| {
        format!(
            "model.adapter.{key} of {place} does not count: it comes from the adapter that \
             model.adapter.from names"
        )
    };
    let expected = [dropped("rank", "layer1.toml:2"), dropped("targets", "layer1.toml:3")];
    assert_eq!(notes(&[PLAIN, below], &["model.adapter.from=x"]), expected);
    assert_eq!(notes(&[PLAIN, below, "[model.adapter]\nfrom = \"x\""], &[]), expected);
    let set = ["model.adapter.alpha=4", "model.adapter.from=x"];
    assert_eq!(notes(&[PLAIN], &set), [dropped("alpha", "--set model.adapter.alpha=4")]);
    let none: [&str; 0] = [];
    assert_eq!(notes(&[PLAIN, below], &[]), none);
    assert_eq!(notes(&[PLAIN, "[model.adapter]\nfrom = \"y\""], &["model.adapter.from=x"]), none);
    assert_eq!(notes(&[PLAIN, below], &["model.adapter.from=x", "model.adapter=off"]), none);
}

#[test]
fn a_setting_that_contradicts_another_names_the_key_to_remove() {
    for (overlay, expected) in [
        (
            "[model.adapter]\ntargets = []",
            "layer1.toml:2:11: model.adapter.targets: there is none; name linear maps, or write \
             \"all-linear\"",
        ),
        (
            "[model.adapter]\ntargets = [\"q_proj\", \"v_proj\", \"q_proj\"]",
            "layer1.toml:2:32: model.adapter.targets.2: q_proj is there twice",
        ),
        (
            "[model]\nbase = \"as-stored\"",
            "layer1.toml:2:8: model.base: weights that are trained are f32; add [model.adapter], or \
             remove `base`",
        ),
        (
            "[model]\nbase = \"f32\"",
            "layer1.toml:2:8: model.base: weights that are trained are f32; add [model.adapter], or \
             remove `base`",
        ),
        (
            "[stage.rl.optim]\nlr_ratio_b = 16",
            "layer1.toml:2:14: stage.1.optim.lr_ratio_b: it is of the matrices of an adapter, and \
             there is none; add [model.adapter], or remove `lr_ratio_b`",
        ),
        (
            "[model.adapter]\nfrom = \"\"",
            "layer1.toml:2:8: model.adapter.from: expected a folder, a .gguf file or a run, got \
             nothing",
        ),
    ] {
        assert_eq!(told(overlay, &[]), [expected]);
    }
    let lines = told(
        "[model.adapter]\nfrom = \"a\"\nrank = 4\nalpha = 8\ntargets = \"all-linear\"\nscaling = \"rank\"",
        &[],
    );
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (line, key) in lines[1..].iter().zip(["rank", "alpha", "targets", "scaling"]) {
        let own = format!(
            "model.adapter.{key}: it comes from the adapter that `from` names; remove `{key}`"
        );
        assert!(line.ends_with(&own), "{line}");
    }
    for fine in ["[model.adapter]\nfrom = \"a\"", "[model]\nbase = \"f32\"\nadapter = \"lora\""] {
        read(&[PLAIN, fine], &["stage.rl.optim.lr_ratio_b=16"]).unwrap();
    }
}

#[test]
fn weights_as_stored_are_refused_on_cuda_with_the_way_out() {
    let on_cuda = |base: &str| {
        let overlay = format!("[model]\ndevice = \"cuda\"\n{base}\n[model.adapter]\nrank = 4\n");
        let read = read(&[PLAIN, &overlay], &[]);
        read.err().unwrap_or_default()
    };
    let refusal = "model.base: on CUDA the weights cannot stay as stored yet; write base = \"f32\"";
    for base in ["", "base = \"as-stored\""] {
        assert!(on_cuda(base).contains(refusal), "{}", on_cuda(base));
    }
    assert!(!on_cuda("base = \"f32\"").contains(refusal), "{}", on_cuda("base = \"f32\""));
}

#[test]
fn a_rank_above_the_smaller_side_of_a_target_names_that_target() {
    // Width 32, and 96 within the feed-forward layer.
    let model = Builtin::find("atom").unwrap().config();
    assert_eq!(choice("rank = 32").misfits(&model), [""; 0]);
    assert_eq!(
        choice("rank = 33\ntargets = [\"up_proj\", \"v_proj\"]").misfits(&model),
        ["model.adapter.rank: 33 is more than 32, the smaller side of v_proj"]
    );
    assert_eq!(choice("from = \"a\"").misfits(&model), [""; 0]);
    // As the engine has it.
    for rank in 31..35 {
        let choice = choice(&format!("rank = {rank}"));
        let is_valid = choice.config().validate(&model).is_ok();
        assert_eq!(choice.misfits(&model).is_empty(), is_valid, "{rank}");
    }
}

#[test]
fn names_of_other_libraries_are_answered() {
    for (key, line) in [
        ("lora_r", "`lora_r` (TRL) is `model.adapter.rank` here"),
        ("lora_rank", "`lora_rank` (verl) is `model.adapter.rank` here"),
        ("r", "`r` (PEFT) is `model.adapter.rank` here"),
        ("lora_alpha", "is `model.adapter.alpha` here"),
        ("target_modules", "is `model.adapter.targets` here"),
        ("lora_target_modules", "`lora_target_modules` (TRL) is `model.adapter.targets` here"),
        ("lora_adapter_path", "`lora_adapter_path` (verl) is `model.adapter.from` here"),
        ("peft_type", "`peft_type` (PEFT) is `model.adapter.kind` here"),
        (
            "use_rslora",
            "`use_rslora` (PEFT) is `model.adapter.scaling` here: true is \"sqrt-rank\"",
        ),
        ("lora_dropout", "there is no dropout; sampling and training are one function"),
        ("use_dora", "vLLM and llama.cpp would not load such an adapter"),
        ("modules_to_save", "only `model.adapter.targets` are trained"),
        ("init_lora_weights", "A starts at random and B at zero"),
        ("rank_pattern", "all targets have `model.adapter.rank`"),
        ("layers_to_transform", "`model.adapter.targets` are adapted in every block"),
        ("bias", "biases are not trained with an adapter"),
    ] {
        for place in ["model.adapter", "model"] {
            let error = read(&[PLAIN], &[&format!("{place}.{key}=7")]).unwrap_err();
            assert!(error.contains(line), "{place}.{key}: {error}");
            assert!(!error.contains("did you mean"), "{error}");
        }
    }
    for (set, line) in [
        ("model.load_in_4bit=true", "`model.path` may be a GGUF file of 4 bits"),
        ("model.peft_config={ r = 4 }", "is `model.adapter"),
        ("use_peft=true", "with `model.adapter` an adapter is trained"),
        ("stage.rl.optim.loraplus_lr_ratio=16", "is `stage.rl.optim.lr_ratio_b` here"),
        ("model.full_finetuning=true", "where there is no `model.adapter`"),
    ] {
        let error = read(&[PLAIN], &[set]).unwrap_err();
        assert!(error.contains(line), "{set}: {error}");
    }
    for (kind, hint) in [
        ("dora", "vLLM and llama.cpp would not load such an adapter; \"lora\" is the only kind"),
        (
            "rslora",
            "is `model.adapter.kind` = \"lora\" with `model.adapter.scaling` = \"sqrt-rank\"",
        ),
        ("QLoRA", "on a `model.path` that is a GGUF file of 4 bits"),
    ] {
        let error = read(&[PLAIN], &[&format!("model.adapter.kind={kind}")]).unwrap_err();
        assert!(error.contains(hint) && !error.contains("did you mean"), "{error}");
    }
    let error = read(&[PLAIN], &["model.adapter={ kind = \"LORA\" }"]).unwrap_err();
    assert!(error.contains("did you mean `lora`?"), "{error}");
}
