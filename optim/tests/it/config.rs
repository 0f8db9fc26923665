//! Configuration as a recipe writes it.

use candle::DType;
use optim::{AdamWConfig, OptimConfig, Schedule};
use serde_json::{Value, from_value, json, to_value};

use crate::objectives::param;

#[test]
fn a_kind_alone_takes_every_default() {
    let config: OptimConfig = from_value(json!({"kind": "adamw"})).unwrap();
    assert_eq!(config, OptimConfig::default());
    assert_eq!(config, OptimConfig::AdamW(AdamWConfig::default()));
    let schedule: Schedule = from_value(json!({"kind": "cosine", "lr": 1e-3})).unwrap();
    assert_eq!(
        schedule,
        Schedule::Cosine { lr: 1e-3, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 }
    );
}

#[test]
fn a_resolved_configuration_reads_back() {
    let config = OptimConfig::AdamW(AdamWConfig { eps: 1e-6, ..AdamWConfig::default() });
    assert_eq!(from_value::<OptimConfig>(to_value(&config).unwrap()).unwrap(), config);
    let schedule = Schedule::Linear { lr: 1e-5, warmup: 3, warmup_ratio: 0.0, min_ratio: 0.1 };
    let value = to_value(&schedule).unwrap();
    assert_eq!(value["kind"], "linear");
    assert_eq!(from_value::<Schedule>(value).unwrap(), schedule);
}

#[test]
fn typing_errors_are_refused() {
    let optim = |value: Value| from_value::<OptimConfig>(value).unwrap_err().to_string();
    assert!(optim(json!({"kind": "adamw", "beta_1": 0.9})).contains("unknown field `beta_1`"));
    assert!(optim(json!({"kind": "adam"})).contains("expected one of `adamw`, `spsa`"));
    let schedule = |value: Value| from_value::<Schedule>(value).unwrap_err().to_string();
    let error = schedule(json!({"kind": "constant", "lr": 0.1, "min_ratio": 0.0}));
    assert!(error.contains("unknown field `min_ratio`"), "{error}");
    assert!(schedule(json!({"kind": "linear"})).contains("missing field `lr`"));
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let config = OptimConfig::AdamW(AdamWConfig {
        beta1: 1.0,
        beta2: -0.1,
        eps: 0.0,
        weight_decay: f64::NAN,
        max_grad_norm: f64::INFINITY,
        lr_ratio_b: Some(0.0),
    });
    let keys = ["beta1", "beta2", "eps", "lr_ratio_b", "weight_decay", "max_grad_norm"];
    let problems = config.problems();
    assert_eq!(problems.len(), keys.len());
    assert!(keys.iter().zip(&problems).all(|(key, problem)| problem.starts_with(key)));
    let error = config.build(&[param("w", &[0.0], DType::F32)]).unwrap_err().to_string();
    // A list stays readable.
    assert!(keys[..5].iter().all(|key| error.contains(key)), "{error}");
    assert!(error.ends_with(" and 1 more"), "{error}");
    assert!(OptimConfig::default().problems().is_empty());
}
