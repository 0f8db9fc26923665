//! `stearin export`: what is written, what it says, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle::quantized::gguf_file::Content;
use candle::{DType, Device};
use engine::{Checkpoint, load};
use tempfile::{TempDir, tempdir};

use crate::binary::{stderr, stdout, stearin};
use crate::going_back::begin;

/// The models and the adapters of PEFT's golden vectors.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora").join(name)
}

/// Runs `stearin export` and gives what it prints on both streams.
#[track_caller]
fn exported(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = stearin(folder, &[&["export"], arguments].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    (stdout(&output), said)
}

/// Expects a refusal with all of `words`, exit code 2, and nothing written.
#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    let temp = tempdir().unwrap();
    let output = stearin(temp.path(), &[&["export"], arguments].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(stdout(&output).is_empty(), "stdout is data");
    for word in words {
        assert!(said.contains(word), "expected {word:?} in:\n{said}");
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left behind");
}

/// Base, adapter and a folder to work in, as arguments.
fn arguments(base: &str) -> (String, String, TempDir) {
    let text = |name: &str| golden(name).display().to_string();
    (text(base), text("llama/adapter"), tempdir().unwrap())
}

#[test]
fn a_merged_model_is_written_for_transformers_and_llama_cpp() {
    for base in ["llama/base", "llama/base-blocks.gguf"] {
        let (base, adapter, temp) = arguments(base);
        let with = [&base, "--adapter", &adapter, "--merge", "--format"];
        let (said, _) = exported(temp.path(), &[&with[..], &["hf", "-o", "out/hf"]].concat());
        assert!(said.contains("weights in f32, the adapter merged in"), "{said}");
        assert!(said.contains("opened by: transformers"), "{said}");
        let to = ["gguf", "--type", "q8_0", "-o", "out/small.gguf"];
        let (said, _) = exported(temp.path(), &[&with[..], &to].concat());
        assert!(said.contains("kB in out/small.gguf"), "{said}");
        assert!(said.contains("weights in q8_0, norms and biases in f32"), "{said}");
        assert!(said.contains("llama-server -m out/small.gguf"), "{said}");
        let read = |name: &str| load(&temp.path().join(name), &Device::Cpu, DType::F32).unwrap().0;
        let [whole, small] = ["out/hf", "out/small.gguf"].map(read);
        for (whole, small) in whole.parameters().iter().zip(small.parameters()) {
            let gap = (&whole.tensor - &small.tensor).unwrap().abs().unwrap();
            let gap: f32 = gap.flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
            assert!(gap < 0.01, "{}: {gap}", whole.name);
        }
        assert_eq!(fs::read_dir(temp.path().join("out")).unwrap().count(), 2);
    }
}

#[test]
fn an_adapter_is_written_for_peft_and_llama_cpp() {
    let (base, adapter, temp) = arguments("llama/base");
    let with = [&base, "--adapter", &adapter, "--format"];
    let (said, _) = exported(temp.path(), &[&with[..], &["peft", "-o", "peft"]].concat());
    assert!(said.contains("an adapter of rank 4 on q_proj"), "{said}");
    assert!(said.contains("of tiny-llama\n"), "{said}");
    let to = ["gguf-adapter", "-o", "lora.gguf"];
    let (said, _) = exported(temp.path(), &[&with[..], &to].concat());
    assert!(said.contains("--lora lora.gguf"), "{said}");
    let config = Checkpoint::open(&golden("llama/base")).unwrap().config;
    let open = |path: &Path| {
        let opened = engine::Adapter::open(path, &config, DType::F32, &Device::Cpu).unwrap();
        let plain = |(_, x): (&str, &candle::Tensor)| x.flatten_all()?.to_vec1::<f32>();
        opened.parameters().into_iter().map(plain).collect::<candle::Result<Vec<_>>>().unwrap()
    };
    let want = open(&golden("llama/adapter"));
    assert_eq!(open(&temp.path().join("peft")), want);
    assert_eq!(open(&temp.path().join("lora.gguf")), want);
    // And from one form to the other, whose base is named as the model is.
    let from = [&base, "--adapter", "lora.gguf", "--format", "peft", "-o", "again"];
    let (said, _) = exported(temp.path(), &from);
    assert!(said.contains(" of base\n"), "{said}");
    assert_eq!(open(&temp.path().join("again")), want);
}

/// Programs are named with the base in the form that they need.
#[test]
fn programs_that_cannot_have_the_base_are_not_named_without_it() {
    let temp = tempdir().unwrap();
    let adapter = golden("llama/adapter").display().to_string();
    let [folder, file] =
        ["llama/base", "llama/base-blocks.gguf"].map(|it| golden(it).display().to_string());
    let said = |base: &str, adapter: &str, format: &str| {
        let output = format!("{}-{format}.gguf", base.len()).replace("-peft.gguf", "-peft");
        let _ = fs::remove_dir_all(temp.path().join(&output));
        let with = [base, "--adapter", adapter, "--format", format, "-o", &output];
        exported(temp.path(), &with).0
    };
    let of_folder = said(&folder, &adapter, "peft");
    assert!(of_folder.contains("opened by: PEFT, vLLM (--enable-lora"), "{of_folder}");
    assert!(!of_folder.contains("stearin export"), "{of_folder}");
    let of_file = said(&file, &adapter, "peft");
    assert!(of_file.contains("with the base as a Hugging Face folder"), "{of_file}");
    // What it says to do can be done.
    let command = of_file.split('`').nth(1).unwrap().strip_prefix("stearin export ").unwrap();
    exported(temp.path(), &command.split(' ').collect::<Vec<_>>());
    assert!(temp.path().join("BASE/model.safetensors").is_file());
    let of_file = said(&file, &adapter, "gguf-adapter");
    assert!(of_file.contains(&format!("llama-server -m {file} --lora ")), "{of_file}");
    let of_folder = said(&folder, &adapter, "gguf-adapter");
    assert!(of_folder.contains("with the base as a GGUF file"), "{of_folder}");
    let command = of_folder.split('`').nth(1).unwrap().strip_prefix("stearin export ").unwrap();
    exported(temp.path(), &command.split(' ').collect::<Vec<_>>());
    assert!(temp.path().join("BASE.gguf").is_file());
    // A builtin policy is nowhere else.
    begin(&temp.path().join("run"), &crate::adapters::recipe(), 3);
    let saved = "run/checkpoints/step-000003";
    for (format, output) in [("peft", "own"), ("gguf-adapter", "own.gguf")] {
        let (said, _) = exported(temp.path(), &[saved, "--format", format, "-o", output]);
        assert!(said.contains("opened by: stearin (--model builtin:atom --adapter own"), "{said}");
        assert!(!["PEFT", "vLLM", "llama"].iter().any(|one| said.contains(one)), "{said}");
        assert!(said.contains("--format hf --merge writes it with the adapter"), "{said}");
    }
    // The files of a checkpoint are those of PEFT already.
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let [own, theirs] = [saved, "own"].map(|folder| temp.path().join(folder).join(name));
        assert!(fs::read(own).unwrap() == fs::read(theirs).unwrap(), "{name}");
    }
}

#[test]
fn settings_that_do_not_fit_the_model_are_refused_with_the_next_act() {
    let (base, adapter, _temp) = arguments("llama/base");
    let with = [&base, "--adapter", &adapter, "-o"];
    let plain = [&base, "-o"];
    for (arguments, more, words) in [
        (&with[..], &["x", "--format", "hf"][..], &["has an adapter", "add --merge"][..]),
        (&with, &["x.gguf", "--format", "gguf"], &["has an adapter", "--format peft"]),
        (&with, &["x", "--format", "peft", "--merge"], &["--merge", "leave it out"]),
        (&with, &["x", "--format", "peft", "--type", "f16"], &["--type", "leave it out"]),
        (&plain, &["x", "--format", "hf", "--merge"], &["--merge", "no adapter to merge"]),
        (&plain, &["x", "--format", "peft"], &["has no adapter", "--adapter"]),
        (&plain, &["x.gguf", "--format", "gguf-adapter"], &["has no adapter"]),
        (&plain, &["x", "--format", "hf", "--type", "q8_0"], &["does not hold q8_0"]),
        (&plain, &["x.gguf", "--format", "gguf", "--type", "q4_k_m"], &["half a step", "q4_k_m"]),
        (&plain, &["x.gguf", "--format", "gguf", "--type", "f8"], &["f32, f16, bf16, q8_0"]),
        (&plain, &["x", "--format", "gguf"], &["a file that ends in .gguf"]),
        (&plain, &["x.gguf", "--format", "hf"], &["expected a folder"]),
        (&plain, &["x", "--format", "onnx"], &["gguf-adapter"]),
        (
            &["builtin:atom", "-o"],
            &["x.gguf", "--format", "gguf"],
            &["WordLevel", "tokenizer.json"],
        ),
        (&["nowhere", "-o"], &["x", "--format", "hf"], &["there is no model nowhere"]),
    ] {
        refused(&[arguments, more].concat(), words);
    }
}

#[test]
fn what_exists_is_not_overwritten() {
    let (base, _, temp) = arguments("llama/base");
    fs::create_dir(temp.path().join("empty")).unwrap();
    exported(temp.path(), &[&base, "--format", "hf", "-o", "empty"]);
    exported(temp.path(), &[&base, "--format", "gguf", "-o", "x.gguf"]);
    for (format, output) in [("hf", "empty"), ("gguf", "x.gguf")] {
        let before = fs::read_dir(temp.path()).unwrap().count();
        let again = ["export", &base, "--format", format, "-o", output];
        let output = stearin(temp.path(), &again);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("it exists already"), "{}", stderr(&output));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), before);
    }
}

/// A run of all weights that began with a GGUF file: its recipe names the file.
#[test]
fn a_run_that_began_with_a_file_gives_its_metadata_as_long_as_it_is_there() {
    let temp = tempdir().unwrap();
    let base = temp.path().join("base.gguf");
    fs::copy(golden("llama/base-blocks.gguf"), &base).unwrap();
    let (model, text) = load(&base, &Device::Cpu, DType::F32).unwrap();
    let saved = temp.path().join("run/checkpoints/step-000001");
    engine::save(&model, &text, &saved).unwrap();
    let recipe = format!(
        "[model]\npath = {base:?}\n[data]\ntrain = {{ kind = \"jsonl\", path = \"x.jsonl\" }}\n\
         [[stage]]\nkind = \"sft\"\nsteps = 1\nbatch = 1\n\
         schedule = {{ kind = \"constant\", lr = 1e-3 }}\n"
    );
    fs::write(temp.path().join("run/recipe.toml"), recipe).unwrap();
    fs::write(temp.path().join("run/run.json"), "{}").unwrap();
    let name_of = |output: &str| {
        let from = ["run/checkpoints/step-000001", "--format", "gguf", "-o", output];
        exported(temp.path(), &from);
        let content = Content::read(&mut File::open(temp.path().join(output)).unwrap()).unwrap();
        content.metadata["general.name"].to_string().unwrap().clone()
    };
    assert_eq!(name_of("one.gguf"), "tiny-llama");
    fs::remove_file(&base).unwrap();
    assert_eq!(name_of("two.gguf"), "two");
}

/// An output that cannot be written is a failure on the way, and leaves nothing.
#[cfg(unix)]
#[test]
fn a_place_that_cannot_be_written_is_a_failure() {
    let (base, _, temp) = arguments("llama/base");
    let to = ["export", &base, "--format", "gguf", "-o", "/proc/x.gguf"];
    let output = stearin(temp.path(), &to);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was left"), "{}", stderr(&output));
}

/// The base of the golden vectors with a chat template that ends turns by a token of its own, which
/// no file names as an end.
fn chatty(temp: &Path) -> PathBuf {
    const END: &str = "<|stop|>";
    let path = temp.join("base");
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(golden("llama/base")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, path.join(file.file_name().unwrap())).unwrap();
    }
    let file = path.join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let last = vocab.iter().max_by_key(|(_, id)| id.as_u64()).map(|(token, _)| token.clone());
    let id = vocab.remove(&last.unwrap()).unwrap();
    vocab.insert(END.into(), id.clone());
    let mut added = json["added_tokens"][0].clone();
    (added["id"], added["content"]) = (id, END.into());
    json["added_tokens"].as_array_mut().unwrap().push(added);
    fs::write(&file, json.to_string()).unwrap();
    let template = format!("{{% for m in messages %}}{{{{ m['content'] }}}}{END}{{% endfor %}}");
    fs::write(path.join("chat_template.jinja"), template).unwrap();
    path
}

#[test]
fn a_merged_model_of_a_run_stops_where_the_run_did() {
    let temp = tempdir().unwrap();
    let base = chatty(temp.path());
    let row = |number: u32| {
        format!("{{\"problem\": \"ab{number}\", \"solution\": \"c\", \"answer\": \"1\"}}\n")
    };
    fs::write(temp.path().join("rows.jsonl"), (10..30).map(row).collect::<String>()).unwrap();
    exported(temp.path(), &["base", "--format", "gguf", "-o", "base.gguf"]);
    for (base, root) in [(base, "of-folder"), (temp.path().join("base.gguf"), "of-file")] {
        let stops = |path: &Path| {
            let text = Checkpoint::open(path).unwrap().text;
            let token = |id: &u32| text.tokenizer().id_to_token(*id).unwrap();
            text.stop_tokens().iter().map(token).collect::<Vec<_>>()
        };
        assert_eq!(stops(&base), ["<|endoftext|>"]);
        let data = temp.path().join("rows.jsonl").display().to_string();
        let recipe = format!(
            "model = {{ path = {:?}, adapter = {{ rank = 2 }} }}\n\
             prompt = {{ template = {{ kind = \"chat\" }} }}\n\
             data.train = {{ kind = \"jsonl\", path = {data:?} }}\n\
             [[stage]]\nkind = \"sft\"\nsteps = 1\nbatch = 2\n\
             schedule = {{ kind = \"constant\", lr = 1e-3 }}\n",
            base.display().to_string()
        );
        begin(&temp.path().join(root), &recipe, 1);
        for (format, output) in [("hf", "out"), ("gguf", "out.gguf")] {
            let output = format!("{root}-{output}");
            exported(temp.path(), &[root, "--merge", "--format", format, "-o", &output]);
            let found = stops(&temp.path().join(&output));
            assert_eq!(found, ["<|endoftext|>", "<|stop|>"], "{output}");
        }
    }
}
