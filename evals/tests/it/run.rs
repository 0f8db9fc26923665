//! The record, written and read back, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use engine::text::KeepSpecialTokens;
use evals::Record;
use evals::attempt::GradedGroup;
use evals::run::{
    Folder, GroupEntry, HealthLine, Learnt, Lines, MetricTable, Problem, Run, SampleEnd, Sampled,
    SamplesConfig, Step, StepTokens, Tail, TokenFile, TokensAbout, flag, read_index,
};

use crate::attempt::graded;
use crate::toy;

/// Columns of the tokens of some groups.
struct Columns {
    advantages: Vec<f64>,
    weights: Vec<f64>,
    train: Vec<f32>,
    reference: Vec<f32>,
    new: Vec<f32>,
    old: Vec<f32>,
    flags: Vec<u8>,
}

impl Columns {
    fn of(groups: &[GradedGroup]) -> Self {
        let completions: Vec<_> = groups.iter().flat_map(|group| &group.completions).collect();
        let log_probs: Vec<f32> =
            completions.iter().flat_map(|one| one.trajectory.log_probs.clone()).collect();
        Self {
            advantages: (0..completions.len()).map(|at| at as f64 / 4.0 - 1.0).collect(),
            weights: (0..log_probs.len()).map(|at| 1.0 + (at % 2) as f64).collect(),
            reference: log_probs.iter().map(|one| 2.0 * one).collect(),
            new: log_probs.iter().map(|one| 3.0 * one).collect(),
            old: log_probs.iter().map(|one| 4.0 * one).collect(),
            flags: vec![flag::GENERATED | flag::SELECTED; log_probs.len()],
            train: log_probs,
        }
    }

    fn borrow(&self) -> Learnt<'_> {
        Learnt {
            advantages: &self.advantages,
            weights: &self.weights,
            train_log_probs: &self.train,
            reference: &self.reference,
            new_log_probs: &self.new,
            old_log_probs: &self.old,
            flags: &self.flags,
            ..Learnt::default()
        }
    }
}

fn about(step: u64) -> TokensAbout {
    TokensAbout {
        step,
        stage: "rl".into(),
        temperature: 0.7,
        threshold_plus: Some(1.5),
        threshold_minus: None,
        tokenizer_sha256: "ab12".into(),
    }
}

fn every_step() -> SamplesConfig {
    SamplesConfig { every: std::num::NonZeroU64::new(1).unwrap(), ..SamplesConfig::default() }
}

/// Records two groups that were learnt from and one that was not, at each of `steps`.
fn record(root: &Path, groups: &[GradedGroup], steps: std::ops::RangeInclusive<u64>) {
    let (kept, discarded) = groups.split_at(2);
    let (columns, text) = (Columns::of(kept), toy::text());
    let hidden = text.hidden_tokens(&KeepSpecialTokens::default()).unwrap();
    let mut record = Record::new(Box::new(Folder::new(root)));
    for step in steps {
        let step = Step {
            groups: kept,
            discarded,
            learnt: columns.borrow(),
            text: &text,
            hidden: &hidden,
            about: &about(step),
        };
        assert_eq!(record.samples(&every_step(), &step).unwrap(), Sampled::Kept);
    }
    record.sync().unwrap();
    fs::write(root.join("metrics.jsonl"), "{\"step\":1,\"stage\":\"rl\",\"a\":1.5}\n").unwrap();
}

#[test]
fn what_was_written_is_read_back_field_by_field() {
    let root = tempfile::tempdir().unwrap();
    let groups = graded(4);
    record(root.path(), &groups, 1..=3);
    let samples = Run::open(root.path()).unwrap().samples().unwrap();
    assert!(samples.problems.is_empty());
    assert_eq!(samples.steps().into_iter().collect::<Vec<_>>(), [(1, 3), (2, 3), (3, 3)]);
    let columns = Columns::of(&groups[..2]);
    let mut file = samples.tokens(2).unwrap();
    assert_eq!(file.about(), &about(2));
    let all = file.read().unwrap();
    let entries: Vec<_> = samples.index.iter().filter(|entry| entry.step == 2).collect();
    for (number, (entry, group)) in entries.iter().zip(&groups).enumerate() {
        let is_kept = number < 2;
        let lengths = group.completions.iter().map(|one| one.trajectory.completion.len());
        assert_eq!((entry.group, &entry.id, entry.kept), (number, &group.problem.id, is_kept));
        assert_eq!(entry.lengths, lengths.collect::<Vec<_>>());
        assert_eq!((entry.n, entry.correct), (8, group.num_correct()));
        assert_eq!((&entry.reward, &entry.stage), (&group.rewards(), &"rl".to_owned()));
        let own = if is_kept { &columns.advantages[8 * number..8 * number + 8] } else { &[][..] };
        assert_eq!(entry.advantage, own);
        let line = samples.group(entry).unwrap();
        assert_eq!((&line.problem, &line.gold), (&group.problem.problem, &group.problem.answer));
        assert_eq!((line.kept, line.group, line.step), (is_kept, number, 2));
        assert!(line.prompt.ends_with('='), "{}", line.prompt);
        for (sibling, (read, wrote)) in line.completions.iter().zip(&group.completions).enumerate()
        {
            assert_eq!((read.sibling, &read.text), (sibling, &wrote.text));
            assert_eq!((&read.answer, read.outcome), (&wrote.judged.answer, wrote.judged.outcome));
            assert_eq!(read.finish, SampleEnd::from(wrote.trajectory.finish));
            assert_eq!(
                read.parts.iter().map(|(name, value)| (name.clone(), *value)).collect::<Vec<_>>(),
                wrote.judged.parts
            );
            assert_eq!(read.advantage, own.get(sibling).copied());
            tokens_are(&all, entry, sibling, wrote);
        }
    }
    columns_are(&all, &columns);
}

/// The columns of what was learnt are those of the first groups, and NaN for the others.
#[track_caller]
fn columns_are(all: &StepTokens, columns: &Columns) {
    assert_eq!(all.prompt_start.len(), 4);
    let learnt = columns.train.len();
    assert_eq!(all.flags[..learnt], columns.flags);
    assert_eq!(all.train_log_prob[..learnt], columns.train);
    for (found, expected) in [
        (&all.ref_log_prob, &columns.reference),
        (&all.new_log_prob, &columns.new),
        (&all.old_log_prob, &columns.old),
    ] {
        let found = found.as_ref().unwrap();
        assert_eq!(&found[..learnt], expected);
        assert!(found.len() > learnt && found[learnt..].iter().all(|one| one.is_nan()));
    }
    assert!(
        all.weight[..learnt]
            .iter()
            .zip(&columns.weights)
            .all(|(a, b)| f64::from(*a).to_bits() == b.to_bits())
    );
    assert!(
        all.weight[learnt..].iter().chain(&all.train_log_prob[learnt..]).all(|one| one.is_nan())
    );
    assert!(all.flags[learnt..].iter().all(|own| *own == flag::GENERATED | flag::LEFT_OUT));
    assert_eq!((&all.importance, &all.penalty), (&None, &None));
}

/// The tokens of a completion are those of its trajectory, and their texts make up its text.
#[track_caller]
fn tokens_are(
    all: &StepTokens,
    entry: &GroupEntry,
    sibling: usize,
    wrote: &evals::attempt::Completion,
) {
    let at = entry.completions[0] as usize + sibling;
    let rows = all.completion_start[at] as usize..all.completion_start[at + 1] as usize;
    assert!(rows.start as u64 >= entry.rows[0] && rows.end as u64 <= entry.rows[1]);
    assert_eq!(all.completion_group[at] as usize, entry.group);
    let own = &wrote.trajectory;
    assert_eq!(all.token[rows.clone()], own.completion);
    assert_eq!(all.log_prob[rows.clone()], own.log_probs);
    assert_eq!(all.entropy[rows.clone()], own.entropies);
    assert_eq!(all.phi_sum[rows.clone()], own.phi_sums);
    let text = toy::text();
    let hidden = text.hidden_tokens(&KeepSpecialTokens::default()).unwrap();
    let mut from = 0;
    for (&token, &end) in own.completion.iter().zip(&all.text_end[rows]) {
        let piece = text.decode_without(&[token], &hidden).unwrap();
        assert_eq!(&wrote.text[from..end as usize], piece);
        from = end as usize;
    }
    assert_eq!(from, wrote.text.len());
}

#[test]
fn a_part_of_a_column_is_that_part_of_the_whole() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=1);
    let samples = Run::open(root.path()).unwrap().samples().unwrap();
    let mut file = samples.tokens(1).unwrap();
    let all = file.read().unwrap();
    let rows = samples.index[1].rows;
    let rows = rows[0] as usize..rows[1] as usize;
    assert_eq!(file.ids("token", rows.clone()).unwrap(), all.token[rows.clone()]);
    assert_eq!(file.numbers("entropy", rows.clone()).unwrap(), all.entropy[rows.clone()]);
    assert_eq!(file.flags(rows.clone()).unwrap(), all.flags[rows.clone()]);
    assert_eq!(file.places("completion_start", 1..3).unwrap(), all.completion_start[1..3]);
    let count = all.token.len();
    assert_eq!((file.len("token"), file.len("alt_token")), (Some(count), None));
    for (name, rows) in [("token", 0..count + 1), ("alt_token", 0..1), ("entropy", 0..1)] {
        let problem = file.ids(name, rows).unwrap_err();
        assert!(problem.reason.contains(name) && !problem.act.is_empty(), "{problem}");
    }
}

#[test]
fn safetensors_opens_the_columns() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=1);
    let bytes = fs::read(root.path().join("samples/step-000001.safetensors")).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let ours = tokens(root.path()).unwrap().read().unwrap();
    let entropy = theirs.tensor("entropy").unwrap();
    assert_eq!(
        (entropy.shape(), entropy.dtype()),
        (&[ours.entropy.len()][..], safetensors::Dtype::F32)
    );
    let values =
        entropy.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    assert!(values.eq(ours.entropy.iter().copied()));
}

fn tokens(root: &Path) -> Result<TokenFile, Problem> {
    TokenFile::open(&root.join("samples/step-000001.safetensors"))
}

/// A file of samples with these bytes.
fn damaged(bytes: &[u8]) -> Result<StepTokens, Problem> {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("samples")).unwrap();
    fs::write(root.path().join("samples/step-000001.safetensors"), bytes).unwrap();
    tokens(root.path())?.read()
}

#[test]
fn a_file_of_columns_cut_anywhere_is_a_problem_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=1);
    let whole = fs::read(root.path().join("samples/step-000001.safetensors")).unwrap();
    assert!(damaged(&whole).is_ok());
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let cuts = (0..header + 16).chain((header..whole.len()).step_by(97)).chain([whole.len() - 1]);
    for cut in cuts {
        let problem = damaged(&whole[..cut]).unwrap_err();
        assert!(problem.file.ends_with("step-000001.safetensors"), "{problem}");
        assert!(!problem.reason.is_empty() && !problem.act.is_empty(), "{problem}");
    }
    assert!(damaged(&[&whole[..], b"x"].concat()).is_err());
    for length in [1 << 60, u64::MAX, u64::MAX - 7, 0] {
        let mut long = whole.clone();
        long[..8].copy_from_slice(&length.to_le_bytes());
        assert!(damaged(&long).unwrap_err().reason.contains("header"));
    }
}

#[test]
fn columns_that_do_not_fit_are_a_problem() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=1);
    let whole = fs::read(root.path().join("samples/step-000001.safetensors")).unwrap();
    let size = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&whole[8..8 + size]).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header = header.clone();
        change(&mut header);
        let text = header.to_string();
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &whole[8 + size..]];
        damaged(&bytes.concat()).unwrap_err()
    };
    let overlap = with(&|header| {
        header["text_end"]["data_offsets"] = header["token"]["data_offsets"].clone();
    });
    assert!(overlap.reason.contains("safetensors header"), "{overlap}");
    let huge = with(&|header| header["token"]["shape"] = serde_json::json!([u64::MAX, 8]));
    assert!(huge.reason.contains("safetensors header"), "{huge}");
    let other = with(&|header| header["token"]["dtype"] = "F32".into());
    assert!(other.reason.contains("`token`: expected U32"), "{other}");
    let future = with(&|header| header["__metadata__"]["format"] = "3".into());
    assert!(future.reason.contains("expected format 2"), "{future}");
    let unnamed = with(&|header| {
        let fields = header.as_object_mut().unwrap();
        let own = fields.remove("flags").unwrap();
        fields.insert("marks".into(), own);
    });
    assert!(unnamed.reason.contains("`flags`"), "{unnamed}");
    // The last place of the layout points behind the tokens.
    let at = header["completion_start"]["data_offsets"][1].as_u64().unwrap() as usize;
    let mut layout = whole.clone();
    layout[8 + size + at - 8] ^= 1;
    assert!(damaged(&layout).unwrap_err().reason.contains("completion_start"));
}

#[test]
fn an_index_that_points_beyond_its_file_is_a_problem() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=1);
    let path = root.path().join("samples/step-000001.jsonl");
    let samples = Run::open(root.path()).unwrap().samples().unwrap();
    let (entry, text) = (&samples.index[2], fs::read(&path).unwrap());
    fs::write(&path, &text[..text.len() - 1]).unwrap();
    assert!(samples.group(entry).unwrap_err().reason.contains("points at bytes"));
    for bytes in [[0, u64::MAX], [9, 3], [3, 9]] {
        assert!(samples.group(&GroupEntry { bytes, ..entry.clone() }).is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(samples.group(entry).unwrap_err().act.contains("thinned"));
    fs::create_dir(&path).unwrap();
    assert!(samples.group(entry).unwrap_err().reason.contains("got a folder"));
}

#[test]
fn a_second_line_of_a_group_is_a_problem_and_the_first_counts() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=2);
    let path = root.path().join("samples/index.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let whole = read_index(root.path()).unwrap();
    assert!(whole.problems.is_empty());
    fs::write(&path, text.clone() + &text.replace("\"n\":", "\"n\":1")).unwrap();
    let twice = read_index(root.path()).unwrap();
    assert_eq!(twice.lines, whole.lines);
    let [problem] = &twice.problems[..] else { panic!("one problem: {:?}", twice.problems) };
    assert!(problem.to_string().contains("6 lines are of groups that have a line before them"));
}

fn log(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("metrics.jsonl");
    fs::write(&path, text).unwrap();
    (root, path)
}

fn rows(count: u64) -> String {
    let row = |step| format!("{{\"step\":{step},\"stage\":\"rl\",\"a\":{step}.5}}\n");
    (1..=count).map(row).collect::<Vec<_>>().concat()
}

#[test]
fn cut_anywhere_a_tail_sees_a_prefix_and_then_the_rest() {
    let text = rows(140).into_bytes();
    assert!(text.len() > 4096);
    let steps = |lines: &[serde_json::Value]| -> Vec<u64> {
        lines.iter().map(|line| line["step"].as_u64().unwrap()).collect()
    };
    for cut in text.len() - 4096..=text.len() {
        let (_root, path) = log(&text[..cut]);
        let mut tail = Tail::new(&path, 1 << 20);
        let first = tail.poll(7).unwrap();
        let whole = text[..cut].split(|byte| *byte == b'\n').count() as u64 - 1;
        assert_eq!(steps(&first.lines), (1..=whole).collect::<Vec<_>>());
        fs::write(&path, &text).unwrap();
        let rest = tail.poll(7).unwrap();
        assert_eq!(steps(&rest.lines), (whole + 1..=140).collect::<Vec<_>>());
        assert!(rest.at_end && !rest.restarted && rest.from == cut as u64);
        assert!(first.problems.kept().is_empty() && rest.problems.kept().is_empty());
    }
}

#[test]
fn a_tail_begins_again_where_the_log_was_cut_or_written_again() {
    let (_root, path) = log(rows(9).as_bytes());
    let mut tail: Tail<serde_json::Value> = Tail::new(&path, 1 << 20);
    assert_eq!(tail.poll(0).unwrap().lines.len(), 9);
    fs::write(&path, rows(4)).unwrap();
    let polled = tail.poll(0).unwrap();
    assert!(polled.restarted && polled.lines.len() == 4 && polled.from == 0);
    // As long as before, which a length does not show.
    fs::write(&path, rows(4).replace("rl", "lr")).unwrap();
    assert_eq!(tail.poll(0).unwrap().lines.len(), 0);
    let polled = tail.poll(1).unwrap();
    assert!(polled.restarted && polled.lines[0]["stage"] == "lr");
    fs::remove_file(&path).unwrap();
    let polled = tail.poll(1).unwrap();
    assert!(polled.restarted && polled.lines.is_empty());
    fs::write(&path, rows(2)).unwrap();
    assert_eq!(tail.poll(1).unwrap().lines.len(), 2);
}

#[test]
fn a_table_has_the_values_of_its_log_and_follows_it() {
    let text = "{\"step\":0,\"stage\":\"start\",\"b\":2}\n{\"step\":1,\"stage\":\"rl\",\"a\":-0.1,\"b\":null}\n";
    let (_root, path) = log(text.as_bytes());
    let mut table = MetricTable::new(&path);
    assert!(table.poll(0).unwrap());
    fs::write(
        &path,
        format!("{text}{{\"step\":3,\"a\":1e-300,\"c\":\"x\",\"d\":{{\"e\":[1]}}}}\n"),
    )
    .unwrap();
    assert!(table.poll(0).unwrap());
    assert_eq!(
        (table.steps(), table.keys()),
        (&[0, 1, 3][..], &["b", "a", "c", "d"].map(String::from)[..])
    );
    assert_eq!((table.stage(0), table.stage(1), table.stage(2)), ("start", "rl", ""));
    assert_eq!(table.points("a").collect::<Vec<_>>(), [(1, -0.1), (3, 1e-300)]);
    assert_eq!((table.get(0, "a"), table.get(0, "b")), (None, Some(2.0)));
    assert!(table.get(1, "b").unwrap().is_nan(), "it was measured, and is not finite");
    assert_eq!((table.get(2, "b"), table.get(2, "c"), table.get(2, "none")), (None, None, None));
    fs::write(&path, rows(1)).unwrap();
    table.poll(0).unwrap();
    assert_eq!((table.steps(), table.keys().len()), (&[1][..], 1));
}

/// What is said of a log whose second of three lines is this.
fn said_of(line: &[u8]) -> Vec<Problem> {
    let text = [b"{\"step\":1,\"a\":1}\n", line, b"\n{\"step\":9,\"a\":2}\n"].concat();
    let (_root, path) = log(&text);
    let table = MetricTable::read(&path).unwrap();
    assert_eq!(table.steps(), [1, 9], "the others are read");
    let mut tail: Tail<serde_json::Map<String, serde_json::Value>> = Tail::new(&path, 1 << 20);
    let mut lines = 0;
    loop {
        let polled = tail.poll(0).unwrap();
        lines += polled.lines.len();
        if polled.at_end {
            break;
        }
    }
    assert!(lines >= 2);
    table.problems()
}

#[test]
fn a_broken_line_is_named_and_the_others_are_read() {
    for (line, reason) in [
        (&b"{\"step\":2,\"a\":"[..], "EOF"),
        (b"", "an empty line"),
        (b"{\"step\":2}{\"step\":3}", "trailing"),
        (b"[2, 1.5]", "an object"),
        (b"{\"a\":1}", "expected a `step`"),
        (b"{\"step\":-2}", "-2"),
        (b"{\"step\":\"2\"}", "string"),
        (b"{\"step\":1}", "expected a step after 1, got 1"),
        (b"{\"step\":2,\"\xff\":1}", "unicode"),
        (&[0; 300], "NUL bytes"),
        (&vec![b'['; 200_000], "an object"),
    ] {
        let problems = said_of(line);
        assert_eq!((problems.len(), problems[0].line), (1, Some(2)), "{problems:?}");
        assert!(problems[0].reason.contains(reason), "{}", problems[0]);
        assert!(problems[0].file.ends_with("metrics.jsonl") && !problems[0].act.is_empty());
    }
    let deep = [b"{\"step\":2,\"a\":".to_vec(), vec![b'['; 100_000]].concat();
    assert!(said_of(&deep)[0].reason.contains("EOF"), "{:?}", said_of(&deep));
}

#[test]
fn a_line_of_seventy_megabytes_is_left_out_and_held_by_nobody() {
    let long = vec![b'x'; 70 << 20];
    let problems = said_of(&long);
    assert!(problems[0].reason.contains("longer line"), "{}", problems[0]);
    // Nothing follows it, so it is not even a line yet.
    let (_root, path) = log(&long);
    assert_eq!(MetricTable::read(&path).unwrap().problems(), []);
}

#[test]
fn many_broken_lines_are_counted_and_bytes_that_are_no_utf8_replaced() {
    let (_root, path) = log(&b"{\n".repeat(100_000));
    let table = MetricTable::read(&path).unwrap();
    assert_eq!(table.problems().len(), 21);
    assert!(table.problems()[20].reason.starts_with("99980 lines after"));
    let line = b"{\"step\":1,\"name\":\"a\",\"level\":\"alarm\",\"cause\":\"\xff\",\"act\":\"b\",\"later\":1}\n";
    let (_root, path) = log(line);
    let polled = Tail::<HealthLine>::new(&path, 1 << 20).poll(0).unwrap();
    assert_eq!((polled.lines.len(), polled.replaced, polled.problems.kept().len()), (1, 1, 0));
    assert_eq!(polled.lines[0].cause, "\u{fffd}");
}

#[test]
fn ten_thousand_keys_of_any_name_are_columns() {
    let names = ["__proto__", "constructor", "<img src=x onerror=alert(1)>", "step ", ""];
    let keys: Vec<_> = (0..10_000)
        .map(|at| names.get(at).map_or(format!("k{at}"), |name| (*name).to_owned()))
        .collect();
    let line = |step: u64| {
        let fields = keys.iter().map(|key| format!(",{}:{step}", serde_json::json!(key)));
        format!("{{\"step\":{step}{}}}\n", fields.collect::<String>())
    };
    let (_root, path) = log((1..20).map(line).collect::<String>().as_bytes());
    let table = MetricTable::read(&path).unwrap();
    assert_eq!((table.len(), table.keys()), (19, &keys[..]));
    assert_eq!(table.get(18, "__proto__"), Some(19.0));
}

#[test]
fn a_directory_says_what_is_wrong_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let refused = |path: &Path| Run::open(path).unwrap_err().reason;
    assert!(refused(&root.join("none")).contains("got nothing"));
    assert!(refused(root).contains("a folder without one"));
    fs::write(root.join("run.json"), "{\"format\":9}").unwrap();
    assert!(refused(&root.join("run.json")).contains("got a file"));
    let found = |text: &str| {
        fs::write(root.join("run.json"), text).unwrap();
        let run = Run::open(root).unwrap();
        assert!(run.facts.is_none() && run.samples().unwrap().index.is_empty());
        assert!(run.metrics().unwrap().is_empty() && run.evaluations().0.is_empty());
        run.problems.into_iter().next().unwrap()
    };
    let future = found("{\"format\":9,\"commit\":\"abc\"}");
    assert_eq!(future.reason, "expected format 2, got 9");
    assert!(future.act.ends_with("commit abc"), "{future}");
    assert!(found("{}").reason.contains("got none"));
    assert!(found("[]").reason.contains("expected an object"));
    assert!(found("{\"format\":2,").reason.contains("not JSON"));
    assert!(found("").reason.contains("not JSON"));
    assert!(found("\0\0\0").reason.contains("not JSON"));
    fs::remove_file(root.join("run.json")).unwrap();
    fs::create_dir(root.join("run.json")).unwrap();
    assert!(Run::open(root).unwrap().problems[0].reason.contains("got a folder"));
    // Old runs are named as such.
    fs::remove_dir(root.join("run.json")).unwrap();
    fs::write(root.join("environment.json"), "{}").unwrap();
    assert!(Run::open(root).unwrap().problems[0].reason.contains("an earlier version"));
    for name in ["metrics.jsonl", "health.jsonl", "samples/index.jsonl"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let run = Run::open(root).unwrap();
    for problem in
        [run.metrics().unwrap_err(), run.health().unwrap_err(), run.samples().unwrap_err()]
    {
        assert!(problem.reason.contains("got a folder"), "{problem}");
    }
}

#[test]
#[cfg(unix)]
fn links_and_files_that_may_not_be_read_are_problems() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (root, path) = log(rows(2).as_bytes());
    let elsewhere = root.path().join("elsewhere.jsonl");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(MetricTable::read(&path).unwrap_err().reason.contains("a link"));
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o0)).unwrap();
    // Whoever may read everything sees the lines.
    match MetricTable::read(&elsewhere) {
        Err(problem) => assert!(problem.act.contains("chmod"), "{problem}"),
        Ok(table) => assert_eq!(table.len(), 2),
    }
}

#[test]
fn a_record_cut_at_every_structural_place_is_read_as_far_as_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    record(root.path(), &graded(4), 1..=2);
    for name in ["samples/index.jsonl", "samples/step-000001.jsonl"] {
        let path = root.path().join(name);
        let whole = fs::read(&path).unwrap();
        let is_place = |at: &usize| b"{}[],:\"\n".contains(&whole[*at]);
        for cut in (0..whole.len()).filter(is_place).step_by(7) {
            fs::write(&path, &whole[..cut]).unwrap();
            let samples = Run::open(root.path()).unwrap().samples().unwrap();
            assert!(samples.problems.is_empty(), "what is torn is not a line yet");
            let lines = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
            let readable = samples.index.iter().filter(|one| samples.group(one).is_ok()).count();
            assert!(readable >= lines.min(3), "{name} cut at {cut}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(read_index(root.path()).unwrap().lines.len(), 6);
    assert_eq!(Lines::<GroupEntry>::SHORT, 1 << 20);
}

#[test]
fn a_log_takes_memory_for_its_values_and_not_for_rows_times_keys() {
    // 16,000 keys in the first row and the last: 13 GB of cells if each row had one.
    let keys = (0..16_000).map(|at| format!(",\"k{at}\":{at}")).collect::<Vec<_>>().concat();
    let short = (1..100_000).map(|step| format!("{{\"step\":{step}}}\n"));
    let short = short.collect::<Vec<_>>().concat();
    let last = 100_000;
    let text = format!("{{\"step\":0{keys}}}\n{short}{{\"step\":{last}{keys}}}\n");
    let (_root, path) = log(text.as_bytes());
    let table = MetricTable::read(&path).unwrap();
    assert_eq!((table.len(), table.keys().len()), (100_001, 16_000));
    assert_eq!(table.points("k7").collect::<Vec<_>>(), [(0, 7.0), (last, 7.0)]);
    assert_eq!((table.get(5, "k7"), table.get(100_000, "k7")), (None, Some(7.0)));
    // Stages of any number of names take no longer than rows of one.
    let named = (0..200_000).map(|step| format!("{{\"step\":{step},\"stage\":\"s{step}\"}}\n"));
    let (_root, path) = log(named.collect::<Vec<_>>().concat().as_bytes());
    let table = MetricTable::read(&path).unwrap();
    assert_eq!((table.len(), table.stage(3)), (200_000, "s3"));
}

#[test]
fn a_million_rows_are_read_within_seconds() {
    let line = |step: u64| {
        format!(
            "{{\"step\":{step},\"stage\":\"rl\",\"actor/entropy\":0.{step},\"actor/lr\":1e-6,\
             \"critic/rewards/mean\":0.123456789{step},\"response_length/mean\":{step}.25}}\n"
        )
    };
    let (_root, path) = log((1..=1_000_000).map(line).collect::<String>().as_bytes());
    let read = || {
        let began = std::time::Instant::now();
        let table = MetricTable::read(&path).unwrap();
        assert_eq!((table.len(), table.problems().len()), (1_000_000, 0));
        began.elapsed()
    };
    let took: Vec<_> = (0..5).map(|_| read()).collect();
    let best = took.iter().min().unwrap();
    println!("1,000,000 rows of 4 keys in {best:?}");
    // Half a second on two cores; the rest is for a busy machine.
    assert!(*best < std::time::Duration::from_secs(2), "{took:?}");
}
