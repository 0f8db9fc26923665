//! Streamed weights train as resident ones do, to the bit.

use std::sync::Arc;

use candle::DType;
use engine::stream::{Access, Ends, Options, Scratch};
use engine::{Family, ModelConfig, WeightSource};

use super::perturbed::computed;
use super::steps::{
    Jitter, Place, Run, STEPS, batch, immediately, measure, options, rate, resident, sizes, update,
};
use super::transforms::{Mistake, apply};
use crate::support::{config, model, values};

#[test]
fn immediate_deferred_and_streamed_updates_give_the_same_bits() {
    for config in sizes() {
        let want = resident(&config, false);
        assert_eq!(want.differences.len() as u64, STEPS);
        assert_eq!(resident(&config, true), want);
        for ends in [Ends::Resident, Ends::Streamed] {
            for slots in [1, 2, 3, 4] {
                for overlap in [true, false] {
                    let options = options(slots, overlap, ends);
                    let run = Run { options, lockstep: slots != 2, ..Run::default() };
                    let got = run.run(&config, Place::Memory);
                    assert!(got == want, "{:?}, {slots} slots, {overlap}, {ends:?}", config.family);
                }
            }
        }
    }
}

#[test]
fn delays_of_the_link_change_no_bit() {
    for config in sizes() {
        let want = resident(&config, false);
        for (slots, ends) in [(2, Ends::Streamed), (3, Ends::Resident), (4, Ends::Streamed)] {
            let link = Arc::new(Jitter::default());
            let options = Options { link, ..options(slots, true, ends) };
            let got = Run { options, ..Run::default() }.run(&config, Place::Memory);
            assert!(got == want, "{:?}, {slots} slots, {ends:?}", config.family);
        }
    }
}

#[test]
fn files_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in sizes().into_iter().enumerate() {
        let want = resident(&config, false);
        for access in [Access::Buffered, Access::Direct] {
            for (slots, ends) in [(2, Ends::Streamed), (3, Ends::Resident), (4, Ends::Streamed)] {
                let path = folder.path().join(format!("{i}-{slots}-{access:?}"));
                let options = options(slots, true, ends);
                let run = Run { options, ..Run::default() };
                let got = run.run(&config, Place::File(&path, access));
                assert!(got == want, "{:?}, {slots} slots, {access:?}", config.family);
            }
        }
    }
}

/// What would be noticed: these runs differ.
#[test]
fn runs_with_a_mistake_differ() {
    for config in sizes() {
        let want = resident(&config, false);
        let run = |run: Run| run.run(&config, Place::Memory);
        let differs = |got: super::steps::Record, what: &str| {
            assert!(got.weights != want.weights, "{:?}: {what}", config.family);
        };
        differs(run(Run { flushes: false, ..Run::default() }), "no flush at the end");
        differs(run(Run { late: 1, ..Run::default() }), "the rate of the next step");
        let neighbour = Run { mistake: Mistake::Neighbour, ..Run::default() };
        differs(run(neighbour), "another parameter");
    }
}

#[test]
fn an_evaluation_sees_updated_weights_and_changes_nothing() {
    for config in sizes() {
        for ends in [Ends::Resident, Ends::Streamed] {
            let run = Run { options: options(3, true, ends), ..Run::default() };
            let (streamed, model) =
                (run.streamed(&config, Place::Memory), model(config.clone(), DType::F32));
            let scratch = Scratch::new(&streamed.policy(), &run.options.arena).unwrap();
            for step in 0..STEPS {
                let (losses, g) = measure(streamed.policy(), &scratch, step, true);
                let own = Scratch::new(&model.policy(), &run.options.arena).unwrap();
                let want = measure(model.policy(), &own, step, false).0;
                assert_eq!(losses.map(f64::to_bits), want.map(f64::to_bits));
                let update = update(step, g, rate(step), Mistake::None);
                apply(&model, &update);
                if step % 2 == 0 {
                    streamed.defer(Arc::new(update)).unwrap();
                    // Sampling, before any training pass.
                    assert!(computed(streamed.policy()) == computed(model.policy()));
                } else {
                    immediately(&streamed, update);
                    let saved = streamed.model().unwrap();
                    for (saved, own) in saved.parameters().iter().zip(model.parameters()) {
                        assert_eq!(saved.name, own.name);
                        let [saved, own] =
                            [saved, own].map(|x| super::transforms::numbers(&x.tensor));
                        assert_eq!(saved, own);
                    }
                }
            }
        }
    }
}

#[test]
fn passes_at_the_same_time_are_refused() {
    let streamed = Run::default().streamed(&config(Family::Llama), Place::Memory);
    let (packed, _) = batch(0, 37);
    let policy = streamed.policy();
    let want = values(&policy.hidden(&packed).unwrap());
    // A pass that asks for a block while another thread waits for one.
    std::thread::scope(|scope| {
        let passes: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..50).map(|_| policy.hidden(&packed)).collect::<Vec<_>>()))
            .collect();
        for pass in passes {
            for result in pass.join().unwrap() {
                match result {
                    Ok(hidden) => assert_eq!(values(&hidden), want),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains("at the same time: run them one"), "{error}");
                    }
                }
            }
        }
    });
}

#[test]
fn an_update_makes_older_caches_stale() {
    let streamed = Run::default().streamed(&config(Family::Llama), Place::Memory);
    let policy = streamed.policy();
    let mut cache = policy.cache(1, 3).unwrap();
    cache.attach(0, policy.prefill(&[1, 2]).unwrap()).unwrap();
    policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap();
    let before = streamed.version();
    streamed.defer(Arc::new(update(0, 1.0, 0.1, Mistake::None))).unwrap();
    assert_ne!(streamed.version(), before);
    let error = policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("made for other weights"), "{error}");
}

#[test]
fn the_digest_is_that_of_the_updated_weights() {
    let config = ModelConfig { num_layers: 3, ..config(Family::Qwen2) };
    let one = Run::default().streamed(&config, Place::Memory);
    let other = Run::default().streamed(&config, Place::Memory);
    let before = one.digest().unwrap();
    assert_eq!(before, other.digest().unwrap());
    one.defer(Arc::new(update(0, 1.0, 0.1, Mistake::None))).unwrap();
    assert_ne!(one.digest().unwrap(), before);
    immediately(&other, update(0, 1.0, 0.1, Mistake::None));
    assert_eq!(one.digest().unwrap(), other.digest().unwrap());
}

#[test]
fn frozen_parameters_keep_their_bits() {
    let config = config(Family::Qwen3);
    let mut model = model(config, DType::F32);
    let frozen = |name: &str| !name.contains("layers.1.mlp");
    let master = super::steps::master(&model, Place::Memory);
    let streamed =
        engine::stream::Streamed::new(master, frozen, None, &Options::default()).unwrap();
    model.freeze(frozen).unwrap();
    let names: Vec<_> = model.trainable().map(|own| own.name.clone()).collect();
    let own: Vec<_> = streamed.trainable().iter().map(|spec| spec.name.clone()).collect();
    assert_eq!(names, own);
    let update = update(3, 1.5, 0.1, Mistake::None);
    apply(&model, &update);
    immediately(&streamed, update);
    assert!(super::transforms::bits(&streamed.model().unwrap()) == super::transforms::bits(&model));
    // The lower block was read by nobody and written by nobody.
    assert_eq!(streamed.traffic().writes, 1);
}
