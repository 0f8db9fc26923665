//! What a run promises of its figures.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::{json as get, only_run, put, serve};

fn promises(root: &Path) -> Value {
    let address = serve(root);
    let about = get(address, &only_run(address));
    json!([about["length_unit"], about["advantages"], about["equal_prefixes"]])
}

#[test]
fn lengths_have_their_unit_and_equality_is_promised_where_it_holds() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "1.jsonl", "{\"input\":\"a\",\"output\":\"b c\",\"score\":1.0}\n");
    assert_eq!(promises(temp.path()), json!(["characters", false, false]));
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "trainer_state.json", "{\"log_history\":[{\"step\":1,\"loss\":0.5}]}");
    assert_eq!(promises(temp.path()), json!(["characters", true, false]));
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "monitors/file/metrics.jsonl", "{\"step\":1,\"a\":1}\n");
    assert_eq!(promises(temp.path()), json!(["tokens", true, false]));
    for (device, is_equal) in [("cpu", true), ("cuda", false)] {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), "metrics.jsonl", "{\"step\":1}\n");
        let facts = json!({
            "format": evals::run::FORMAT, "kind": "train", "name": "a", "id": "0123456789abcdef",
            "created": 1, "command": "", "stearin": "0", "commit": "", "dirty": false, "rustc": "",
            "candle": "", "os": "", "arch": "", "cpu_features": [], "threads": 1, "device": device,
            "seed": 1,
        });
        put(temp.path(), "run.json", &facts.to_string());
        assert_eq!(promises(temp.path()), json!(["tokens", true, is_equal]), "{device}");
    }
}
