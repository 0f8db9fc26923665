//! The memory and the time of streaming are those that were predicted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle::DType;
use engine::stream::{
    Access, Arena, Ends, Options, Scratch, Streamed, Terms, Throttle, Times, Traffic,
};
use engine::{Error, Family, ModelConfig};

use super::steps::{Place, Run, measure, options, rate, sizes, update};
use super::transforms::{Mistake, Update};
use crate::support::{config, model};

#[test]
fn the_arena_peaks_at_what_was_predicted_and_less_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in sizes().into_iter().enumerate() {
        for (slots, ends) in [(1, Ends::Streamed), (2, Ends::Resident), (3, Ends::Streamed)] {
            for in_file in [false, true] {
                let path = folder.path().join(format!("{i}-{slots}"));
                let place =
                    if in_file { Place::File(&path, Access::Buffered) } else { Place::Memory };
                let plan = options(slots, true, ends);
                let terms = Terms::predict(&config, &plan, in_file, true).unwrap();
                let with = |budget| Options { arena: Arena::new(Some(budget)), ..plan.clone() };
                let run = Run { options: with(terms.total()), ..Run::default() };
                let streamed = run.streamed(&config, place);
                assert_eq!(*streamed.terms(), terms);
                drop(streamed);
                run.run(&config, place);
                assert_eq!(run.options.arena.peak(), terms.total());
                assert_eq!(run.options.arena.now(), 0);
                let model = model(config.clone(), DType::F32);
                for less in [terms.slot, 1] {
                    let master = super::steps::master(&model, place);
                    let options = with(terms.total() - less);
                    let arena = options.arena.clone();
                    let error = Streamed::new(master, |_| false, None, &options).unwrap_err();
                    let Error::Budget { needed, budget, terms: named } = &error else {
                        panic!("{error}")
                    };
                    assert_eq!((*needed, *budget), (terms.total(), terms.total() - less));
                    assert_eq!(*named, terms.to_string());
                    assert!(named.contains(&format!("{slots} slots of {}", terms.slot)), "{named}");
                    assert_eq!(arena.peak(), 0, "nothing was taken");
                }
            }
        }
    }
}

#[test]
fn bytes_are_counted() {
    let config = ModelConfig { num_layers: 5, ..config(Family::Llama) };
    let run = Run::default();
    let streamed = run.streamed(&config, Place::Memory);
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let block = streamed.terms().slot as u64;
    let (losses, g) = measure(streamed.policy(), &scratch, 0, true);
    assert!(losses.iter().all(|loss| loss.is_finite()));
    let first = streamed.traffic();
    assert_eq!((first.written_bytes, first.writes), (0, 0), "nothing has changed");
    streamed.defer(Arc::new(update(0, g, rate(0), Mistake::None))).unwrap();
    measure(streamed.policy(), &scratch, 1, true);
    streamed.flush().unwrap();
    let second = streamed.traffic().since(&first);
    assert_eq!((second.written_bytes, second.writes), (5 * block, 5));
    // Two blocks may be read ahead for the next pass.
    let reads = first.reads + second.reads;
    assert!((10..=12).contains(&reads), "{reads}");
    assert_eq!(first.read_bytes + second.read_bytes, reads * block);
    assert_eq!(second.unused, 0);
    assert!(second.update_seconds > 0.0 && second.compute_seconds > second.update_seconds);
}

/// Seconds of passes over slow links, each block with an update and two probes.
fn throttled(up: f64, down: f64, compute: f64, overlap: bool, slots: usize) -> (f64, Traffic) {
    let config = ModelConfig { num_layers: 12, ..config(Family::Qwen3) };
    let plan = options(slots, overlap, Ends::Resident);
    let bytes = Terms::predict(&config, &plan, false, true).unwrap().slot as f64;
    let link = Arc::new(Throttle::new(bytes / up, bytes / down).unwrap());
    let run = Run { options: Options { link, ..plan }, ..Run::default() };
    let streamed = run.streamed(&config, Place::Memory);
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let parameters = streamed.trainable().len();
    let blocks = streamed.trainable().iter().filter(|spec| spec.name.contains("layers.")).count();
    assert!(blocks < parameters);
    // An update that takes its time in place of passes that compute.
    let delay = Duration::from_secs_f64(compute * 12.0 / blocks as f64);
    measure(streamed.policy(), &scratch, 0, true);
    streamed.flush().unwrap();
    let slow = Update { delay, ..update(0, 1.0, 0.1, Mistake::None) };
    streamed.defer(Arc::new(slow)).unwrap();
    let (before, began) = (streamed.traffic(), Instant::now());
    measure(streamed.policy(), &scratch, 1, true);
    streamed.flush().unwrap();
    (began.elapsed().as_secs_f64(), streamed.traffic().since(&before))
}

/// The first blocks were read ahead; those of the next pass are read at the end.
#[test]
fn a_pass_takes_the_time_that_was_predicted() {
    for (up, down, compute) in [
        (0.05, 0.05, 0.01),
        (0.03, 0.03, 0.03),
        (0.004, 0.004, 0.04),
        (0.04, 0.01, 0.02),
        (0.01, 0.04, 0.02),
    ] {
        for (overlap, slots) in [(true, 3), (true, 2), (false, 1)] {
            let (seconds, traffic) = throttled(up, down, compute, overlap, slots);
            // What really was computed, with what the machine added.
            let compute = traffic.compute_seconds / 12.0;
            let predicted = Times { up, compute, down }.pass(12, slots, overlap);
            let ratio = seconds / predicted;
            println!("{up} {compute:.4} {down} {slots}: {seconds:.3} s, {ratio:.3}");
            assert!((0.8..1.2).contains(&ratio), "{seconds} s, predicted {predicted} s");
        }
    }
}
