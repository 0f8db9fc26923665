//! The log of a run, written and replayed.

use std::io::{self, Write};

use kernels::threads::Threads;
use optim::zeroth::log::{Error, Header, Kind, Log, Record, Writer};
use optim::zeroth::{
    Direction, Estimator, EstimatorConfig, Mask, Noise, Outcome, Skip, TensorSpec, Tensors,
};
use serde_json::{Value, json};

use super::{SIGNS, bits, config, perturbed, scheme, vector, weights};

pub(crate) fn header(estimator: &EstimatorConfig, tensors: Vec<TensorSpec>, most: u16) -> Header {
    let digests = vec!["00".to_owned(); tensors.len()];
    let scheme = estimator.scheme(17, Tensors::new(tensors).unwrap());
    Header::new(scheme, estimator.clone(), 0, most, digests).unwrap()
}

/// Weights of each tensor.
type Weights = Vec<Vec<f32>>;

/// A run of `steps` whose score at some steps is not a number, and what each step logs.
struct Run {
    tensors: Vec<TensorSpec>,
    estimator: Box<dyn Estimator>,
    weights: Weights,
    start: Weights,
}

impl Run {
    fn new(settings: &EstimatorConfig) -> Self {
        let mut tensors =
            vec![TensorSpec::new("m", [12, 20], true), TensorSpec::new("norm", [60], false)];
        let start: Weights = tensors.iter().map(|tensor| weights(tensor.len())).collect();
        for (tensor, start) in tensors.iter_mut().zip(&start) {
            tensor.mask = settings.mask(start).unwrap();
        }
        let estimator = settings.build(17, Tensors::new(tensors.clone()).unwrap()).unwrap();
        Self { tensors, estimator, weights: start.clone(), start }
    }

    fn step(&mut self, step: u32) -> Outcome {
        let score = |probe| -> f64 {
            let tensors = self.tensors.iter().zip(&self.weights);
            let there = tensors.map(|(tensor, weights)| perturbed(probe, tensor, weights));
            let all = there.flatten().enumerate();
            all.map(|(i, w)| (f64::from(w) - (i as f64).sin()).powi(2)).sum()
        };
        let probes = self.estimator.probes(step);
        let mut scores: Vec<Vec<f64>> = probes.iter().map(|probe| vec![score(probe)]).collect();
        if step == 3 {
            for scores in &mut scores {
                scores[0] = f64::NAN;
            }
        }
        let lr = 1e-3 / f64::from(step + 1);
        self.estimator.reduce(step, &scores, lr).unwrap().outcome
    }

    fn apply(&mut self, outcome: &Outcome) {
        let Outcome::Update(update) = outcome else { return };
        for ((tensor, weights), start) in
            self.tensors.iter().zip(&mut self.weights).zip(&self.start)
        {
            update.apply(Threads::Pool, tensor, 0, weights, start);
        }
    }
}

fn all_bits(weights: &Weights) -> Vec<Vec<u32>> {
    weights.iter().map(|weights| bits(weights)).collect()
}

/// Settings of every method and form.
fn settings() -> Vec<(Value, u16)> {
    let random = json!({ "kind": "random", "keep": 0.3, "interval": 2 });
    vec![
        (json!({ "kind": "spsa", "weight_decay": 0.1 }), 1),
        (json!({ "kind": "spsa", "direction": { "kind": "smallest", "keep": 0.3 } }), 1),
        (json!({ "kind": "spsa", "direction": random }), 1),
        (json!({ "kind": "fzoo", "direction": { "kind": "low-rank", "interval": 3 } }), 8),
        (json!({ "kind": "es", "members": 6, "weight_decay": 0.5, "decay_to": "start" }), 6),
        (json!({ "kind": "es", "members": 6, "direction": { "kind": "low-rank", "rank": 2 } }), 6),
        (json!({ "kind": "coordinates", "keep": 0.2 }), 300),
    ]
}

fn replayed(log: &Log, from: u32, run: &Run, weights: &Weights, slice: usize) -> Weights {
    let mut weights = weights.clone();
    for ((tensor, weights), start) in run.tensors.iter().zip(&mut weights).zip(&run.start) {
        for (i, weights) in weights.chunks_mut(slice).enumerate() {
            let first = i * slice;
            let start = &start[first..][..weights.len()];
            log.replay(Threads::Pool, from, tensor, first as u64, weights, start).unwrap();
        }
    }
    weights
}

#[test]
fn a_replay_and_a_resumed_run_have_the_bits_of_the_run() {
    for (settings, most) in settings() {
        let config = config(settings.clone());
        let mut run = Run::new(&config);
        let header = header(&config, run.tensors.clone(), most);
        let mut writer = Writer::new(Vec::new(), header.clone()).unwrap();
        let mut snapshot = run.weights.clone();
        for step in 0..9 {
            let outcome = run.step(step);
            assert_eq!(matches!(outcome, Outcome::Skip(_)), step == 3, "{settings}");
            writer.append(&Record::of(&outcome)).unwrap();
            run.apply(&outcome);
            if step == 4 {
                snapshot.clone_from(&run.weights);
                writer.append(&Record::rebase(step)).unwrap();
            }
        }
        assert_ne!(all_bits(&run.weights), all_bits(&run.start));
        let log = Log::read(&writer.get_ref()[..]).unwrap();
        assert_eq!((log.header.clone(), log.torn, log.next_step()), (header, None, 9));
        assert_eq!(log.records.len(), 10);
        let end = all_bits(&run.weights);
        for slice in [7, 1000] {
            let from_start = replayed(&log, 0, &run, &run.start, slice);
            assert!(all_bits(&from_start) == end, "{settings} from the start");
            let from_snapshot = replayed(&log, 5, &run, &snapshot, slice);
            assert!(all_bits(&from_snapshot) == end, "{settings} from a snapshot");
        }
        // Without one update, or with another seed: other weights.
        let mut shorter = log.clone();
        shorter.records.pop();
        assert!(all_bits(&replayed(&shorter, 0, &run, &run.start, 1000)) != end);
        if settings["kind"] != "coordinates" {
            let mut other = log.clone();
            other.header.scheme.run_seed += 1;
            assert!(all_bits(&replayed(&other, 0, &run, &run.start, 1000)) != end, "{settings}");
        }
        // A run that goes on from the snapshot and the log is the same run.
        let mut resumed = Run::new(&config);
        resumed.weights = replayed(&log, 5, &run, &snapshot, 1000);
        let [next, expected] = [&mut resumed, &mut run].map(|run| run.step(9));
        assert_eq!(next, expected);
    }
}

#[test]
fn a_step_takes_nineteen_bytes_and_four_for_each_coefficient() {
    for count in [0, 1, 32] {
        let config = config(json!("spsa"));
        let mut writer = Writer::new(Vec::new(), header(&config, vec![vector(4)], 32)).unwrap();
        let before = writer.bytes();
        let update = scheme(vec![vector(4)], SIGNS).update(0, 1.0, 0.0, &vec![0.5; count]).unwrap();
        writer.append(&Record::from(&update)).unwrap();
        assert_eq!(writer.bytes() - before, 19 + 4 * count as u64);
        assert_eq!(writer.bytes(), writer.get_ref().len() as u64);
    }
}

#[test]
fn coefficients_of_zero_are_an_update_and_a_skip_is_none() {
    let skip = Outcome::Skip(Skip { step: 1, lr: 0.5, reason: "for once".to_owned() });
    let update = scheme(vec![vector(4)], SIGNS).update(0, 1.0, 0.5, &[0.0]).unwrap();
    let mut writer =
        Writer::new(Vec::new(), header(&config(json!("spsa")), vec![vector(4)], 1)).unwrap();
    writer.append(&Record::from(&update)).unwrap();
    writer.append(&Record::of(&skip)).unwrap();
    let log = Log::read(&writer.into_inner()[..]).unwrap();
    assert_eq!(
        log.records.iter().map(|record| record.kind).collect::<Vec<_>>(),
        [Kind::Update, Kind::Skip]
    );
    let updates = log.updates(0).unwrap();
    assert_eq!(updates, [update]);
    let mut weights = vec![2.0; 4];
    log.replay(Threads::One, 0, &vector(4), 0, &mut weights, &[]).unwrap();
    assert_eq!(weights, [1.0; 4]);
}

#[test]
fn records_that_do_not_follow_are_not_written() {
    let config = config(json!("spsa"));
    let mut writer = Writer::new(Vec::new(), header(&config, vec![vector(4)], 2)).unwrap();
    let scheme = scheme(vec![vector(4)], SIGNS);
    let record = |step, coefficients: &[f32]| {
        Record::from(&scheme.update(step, 1.0, 0.0, coefficients).unwrap())
    };
    let bad = [
        record(1, &[1.0]),
        record(0, &[1.0; 3]),
        Record::rebase(0),
        Record { kind: Kind::Skip, ..record(0, &[1.0]) },
        Record { lr: f32::NAN, ..record(0, &[1.0]) },
        Record { coefficients: vec![f32::INFINITY], ..record(0, &[]) },
    ];
    let before = writer.bytes();
    for record in &bad {
        assert!(matches!(writer.append(record), Err(Error::Record { .. })), "{record:?}");
    }
    assert_eq!(writer.bytes(), before);
    writer.append(&record(0, &[1.0])).unwrap();
    assert!(writer.append(&record(0, &[1.0])).is_err(), "a step twice");
    writer.append(&Record::rebase(0)).unwrap();
    writer.append(&record(1, &[])).unwrap();
    assert_eq!(writer.next_step(), 2);
}

/// A disk with room for so many bytes.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room - self.bytes.len());
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_write_that_failed_the_log_is_cut_before_it_goes_on() {
    let config = config(json!("spsa"));
    let scheme = scheme(vec![vector(4)], SIGNS);
    let record = |step| Record::from(&scheme.update(step, 1.0, 0.0, &[1.0]).unwrap());
    let disk = Disk { bytes: Vec::new(), room: 1 << 20 };
    let mut writer = Writer::new(disk, header(&config, vec![vector(4)], 2)).unwrap();
    writer.append(&record(0)).unwrap();
    let whole = writer.bytes();
    let mut disk = writer.into_inner();
    let log = Log::read(&disk.bytes[..]).unwrap();
    disk.room = disk.bytes.len() + 10;
    let mut writer = Writer::resume(disk, &log);
    assert!(matches!(writer.append(&record(1)), Err(Error::Io(_))));
    // A record after part of one would make both unreadable, also once there is room.
    let error = writer.append(&record(1)).unwrap_err().to_string();
    assert!(error.contains(&format!("cut the log to {whole} bytes")), "{error}");
    let mut disk = writer.into_inner();
    let log = Log::read(&disk.bytes[..]).unwrap();
    assert!(log.torn.is_some() && log.end == whole);
    disk.room = 1 << 20;
    disk.bytes.truncate(whole as usize);
    let mut writer = Writer::resume(disk, &log);
    writer.append(&record(1)).unwrap();
    assert_eq!(Log::read(&writer.get_ref().bytes[..]).unwrap().records.len(), 2);
}

#[test]
fn headers_read_back_and_those_of_other_programs_are_refused() {
    let tensors = vec![
        TensorSpec::new("m", [4, 3], true).with_mask(Mask::magnitude(0.1)),
        TensorSpec::new("n", [4], false),
    ];
    let config = config(json!("es"));
    let own = header(&config, tensors, 32);
    let mut writer = Writer::new(Vec::new(), own.clone()).unwrap();
    let bytes = writer.get_ref().clone();
    assert_eq!(Log::read(&bytes[..]).unwrap().header, own);
    writer.append(&Record::rebase(0)).unwrap_err();
    let low_rank = Direction::LowRank {
        noise: Noise::Gaussian,
        rank: 0,
        vectors: optim::zeroth::Vectors::Dense,
    };
    let no_rank = scheme(vec![vector(4)], low_rank);
    assert!(Header::new(no_rank, config.clone(), 0, 1, vec![String::new()]).is_err());
    let no_digest = scheme(vec![vector(4)], SIGNS);
    assert!(Header::new(no_digest, config, 0, 1, vec![]).is_err());
    let error = |bytes: &[u8]| Log::read(bytes).unwrap_err().to_string();
    assert!(error(b"").contains("the file ends after 0 bytes"));
    assert!(error(b"{\"step\": 1, \"loss\": 2.0}").contains("not those of a log"));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert!(error(&newer).contains("version 2, expected 1"));
    let mut longer = bytes;
    longer[15] = 255;
    assert!(error(&longer).contains("expected at most"), "{}", error(&longer));
}

#[test]
fn a_replay_begins_at_a_step_of_the_log_and_leaves_none_out() {
    let config = config(json!("spsa"));
    let scheme = scheme(vec![vector(4)], SIGNS);
    let whole = header(&config, vec![vector(4)], 1);
    let later = Header::new(whole.scheme, config, 3, 1, whole.digests).unwrap();
    let mut writer = Writer::new(Vec::new(), later).unwrap();
    for step in 3..8 {
        let update = scheme.update(step, 0.5, 0.0, &[0.25]).unwrap();
        writer.append(&Record::from(&update)).unwrap();
    }
    let log = Log::read(&writer.get_ref()[..]).unwrap();
    let steps = |log: &Log, from| -> Result<Vec<u32>, String> {
        let updates = log.updates(from).map_err(|error| error.to_string())?;
        Ok(updates.iter().map(|update| update.step).collect())
    };
    assert_eq!(steps(&log, 3).unwrap(), [3, 4, 5, 6, 7]);
    assert_eq!(steps(&log, 6).unwrap(), [6, 7]);
    assert!(steps(&log, 8).unwrap().is_empty());
    for from in [0, 2, 9, u32::MAX] {
        let error = steps(&log, from).unwrap_err();
        assert!(error.contains("before step 3 to those before step 8"), "{error}");
        let mut weights = vec![2.0; 4];
        let replayed = log.replay(Threads::One, from, &vector(4), 0, &mut weights, &[]);
        assert!(replayed.is_err() && weights == [2.0; 4]);
    }
    let mut gap = log.clone();
    gap.records.remove(2);
    for from in [3, 5, 7] {
        let error = steps(&gap, from).unwrap_err();
        assert!(error.contains("step 6: the log has no record of step 5"), "{error}");
    }
    let mut first = log;
    first.records.remove(0);
    assert!(steps(&first, 4).unwrap_err().contains("the log has no record of step 3"));
}

#[test]
fn weights_of_another_start_are_found_by_their_digests() {
    let tensors = vec![TensorSpec::new("m", [4, 3], true), TensorSpec::new("n", [4], false)];
    let weights: Weights = tensors.iter().map(|tensor| weights(tensor.len())).collect();
    let digests = |weights: &Weights| -> Vec<String> {
        tensors.iter().zip(weights).map(|(tensor, weights)| tensor.digest(weights)).collect()
    };
    let config = config(json!("spsa"));
    let scheme = config.scheme(17, Tensors::new(tensors.clone()).unwrap());
    let header = Header::new(scheme, config, 0, 1, digests(&weights)).unwrap();
    header.compare(&digests(&weights)).unwrap();
    let mut other = weights.clone();
    other[1][2] = -other[1][2];
    let error = header.compare(&digests(&other)).unwrap_err().to_string();
    assert!(error.contains("n is not as it was at the start of the run"), "{error}");
    let error = header.compare(&digests(&weights)[..1]).unwrap_err().to_string();
    assert!(error.contains("2 tensors, compared with 1"), "{error}");
}
