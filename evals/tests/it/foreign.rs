//! Runs of other trainers: the numbers of their files, what is absent, and damage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use evals::run::{Foreign, GroupEntry, Level, Node, Problem, SampleGroup, StepTokens, flag};
use rewards::Outcome::{Correct, Wrong};

fn peers(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/peers").join(name)
}

fn open(root: &Path) -> Foreign {
    let mut run = Foreign::find(root).unwrap();
    assert!(run.poll() && !run.poll(), "what is unchanged is not read again");
    run
}

/// A copy of files that may be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    fn walk(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() {
                walk(&path, &to);
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    walk(&peers(name), folder.path());
    folder
}

fn values(run: &Foreign, key: &str) -> Vec<(u64, f64)> {
    run.metrics().points(key).collect()
}

/// A group with its texts, its columns and its tree.
fn shown(run: &Foreign, entry: &GroupEntry) -> (SampleGroup, StepTokens, Vec<Node>) {
    let samples = run.samples();
    let tokens = samples.tokens(entry.step).unwrap().read().unwrap();
    (samples.group(entry).unwrap(), tokens, samples.tree(entry).unwrap())
}

fn said(run: &Foreign, part: &str) -> Problem {
    let problems = run.run().problems;
    let found = problems.iter().find(|problem| problem.to_string().contains(part));
    found.unwrap_or_else(|| panic!("{part}: {problems:?}")).clone()
}

#[test]
fn trl_has_its_curves_under_our_names_and_its_groups() {
    let run = open(&peers("trl"));
    assert_eq!(run.origin().to_string(), "trl");
    assert_eq!(values(&run, "actor/entropy"), [(10, 0.75), (20, 0.5)]);
    assert_eq!(values(&run, "critic/rewards/mean"), [(10, 0.5), (20, 1.0)]);
    assert_eq!(values(&run, "reward/part/accuracy_reward"), [(10, 0.375), (20, 0.75)]);
    assert_eq!(values(&run, "rewards/accuracy_reward/std"), [(10, 0.1), (20, 0.1)]);
    assert_eq!(values(&run, "eval_reward"), [(20, 0.9)]);
    // Not finite is another thing than absent.
    assert!(values(&run, "actor/grad_norm")[0].1.is_nan());
    assert_eq!(values(&run, "actor/grad_norm")[1], (20, 1.5));

    let index = run.index();
    assert_eq!(
        index.iter().map(|one| (one.step, one.group, one.n)).collect::<Vec<_>>(),
        [(10, 0, 3), (10, 1, 3), (20, 0, 3), (20, 1, 3)]
    );
    assert_eq!(index[0].reward, [1.5, 0.0, 1.5]);
    assert_eq!((index[0].advantage.clone(), index[0].correct), (vec![0.5, -1.0, 0.5], 2));
    assert_eq!(index[0].lengths, ["It is 5", "It is 7", "It must be 5 then"].map(str::len));
    assert!(index[0].id.starts_with("What is 2+3?") && index[0].entropy.is_none());
    let (group, tokens, tree) = shown(&run, &index[0]);
    assert_eq!((group.problem.as_str(), group.gold.as_str()), ("What is 2+3?", "5"));
    assert_eq!(group.completions[1].outcome, Wrong);
    assert_eq!(group.completions[0].parts.get("format_reward"), Some(&0.5));
    assert_eq!(group.completions[0].metrics.get("length_note"), Some(&7.0));
    // Words: "It", then two ways to go on.
    assert_eq!((tree[0].text.as_str(), tree[0].len), ("It", 1));
    let best = tree.iter().find(|node| node.text == " 5").unwrap();
    assert_eq!((best.value, best.siblings.clone()), (1.5, vec![0]));
    assert!(tokens.log_prob.iter().chain(&tokens.weight).all(|one| one.is_nan()));
    let (chat, _, _) = shown(&run, &index[2]);
    assert_eq!(
        (chat.problem.as_str(), chat.completions[0].text.as_str()),
        ("What is 2+3?", "It is 5")
    );
    assert_eq!(chat.prompt, "system\nBe brief.\nuser\nWhat is 2+3?\n");
    assert_eq!(index[0].id, index[2].id, "a problem is found again in another step");
    let absent = run.absent();
    assert!(absent.iter().all(|line| line.level == Level::Advice && line.step == 20));
    assert!(absent[0].cause.contains("there are no tokens"));
    assert_eq!(run.run().problems, []);
}

#[test]
fn verl_has_groups_by_their_sample_and_its_own_keys() {
    let run = open(&peers("verl"));
    assert_eq!(run.origin().to_string(), "verl");
    assert_eq!(values(&run, "actor/entropy"), [(1, 0.5), (2, 0.25)]);
    assert_eq!(values(&run, "val-core/add/acc/mean@2"), [(0, 0.0), (2, 0.5)]);
    assert!(values(&run, "actor/grad_norm")[0].1.is_nan());
    assert!(values(&run, "note").is_empty());
    // What it logged counts, and not what the completions say.
    assert_eq!(values(&run, "critic/rewards/mean"), [(1, 0.25), (2, 0.5)]);
    assert_eq!(values(&run, "critic/score/mean"), [(1, 4.0 / 6.0), (2, 4.0 / 6.0)]);
    let index = run.index();
    assert_eq!(index.len(), 4);
    // Step 1: rollout 2 is wrong; step 2: rollout 1.
    assert_eq!(index[0].outcomes, [Correct, Correct, Wrong]);
    assert_eq!(index[2].outcomes, [Correct, Wrong, Correct]);
    assert_eq!(index[0].reward, [1.0, 1.0, -0.5]);
    let (group, _, tree) = shown(&run, &index[1]);
    assert_eq!((group.problem.as_str(), group.gold.as_str()), ("Add 4 and 4.", "8"));
    assert_eq!(group.completions[2].answer.as_deref(), Some("9"));
    assert_eq!(group.completions[2].metrics.get("acc"), Some(&0.0));
    assert_eq!(tree[0].text, "I add.\nThe answer is");
    assert!(index[0].advantage.is_empty() && index[0].kept);

    assert_eq!(run.evaluations()["validation"], [0, 2]);
    let lines = run.evaluation("validation", 2);
    assert_eq!((lines.len(), lines[0].n, lines[0].correct), (1, 2, 1));
    assert_eq!(lines[0].votes, [Some(0), Some(1)]);
    assert!(lines[0].classes[0].correct && lines[0].classes[0].answer == "2");
    assert_eq!(run.evaluation("validation", 0)[0].correct, 0);
    assert!(run.evaluation("validation", 1).is_empty() && run.evaluation("no", 2).is_empty());
    // The folder of rollouts alone is a run as well, with means of its completions.
    let alone = open(&peers("verl/rollout"));
    assert_eq!(values(&alone, "critic/rewards/mean"), [(1, 0.5), (2, 0.5)]);
    assert_eq!(run.run().problems, []);
}

#[test]
fn exported_tokens_have_their_columns_and_quadrants() {
    let run = open(&peers("prime-rl-exports"));
    assert_eq!(run.origin().to_string(), "prime-rl");
    let index = run.index();
    assert_eq!(index.len(), 1, "a step that is being written is left out");
    assert_eq!((index[0].step, index[0].n, index[0].reward.clone()), (3, 2, vec![1.0, 0.0]));
    assert_eq!((index[0].lengths.clone(), index[0].source.as_str()), (vec![3, 4], "add"));
    assert_eq!(index[0].entropy, Some(0.5));
    let (group, tokens, tree) = shown(&run, &index[0]);
    assert_eq!(
        (group.prompt.as_str(), group.completions[0].text.as_str()),
        ("11 12 13 ", "21 22 2 ")
    );
    assert_eq!(tokens.token, [21, 22, 2, 21, 23, 24, 2]);
    assert_eq!(tokens.log_prob, [-0.25, -0.5, -0.125, -0.25, -2.0, -1.0, -0.125]);
    assert_eq!(tokens.train_log_prob.get(4), Some(&-2.125));
    assert_eq!(tokens.importance.as_ref().unwrap().get(1), Some(&0.875));
    // A number that was not finite is none.
    assert!(tokens.importance.as_ref().unwrap()[0].is_nan());
    assert!(tokens.phi_sum.iter().chain(&tokens.weight).all(|one| one.is_nan()));
    assert_eq!(tokens.completion_advantage, [0.5, -0.5]);
    // A fifth of three and of four tokens: the least likely of each sign.
    let high: Vec<_> = tokens.flags.iter().map(|flags| flags & flag::SURPRISING != 0).collect();
    assert_eq!(high, [false, true, false, false, true, false, false]);
    let masked = flag::GENERATED | flag::CLIPPED_BELOW | flag::LEFT_OUT;
    assert_eq!(tokens.flags[6], masked);
    assert_eq!((tree[0].text.as_str(), tree[0].entropy), ("21 ", Some(0.5)));
    assert_eq!(values(&run, "rollout_corr/log_prob_gap_mean"), [(3, 0.125)]);
    assert_eq!(values(&run, "actor/entropy"), [(3, 0.5)]);
    assert_eq!(values(&run, "response_length/mean"), [(3, 3.5)]);
    let quadrant =
        |name: &str| values(&run, &format!("quadrant/quantile/{name}/tokens"))[0].1 * 7.0;
    let each = ["u_plus", "l_plus", "u_minus", "l_minus"].map(|name| quadrant(name).round());
    assert_eq!(each.to_vec(), [2.0, 1.0, 3.0, 1.0]);
    assert_eq!(values(&run, "surprisal/mean"), [(3, 4.25 / 7.0)]);
    let bins = run.metrics().keys().iter().filter(|key| key.starts_with("surprisal/histogram/"));
    let shares: f64 = bins.map(|key| values(&run, key)[0].1).sum();
    assert!((shares - 1.0).abs() < 1e-12, "{shares}");
    assert!(values(&run, "quadrant/critical/u_plus/tokens").is_empty());
    assert!(run.absent()[0].cause.contains("sum behind Φ"));
    assert_eq!(run.run().problems, []);
}

#[test]
fn traces_are_folded_with_what_was_learnt_of_them_later() {
    let run = open(&peers("prime-rl-traces"));
    let index = run.index();
    let steps: Vec<_> = index.iter().map(|one| (one.step, one.n, one.kept)).collect();
    // The evaluation is no group; what was never learnt from is of the step that it came at.
    assert_eq!(steps, [(8, 2, true), (8, 1, false), (9, 1, true)]);
    assert_eq!((index[0].reward.clone(), index[0].source.as_str()), (vec![2.0, 0.0], "add-env"));
    assert_eq!((index[0].advantage.clone(), index[1].advantage.len()), (vec![0.5, -0.5], 0));
    let (group, tokens, tree) = shown(&run, &index[0]);
    assert_eq!((group.problem.as_str(), group.gold.as_str()), ("What is 2+2?", "4"));
    assert_eq!(group.prompt, "system\nBe brief.\nuser\nWhat is 2+2?\n");
    assert_eq!(group.completions[0].parts.get("style"), Some(&0.5));
    assert_eq!(group.completions[1].finish, evals::run::SampleEnd::Length);
    assert_eq!(tokens.token, [31, 32, 31, 33, 34, 36]);
    assert_eq!(tokens.log_prob[..3], [-0.5, -0.25, -0.5]);
    assert_eq!(tokens.train_log_prob[..2], [-0.25, -0.25]);
    // The newest annotation counts, and one that is cut short does not.
    assert_eq!(tokens.entropy[..2], [0.75, 0.25]);
    assert!(tokens.entropy[2..].iter().all(|one| one.is_nan()));
    assert_eq!((tree[0].text.as_str(), tree[0].len), ("31 ", 1));
    assert_eq!(values(&run, "reward/mean"), [(8, 1.0), (9, 2.0)]);
    assert_eq!(values(&run, "optim/grad_norm"), [(8, 0.5)]);
    assert!(values(&run, "inference/running").is_empty());
    assert_eq!(run.run().problems, []);
}

#[test]
fn an_unknown_version_says_which_is_known_and_shows_what_it_can() {
    let folder = copy("prime-rl-exports");
    let file = folder.path().join("token_exports/step_3/rank_0.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"schema_version\":1", "\"schema_version\":2")).unwrap();
    let run = open(folder.path());
    let problem = said(&run, "expected schema_version 1, got 2");
    assert_eq!((problem.line, run.run().problems.len()), (Some(1), 1));
    assert!(problem.act.contains("only version 1 is known"));
    assert_eq!(run.index()[0].n, 2);

    let folder = copy("prime-rl-traces");
    let file = folder.path().join("monitors/file/traces/stream/00001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"version\":1", "\"version\":7")).unwrap();
    let run = open(folder.path());
    said(&run, "expected version 1, got 7");
    assert_eq!(run.index().len(), 3);
}

#[test]
fn damaged_files_are_told_of_and_the_rest_is_shown() {
    let folder = copy("trl");
    let table = folder.path().join("completions/completions_00010.parquet");
    let whole = fs::read(&table).unwrap();
    for end in (0..whole.len()).step_by(331) {
        fs::write(&table, &whole[..end]).unwrap();
        let run = open(folder.path());
        assert_eq!(run.index().iter().map(|one| one.step).collect::<Vec<_>>(), [20, 20]);
        said(&run, "damaged or not whole");
    }
    for at in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&table, bytes).unwrap();
        let run = open(folder.path());
        run.index().iter().for_each(|entry| drop(run.samples().tree(entry)));
    }
    let state = folder.path().join("checkpoint-20/trainer_state.json");
    fs::write(&state, &fs::read(&state).unwrap()[..300]).unwrap();
    said(&open(folder.path()), "not JSON");

    let folder = copy("verl");
    let file = folder.path().join("rollout/1.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{}\n[1]\n{{\"input\": \"x\"}}\n\0\0\n", &text[..text.len() - 30]))
        .unwrap();
    let run = open(folder.path());
    assert_eq!(run.index().iter().filter(|one| one.step == 1).map(|one| one.n).sum::<usize>(), 5);
    for (part, line) in [("at byte", 6), ("an object", 7), ("an `output`", 8)] {
        assert_eq!(said(&run, part).line, Some(line), "{part}");
    }
    fs::write(&file, &text[..text.len() - 30]).unwrap();
    let mut run = run;
    assert!(run.poll(), "a file that changed is read again");
    assert_eq!(said(&run, "ends in the middle").line, Some(6));
    assert_eq!(run.index().iter().filter(|one| one.step == 1).count(), 2);

    let folder = copy("prime-rl-traces");
    let chunk = folder.path().join("monitors/file/traces/stream/00000.jsonl.zst");
    let whole = fs::read(&chunk).unwrap();
    for at in (0..whole.len()).step_by(7) {
        fs::write(&chunk, &whole[..at]).unwrap();
        let mut run = Foreign::find(folder.path()).unwrap();
        run.poll();
        assert!(!run.index().is_empty(), "the other chunk is read");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&chunk, bytes).unwrap();
        let mut run = Foreign::find(folder.path()).unwrap();
        run.poll();
    }
}

#[cfg(unix)]
#[test]
fn links_and_folders_in_place_of_files_are_not_followed() {
    let folder = copy("verl");
    let file = folder.path().join("rollout/1.jsonl");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(peers("verl/rollout/1.jsonl"), &file).unwrap();
    assert!(open(folder.path()).index().iter().all(|entry| entry.step == 2));
    let folder = copy("trl");
    let table = folder.path().join("completions/completions_00010.parquet");
    fs::remove_file(&table).unwrap();
    fs::create_dir(&table).unwrap();
    said(&open(folder.path()), "expected a file, got a folder");
}

#[test]
fn a_run_that_grows_keeps_its_generation_and_one_that_is_rewritten_does_not() {
    let folder = copy("verl");
    let second = folder.path().join("rollout/2.jsonl");
    let text = fs::read_to_string(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let mut run = open(folder.path());
    let generation = run.run().generation();
    fs::write(&second, &text).unwrap();
    assert!(run.poll());
    assert_eq!((run.index().len(), run.run().generation()), (4, generation));
    let entry = run.index().pop().unwrap();
    fs::write(&second, text.lines().take(1).collect::<String>() + "\n").unwrap();
    assert!(run.poll());
    assert_eq!(run.run().generation(), generation + 1);
    let error = run.samples().group(&entry).unwrap_err();
    assert!(error.reason.contains("not as it was"), "{error}");
}

#[test]
fn traces_that_come_later_are_taken_up_as_if_they_had_been_there() {
    let folder = copy("prime-rl-traces");
    let files = ["traces/stream/00001.jsonl", "metrics.jsonl"];
    let files = files.map(|name| folder.path().join("monitors/file").join(name));
    let whole = open(folder.path());
    for file in &files {
        let text = fs::read(file).unwrap();
        for cut in (0..text.len()).step_by(43) {
            fs::write(file, &text[..cut]).unwrap();
            let mut run = Foreign::find(folder.path()).unwrap();
            run.poll();
            let generation = run.run().generation();
            fs::write(file, &text).unwrap();
            assert!(run.poll());
            assert_eq!((run.index(), run.run().generation()), (whole.index(), generation), "{cut}");
            assert_eq!(run.run().problems, []);
            assert_eq!(values(&run, "reward/mean"), values(&whole, "reward/mean"));
        }
    }
}

#[test]
fn other_folders_are_no_runs() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Foreign::find(folder.path()).is_none());
    fs::write(folder.path().join("1.jsonl"), "{\"a\": 1}\n").unwrap();
    fs::write(folder.path().join("notes.jsonl"), "{\"step\": 1, \"data\": {}}\n").unwrap();
    fs::create_dir(folder.path().join("completions")).unwrap();
    assert!(Foreign::find(folder.path()).is_none());
    assert!(Foreign::find(&folder.path().join("nothing")).is_none());
    // Two folders of rollouts are two runs.
    let folder = copy("verl");
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::copy(peers("verl/rollout/1.jsonl"), folder.path().join("other/1.jsonl")).unwrap();
    assert!(Foreign::find(folder.path()).is_none());
    assert!(Foreign::find(&folder.path().join("other")).is_some());
}
