//! Settings as a recipe writes them.

use optim::zeroth::{
    DirectionConfig, EsConfig, EstimatorConfig, FzooConfig, Noise, SpsaConfig, Tensors,
};
use serde_json::{from_value, json, to_value};

use super::{config, vector};

#[test]
fn a_kind_alone_takes_the_defaults_of_its_paper() {
    assert_eq!(config(json!("spsa")), EstimatorConfig::Spsa(SpsaConfig::default()));
    assert_eq!(config(json!("fzoo")), EstimatorConfig::Fzoo(FzooConfig::default()));
    assert_eq!(config(json!("es")), EstimatorConfig::Es(EsConfig::default()));
    for name in ["spsa", "fzoo", "es", "coordinates"] {
        assert!(config(json!(name)).problems().is_empty());
    }
    let lozo = json!({ "kind": "low-rank", "interval": 100 });
    let expected = DirectionConfig::LowRank {
        noise: Noise::Gaussian,
        rank: 1,
        interval: Some(100),
        vectors: optim::zeroth::Vectors::Dense,
    };
    assert_eq!(from_value::<DirectionConfig>(lozo).unwrap(), expected);
    let DirectionConfig::Smallest { keep, .. } = from_value(json!("smallest")).unwrap() else {
        panic!("another kind")
    };
    assert!((keep - 0.25).abs() < 1e-12);
}

#[test]
fn resolved_settings_read_back() {
    for settings in [
        json!({ "kind": "spsa", "direction": { "kind": "random", "keep": 0.1, "interval": 9 } }),
        json!({ "kind": "es", "direction": { "kind": "low-rank" }, "decay_to": "start" }),
        json!({ "kind": "fzoo", "direction": { "noise": "binomial" } }),
        json!({ "kind": "coordinates", "keep": 0.5 }),
    ] {
        let config = config(settings);
        assert_eq!(from_value::<EstimatorConfig>(to_value(&config).unwrap()).unwrap(), config);
    }
}

#[test]
fn typing_errors_are_refused() {
    let error = |value| from_value::<EstimatorConfig>(value).unwrap_err().to_string();
    assert!(error(json!({ "kind": "spsa", "eps": 1.0 })).contains("unknown field `eps`"));
    assert!(error(json!("mezo")).contains("expected one of `spsa`, `fzoo`, `es`, `coordinates`"));
    assert!(
        error(json!({ "kind": "spsa", "direction": "random" })).contains("missing field `keep`")
    );
}

#[test]
fn every_bad_setting_is_named_at_once() {
    for (settings, keys) in [
        (
            json!({ "kind": "spsa", "epsilon": 0.0, "probes": 0, "weight_decay": -1.0,
                "direction": { "kind": "smallest", "keep": 0.0 } }),
            vec!["keep", "epsilon", "weight_decay", "probes"],
        ),
        (
            json!({ "kind": "fzoo", "epsilon": -1.0, "probes": 1,
                "direction": { "kind": "low-rank", "rank": 0 } }),
            vec!["rank", "epsilon", "probes"],
        ),
        (
            json!({ "kind": "es", "sigma": 1e-60, "members": 3, "antithetic": true,
                "direction": { "kind": "random", "keep": 2.0, "interval": 0 } }),
            vec!["keep", "interval", "sigma", "members"],
        ),
        (
            json!({ "kind": "coordinates", "epsilon": 0.0, "keep": 0.0, "interval": 0 }),
            vec!["epsilon", "keep", "interval"],
        ),
    ] {
        let config = config(settings);
        let problems = config.problems();
        assert_eq!(problems.len(), keys.len(), "{problems:?}");
        for (problem, key) in problems.iter().zip(keys) {
            assert!(problem.starts_with(key), "{problem}");
        }
        let error = config.build(0, Tensors::new(vec![vector(4)]).unwrap()).unwrap_err();
        assert!(error.to_string().contains(&problems[0]), "{error}");
    }
}

#[test]
fn the_schema_has_every_kind() {
    let schema = schemars::schema_for!(EstimatorConfig).to_value().to_string();
    for name in ["spsa", "fzoo", "es", "coordinates", "low-rank", "smallest", "random", "dense"] {
        assert!(schema.contains(&format!("\"{name}\"")), "{name}");
    }
}
