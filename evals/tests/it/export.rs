//! Exports of a run's metrics, read back by readers of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use evals::export::{Curves, Export, Format, Names};
use evals::run::Run;

const FORMATS: [Format; 3] = [Format::Csv, Format::Tensorboard, Format::Jsonl];

/// A run directory with these logs.
struct Logs {
    folder: tempfile::TempDir,
    curves: Curves,
    generation: u64,
}

impl Logs {
    fn new(metrics: &str, timings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
        fs::write(folder.path().join("timings.jsonl"), timings).unwrap();
        let run = Run::open(folder.path()).unwrap();
        let mut curves = Curves::new(&run);
        curves.poll(0).unwrap();
        Self { folder, curves, generation: 0 }
    }

    /// The logs grow.
    fn grow(&mut self, metrics: &str, timings: &str) {
        for (name, new) in [("metrics.jsonl", metrics), ("timings.jsonl", timings)] {
            let path = self.folder.path().join(name);
            let text = fs::read_to_string(&path).unwrap() + new;
            fs::write(path, text).unwrap();
        }
        self.curves.poll(self.generation).unwrap();
    }

    /// The logs are others, as after a resume.
    fn replace(&mut self, metrics: &str, timings: &str) {
        self.generation += 1;
        for (name, new) in [("metrics.jsonl", metrics), ("timings.jsonl", timings)] {
            fs::write(self.folder.path().join(name), new).unwrap();
        }
        self.curves.poll(self.generation).unwrap();
    }

    fn text(&self, format: Format, names: Names) -> String {
        let mut bytes = Vec::new();
        Export::write(format, names, &self.curves, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

const METRICS: &str = r#"{"step":0,"stage":"start","val-core/heldout/acc/mean@1":0.25}
{"step":1,"stage":"rl","actor/entropy":0.5,"reward/part/answer":1,"of/a/later,version":1e-300}
{"step":2,"stage":"rl","actor/entropy":null,"critic/rewards/mean":-0.125}
"#;
const TIMINGS: &str = r#"{"step":1,"stage":"rl","timing_s/step":0.1,"time":1000.5}
{"step":2,"stage":"rl","timing_s/step":0.2,"time":1001.5}
"#;

#[test]
fn a_table_has_the_columns_in_the_order_of_the_metric_table() {
    let logs = Logs::new(METRICS, TIMINGS);
    let expected = "\
step,time,actor/entropy,critic/rewards/mean,reward/part/answer,val-core/heldout/acc/mean@1,timing_s/step,\"of/a/later,version\"
0,,,,,0.25,,
1,1000.5,0.5,,1.0,,0.1,1e-300
2,1001.5,nan,-0.125,,,0.2,
";
    assert_eq!(logs.text(Format::Csv, Names::Verl), expected);
}

#[test]
fn json_lines_have_the_keys_of_a_history() {
    let logs = Logs::new(METRICS, TIMINGS);
    let expected = r#"{"_step":0,"val-core/heldout/acc/mean@1":0.25}
{"_step":1,"_timestamp":1000.5,"entropy":0.5,"rewards/answer/mean":1.0,"step_time":0.1,"of/a/later,version":1e-300}
{"_step":2,"_timestamp":1001.5,"entropy":null,"reward":-0.125,"step_time":0.2}
"#;
    assert_eq!(logs.text(Format::Jsonl, Names::Trl), expected);
}

#[test]
fn two_keys_of_one_name_share_a_column() {
    let metrics = r#"{"step":1,"stage":"sft","train/loss":2.5}
{"step":2,"stage":"rl","actor/loss":0.5}
"#;
    let logs = Logs::new(metrics, "");
    assert_eq!(logs.text(Format::Csv, Names::Trl), "step,time,loss\n1,,2.5\n2,,0.5\n");
}

#[test]
fn lines_that_cannot_be_read_are_named_and_left_out() {
    let torn = format!("{METRICS}not json\n{{\"step\":3,\"stage\":\"rl\",\"actor/entropy\":0.25");
    let logs = Logs::new(&torn, TIMINGS);
    assert_eq!(logs.text(Format::Csv, Names::Verl).lines().count(), 4);
    let lines: Vec<_> = logs.curves.problems().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(4)]);
}

#[test]
fn events_hold_every_value_as_its_nearest_f32() {
    let logs = Logs::new(METRICS, TIMINGS);
    let path = exported(&logs, Format::Tensorboard, "tb");
    let events = events(&path);
    assert_eq!(events[0], Event { version: Some("brain.Event:2".into()), ..at(0, 900.0) });
    let row = |step, time, values: &[(&str, f32)]| {
        let values = values.iter().map(|(tag, value)| ((*tag).to_owned(), value.to_bits()));
        Event { values: values.collect(), ..at(step, time) }
    };
    let expected = [
        // Without a time of its own: when the run began.
        row(0, 900.0, &[("val-core/heldout/acc/mean@1", 0.25)]),
        row(
            1,
            1000.5,
            &[
                ("actor/entropy", 0.5),
                ("reward/part/answer", 1.0),
                ("timing_s/step", 0.1),
                ("of/a/later,version", 0.0),
            ],
        ),
        row(
            2,
            1001.5,
            &[("actor/entropy", f32::NAN), ("critic/rewards/mean", -0.125), ("timing_s/step", 0.2)],
        ),
    ];
    assert_eq!(events[1..], expected);
}

#[test]
fn an_export_that_is_followed_equals_one_that_is_made_at_the_end() {
    let mut logs = Logs::new(METRICS, TIMINGS);
    let name = |format| ["csv", "tb", "jsonl"][format as usize];
    let mut exports =
        FORMATS.map(|format| Export::new(format, Names::Verl, &logs.out(name(format)), 900));
    let mut update = |logs: &Logs, rows: usize, cut| {
        for export in &mut exports {
            let update = export.update(&logs.curves, logs.curves.whole()).unwrap();
            assert_eq!((update.rows, update.cut), (rows, cut), "{export:?}");
            let again = export.update(&logs.curves, logs.curves.whole()).unwrap();
            assert_eq!((again.rows, again.cut), (0, None), "{export:?}");
        }
    };
    update(&logs, 3, None);
    // A row with a key that no row had, and one whose timings are still to come.
    let three = "{\"step\":3,\"stage\":\"rl\",\"actor/entropy\":0.75,\"actor/lr\":1e-6}\n";
    let four = "{\"step\":4,\"stage\":\"rl\",\"actor/entropy\":0.8}\n";
    logs.grow(&format!("{three}{four}"), "{\"step\":3,\"stage\":\"rl\",\"time\":1002.5}\n");
    update(&logs, 1, None);
    logs.grow("", "{\"step\":4,\"stage\":\"rl\",\"time\":1003.5}\n");
    update(&logs, 1, None);
    // Cut after step 1, and step 2 comes with another value.
    let kept = |text: &str, lines| text.split_inclusive('\n').take(lines).collect::<String>();
    let two = "{\"step\":2,\"stage\":\"rl\",\"actor/entropy\":0.6}\n";
    logs.replace(
        &(kept(METRICS, 2) + two),
        &(kept(TIMINGS, 1) + "{\"step\":2,\"stage\":\"rl\",\"time\":2000.5}\n"),
    );
    update(&logs, 1, Some(2));
    // Cut to less, and nothing new yet.
    logs.replace(&kept(METRICS, 1), "");
    update(&logs, 0, Some(1));

    logs.grow(&(kept(METRICS, 2).replacen(&kept(METRICS, 1), "", 1) + two), TIMINGS);
    update(&logs, 2, None);
    for (format, export) in FORMATS.into_iter().zip(&exports) {
        let fresh = exported(&logs, format, "fresh");
        if format == Format::Tensorboard {
            assert_eq!(shown(export.path()), shown(&fresh));
        } else {
            assert_eq!(fs::read(export.path()).unwrap(), fs::read(&fresh).unwrap(), "{format:?}");
        }
    }
}

#[test]
fn a_second_export_replaces_the_first() {
    let logs = Logs::new(METRICS, TIMINGS);
    for format in FORMATS {
        let first = fs::read(exported(&logs, format, "twice")).unwrap();
        let path = exported(&logs, format, "twice");
        assert_eq!(fs::read(&path).unwrap(), first);
        let beside = fs::read_dir(path.parent().unwrap()).unwrap();
        let own = path.file_name().unwrap().to_str().unwrap();
        let names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with(own)).count(), 1);
    }
}

#[test]
fn a_run_without_logs_exports_no_rows() {
    let logs = Logs::new("", "");
    assert_eq!(logs.text(Format::Csv, Names::Verl), "step,time\n");
    assert_eq!(logs.text(Format::Jsonl, Names::Verl), "");
    assert_eq!(events(&exported(&logs, Format::Tensorboard, "tb")).len(), 1);
}

impl Logs {
    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().with_extension(name)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        for name in ["csv", "tb", "jsonl", "fresh", "twice"] {
            let _ = fs::remove_file(self.out(name));
            let _ = fs::remove_dir_all(self.out(name));
        }
    }
}

/// The file of a whole export, of a run that began at 900 s.
fn exported(logs: &Logs, format: Format, name: &str) -> PathBuf {
    let out = logs.out(name);
    if out.is_dir() != (format == Format::Tensorboard) {
        let _ = fs::remove_file(&out);
        let _ = fs::remove_dir_all(&out);
    }
    let mut export = Export::new(format, Names::Verl, &out, 900);
    export.update(&logs.curves, logs.curves.rows().len()).unwrap();
    export.path().to_owned()
}

/// An event of an event file.
#[derive(Debug, Clone, PartialEq, Default)]
struct Event {
    step: u64,
    time: f64,
    version: Option<String>,
    starts: bool,
    /// Values as their bits.
    values: BTreeMap<String, u32>,
}

fn at(step: u64, time: f64) -> Event {
    Event { step, time, ..Event::default() }
}

/// The values that TensorBoard shows: a start of a session discards what came at its step or later.
fn shown(path: &Path) -> BTreeMap<u64, (BTreeMap<String, u32>, u64)> {
    let mut shown = BTreeMap::new();
    for event in events(path) {
        if event.starts {
            shown.split_off(&event.step);
        } else if event.version.is_none() {
            shown.insert(event.step, (event.values, event.time.to_bits()));
        }
    }
    shown
}

/// The events of a file, whose checksums hold.
fn events(path: &Path) -> Vec<Event> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(rest[8..12], masked_crc(&rest[..8]).to_le_bytes());
        let data = &rest[12..12 + length];
        assert_eq!(rest[12 + length..16 + length], masked_crc(data).to_le_bytes());
        events.push(event(data));
        rest = &rest[16 + length..];
    }
    events
}

/// CRC-32C, bit by bit, and masked as TFRecords have it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn event(data: &[u8]) -> Event {
    let mut event = Event::default();
    for (field, value) in fields(data) {
        match field {
            1 => event.time = f64::from_le_bytes(value.try_into().unwrap()),
            2 => event.step = u64::from_le_bytes(value.try_into().unwrap()),
            3 => event.version = Some(String::from_utf8(value).unwrap()),
            5 => {
                for (_, scalar) in fields(&value) {
                    let parts: BTreeMap<_, _> = fields(&scalar).into_iter().collect();
                    let tag = String::from_utf8(parts[&1].clone()).unwrap();
                    let bits = u32::from_le_bytes(parts[&2].clone().try_into().unwrap());
                    assert!(event.values.insert(tag, bits).is_none());
                }
            }
            7 => event.starts = fields(&value) == [(1, 1_u64.to_le_bytes().to_vec())],
            _ => panic!("no field {field}"),
        }
    }
    event
}

/// The fields of a protobuf message: number and bytes, a varint as eight of them.
fn fields(mut data: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut data).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut data) as usize,
            5 => 4,
            kind => panic!("no wire type {kind}"),
        };
        fields.push((key >> 3, data[..length].to_vec()));
        data = &data[length..];
    }
    fields
}

fn varint(data: &mut &[u8]) -> u64 {
    let end = data.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = data[..=end].iter().rev().fold(0, |sum, byte| (sum << 7) | u64::from(byte & 0x7f));
    *data = &data[end + 1..];
    value
}
