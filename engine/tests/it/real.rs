//! A real model against Hugging Face transformers: SmolLM2-135M-Instruct out of its GGUF file.
//!
//! Skips where the file is absent; `scripts/fetch-smollm2.sh` fetches it. The golden values are
//! made by `scripts/golden_smollm2.py`.

#![expect(clippy::print_stderr, reason = "a skipped test says so, a passed one how far apart")]

use std::path::{Path, PathBuf};

use candle::{DType, Device, Tensor};
use engine::backend::reference::ops;
use engine::{Model, Packed, Target, Text, checkpoint};
use serde_json::Value;

use crate::support;

/// Logits, absolute, of about 20 in size: five decimal digits. Transformers' own f32 is 9.3e-5 from
/// the golden values, ours was 2.9e-4 where this was written, and other machines sum in other
/// orders.
const LOGITS: f64 = 1e-3;
const LOG_PROBS: f64 = 5e-4;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The CPU, or what `scripts/gpu-accept.sh` asks for.
fn device() -> Device {
    match std::env::var("STEARIN_TEST_DEVICE").as_deref() {
        Ok("cuda") => Device::new_cuda_with_stream(0).unwrap(),
        _ => Device::Cpu,
    }
}

/// The model, or nothing and a message.
fn smollm2() -> Option<(Model, Text)> {
    let path = root().join("models/smollm2-135m-instruct.gguf");
    if !path.exists() {
        eprintln!("skipped: {} is absent; scripts/fetch-smollm2.sh fetches it", path.display());
        return None;
    }
    Some(checkpoint::load(&path, &device(), DType::F32).unwrap())
}

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/smollm2_golden.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn floats(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// All logits of one sequence.
fn logits(model: &Model, tokens: &[u32]) -> Tensor {
    let mut packed = Packed::default();
    packed.push(tokens, None).unwrap();
    let named = |name: &&str| model.parameters().iter().find(|own| own.name == **name);
    let head = ["lm_head.weight", "model.embed_tokens.weight"].iter().find_map(named).unwrap();
    let head = &head.tensor;
    ops::linear(&model.hidden(&packed).unwrap(), head).unwrap()
}

#[test]
fn token_ids_equal_transformers() {
    let Some((_, text)) = smollm2() else { return };
    let golden = golden();
    for case in golden["texts"].as_array().unwrap() {
        let want = case["text"].as_str().unwrap();
        let tokens = text.encode(want).unwrap();
        assert_eq!(tokens, ids(&case["ids"]), "{want:?}");
    }
    assert!(text.stop_tokens().contains(&(golden["stop_token"].as_u64().unwrap() as u32)));
}

#[test]
fn rendered_chats_equal_transformers() {
    let Some((_, text)) = smollm2() else { return };
    for chat in golden()["chats"].as_array().unwrap() {
        let rendered = text.render(chat["system"].as_str(), chat["user"].as_str().unwrap());
        assert_eq!(rendered.unwrap(), chat["rendered"].as_str().unwrap());
    }
}

#[test]
fn logits_equal_transformers() {
    let Some((model, _)) = smollm2() else { return };
    let mut worst = 0.0f64;
    for case in golden()["texts"].as_array().unwrap() {
        let rows: Vec<Vec<f32>> = logits(&model, &ids(&case["ids"])).to_vec2().unwrap();
        assert_eq!(rows.len(), case["top_ids"].as_array().unwrap().len());
        for (position, row) in rows.iter().enumerate() {
            let top = ids(&case["top_ids"][position]);
            for (id, want) in top.iter().zip(floats(&case["top_logits"][position])) {
                let gap = (f64::from(row[*id as usize]) - want).abs();
                worst = worst.max(gap);
                assert!(gap <= LOGITS, "{:?} at {position}: off by {gap:.1e}", case["text"]);
            }
            let (least, most) = (f64::from(row[top[4] as usize]), f64::from(row[top[0] as usize]));
            let above = row.iter().filter(|&&x| f64::from(x) > least + 2.0 * LOGITS).count();
            assert!(above <= 4, "{:?} at {position}: another token in the top five", case["text"]);
            assert!(row.iter().all(|&x| f64::from(x) <= most + 2.0 * LOGITS));
        }
    }
    eprintln!("logits are at most {worst:.1e} from transformers'");
}

#[test]
fn log_probs_equal_transformers() {
    let Some((model, _)) = smollm2() else { return };
    let golden = golden();
    let mut packed = Packed::default();
    let (mut targets, mut want) = (Vec::new(), Vec::new());
    for case in golden["texts"].as_array().unwrap() {
        let tokens = ids(&case["ids"]);
        let start = packed.rows();
        packed.push(&tokens, None).unwrap();
        targets.extend((1..tokens.len()).map(|i| Target { row: start + i - 1, token: tokens[i] }));
        want.extend(floats(&case["next_log_probs"]));
    }
    let scores = model.score(&packed, &targets, 1.0).unwrap();
    let mut worst = 0.0f64;
    for (i, (got, want)) in support::wide(&scores.log_probs).iter().zip(&want).enumerate() {
        worst = worst.max((got - want).abs());
        assert!((got - want).abs() <= LOG_PROBS, "target {i}: got {got}, want {want}");
    }
    eprintln!("log-probs are at most {worst:.1e} from transformers'");
}

#[test]
fn greedy_decoding_equals_transformers() {
    let Some((model, text)) = smollm2() else { return };
    for chat in golden()["chats"].as_array().unwrap() {
        let want = ids(&chat["greedy"]);
        let prompt = text.encode(chat["rendered"].as_str().unwrap()).unwrap();
        let prefix = model.prefill(&prompt).unwrap();
        let mut cache = model.cache(1, want.len()).unwrap();
        let mut next = prefix.logits().to_vec();
        cache.attach(0, prefix).unwrap();
        let mut got = Vec::new();
        while got.len() < want.len() {
            let best = (0..next.len()).max_by(|&a, &b| next[a].total_cmp(&next[b])).unwrap();
            got.push(best as u32);
            model.decode(&mut cache, &[(0, best as u32)], &mut next).unwrap();
        }
        assert_eq!(got, want, "{}", text.decode(&got).unwrap());
    }
}
