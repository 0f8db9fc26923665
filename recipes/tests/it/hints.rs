//! What a mistake in a recipe is answered with: the key that is meant, at its place.

use crate::config::{PLAIN, read};

/// What is said about an override.
#[track_caller]
fn said(set: &str) -> String {
    read(&[PLAIN], &[set]).expect_err(set)
}

/// What is said about a further file.
#[track_caller]
fn of_overlay(overlay: &str) -> String {
    read(&[PLAIN, overlay], &[]).expect_err(overlay)
}

#[test]
fn a_hint_names_the_key_of_the_table_that_the_wrong_key_is_in() {
    for (set, meant) in [
        ("eval.sampling.max_tokens=5", "eval.sampling.max_new_tokens"),
        ("eval.max_tokens=5", "eval.sampling.max_new_tokens"),
        ("eval.sampling.max_completion_length=5", "eval.sampling.max_new_tokens"),
        ("stage.rl.rollout.max_tokens=5", "stage.rl.rollout.max_new_tokens"),
        ("stage.rl.max_tokens=5", "stage.rl.rollout.max_new_tokens"),
        ("max_tokens=5", "stage.rl.rollout.max_new_tokens"),
        ("stage.sft.learning_rate=0.1", "stage.sft.schedule.lr"),
        ("stage.rl.rollout.n=8", "stage.rl.group_size"),
        ("rollout.n=8", "stage.rl.group_size"),
        ("actor_rollout_ref.rollout.n=8", "stage.rl.group_size"),
        ("prompt.system_prompt=x", "prompt.system"),
    ] {
        let error = said(set);
        let name = set.split('=').next().unwrap().rsplit('.').next().unwrap();
        let line = error.lines().nth(1).unwrap_or_default();
        assert!(line.contains(name) && line.ends_with(&format!(" is `{meant}` here")), "{error}");
    }
    let set = "[[eval.set]]\nbench = 'aime24'\nsampling = { max_tokens = 3 }\nmax_tokens = 3";
    let error = of_overlay(set);
    let meant = "is `eval.set.0.sampling.max_new_tokens` here";
    assert_eq!(error.matches(meant).count(), 2, "{error}");
    let rewards = |reward: &str| said(&format!("stage.rl.rewards=[{reward}]"));
    let process = rewards("{ kind = 'process', command = ['x'], timeout = 5 }");
    assert!(process.contains("is `stage.1.rewards.0.deadline_s` here"), "{process}");
    let http = rewards("{ kind = 'http', url = 'http://x', timeout = 5 }");
    assert!(http.contains("is `stage.1.rewards.0.timeout_s` here"), "{http}");
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_its_own() {
    for (set, line) in [
        ("stage.rl.seed=3", "`seed` belongs at the top of a recipe, before its tables"),
        (
            "stage.rl.temperature=1",
            "`temperature` belongs to another table: `stage.rl.rollout.temperature`",
        ),
        ("algorithm=grpo", "`algorithm` belongs to another table: `stage.rl.algorithm`"),
        ("stage.rl.clip_low=1", "`stage.rl.loss.policy_loss.clip_low`"),
    ] {
        assert!(said(set).contains(line), "{}", said(set));
    }
}

#[test]
fn names_that_users_of_other_libraries_write_are_all_answered() {
    // Of TRL's GRPOConfig and what it extends.
    let trl = "output_dir num_train_epochs max_steps per_device_train_batch_size \
        per_device_eval_batch_size gradient_accumulation_steps learning_rate weight_decay \
        adam_beta1 adam_beta2 adam_epsilon max_grad_norm lr_scheduler_type warmup_ratio warmup_steps \
        logging_steps save_steps save_total_limit save_strategy eval_steps eval_strategy bf16 fp16 \
        report_to run_name gradient_checkpointing resume_from_checkpoint push_to_hub deepspeed \
        num_generations max_completion_length max_prompt_length generation_batch_size \
        steps_per_generation top_entropy_quantile repetition_penalty use_vllm \
        vllm_gpu_memory_utilization beta num_iterations epsilon epsilon_high delta \
        importance_sampling_level reward_weights scale_rewards loss_type mask_truncated_completions \
        sync_ref_model log_completions shuffle_dataset use_liger_kernel model_name_or_path \
        dataset_name reward_funcs temperature top_p top_k min_p seed";
    // Of Unsloth and PEFT.
    let unsloth = "load_in_4bit max_seq_length fast_inference max_lora_rank lora_r lora_alpha \
        target_modules gpu_memory_utilization use_gradient_checkpointing model_name";
    // Of verl, with the tables that they are in there.
    let verl = "data.train_files data.val_files data.train_batch_size data.max_prompt_length \
        data.max_response_length data.filter_overlong_prompts \
        actor_rollout_ref.actor.ppo_mini_batch_size \
        actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu actor_rollout_ref.actor.optim.lr \
        actor_rollout_ref.actor.use_kl_loss actor_rollout_ref.actor.kl_loss_coef \
        actor_rollout_ref.actor.kl_loss_type actor_rollout_ref.actor.entropy_coeff \
        actor_rollout_ref.actor.clip_ratio actor_rollout_ref.actor.clip_ratio_low \
        actor_rollout_ref.actor.clip_ratio_high actor_rollout_ref.actor.loss_agg_mode \
        actor_rollout_ref.rollout.n actor_rollout_ref.rollout.temperature \
        actor_rollout_ref.rollout.tensor_model_parallel_size \
        actor_rollout_ref.rollout.gpu_memory_utilization algorithm.adv_estimator \
        algorithm.kl_ctrl.kl_coef algorithm.norm_adv_by_std_in_grpo algorithm.gamma \
        trainer.total_epochs trainer.n_gpus_per_node trainer.nnodes trainer.save_freq \
        trainer.test_freq trainer.project_name trainer.experiment_name trainer.logger \
        trainer.val_before_train trainer.default_local_dir custom_reward_function";
    let names = [trl, unsloth].into_iter().flat_map(str::split_whitespace);
    let places = names.map(|name| format!("stage.rl.{name}"));
    for key in places.chain(verl.split_whitespace().map(str::to_owned)) {
        let error = said(&format!("{key}=7"));
        let hint = error.lines().nth(1).unwrap_or_default();
        let name = key.rsplit('.').next().unwrap();
        assert!(hint.contains(name) && hint.starts_with('`'), "{error}");
        assert!(!error.contains("did you mean"), "{error}");
    }
    // What nobody has is not.
    let error = said("stage.rl.no_such_thing=7");
    assert!(error.lines().nth(1).unwrap().contains("stearin schema"), "{error}");
}

#[test]
fn a_hint_is_short() {
    for set in ["stage.rl.stpes=3", "stage.rl.foo=3", "foo=3", "eval.foo=1", "data.foo=1"] {
        let error = said(set);
        assert!(error.len() < 250 && error.lines().count() < 3, "{error}");
    }
    let expected = "expected one of `every`, `keep`, `best`";
    assert!(said("checkpoint.foo=1").contains(expected), "a short list is shown");
}

const RUN: &str = r#"
model = { path = "builtin:atom" }
data.train = { kind = "arithmetic", count = 50, min_digits = 1, max_digits = 1, operations = ["+"] }
"#;

#[test]
fn keys_for_a_table_in_braces_are_sent_into_the_braces_or_below_a_header() {
    let keys = "steps = 2\nbatch = 4\ngroup_size = 2\nschedule = { kind = 'constant', lr = 1 }\n";
    let stage = format!("[[stage]]\nkind = 'rl'\n{keys}");
    let of = |text: &str| read(&[&format!("{RUN}{text}\n{stage}")], &[]).unwrap_err();
    for (text, line) in [
        (
            "[model.adapters.early]\nfrom = 'x'",
            "write `adapters.early = { ... }` within the braces, or write `[model]` and its keys below",
        ),
        ("model.adapters.early.from = 'x'", "write `adapters.early.from = ...` within the braces"),
        (
            "[eval]\nsampling = { top_k = 3 }\n[eval.sampling.more.still]\nx = 3",
            "write `more.still = { ... }` within the braces, or write `[eval.sampling]` and its keys",
        ),
        ("[model]\nbase = 'f32'", "keep one of them, with the keys of both"),
        ("seed = 3\n[seed.x]\ny = 3", "`seed` is set already, to another value than a table"),
    ] {
        let error = of(text);
        assert!(error.starts_with("layer0.toml:") && error.contains(line), "{error}");
        assert!(!error.contains("dotted key"), "{error}");
    }
    // Both ways that are offered are taken.
    let named = "path = 'builtin:atom'\nadapter = 'lora'\n";
    let data = RUN.lines().last().unwrap();
    let braces =
        "model = { path = 'builtin:atom', adapter = 'lora', adapters.early = { from = 'x' } }";
    read(&[&format!("{braces}\n{data}\n{stage}")], &[]).unwrap();
    let header = format!("{data}\n[model]\n{named}[model.adapters.early]\nfrom = 'x'\n{stage}");
    read(&[&header], &[]).unwrap();
}

#[test]
fn the_name_of_an_adapter_as_a_reference_is_told_how_to_be_one() {
    let named = "[model]\nadapter = 'lora'\nadapters.early = { from = 'x' }\n";
    let kl = "stage.rl.loss.kl=k3";
    let line = "write `reference = { kind = \"adapter\", name = \"early\" }`";
    for set in ["stage.rl.reference=early", "stage.rl.reference.kind=early"] {
        let error = read(&[PLAIN, named], &[kl, set]).unwrap_err();
        assert!(error.contains(line), "{error}");
        let error = read(&[PLAIN], &[kl, set]).unwrap_err();
        assert!(!error.contains("name = "), "there is no such adapter: {error}");
    }
    let set = "stage.rl.reference={ kind = \"adapter\", name = \"early\" }";
    read(&[PLAIN, named], &[kl, set]).unwrap();
}

#[test]
fn a_table_in_place_of_the_list_of_stages_is_read_as_a_stage() {
    let keys = "steps = 2\nbatch = 4\ngroup_size = 2\nschedule = { kind = 'constant', lr = 1 }\n";
    let of = |stage: &str| read(&[&format!("{RUN}{stage}\n{keys}")], &[]);
    assert!(of("[[stage]]\nkind = 'rl'").is_ok());
    for (stage, line) in [
        ("[stage]\nkind = 'rl'", "write `[[stage]]` in place of `[stage]`"),
        ("[stage.0]\nkind = 'rl'", "`stage.0` sets keys of a stage that is there already"),
        ("[stage.rl]", "begin a stage by a line `[[stage]]`, with `kind = \"rl\"`"),
        ("[[stage]]\nkind = 'rl'\n[stage.0]", "write its keys below `[[stage]]` itself"),
        (
            "[[stage]]\nkind = 'rl'\n[stage.rl]",
            "`[stage.rl]` sets keys of a stage of an earlier file",
        ),
        ("[[stage]]\nkind = 'rl'\n[stage]", "each stage begins with `[[stage]]`"),
    ] {
        let error = of(stage).unwrap_err();
        assert!(error.starts_with("layer0.toml:") && error.contains(line), "{error}");
        assert!(!error.contains(" mistakes "), "its keys are read: {error}");
    }
    // Mistakes in its keys are told, too.
    let error = of("[stage]\nkind = 'rl'\nslts = 3").unwrap_err();
    assert!(error.contains("2 mistakes") && error.contains("did you mean `slots`?"), "{error}");
    let dotted = read(&[&format!("{RUN}stage.0.steps = 3")], &[]).unwrap_err();
    assert!(dotted.contains("layer0.toml:4:1: `stage.0` sets keys of a stage"), "{dotted}");
}

#[test]
fn an_overlay_or_override_has_to_say_which_stage() {
    let expected = "`stage` alone names no stage: write `stage.1` in its place; the stages are 0 \
                    (sft), 1 (rl)";
    assert_eq!(said("stage.steps=3"), format!("--set stage.steps=3: {expected}"));
    let error = of_overlay("[stage]\nsteps = 3\nbtch = 4");
    assert!(error.contains(&format!("layer1.toml:1:2: {expected}")), "{error}");
    assert!(error.contains("unknown key `btch` in `stage.1`"), "{error}");
}

#[test]
fn an_algorithm_in_place_of_a_kind_hides_no_other_mistake() {
    let text = PLAIN.replace("kind = \"rl\"", "kind = \"grpo\"\ngroup_sze = 3\nslots = 0");
    let error = read(&[&text], &[]).unwrap_err();
    for line in [
        "3 mistakes in the recipe",
        "stage.1.kind: unknown value `grpo`, expected `sft` or `rl`\nwrite `kind = \"rl\"` and \
         `algorithm = \"grpo\"`",
        "unknown key `group_sze` in `stage.1`",
        "stage.1.slots: expected a whole number, 1 or more, got 0",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    // Of no known name the keys tell the kind.
    for kind in ["kind = \"reinforcement\"", ""] {
        let text = PLAIN.replace("kind = \"rl\"", &format!("{kind}\ngroup_sze = 3"));
        let error = read(&[&text], &[]).unwrap_err();
        assert!(error.contains("2 mistakes") && error.contains("`group_size`?"), "{error}");
    }
    let gpu = said("model.device=gpu");
    assert!(gpu.contains("`gpu` (PyTorch) is \"cuda\"") && !gpu.contains("did you"), "{gpu}");
    let ppo = said("stage.rl.algorithm=ppo");
    assert!(ppo.contains("`ppo` (TRL) with a value model does not exist here"), "{ppo}");
}

#[test]
fn values_out_of_range_are_told_with_the_mistakes_of_shape() {
    let overlay = "\
        [eval]\n\
        every = 0\n\
        sampling = { top_p = 1.5, top_k = 0 }\n\
        [stage.rl]\n\
        bach = 3\n\
        schedule = { lr = -1.0 }\n\
        rollout = { temperature = -1 }\n";
    let error = of_overlay(overlay);
    let expected = [
        "6 mistakes in the recipe",
        "layer1.toml:2:9: eval.every: got 0: write \"off\" to switch it off",
        "layer1.toml:3:22: eval.sampling.top_p: expected above 0 and at most 1, got 1.5",
        "layer1.toml:3:35: eval.sampling.top_k: got 0: write \"off\" to switch it off",
        "layer1.toml:5:1: unknown key `bach` in `stage.1`",
        "layer1.toml:6:19: stage.1.schedule.lr: expected a positive number, got -1",
        "layer1.toml:7:27: stage.1.rollout.temperature: expected 0 (greedy), or 0.000001 to 1000000, \
         got -1",
    ];
    let found: Vec<_> =
        error.lines().filter(|line| line.contains("layer1") || line.contains("mistakes")).collect();
    assert_eq!(found, expected, "{error}");
    // A problem of what stands in for a mistake is none of the recipe.
    let warmup = read(&[PLAIN], &["stage.rl.steps=0", "stage.rl.schedule.warmup=5"]).unwrap_err();
    assert_eq!(warmup, "--set stage.rl.steps=0: expected a whole number, 1 or more, got 0");
    let updates = read(&[PLAIN], &["stage.rl.batch=x", "stage.rl.updates_per_step=4"]).unwrap_err();
    assert!(updates.starts_with("--set stage.rl.batch=x: expected"), "{updates}");
    let warmup = said("stage.rl.schedule.warmup=50");
    assert!(warmup.contains("a warm-up of 50 never ends in 20 updates"), "{warmup}");
}

#[test]
fn what_an_evaluation_takes_from_a_stage_is_told_where_it_is_written() {
    let overlay = "[[eval.set]]\nbench = 'aime24'\n[stage.rl.rollout]\ntop_p = 3\nmax_tokens = 4\ntop_k = 'x'";
    let error = of_overlay(overlay);
    for line in [
        "3 mistakes",
        "layer1.toml:4:9: stage.1.rollout.top_p: expected",
        "layer1.toml:5:1: unknown key `max_tokens` in `stage.1.rollout`",
        "layer1.toml:6:9: stage.1.rollout.top_k: expected",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
}

#[test]
fn a_stage_that_cannot_be_read_is_not_said_to_be_missing() {
    let stage = PLAIN.find("[[stage]]").unwrap();
    let text = format!("{}[[stage]]\nkind = \"grpo\"\nnum_generations = 4\n", &PLAIN[..stage]);
    let error = read(&[&text], &[]).unwrap_err();
    assert!(error.contains("missing key `batch`"), "{error}");
    assert!(!error.contains("there is none"), "{error}");
    let none = format!("stage = []\n{}", &PLAIN[..stage]);
    let error = read(&[&none], &[]).unwrap_err();
    assert!(error.contains("stage: there is none"), "{error}");
}
