//! Models and adapters for other programs, and adapters of PEFT's: the halves of
//! `scripts/export-check.sh` that are ours. Its other halves are transformers, PEFT and llama.cpp.

use std::fs;
use std::path::{Path, PathBuf};

use candle::{DType, Device, Tensor};
use engine::{
    Adapter, AdapterConfig, Checkpoint, Export, Model, ModelConfig, Module, Packed, Scaling,
    WeightType,
};
use serde_json::json;

use crate::adapter::golden::{distance, logits};
use crate::export::metadata;
use crate::support::{FAMILIES, config, draws, model, values};

const DEVICE: Device = Device::Cpu;
/// The base of every model of the check, quantised.
const BLOCKS: &str = "base-blocks.gguf";
/// The base of the check's real model, where `scripts/fetch-smollm2.sh` puts it.
const SMOLLM2: &str = "models/smollm2-135m-instruct.gguf";
/// Two sums of f32 in other orders; at most 1.6e-6 was measured.
const BOUND: f64 = 1e-5;

/// An adapter of the check: name, rank, alpha, scaling and targets.
type Kind<'a> = (&'a str, usize, f64, Scaling, &'a [Module]);

const ALL: Kind<'_> = ("all", 8, 16.0, Scaling::Rank, &Module::ALL);
const SOME: Kind<'_> = ("some", 4, 6.0, Scaling::SqrtRank, &[Module::Q, Module::K, Module::Down]);
/// `A` and `B` have one shape, so that a program can take one for the other.
const SQUARE: Kind<'_> = ("square", 64, 64.0, Scaling::Rank, &[Module::Q, Module::O]);

fn folder() -> PathBuf {
    std::env::var_os("STEARIN_EXPORT_DIR").expect("the script sets STEARIN_EXPORT_DIR").into()
}

/// The model of a file as numbers, and in the format of the file.
fn both(path: &Path) -> [Model; 2] {
    let open = || Checkpoint::open(path).unwrap();
    let numbers = open().load(&DEVICE, DType::F32).unwrap().0;
    [numbers, open().load_as_stored(&DEVICE, DType::F32).unwrap().0]
}

fn packed(tokens: &[u32]) -> Packed {
    let mut packed = Packed::default();
    packed.push(tokens, None).unwrap();
    packed
}

fn with_adapter(model: &Model, adapter: Option<&Adapter>, packed: &Packed) -> Tensor {
    logits(model.policy().with_adapter(adapter).unwrap(), model, packed)
}

/// Rows of the vocabulary, in the order of bytes of f32.
fn write_logits(path: &Path, logits: &Tensor) {
    let logits = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    fs::write(path, logits.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
}

fn read_logits(path: &Path, shape: (usize, usize)) -> Tensor {
    let bytes = fs::read(path).unwrap();
    let values = bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()));
    Tensor::from_vec(values.collect::<Vec<_>>(), shape, &DEVICE).unwrap()
}

#[test]
#[ignore = "writes files for scripts/export-check.sh, which sets STEARIN_EXPORT_DIR"]
fn writes_files_for_others() {
    for family in FAMILIES {
        let name = format!("{family:?}").to_lowercase();
        let text = metadata::text(if name == "llama" { "smollm" } else { "qwen2" });
        // Blocks are 32 wide.
        let config = ModelConfig {
            vocab_size: text.vocab_size(),
            hidden_size: 64,
            intermediate_size: 96,
            head_dim: 16,
            ..config(family)
        };
        let folder = folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        let model = model(config, DType::F32);
        let export = Export::of_model(&model, &text);
        export.save_gguf(&folder.join(BLOCKS), WeightType::Q8_0, "check").unwrap();
        write(&folder, [&WeightType::ALL; 2], &[ALL, SOME, SQUARE], 0.6);
    }
    let path = crate::real::root().join(SMOLLM2);
    if path.exists() {
        let folder = folder().join("smollm2");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(path, folder.join(BLOCKS)).unwrap();
        let merged = [WeightType::F16, WeightType::Q8_0];
        write(&folder, [&[WeightType::F32], &merged], &[ALL], 0.1);
    } else {
        eprintln!("{SMOLLM2} is absent and is left out; scripts/fetch-smollm2.sh fetches it");
    }
}

/// What others open, beside the base in blocks: the same numbers as a folder and as files of some
/// types, and each adapter by itself and merged, in other types. `size` is the range of the values
/// of `B`.
fn write(folder: &Path, kinds: [&[WeightType]; 2], adapters: &[Kind<'_>], size: f64) {
    let base = Checkpoint::open(&folder.join(BLOCKS)).unwrap();
    Export::of(&base).save(&folder.join("hf"), WeightType::F32).unwrap();
    for kind in kinds[0] {
        let path = folder.join(format!("base-{kind}.gguf"));
        Export::of(&base).save_gguf(&path, *kind, "check").unwrap();
    }
    let said = "3 apples + 14 pears; def f(x): return x ** 2  # día ٣٤½";
    let ids = base.text.encode(said).unwrap();
    let case = json!({
        "text": said,
        "ids": ids,
        "chat": [{"role": "user", "content": said}],
        "rendered": base.text.render(None, said).unwrap(),
        "head_dim": base.config.head_dim,
        "layers": base.config.num_layers,
    });
    fs::write(folder.join("case.json"), case.to_string()).unwrap();
    let (models, packed) = (both(&folder.join(BLOCKS)), packed(&ids));
    let computed = |adapter: Option<&Adapter>| {
        let [numbers, stored] = models.each_ref().map(|own| with_adapter(own, adapter, &packed));
        assert_eq!(values(&numbers), values(&stored), "blocks are the numbers they stand for");
        numbers
    };
    write_logits(&folder.join("logits.f32"), &computed(None));
    for kind in adapters {
        let (adapter, folder) = (adapter(kind, &base.config, size), folder.join(kind.0));
        adapter.save(&folder.join("peft"), "check").unwrap();
        adapter.save_gguf(&folder.join("adapter.gguf"), &base.config, "check").unwrap();
        write_logits(&folder.join("logits.f32"), &computed(Some(&adapter)));
        if kind.0 == SQUARE.0 {
            continue;
        }
        let merged = || Export::of(&base).merged(&adapter).unwrap();
        merged().save(&folder.join("merged"), WeightType::F32).unwrap();
        for kind in kinds[1] {
            let path = folder.join(format!("merged-{kind}.gguf"));
            merged().save_gguf(&path, *kind, "check").unwrap();
        }
    }
}

/// An adapter with the first values of `A`, and a `B` that is not zero.
fn adapter(kind: &Kind<'_>, model: &ModelConfig, size: f64) -> Adapter {
    let &(_, rank, alpha, scaling, targets) = kind;
    let config = AdapterConfig { rank, alpha, scaling, targets: targets.to_vec() };
    let mut draw = draws(rank as u64);
    let mut get = |name: &str, shape: &[usize]| {
        let range = if name.contains("lora_A") { 2.0 / (shape[1] as f64).sqrt() } else { size };
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| range * draw()).collect();
        Ok(Tensor::from_vec(values, shape, &DEVICE)?)
    };
    Adapter::new(config, model, &mut get, DType::F32, &DEVICE).unwrap()
}

/// What PEFT saved, `*/from-peft/*`, with the logits that it computes.
#[test]
#[ignore = "reads files of scripts/export-check.sh, which sets STEARIN_EXPORT_DIR"]
fn opens_what_peft_saved() {
    let list = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut opened = 0;
    for folder in list(&folder()) {
        for path in list(&folder.join("from-peft")) {
            let case = fs::read(folder.join("case.json")).unwrap();
            let case: serde_json::Value = serde_json::from_slice(&case).unwrap();
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let packed = packed(&ids);
            for model in both(&folder.join(BLOCKS)) {
                let shape = (ids.len(), model.config().vocab_size);
                let want = read_logits(&path.join("logits.f32"), shape);
                let adapter = Adapter::open(&path, model.config(), DType::F32, &DEVICE).unwrap();
                let far = distance(&with_adapter(&model, Some(&adapter), &packed), &want);
                eprintln!("{}: {far:.1e} from PEFT", path.display());
                assert!(far < BOUND, "{}: logits are {far} away", path.display());
                // Negative control: the base alone is another model.
                let far = distance(&with_adapter(&model, None, &packed), &want);
                assert!(far > 100.0 * BOUND, "{}: the adapter changes {far}", path.display());
            }
            opened += 1;
        }
    }
    assert!(opened > 0, "no folder of PEFT's in {}", folder().display());
}
