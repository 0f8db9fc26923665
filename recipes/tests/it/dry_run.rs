//! What a dry run says of a run, beside what the run does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evals::run::{Run as Record, StepTokens, TokenFile};
use recipes::config::Recipe;
use recipes::data::problems;
use recipes::dry_run::{Judged, Plan, ProblemStats, Prompts, Sizes};
use recipes::memory::MemoryEstimate;
use recipes::search_path::SearchPath;

use crate::record::large;
use crate::runs::{RECIPE, Run};

fn plan(recipe: &Recipe) -> Plan {
    let search_path = SearchPath::of_recipe(Path::new(""));
    let found = problems(recipe, &search_path).unwrap();
    let sizes = Sizes::of(recipe, &search_path, None).unwrap();
    let text = sizes.text.as_ref().unwrap();
    let lengths = found.train.iter().map(|one| recipe.prompt.tokens(text, one).unwrap().len());
    let known = ProblemStats::Problems {
        train: found.train.len(),
        held_out: found.judged_by().map(|list| Judged::of(list)).collect(),
        prompts: Some(Prompts::of(&lengths.collect::<Vec<_>>())),
    };
    Plan::new(recipe, &sizes, known, 1).unwrap()
}

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() })
        .sum()
}

#[test]
fn samples_tokens_and_evaluations_take_no_more_than_it_says() {
    let temp = tempfile::tempdir().unwrap();
    let more = RECIPE.replace("every = 2\n", "every = 1\nsamples = 3\ngreedy = true\n");
    // Long problems, in which much is escaped, and hardly anything else.
    let problem = "\"\\\n".repeat(120);
    let row = |id: usize| serde_json::json!({"id": id, "problem": format!("{id}{problem}"), "answer": "1"});
    let rows: Vec<_> = (0..40).map(|id| format!("{}\n", row(id))).collect();
    let file = temp.path().join("long.jsonl");
    fs::write(&file, rows.concat()).unwrap();
    let long = |more: &str| {
        let set = format!(
            "[[eval.set]]\nname = \"long\"\nevery = 3\ngreedy = true\n\
             data = {{ kind = \"jsonl\", path = {:?} }}\n[record]\ntokens_every = \"off\"",
            file.display().to_string()
        );
        RECIPE
            .replace("[record]\ntokens_every = 1", &set)
            .replace("every = 2\n", &format!("every = 2\nsamples = 6\n{more}"))
            .replace("groups = 2", "groups = 1")
    };
    let all = [
        ("small", RECIPE.to_owned()),
        ("judged", more),
        ("long", long("")),
        ("all", long("texts = \"all\"\nat_start = false\n")),
        ("off", long("texts = \"off\"\nat_end = false\n")),
    ];
    for (name, recipe) in all {
        let root = temp.path().join(name);
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        let written: u64 =
            ["samples", "tokens", "evals"].iter().map(|part| bytes(&root.join(part))).sum();
        let recipe = Recipe::parse(name, &recipe).unwrap();
        let said = plan(&recipe).recorded;
        assert!(written <= said, "{name}: {written} bytes, said at most {said}");
        assert!(said < 6 * written, "{name}: {written} bytes, said at most {said}");
        println!("{name}: {written} of {said} bytes");
    }
    // A small run writes more than nothing.
    let text = plan(&Recipe::parse("small", RECIPE).unwrap()).to_string();
    assert!(!text.contains(" 0.0 MiB"), "{text}");
}

#[test]
fn a_recorded_step_is_as_large_as_it_says() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = large().replace("budget_mib = 1 }", "budget_mib = 9, alternatives = 2 }");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let said = plan(&Recipe::parse("large", &recipe).unwrap());
    let steps = Record::open(&root).unwrap().samples().unwrap().steps().len() as u64;
    let written = bytes(&root.join("samples"));
    let (each, all) = (written / steps, said.samples.bytes);
    // Every completion is at its limit; texts of these tokens are shorter than most.
    assert!(each <= said.samples.step, "{each} bytes a step, said {}", said.samples.step);
    assert!(said.samples.step * 4 < each * 5, "{each} bytes a step, said {}", said.samples.step);
    assert!(written <= all && all * 4 < written * 5, "{written} bytes, said {all}");
    assert_eq!(said.samples.stride, 1);
    let text = said.to_string();
    assert!(
        text.contains(" a recorded step of 6 groups and ")
            && text.contains("with 1 step of 1 recorded"),
        "{text}"
    );
    // The number that the setting comes to, for each stage.
    let facts = Record::open(&root).unwrap().facts.unwrap();
    assert_eq!(facts.recorded_groups, [0, 6]);
    for (groups, expected) in [("\"auto\"", vec![0, 2]), ("4", vec![0, 4]), ("\"off\"", vec![])] {
        let text = recipe.replace("groups = 6", &format!("groups = {groups}"));
        assert_eq!(Recipe::parse("r", &text).unwrap().recorded_groups(), expected, "{groups}");
    }
    // The columns alone, to the byte.
    let path = root.join("samples/step-000003.safetensors");
    let file = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap());
    let tokens = TokenFile::open(&path).unwrap().read().unwrap();
    let [rows, completions] = [tokens.token.len(), tokens.completion_group.len()].map(|n| n as u64);
    let [groups, prompt] = [tokens.prompt_start.len() - 1, tokens.prompt.len()].map(|n| n as u64);
    let expected = header
        // Of those of some runs: the log-probs of the reference and of the second update.
        + rows * StepTokens::token_bytes(2, 2)
        + completions * StepTokens::COMPLETION_BYTES
        + groups * StepTokens::GROUP_BYTES
        + prompt * StepTokens::PROMPT_BYTES
        + 2 * 8;
    assert_eq!(file.len() as u64, expected);
}

#[test]
fn a_plan_does_not_take_longer_for_more_steps() {
    let long = large().replace("steps = 7", "steps = 4000000000000");
    assert_ne!(long, large());
    let recipe = Recipe::parse("long", &long).unwrap();
    let said = plan(&recipe);
    assert!(said.samples.bytes <= recipe.record.samples.budget(), "{}", said.samples);
    assert!(said.samples.stride > 1, "{}", said.samples);
}

#[test]
fn a_run_without_held_out_sets_says_so() {
    let start = RECIPE.find("held_out =").unwrap();
    let end = start + RECIPE[start..].find('\n').unwrap();
    let none = RECIPE.replace(&RECIPE[start..end], "").replace("every = 2\n", "");
    let recipe = Recipe::parse("none", &none).unwrap();
    let said = plan(&recipe).to_string();
    assert!(said.contains("evaluation  none: there is neither"), "{said}");
    let best = "checkpoints  the newest 2; no best one: no set to choose it by is evaluated after";
    assert!(said.contains(best), "{said}");
    let own = RECIPE.replace(
        "[record]",
        "[[eval.set]]\nname = \"own\"\nevery = 3\nsamples = 2\n\
         data = { kind = \"arithmetic\", count = 4, min_digits = 1, max_digits = 1, \
         operations = [\"+\"] }\n[record]",
    );
    let said = plan(&Recipe::parse("own", &own).unwrap()).to_string();
    let each = "evaluation  held-out 4 times, 6 completions; own 4 times, 8 completions";
    assert!(said.contains("evaluation  4 times, 14 completions"), "{said}");
    let own = own.replace("every = 2\n", "every = 2\nat_end = false\n");
    let said = plan(&Recipe::parse("own", &own).unwrap()).to_string();
    let each = each.replace("own 4", "own 3");
    assert!(said.contains(&each), "{said}");
    let with = plan(&Recipe::parse("small", RECIPE).unwrap()).to_string();
    assert!(with.contains("checkpoints  the newest 2 and the best by held-out accuracy"), "{with}");
}

/// The small recipe with these keys of the model, and of its stages the last one only if `alone`.
fn adapted(keys: &str, alone: bool) -> Recipe {
    let model = "model = { path = \"builtin:atom\" }";
    let text = RECIPE.replace(model, &format!("model = {{ path = \"builtin:atom\", {keys} }}"));
    assert_ne!(text, RECIPE);
    let (head, stages) = text.split_once("[[stage]]").unwrap();
    let last = stages.rsplit_once("[[stage]]").unwrap().1;
    let text = if alone { format!("{head}[[stage]]{last}") } else { text };
    Recipe::parse("small", &text).unwrap()
}

#[test]
fn an_adapter_is_planned_with_its_size_and_both_forms_of_the_weights() {
    // Sides of the maps of a block of width 32: four of 32 + 32, three of 32 + 96; two blocks.
    let parameters = 4 * 2 * (4 * 64 + 3 * 128);
    let said = plan(&adapted("adapter = { rank = 4 }", false));
    assert_eq!(said.checkpoint, 12 * parameters);
    let full = plan(&Recipe::parse("small", RECIPE).unwrap());
    let weights = full.stages[1].memory.weights;
    for (stage, reference) in said.stages.iter().zip([0, 4 * parameters]) {
        let (memory, (_, other)) = (stage.memory, stage.other.unwrap());
        assert_eq!(memory.adapter, 16 * parameters);
        assert_eq!((memory.gradients, memory.optimizer, memory.head), (0, 0, 0));
        assert_eq!(memory.reference, reference, "a copy of what the first stage trained");
        assert_eq!((memory.weights, other.weights), (weights, weights), "they are in f32");
        assert_eq!((memory.decoding, other.decoding), (0, 0));
        assert_eq!(memory.total(), other.total());
    }
    let text = said.to_string();
    for line in [
        "adapter  5,120 parameters, 17.11 % of the model's: rank 4, alpha 32, scale 8.0000, all-linear",
        "base  \"as-stored\": 0.1 MiB as stored (f32 0.1 MiB), 0.1 MiB in f32",
        "or  with base = \"f32\": at most about 49 MiB",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // A fresh adapter's reference is the model, and nothing is trained beside the adapter.
    let alone = plan(&adapted("base = \"f32\", adapter = { rank = 4 }", true));
    assert_eq!(alone.stages[0].memory.reference, 0);
    assert_eq!(alone.stages[0].memory.weights, weights);
    assert!(alone.to_string().contains("or  with base = \"as-stored\""));
    let text = full.to_string();
    assert!(!text.contains("adapter") && !text.contains("base  "), "{text}");
    assert_eq!(full.stages[1].memory.reference, weights);
}

#[test]
fn the_tokenizer_counts_and_the_rounded_copy_stays_beside_the_update_of_an_adapter() {
    for adapter in ["", "adapter = { rank = 4 }, "] {
        let keys = |dtype: &str| format!("{adapter}dtype = \"{dtype}\"");
        let [plain, rounded] =
            ["f32", "bf16"].map(|dtype| plan(&adapted(&keys(dtype), true)).stages[0].memory);
        let vocabulary = recipes::builtin::Builtin::find("atom").unwrap().config().vocab_size;
        assert_eq!(plain.tokenizer, 450 * vocabulary as u64);
        let without = MemoryEstimate { tokenizer: 0, ..plain };
        assert_eq!(plain.total() - without.total(), plain.tokenizer);
        assert!(rounded.rounded > 0 && plain.rounded == 0);
        // Of weights that are trained, it is let go before their gradients need as much.
        let more = rounded.total() - plain.total();
        let is_beside = more == rounded.rounded;
        assert_eq!(is_beside, !adapter.is_empty(), "{more} of {}", rounded.rounded);
        let text = plan(&adapted(&keys("bf16"), true)).to_string();
        assert!(text.contains("memory  at most about ") && text.contains("tokenizer "), "{text}");
        assert!(text.contains("sampling's copy of the weights in bf16"), "{text}");
        assert_eq!(text.contains("cache, copy and backward pass in turn"), !is_beside, "{text}");
    }
}

#[test]
fn an_adapter_to_start_from_is_read_for_its_sizes() {
    let temp = tempfile::tempdir().unwrap();
    let model = recipes::builtin::Builtin::find("atom").unwrap().config();
    let save = |name: &str, model: &engine::ModelConfig| {
        let config = engine::AdapterConfig {
            rank: 3,
            alpha: 6.0,
            scaling: engine::Scaling::Rank,
            targets: vec![engine::Module::Q, engine::Module::Down],
        };
        let device = candle::Device::Cpu;
        let dtype = candle::DType::F32;
        let mut ones = |_: &str, shape: &[usize]| Ok(candle::Tensor::ones(shape, dtype, &device)?);
        let adapter = engine::Adapter::new(config, model, &mut ones, dtype, &device);
        let folder = temp.path().join(name);
        adapter.unwrap().save(&folder, "atom").unwrap();
        format!("adapter = {{ from = {:?} }}", folder.display().to_string())
    };
    let said = plan(&adapted(&save("own", &model), true));
    let parameters = 3 * 2 * (64 + 128);
    assert_eq!(said.checkpoint, 12 * parameters);
    assert_eq!(said.stages[0].memory.reference, 4 * parameters, "it is not zero at the start");
    let text = said.to_string();
    assert!(text.contains("rank 3, alpha 6, scale 2.0000, q_proj, down_proj, as the"), "{text}");
    // Of another base.
    let other = engine::ModelConfig { hidden_size: 64, ..model };
    let recipe = adapted(&save("other", &other), true);
    let error = Sizes::of(&recipe, &SearchPath::of_recipe(Path::new("")), None).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("model.adapter.from: "), "{error}");
    assert!(error.contains("q_proj.lora_A.weight") && error.contains("[3, 32]"), "{error}");
    assert!(error.contains("[3, 64]"), "{error}");
}
