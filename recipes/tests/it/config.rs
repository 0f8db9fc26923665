//! Recipes: what is read, what is refused, and in which words.

use recipes::config::{Layer, Recipe, Stage, load};
use rewards::WeightingConfig;
use rewards::weighting::{Select, Ties};

pub(crate) const PLAIN: &str = r#"
seed = 3
[model]
path = "builtin:arithmetic"
[data]
train = { kind = "arithmetic", count = 500, min_digits = 1, max_digits = 2, operations = ["+"] }
held_out = { kind = "split", count = 50 }
[[stage]]
kind = "sft"
steps = 10
batch = 8
schedule = { kind = "constant", lr = 1e-3 }
[[stage]]
steps = 20
kind = "rl"
batch = 4
group_size = 8
[stage.rollout]
max_new_tokens = 16
[stage.schedule]
kind = "constant"
lr = 1e-4
"#;

pub(crate) fn read(layers: &[&str], overrides: &[&str]) -> Result<Recipe, String> {
    let layers: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(i, text)| Layer::text(&format!("layer{i}.toml"), text))
        .collect();
    let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
    load(&layers, &overrides).map(|loaded| loaded.recipe).map_err(|e| format!("{e:#}"))
}

/// What is said of the plain recipe with an overlay and overrides, without the shown text.
#[track_caller]
pub(crate) fn told(overlay: &str, overrides: &[&str]) -> Vec<String> {
    let error = read(&[PLAIN, overlay], overrides).expect_err(overlay);
    let is_shown = |line: &str| line.trim_start().starts_with('|') || line.contains(" | ");
    error.lines().filter(|line| !line.is_empty() && !is_shown(line)).map(str::to_owned).collect()
}

pub(crate) fn rl(recipe: &Recipe) -> &recipes::config::RlStage {
    recipe
        .stages
        .iter()
        .find_map(|stage| match stage {
            Stage::Rl(stage) => Some(stage),
            Stage::Sft(_) => None,
        })
        .expect("the recipe has an rl stage")
}

#[track_caller]
fn refused(overlay: &str, overrides: &[&str], expected: &str) {
    let error = read(&[PLAIN, overlay], overrides).expect_err("refused");
    assert_eq!(error.trim(), expected.trim());
}

#[test]
fn resolved_recipe_reads_back_equal() {
    let recipe = read(&[PLAIN], &[]).unwrap();
    assert_eq!(recipe.name, "layer0");
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::parse("other.toml", &text).unwrap(), recipe, "{text}");
    let plain: Recipe = toml::from_str(&text).unwrap();
    assert_eq!(plain, recipe, "plain serde reads it as well");
}

#[test]
fn later_layers_and_overrides_go_over_earlier_ones() {
    let overlay = "[stage.rl]\nbatch = 5\n[stage.rl.rollout]\ntemperature = 0.7\n[model]\npath='x'";
    let recipe =
        read(&[PLAIN, overlay], &["stage.1.steps=3", "stage.sft.batch=2", "name=a-b"]).unwrap();
    assert_eq!(recipe.name, "a-b");
    assert_eq!(recipe.model.path, "x");
    assert_eq!((rl(&recipe).steps.get(), rl(&recipe).batch.get()), (3, 5));
    assert_eq!(rl(&recipe).rollout.max_new_tokens.get(), 16);
    assert!((rl(&recipe).rollout.temperature - 0.7).abs() < 1e-12);
    assert_eq!(recipe.stages[0].settings().batch(), 2);
    assert_eq!(recipe.total_steps(), 13);
    assert_eq!(recipe.stage_at(9), Some((0, 9)));
    assert_eq!(recipe.stage_at(10), Some((1, 0)));
    assert_eq!(recipe.stage_at(13), None);
}

#[test]
fn an_override_need_not_repeat_the_kind_that_a_table_has_by_default() {
    let recipe = read(&[PLAIN], &["stage.rl.optim.weight_decay=0.5"]).unwrap();
    assert!((rl(&recipe).optim.weight_decay() - 0.5).abs() < 1e-12);
    let error = read(&[PLAIN], &["stage.rl.optim.wait_decay=0.5"]).unwrap_err();
    assert!(error.contains("did you mean `weight_decay`?"), "{error}");
}

#[test]
fn a_table_of_another_kind_is_replaced() {
    let overlay = "[data.train]\nkind = 'jsonl'\npath = 'rows.jsonl'";
    let recipe = read(&[PLAIN, overlay], &[]).unwrap();
    assert!(matches!(
        recipe.data.train,
        recipes::config::Train::One(recipes::config::Source::Jsonl(_))
    ));
}

#[test]
fn a_typo_names_place_and_nearest_key() {
    refused(
        "\nsede = 4",
        &[],
        "
layer1.toml:2:1: unknown key `sede`
did you mean `seed`?
  |
2 | sede = 4
  | ^^^^",
    );
}

#[test]
fn a_typo_inside_a_stage_or_a_tagged_table_keeps_its_place() {
    let text = PLAIN.replace("group_size", "groupsize");
    let error = read(&[&text], &[]).unwrap_err();
    assert!(error.starts_with("layer0.toml:17:1: unknown key `groupsize`"), "{error}");
    assert!(error.contains("\ndid you mean `group_size`?\n"), "{error}");
    let text = PLAIN.replace("lr = 1e-4", "lrr = 1e-4");
    let error = read(&[&text], &[]).unwrap_err();
    assert!(error.starts_with("layer0.toml:22:1: unknown key `lrr`"), "{error}");
    let text = PLAIN.replace("kind = \"rl\"", "kind = \"rll\"");
    let error = read(&[&text], &[]).unwrap_err();
    assert!(error.starts_with("layer0.toml:15:8: stage.1.kind: unknown value `rll`"), "{error}");
}

#[test]
fn a_former_name_is_answered_with_the_present_one() {
    let stare = "stage.rl.weighting.kind=stare";
    for (overrides, old, new) in [
        (vec!["stage.rl.loss.policy.kind=gspo"], "policy", "policy_loss"),
        (vec!["stage.rl.rewards=[{ kind = 'math', policy = 'eval' }]"], "policy", "strictness"),
        (vec![stare, "stage.rl.weighting.weight=2.0"], "weight", "reweight_w"),
        (vec![stare, "stage.rl.weighting.attenuation=0.5"], "attenuation", "reweight_m"),
        (vec![stare, "stage.rl.weighting.adaptive={ weight_max = 2 }"], "weight_max", "w_max"),
        (
            vec![stare, "stage.rl.weighting.adaptive={ attenuation_min = 0 }"],
            "attenuation_min",
            "m_min",
        ),
    ] {
        let error = read(&[PLAIN], &overrides).unwrap_err();
        assert!(error.contains(&format!("unknown key `{old}`")), "{error}");
        assert!(error.contains(&format!("did you mean `{new}`?")), "{error}");
    }
}

#[test]
fn an_override_is_named() {
    refused(
        "",
        &["stage.rl.stpes=3"],
        "--set stage.rl.stpes=3: unknown key `stpes` in `stage.1`\ndid you mean `steps`?",
    );
    refused(
        "",
        &["stage.2.steps=3"],
        "--set stage.2.steps=3: there is no stage 2; the stages are 0 (sft), 1 (rl)",
    );
    refused("", &["seed"], "--set seed: expected key.path=value");
    let error = read(&[PLAIN], &["stage.0.steps=0"]).unwrap_err();
    assert!(
        error.starts_with("--set stage.0.steps=0: expected a whole number, 1 or more, got 0"),
        "{error}"
    );
}

#[test]
fn an_override_inside_a_weighting_needs_no_kind() {
    let stare = "stage.rl.weighting.kind=stare";
    let overrides = [stare, "stage.rl.weighting.select.share=0.2"];
    let recipe = read(&[PLAIN], &overrides).unwrap();
    let Stage::Rl(stage) = recipe.stages.last().unwrap() else { panic!("the last stage is rl") };
    let WeightingConfig::Stare(weighting) = &stage.weighting else { panic!("stare was asked for") };
    assert_eq!(weighting.select, Select::Quantile { share: 0.2, ties: Ties::Exact });
    let error = read(&[PLAIN], &[stare, "stage.rl.weighting.select.share=3"]).unwrap_err();
    assert!(error.contains("select.share: expected 0 to 1, got 3"), "{error}");
}

#[test]
fn text_that_is_not_toml_has_its_place() {
    let error = read(&["seed = 1\nmodel = [\n"], &[]).unwrap_err();
    assert!(error.starts_with("layer0.toml:"), "{error}");
    let error = read(&[PLAIN, "seed = = 2"], &[]).unwrap_err();
    assert!(error.starts_with("layer1.toml:1:"), "{error}");
}

#[test]
fn a_greedy_evaluation_has_nothing_besides() {
    refused(
        "",
        &["eval.greedy=true", "eval.sampling.temperature=0"],
        "--set eval.greedy=true: eval.greedy: eval.sampling.temperature = 0 is greedy already; remove `greedy` or set a temperature",
    );
}

/// The weights would be in bf16, too: an update at a usual learning rate is less than their
/// rounding.
#[test]
fn training_in_bf16_on_cuda_is_refused_with_the_way_out() {
    let error = read(&[PLAIN], &["model.device=cuda", "model.dtype=bf16"]).unwrap_err();
    assert!(error.contains("model.dtype: `bf16` on CUDA keeps the weights"), "{error}");
    assert!(error.contains("train with `f32`"), "{error}");
    for (device, dtype) in [("cpu", "bf16"), ("cpu", "f32")] {
        let set = [format!("model.device={device}"), format!("model.dtype={dtype}")];
        read(&[PLAIN], &[&set[0], &set[1]]).unwrap();
    }
}

#[test]
fn a_temperature_that_overflows_is_refused_before_the_run() {
    for key in ["eval.sampling.temperature", "stage.rl.rollout.temperature"] {
        let error = read(&[PLAIN], &[&format!("{key}=1e-40")]).unwrap_err();
        assert!(error.contains("expected 0 (greedy), or 0.000001 to 1000000"), "{error}");
    }
}

#[test]
fn contradictions_are_told_all_at_once() {
    refused(
        "",
        &["stage.rl.group_size=1", "stage.rl.rollout.temperature=0", "data.held_out.count=500"],
        "
3 mistakes in the recipe

--set stage.rl.group_size=1: stage.1.group_size: a group of one has no advantage over its siblings; use 2 or more, or `algorithm = \"reinforce++\"`, which compares over the whole step

--set stage.rl.rollout.temperature=0: stage.1.rollout.temperature: greedy siblings are all the same and teach nothing; use a temperature above 0

--set data.held_out.count=500: data.held_out.count: 500 of 500 problems leave none to train on",
    );
}

#[test]
fn more_completions_than_anybody_samples_are_refused() {
    for overlay in ["stage.rl.group_size=9223372036854775807", "stage.rl.batch=9223372036854775807"]
    {
        let error = read(&[PLAIN], &[overlay]).expect_err("refused");
        let bound = "expected batch * group_size of at most 16777216 completions";
        assert!(error.contains(bound), "{error}");
    }
}

#[test]
fn k1_in_the_loss_is_refused_with_its_reason() {
    refused(
        "",
        &["stage.rl.loss.kl.kind=k1"],
        "--set stage.rl.loss.kl.kind=k1: stage.1.loss.kl: the gradient of `k1` in the loss has expectation 0, so it \
         adds noise and does not pull towards the reference; use `k3` or `k2` there, or `reward_kl`",
    );
    for kind in ["k2", "k3"] {
        read(&[PLAIN], &[&format!("stage.rl.loss.kl.kind={kind}")]).unwrap();
    }
}

#[test]
fn countdown_names_every_setting_that_is_wrong() {
    let overlay = "[data.train]\nkind = 'countdown'\ncount = 40\nnumbers = 1\nmax_number = 50\n\
                   attempts = 65\nsolutions = 65\nmisses = 1.5\nretries = -0.1";
    refused(
        overlay,
        &[],
        "
7 mistakes in the recipe

layer0.toml:7:38: data.held_out.count: 50 of 40 problems leave none to train on
  |
7 | held_out = { kind = \"split\", count = 50 }
  |                                      ^^

layer1.toml:4:11: data.train.numbers: expected 2 to 6, got 1
  |
4 | numbers = 1
  |           ^

layer1.toml:5:14: data.train.max_number: expected 1 to 49, got 50
  |
5 | max_number = 50
  |              ^^

layer1.toml:6:12: data.train.attempts: expected 1 to 64, got 65
  |
6 | attempts = 65
  |            ^^

layer1.toml:7:13: data.train.solutions: expected 1 to 64, got 65
  |
7 | solutions = 65
  |             ^^

layer1.toml:8:10: data.train.misses: expected a share, from 0 to 1, got 1.5
  |
8 | misses = 1.5
  |          ^^^

layer1.toml:9:11: data.train.retries: expected a share, from 0 to 1, got -0.1
  |
9 | retries = -0.1
  |           ^^^^",
    );
}

#[test]
fn a_group_of_one_needs_an_advantage_over_the_step() {
    let one = ["stage.rl.group_size=1", "stage.rl.algorithm=reinforce++"];
    let recipe = read(&[PLAIN], &one).unwrap();
    assert_eq!(rl(&recipe).group_size.get(), 1);
    let refused = |more: &[&str], words: &str| {
        let error = read(&[PLAIN], &[&["stage.rl.group_size=1"], more].concat()).unwrap_err();
        assert!(error.contains(words), "{more:?}: {error}");
    };
    for algorithm in ["grpo", "rloo", "dr-grpo", "gpg", "reinforce++-baseline", "stare", "gspo"] {
        let setting = format!("stage.rl.algorithm={algorithm}");
        refused(&[&setting], "stage.1.group_size: a group of one");
    }
    refused(&[], "reinforce++");
    refused(&[one[1], "stage.rl.batch=1"], "stage.1.batch");
    let dynamic = "stage.rl.dynamic_sampling={metric=\"reward\"}";
    refused(&[one[1], dynamic], "stage.1.dynamic_sampling");
}

#[test]
fn a_key_beside_the_kind_of_a_template_is_unknown() {
    for (kind, more) in [("chat", ""), ("none", ""), ("plain", ", text = \"{problem}\"")] {
        let table = |rest: &str| format!("prompt.template = {{ kind = \"{kind}\"{more}{rest} }}");
        assert!(read(&[PLAIN, &table("")], &[]).is_ok(), "{kind}");
        let error = read(&[PLAIN, &table(", enable_thinking = false")], &[]).unwrap_err();
        assert!(error.starts_with("layer1.toml:1:"), "{error}");
        assert!(error.contains("unknown key `enable_thinking`"), "{error}");
    }
}

#[test]
fn template_args_are_part_of_the_recipe() {
    let overlay =
        "[prompt.template_args]\nenable_thinking = true\ntools = [{ name = \"add\", n = 2.5 }]\n";
    let recipe = read(&[PLAIN, overlay], &["prompt.template_args.enable_thinking=false"]).unwrap();
    let args = serde_json::Value::Object(recipe.prompt.template_args.clone());
    let want =
        serde_json::json!({ "enable_thinking": false, "tools": [{ "name": "add", "n": 2.5 }] });
    assert_eq!(args, want);
    assert_eq!(Recipe::parse("again", &recipe.to_toml().unwrap()).unwrap().prompt, recipe.prompt);
    assert!(!read(&[PLAIN], &[]).unwrap().to_toml().unwrap().contains("template_args"));
}

#[test]
fn template_args_that_no_template_can_take_are_refused_by_name() {
    for (arg, reason) in [
        ("messages = []", "`template_args.messages` is the conversation"),
        ("add_generation_prompt = false", "`template_args.add_generation_prompt` is set by what"),
        ("bos_token = \"x\"", "`template_args.bos_token` is a token of the tokenizer"),
        ("range = 3", "`template_args.range` is a function of the language"),
        ("\"two words\" = 3", "`template_args.two words` is no name in a template"),
        ("day = 2024-07-26", "`template_args.day` holds a date"),
        (
            "a = { b = [nan] }",
            "`template_args.a` holds a date, a null or a number that is not finite",
        ),
        ("tools = \"add\"", "`template_args.tools` is a list of tables"),
        ("documents = [1]", "`template_args.documents` is a list of tables"),
    ] {
        let error = read(&[PLAIN, &format!("[prompt.template_args]\n{arg}\n")], &[]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let plain = "[prompt]\ntemplate = { kind = \"none\" }\ntemplate_args = { a = 1 }\n";
    let error = read(&[PLAIN, plain], &[]).unwrap_err();
    assert!(error.contains("`template_args` needs `template = { kind = \"chat\" }`"), "{error}");
}

#[test]
fn a_key_of_another_library_is_answered_with_ours() {
    for (set, line) in [
        ("stage.0.learning_rate=1e-6", "`learning_rate` (HF) is `stage.sft.schedule.lr` here"),
        ("learning_rate=1e-6", "`learning_rate` (HF) is `stage.rl.schedule.lr` here"),
        ("stage.rl.num_generations=8", "`num_generations` (TRL) is `stage.rl.group_size` here"),
        ("stage.rl.loss.policy_loss.epsilon=0.2", "is `stage.rl.loss.policy_loss.clip_low` here"),
        ("stage.rl.kl_coef=0.1", "is `stage.rl.reward_kl.coefficient` here"),
        ("save_total_limit=2", "`save_total_limit` (HF) is `checkpoint.keep` here"),
        ("eval.eval_steps=2", "`eval_steps` (HF) is `eval.every` here"),
        ("stage.rl.ppo_epochs=2", "`ppo_epochs` (verl) is `stage.rl.epochs` here"),
    ] {
        let error = read(&[PLAIN], &[set]).unwrap_err();
        assert!(error.contains(line), "{error}");
        assert!(!error.contains("did you mean"), "{error}");
    }
    let error = read(&[PLAIN], &["report_to=x"]).unwrap_err();
    assert!(!error.contains("did you mean") && !error.contains(" here"), "{error}");
    let error = read(&[PLAIN], &["stage.rl.algorithm=GRPO"]).unwrap_err();
    assert!(error.contains("did you mean `grpo`?"), "{error}");
}

#[test]
fn a_value_of_another_type_is_answered_with_the_values() {
    let error = read(&[PLAIN], &["stage.0.activations=true"]).unwrap_err();
    assert!(error.contains(r#"`"keep"`, `"recompute"` or `"auto"`"#), "{error}");
}
