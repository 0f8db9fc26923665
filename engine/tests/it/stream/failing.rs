//! What fails below a pass ends the pass with an error, and nothing waits for ever.

use std::fs::{self, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use engine::stream::{
    Access, Arena, Ends, Link, Options, Perturbed, Scratch, Streamed, Throttle, Transform,
};
use engine::{Error, Family, ModelConfig, Result};

use super::steps::{Place, Run, batch, options, update};
use super::transforms::Mistake;
use crate::support::{config, values};

/// Panics as the transfer of this number ends.
#[derive(Debug)]
struct Panics {
    up: Option<usize>,
    down: Option<usize>,
    ended: [AtomicUsize; 2],
}

impl Panics {
    fn new(up: Option<usize>, down: Option<usize>) -> Self {
        Self { up, down, ended: Default::default() }
    }

    fn count(&self, way: usize, at: Option<usize>) {
        // Rows of an embedding are read by the pass itself.
        let of_ring = |name: &str| name.starts_with("stream ");
        if std::thread::current().name().is_some_and(of_ring) {
            let ended = self.ended[way].fetch_add(1, Ordering::Relaxed);
            assert_ne!(Some(ended), at, "a link that panics on purpose");
        }
    }
}

impl Link for Panics {
    fn up(&self, _: usize, _: Duration) {
        self.count(0, self.up);
    }

    fn down(&self, _: usize, _: Duration) {
        self.count(1, self.down);
    }
}

/// What `f` returns, which must be within a minute.
#[track_caller]
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (to, from) = channel();
    std::thread::spawn(move || to.send(f()));
    from.recv_timeout(Duration::from_mins(1)).expect("it ends within a minute")
}

fn untied() -> ModelConfig {
    ModelConfig { num_layers: 4, vocab_size: 2100, ..config(Family::Qwen2) }
}

fn pass(streamed: &Streamed) -> Result<Vec<f64>> {
    let (packed, _) = batch(0, 37);
    Ok(values(&streamed.policy().hidden(&packed)?))
}

/// Steps until one fails.
fn steps(streamed: &Streamed) -> Result<()> {
    for step in 0..4 {
        streamed.defer(Arc::new(update(step, 1.0, 0.1, Mistake::None)))?;
        pass(streamed)?;
    }
    streamed.flush()
}

#[test]
fn a_thread_that_panics_ends_the_pass() {
    let panics = [(Some(0), None), (Some(3), None), (None, Some(0)), (None, Some(5))];
    for (up, down) in panics {
        for (slots, overlap) in [(1, false), (1, true), (2, true), (4, true)] {
            for ends in [Ends::Resident, Ends::Streamed] {
                let errors = in_time(move || {
                    let link = Arc::new(Panics::new(up, down));
                    let options = Options { link, ..options(slots, overlap, ends) };
                    let run = Run { options, ..Run::default() };
                    let streamed = run.streamed(&untied(), Place::Memory);
                    let first = steps(&streamed).unwrap_err().to_string();
                    let later = [pass(&streamed).map(drop), streamed.flush(), streamed.seal()];
                    (first, later.map(|result| result.unwrap_err().to_string()))
                });
                let thread = if up.is_some() { "reader" } else { "writer" };
                let words = format!("the {thread} of streamed weights has panicked");
                assert!(errors.0.contains(&words), "{}", errors.0);
                assert!(errors.1.iter().all(|error| error.contains("go on from a checkpoint")));
            }
        }
    }
}

/// Panics wherever it is used.
#[derive(Debug)]
struct Broken;

impl Transform for Broken {
    fn apply(&self, _: usize, _: usize, _: &[f32], _: &mut [f32]) {
        panic!("a transform that panics on purpose");
    }
}

#[test]
fn a_pass_that_panics_leaves_no_thread_behind() {
    for (slots, ends) in [(1, Ends::Resident), (2, Ends::Streamed), (4, Ends::Streamed)] {
        in_time(move || {
            let run = Run { options: options(slots, true, ends), ..Run::default() };
            // A probe: the weights are as they were, and the next pass is right.
            let streamed = run.streamed(&untied(), Place::Memory);
            let want = pass(&streamed).unwrap();
            let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
            let perturbed = Perturbed::new(&Broken, &scratch);
            let policy = streamed.policy().with_perturbed(Some(&perturbed)).unwrap();
            let (packed, _) = batch(0, 37);
            catch_unwind(AssertUnwindSafe(|| policy.hidden(&packed))).unwrap_err();
            assert_eq!(pass(&streamed).unwrap(), want);
            drop(streamed);
            // An update: some of the weights have it.
            let streamed = run.streamed(&untied(), Place::Memory);
            let broken = || {
                streamed.defer(Arc::new(Broken))?;
                pass(&streamed)
            };
            catch_unwind(AssertUnwindSafe(broken)).unwrap_err();
            let error = pass(&streamed).unwrap_err().to_string();
            assert!(error.contains("has panicked: go on from a checkpoint"), "{error}");
        });
    }
}

#[test]
fn rates_that_would_wait_for_ever_are_refused() {
    for bad in [0.0, -1.0, 0.5, f64::NAN, f64::INFINITY] {
        for (up, down) in [(bad, 1e6), (1e6, bad)] {
            let error = Throttle::new(up, down).unwrap_err().to_string();
            assert!(error.contains("expected a finite number of at least 1"), "{error}");
        }
    }
    Throttle::new(1.0, 1e12).unwrap();
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_fails_the_pass() {
    let folder = tempfile::tempdir().unwrap();
    for (access, ends) in [(Access::Buffered, Ends::Resident), (Access::Direct, Ends::Streamed)] {
        let path = folder.path().join(format!("{access:?}"));
        let run = Run { options: options(3, true, ends), ..Run::default() };
        let streamed = run.streamed(&untied(), Place::File(&path, access));
        let want = pass(&streamed).unwrap();
        let whole = fs::read(&path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(8192).unwrap();
        // What was read ahead may be right.
        let results: Vec<_> = (0..3).map(|_| pass(&streamed)).collect();
        let error = results.into_iter().find_map(Result::err).unwrap();
        assert!(matches!(&error, Error::Io { path: own, .. } if *own == path), "{error}");
        fs::write(&path, &whole).unwrap();
        let again: Vec<_> = (0..8).map(|_| pass(&streamed)).filter_map(Result::ok).collect();
        assert!(!again.is_empty() && again.iter().all(|got| *got == want));
    }
}

/// In a process of its own, whose files may not grow beyond half of the weights.
#[test]
#[cfg(unix)]
fn a_write_back_that_fails_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = crate::support::model(untied(), candle::DType::F32);
    drop(super::steps::master(&model, Place::File(&path, Access::Buffered)));
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["stream::failing::writes_beyond_a_limit", "--exact", "--ignored", "--nocapture"])
        .env("STEARIN_TEST_FILE", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("the write-back failed"), "{child:?}");
    let error = engine::stream::Master::open(&path, untied(), Access::Buffered, false).unwrap_err();
    assert!(error.to_string().contains("in use when its process ended"), "{error}");
}

#[test]
#[cfg(unix)]
#[ignore = "a_write_back_that_fails_is_reported starts it"]
fn writes_beyond_a_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigSet, Signal};

    let Some(path) = std::env::var_os("STEARIN_TEST_FILE") else { return };
    let path = Path::new(&path);
    // The threads of the ring inherit that the signal is blocked: writes fail instead.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let half = fs::metadata(path).unwrap().len() / 2;
    setrlimit(Resource::RLIMIT_FSIZE, half, hard).unwrap();
    let error = steps_of(path);
    assert!(matches!(error, Error::Io { .. }), "{error}");
    println!("the write-back failed: {error}");
}

#[cfg(unix)]
fn steps_of(path: &Path) -> Error {
    let master = engine::stream::Master::open(path, untied(), Access::Buffered, true).unwrap();
    let options = options(3, true, Ends::Streamed);
    let streamed = Streamed::new(master, |_| false, None, &options).unwrap();
    let error = steps(&streamed).unwrap_err();
    streamed.seal().unwrap_err();
    error
}
