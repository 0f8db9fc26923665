//! Rope settings of a `config.json`, wherever they stand, as transformers 5 takes them.

use engine::RopeScaling;
use serde_json::{Value, json};

use crate::config::{refused, with};

const LLAMA3: RopeScaling = RopeScaling::Llama3 {
    factor: 8.0,
    low_freq_factor: 1.0,
    high_freq_factor: 4.0,
    original_context: 64,
};

/// A configuration without a base at the top level.
fn rope(changes: &Value) -> Value {
    let mut json = json!({ "rope_theta": null, "max_position_embeddings": 256 });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

#[track_caller]
fn reads(changes: &Value, theta: f64, scaling: RopeScaling) {
    let config = with(&rope(changes)).unwrap();
    assert_eq!((config.rope_theta, config.rope_scaling), (theta, scaling), "{changes}");
}

/// A llama3 table with changes; null takes a key out.
fn llama3(changes: &Value) -> Value {
    let mut table = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64 });
    for (key, value) in changes.as_object().unwrap() {
        table[key] = value.clone();
    }
    table
}

#[test]
fn the_base_is_read_wherever_it_stands() {
    let none = RopeScaling::None;
    reads(&json!({}), 1e4, none);
    reads(&json!({ "rope_theta": 5e5 }), 5e5, none);
    reads(&json!({ "rope_theta": 500_000 }), 5e5, none);
    for table in ["rope_scaling", "rope_parameters"] {
        reads(&json!({ table: null }), 1e4, none);
        reads(&json!({ table: {} }), 1e4, none);
        reads(&json!({ table: { "rope_type": "default", "rope_theta": 1e6 } }), 1e6, none);
        reads(&json!({ table: { "type": "default", "rope_theta": 1e6 } }), 1e6, none);
        reads(&json!({ table: { "rope_theta": 1e6 } }), 1e6, none);
        reads(&json!({ table: { "rope_theta": null }, "rope_theta": 2e4 }), 2e4, none);
        // The inner one goes first.
        reads(&json!({ table: { "rope_theta": 1e6 }, "rope_theta": 1e4 }), 1e6, none);
        let linear = json!({ "rope_type": "linear", "factor": 4, "rope_theta": 1e6 });
        reads(&json!({ table: linear }), 1e6, RopeScaling::Linear { factor: 4.0 });
        refused(&rope(&json!({ table: { "rope_theta": "1e6" } })), &["rope_theta is \"1e6\""]);
        refused(&rope(&json!({ table: "linear" })), &[table, "expected an object"]);
    }
    refused(&rope(&json!({ "rope_theta": "10000" })), &["rope_theta is \"10000\""]);
    refused(&rope(&json!({ "rope_theta": [1e4] })), &["rope_theta"]);
    refused(&rope(&json!({ "rope_theta": 1 })), &["rope_theta is 1"]);
}

#[test]
fn every_type_is_read_from_both_tables_and_in_both_spellings() {
    for table in ["rope_scaling", "rope_parameters"] {
        for key in ["rope_type", "type"] {
            let linear = json!({ key: "linear", "factor": 2.5 });
            reads(&json!({ table: linear }), 1e4, RopeScaling::Linear { factor: 2.5 });
            let mut scaled = llama3(&json!({ "rope_type": null }));
            scaled[key] = json!("llama3");
            reads(&json!({ table: scaled }), 1e4, LLAMA3);
        }
        let both = json!({ "rope_type": "linear", "type": "linear", "factor": 2 });
        reads(&json!({ table: both }), 1e4, RopeScaling::Linear { factor: 2.0 });
        let other = json!({ "rope_type": "linear", "type": "llama3", "factor": 2 });
        refused(&rope(&json!({ table: other })), &[table, "\"linear\"", "\"llama3\""]);
        for kind in ["yarn", "dynamic", "longrope", "su", "mrope", "proportional"] {
            let unknown = json!({ "rope_type": kind, "factor": 2.0 });
            refused(&rope(&json!({ table: unknown })), &[table, kind, "default, linear, llama3"]);
        }
        refused(&rope(&json!({ table: { "rope_type": 3 } })), &["rope_type 3"]);
    }
}

#[test]
fn a_key_that_the_type_does_not_use_is_refused_unless_it_is_at_rest() {
    let default = |key: &str, value: Value| {
        rope(&json!({ "rope_parameters": { "rope_type": "default", key: value } }))
    };
    for (key, value) in [
        ("factor", json!(2.0)),
        ("factor", json!("2")),
        ("attention_factor", json!(1.2)),
        ("partial_rotary_factor", json!(0.5)),
        ("mscale", json!(0.7)),
        ("mscale_all_dim", json!(0.7)),
        ("beta_fast", json!(32)),
        ("short_factor", json!([1.0])),
        ("low_freq_factor", json!(1.0)),
        ("mrope_section", json!([16, 24, 24])),
        ("truncate", json!(false)),
        ("alpha", json!(1000)),
        ("base", json!(1e6)),
        ("rope_tetha", json!(1e6)),
    ] {
        refused(&default(key, value), &["rope_parameters has", key, "\"default\""]);
    }
    for (key, value) in [
        ("factor", json!(1.0)),
        ("factor", json!(null)),
        ("attention_factor", json!(1)),
        ("partial_rotary_factor", json!(1.0)),
        ("mscale", json!(1.0)),
        ("beta_fast", json!(null)),
        ("original_max_position_embeddings", json!(4096)),
    ] {
        assert_eq!(with(&default(key, value)).unwrap(), with(&rope(&json!({}))).unwrap(), "{key}");
    }
    refused(&rope(&json!({ "rope_scaling": { "factor": 4.0 } })), &["factor", "no rope_type"]);
    let linear = json!({ "type": "linear", "factor": 4.0, "attention_factor": 0.5 });
    refused(&rope(&json!({ "rope_scaling": linear })), &["attention_factor", "\"linear\""]);
    let scaled = llama3(&json!({ "beta_slow": 1 }));
    refused(&rope(&json!({ "rope_scaling": scaled })), &["beta_slow", "\"llama3\""]);
}

#[test]
fn the_first_context_of_llama3_is_read_wherever_it_stands() {
    const KEY: &str = "original_max_position_embeddings";
    let read = |inner: Value, outer: Value| {
        let table = llama3(&json!({ KEY: inner }));
        let RopeScaling::Llama3 { original_context, .. } =
            with(&rope(&json!({ "rope_scaling": table, KEY: outer }))).unwrap().rope_scaling
        else {
            unreachable!("the table is llama3")
        };
        original_context
    };
    assert_eq!(read(json!(64), json!(null)), 64);
    assert_eq!(read(json!(64.0), json!(64)), 64);
    assert_eq!(read(json!(null), json!(32)), 32);
    assert_eq!(read(json!(64), json!(32)), 32);
    assert_eq!(read(json!(null), json!(null)), 256);
    for key in ["factor", "low_freq_factor", "high_freq_factor"] {
        let table = llama3(&json!({ key: null }));
        refused(&rope(&json!({ "rope_scaling": table })), &[&format!("no {key}")]);
    }
    let table = llama3(&json!({ "high_freq_factor": 1.0 }));
    refused(&rope(&json!({ "rope_scaling": table })), &["0 < low < high"]);
    let table = llama3(&json!({ KEY: "64" }));
    refused(&rope(&json!({ "rope_scaling": table })), &[KEY, "\"64\""]);
}

#[test]
fn two_tables_must_agree() {
    let linear =
        |theta: Value| json!({ "rope_type": "linear", "factor": 2.0, "rope_theta": theta });
    let both = |old: Value, new: Value, top: Value| {
        rope(&json!({ "rope_scaling": old, "rope_parameters": new, "rope_theta": top }))
    };
    let null = Value::Null;
    for changes in [
        both(linear(json!(1e6)), linear(json!(1e6)), null.clone()),
        both(linear(null.clone()), linear(json!(1e6)), json!(1e6)),
        both(linear(json!(1e6)), linear(null.clone()), json!(1e4)),
    ] {
        let config = with(&changes).unwrap();
        let linear = RopeScaling::Linear { factor: 2.0 };
        assert_eq!((config.rope_theta, config.rope_scaling), (1e6, linear));
    }
    refused(&both(linear(null.clone()), json!({}), json!("x")), &["rope_theta is \"x\""]);
    let default = json!({ "rope_type": "default", "rope_theta": 1e6 });
    refused(
        &both(linear(null.clone()), default, null.clone()),
        &["linear with factor 2", "default"],
    );
    refused(&both(linear(null.clone()), linear(json!(1e6)), null), &["10000", "1000000"]);
}

#[test]
fn of_tables_by_layer_type_that_of_full_attention_holds() {
    let full = json!({ "rope_type": "linear", "factor": 2.0, "rope_theta": 1e6 });
    let sliding = json!({ "rope_type": "default", "rope_theta": 1e4 });
    let qwen3 = |table: Value| {
        let mut json = rope(&json!({ "rope_parameters": table }));
        json["model_type"] = json!("qwen3");
        json["architectures"] = json!(["Qwen3ForCausalLM"]);
        json
    };
    for table in [
        json!({ "full_attention": full }),
        json!({ "full_attention": full, "sliding_attention": sliding }),
    ] {
        let config = with(&qwen3(table)).unwrap();
        let linear = RopeScaling::Linear { factor: 2.0 };
        assert_eq!((config.rope_theta, config.rope_scaling), (1e6, linear));
    }
    refused(&qwen3(json!({ "sliding_attention": sliding })), &["none for full_attention"]);
    let mixed = json!({ "full_attention": full, "rope_theta": 1e6 });
    refused(&qwen3(mixed), &["rope_theta", "beside tables by layer type"]);
    let unknown = json!({ "full_attention": full, "linear_attention": {} });
    refused(&qwen3(unknown), &["linear_attention"]);
    let inside = json!({ "full_attention": { "rope_type": "yarn", "factor": 2.0 } });
    refused(&qwen3(inside), &["yarn"]);
    // transformers would pass over it without a word.
    let llama = rope(&json!({ "rope_parameters": { "full_attention": full } }));
    refused(&llama, &["full_attention", "one rope for all layers"]);
}
