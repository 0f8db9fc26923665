//! Matrices in the format of their file: every result is that of the numbers that they stand for,
//! to the bit.

use std::path::Path;

use candle::quantized::{GgmlDType, QStorage, QTensor, gguf_file};
use candle::{DType, Device};
use engine::{
    Activations, AdapterConfig, Checkpoint, Family, MatmulPrecision, Model, ModelConfig, Module,
    Packed, Scaling, Target, Value, WeightSource, save,
};

use crate::packing::gradients;
use crate::support::{adapted, adapter, config, configs, model, tokens, values};
use crate::{disk, support};

const DEVICE: Device = Device::Cpu;

/// The model of a checkpoint as numbers, and in the format of its file.
fn both(path: &Path, dtype: DType) -> [Model; 2] {
    let numbers = Checkpoint::open(path).unwrap().load(&DEVICE, dtype).unwrap().0;
    let stored = Checkpoint::open(path).unwrap().load_as_stored(&DEVICE, dtype).unwrap().0;
    assert!(stored.is_stored() && !numbers.is_stored());
    assert_eq!(stored.trainable().count(), 0, "a base is frozen");
    [numbers, stored]
}

/// Sizes that every type of block fits, with sums of more than 768 terms.
pub(crate) fn wide(family: Family, vocab_size: usize) -> ModelConfig {
    ModelConfig {
        vocab_size,
        hidden_size: 256,
        intermediate_size: 1024,
        num_heads: 8,
        head_dim: 32,
        num_kv_heads: 2,
        context: 1024,
        ..config(family)
    }
}

/// A GGUF file of a random model.
fn file(config: &ModelConfig, kind: GgmlDType) -> tempfile::TempDir {
    mixed(config, &[kind])
}

/// A GGUF file whose matrices have these types in turn.
pub(crate) fn mixed(config: &ModelConfig, kinds: &[GgmlDType]) -> tempfile::TempDir {
    let vectors = disk::vectors();
    let vocabulary = &vectors["tokenizers"][0];
    let vocab_size = disk::strings(&vocabulary["tokens"]).len();
    let model = model(ModelConfig { vocab_size, ..config.clone() }, DType::F32);
    let folder = tempfile::tempdir().unwrap();
    let mut files = kinds.iter().map(|kind| disk::GgufFile::of(&model, *kind, vocabulary));
    let mut file = files.next().unwrap();
    let others: Vec<_> = files.collect();
    for (turn, (name, tensor)) in file.tensors.iter_mut().enumerate() {
        let Some(other) = (turn % kinds.len()).checked_sub(1) else { continue };
        let same = others[other].tensors.iter().find(|(other, _)| other == name).unwrap();
        let data = QStorage::from_data(same.1.data().unwrap(), &DEVICE, same.1.dtype()).unwrap();
        *tensor = QTensor::new(data, same.1.shape().clone()).unwrap();
    }
    file.write(folder.path());
    folder
}

/// Rows of one sequence, and what follows each.
fn sequence(rows: usize, vocab: usize) -> (Packed, Vec<Target>) {
    let ids = tokens(rows as u64, rows + 1, vocab);
    let mut packed = Packed::default();
    packed.push(&ids[..rows], None).unwrap();
    (packed, (0..rows).map(|row| Target { row, token: ids[row + 1] }).collect())
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Hidden states, scores, likeliest tokens, and the logits of prefill and decoding.
fn computed(model: &Model, rows: usize) -> Vec<u32> {
    let (policy, vocab) = (model.policy(), model.config().vocab_size);
    let (packed, targets) = sequence(rows, vocab);
    let hidden = policy.hidden(&packed).unwrap().to_dtype(DType::F32).unwrap();
    let mut all = hidden.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let scores = policy.score_with_alternatives(&packed, &targets, 0.7, 2).unwrap();
    all.extend([scores.log_probs, scores.entropies, scores.phi_sums].concat());
    all.extend(scores.alternatives.iter().flat_map(|&(token, x)| [token as f32, x]));
    let slots = rows.min(5);
    let mut cache = policy.cache(slots, 2).unwrap();
    let prompt = policy.prefill(&tokens(1, 17, vocab)).unwrap();
    all.extend(prompt.logits());
    (0..slots).for_each(|slot| cache.attach(slot, prompt.clone()).unwrap());
    let feed: Vec<_> = (0..slots).map(|slot| (slot, slot as u32 + 3)).collect();
    for _ in 0..2 {
        let mut logits = Vec::new();
        policy.decode(&mut cache, &feed, &mut logits).unwrap();
        all.extend(logits);
    }
    bits(&all)
}

/// The gradients of an adapter, as bits.
fn descended(model: &Model, rows: usize, activations: Activations) -> Vec<Vec<u64>> {
    let batch = sequence(rows, model.config().vocab_size);
    let gradients = gradients(model, &[batch], activations);
    gradients.iter().map(|own| own.iter().map(|x| x.to_bits()).collect()).collect()
}

fn assert_equal(models: [Model; 2], rows: &[usize], what: &str) {
    let [numbers, stored] = models.map(|model| adapted(model, 3));
    for &rows in rows {
        assert!(computed(&numbers, rows) == computed(&stored, rows), "{what}, {rows} rows");
        for activations in [Activations::Keep, Activations::Recompute] {
            let [want, got] = [&numbers, &stored].map(|m| descended(m, rows, activations));
            assert!(want == got, "{what}, {rows} rows, {activations:?}");
        }
    }
}

const KINDS: [GgmlDType; 12] = [
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

#[test]
fn every_type_of_a_gguf_file_computes_what_its_numbers_compute() {
    for (kind, family) in KINDS.into_iter().zip(support::FAMILIES.into_iter().cycle()) {
        let folder = file(&wide(family, 0), kind);
        let models = both(&folder.path().join("model.gguf"), DType::F32);
        assert_equal(models, &[5], &format!("{kind:?}"));
    }
}

#[test]
fn maps_that_share_their_input_may_differ_in_type() {
    let kinds = [GgmlDType::Q8_0, GgmlDType::F32, GgmlDType::Q4K, GgmlDType::F16];
    for family in support::FAMILIES {
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            let folder = mixed(&wide(family, 0), &kinds);
            let models = both(&folder.path().join("model.gguf"), DType::F32);
            let models = models.map(|model| model.with_precision(precision).unwrap());
            assert_equal(models, &[3, 33], &format!("{family}, {precision:?}"));
        }
    }
}

#[test]
fn any_number_of_rows_and_threads_and_either_precision_computes_the_same() {
    let config = ModelConfig { tie_embeddings: false, ..wide(Family::Llama, 0) };
    let folder = file(&config, GgmlDType::Q4_1);
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            let models = both(&folder.path().join("model.gguf"), DType::F32);
            let models = models.map(|model| model.with_precision(precision).unwrap());
            let rows: &[usize] = if threads == 2 { &[1, 64, 65, 700] } else { &[5, 65] };
            let what = format!("{threads} threads, {precision:?}");
            pool.install(|| assert_equal(models, rows, &what));
        }
    }
}

#[test]
fn the_reference_backend_decodes_a_block_at_a_time() {
    for config in configs() {
        let config = ModelConfig { hidden_size: 32, intermediate_size: 64, ..config };
        let config = ModelConfig { head_dim: 8, ..config };
        let folder = file(&config, GgmlDType::Q8_0);
        let models = both(&folder.path().join("model.gguf"), DType::F64);
        assert_equal(models, &[7], &format!("{:?}", config.family));
    }
}

#[test]
fn folders_in_16_bits_stay_as_they_are() {
    for (dtype, config) in [(DType::BF16, &configs()[0]), (DType::F16, &configs()[1])] {
        let folder = tempfile::tempdir().unwrap();
        let text = disk::text(config.vocab_size);
        save(&model(config.clone(), dtype), &text, folder.path()).unwrap();
        assert_equal(both(folder.path(), DType::F32), &[1, 40], &format!("{dtype:?}"));
    }
    // What takes no more memory as numbers is read as numbers, and can be trained.
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Llama);
    let text = disk::text(config.vocab_size);
    save(&model(config, DType::F32), &text, folder.path()).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (model, _) = checkpoint.load_as_stored(&DEVICE, DType::F32).unwrap();
    assert!(!model.is_stored() && model.trainable().count() == model.parameters().len());
}

/// What PEFT and torch compute with the numbers of `base-blocks.gguf`.
#[test]
fn blocks_give_the_logits_and_gradients_of_peft() {
    for name in ["llama", "qwen2"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lora").join(name);
        let read = |file: &str| candle::safetensors::load(folder.join(file), &DEVICE).unwrap();
        let mut expected = read("expected-blocks.safetensors");
        expected.extend(read("expected.safetensors").remove_entry("input_ids"));
        let [_, stored] = both(&folder.join("base-blocks.gguf"), DType::F32);
        let q = "model.layers.0.self_attn.q_proj.weight";
        let block = stored.block(0).unwrap();
        let decoded = block.q.weight.tensor(DType::F32, &DEVICE).unwrap();
        assert_eq!(values(&decoded), values(&expected[&format!("dequantised.{q}")]), "{name}");
        let adapter = folder.join("adapter");
        let adapter = engine::Adapter::open(&adapter, stored.config(), DType::F32, &DEVICE);
        let model = stored.with_adapter(adapter.unwrap()).unwrap();
        crate::adapter::assert_golden(&model, &expected, name);
    }
}

/// `base-blocks.gguf` of the llama with the rows of its queries as Hugging Face has them, which is
/// what a reader sees that does not put them back into that order.
fn unpermuted(to: &Path) {
    let path = crate::adapter::golden::folder("llama").join("base-blocks.gguf");
    let mut file = std::fs::File::open(path).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    let mut names: Vec<_> = content.tensor_infos.keys().collect();
    names.sort();
    let tensors = names.into_iter().map(|name| {
        let tensor = content.tensor(&mut file, name, &DEVICE).unwrap();
        if !name.ends_with("attn_q.weight") {
            return (name.as_str(), tensor);
        }
        // Heads of 8 rows: row i and row i + 4 stand side by side in the file.
        let (data, rows) = (tensor.data().unwrap(), tensor.shape().dims()[0]);
        let row = data.len() / rows;
        let from = (0..rows).map(|i| i / 8 * 8 + 2 * (i % 4) + i % 8 / 4);
        let moved: Vec<u8> = from.flat_map(|i| data[i * row..][..row].to_vec()).collect();
        let moved = QStorage::from_data(moved.into(), &DEVICE, tensor.dtype()).unwrap();
        (name.as_str(), QTensor::new(moved, tensor.shape().clone()).unwrap())
    });
    let tensors: Vec<_> = tensors.collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let metadata: Vec<_> =
        content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    gguf_file::write(&mut std::fs::File::create(to).unwrap(), &metadata, &tensors).unwrap();
}

/// Negative control of [`blocks_give_the_logits_and_gradients_of_peft`].
#[test]
fn queries_in_the_order_of_the_file_give_other_logits() {
    let folder = crate::adapter::golden::folder("llama");
    let expected = candle::safetensors::load(folder.join("expected-blocks.safetensors"), &DEVICE);
    let (expected, given) = (expected.unwrap(), crate::adapter::golden::expected("llama"));
    let (packed, _) = crate::adapter::golden::batch(&given);
    let temp = tempfile::tempdir().unwrap();
    let other = temp.path().join("other.gguf");
    unpermuted(&other);
    let far = [folder.join("base-blocks.gguf"), other].map(|path| {
        let [_, stored] = both(&path, DType::F32);
        let got = crate::adapter::golden::logits(stored.policy(), &stored, &packed);
        crate::adapter::golden::distance(&got, &expected["logits_off"])
    });
    assert!(far[0] < 1e-5 && far[1] > 1e-2, "{far:?}");
}

#[test]
fn a_stored_matrix_is_no_parameter_and_is_not_saved() {
    let folder = file(&config(Family::Qwen2), GgmlDType::F16);
    let [numbers, stored] = both(&folder.path().join("model.gguf"), DType::F32);
    let names = |model: &Model| -> Vec<String> {
        model.parameters().iter().map(|own| own.name.clone()).collect()
    };
    let vectors = |name: &String| name.ends_with("norm.weight") || name.ends_with("bias");
    let expected: Vec<_> = names(&numbers).into_iter().filter(vectors).collect();
    assert_eq!(names(&stored), expected);
    let text = disk::text(stored.config().vocab_size);
    let to = tempfile::tempdir().unwrap();
    let error = save(&stored, &text, &to.path().join("saved")).unwrap_err().to_string();
    assert!(error.contains("load it as f32"), "{error}");
    assert!(!to.path().join("saved").exists());

    // Of the matrices only their bytes are held.
    let Value::Stored(embed) = stored.embed().unwrap() else { panic!("the embedding is stored") };
    assert_eq!(embed.size(), 2 * embed.shape().iter().product::<usize>());
    // An adapter is trained, the base is not.
    let config = AdapterConfig {
        rank: 2,
        alpha: 2.0,
        scaling: Scaling::Rank,
        targets: vec![Module::Q, Module::Down],
    };
    let own = adapter(&stored, config, 1);
    let mut model = stored.with_adapter(own).unwrap();
    let error = model.freeze(|_| false).unwrap_err().to_string();
    assert!(error.contains("frozen as a whole"), "{error}");
    assert!(model.trainable().all(|own| own.name.contains("lora_")));
    assert_eq!(model.trainable().count(), 8);
}

#[test]
fn a_scale_that_is_not_finite_is_refused_by_name() {
    let folder = file(&wide(Family::Llama, 0), GgmlDType::Q4K);
    let path = folder.path().join("model.gguf");
    let bytes = std::fs::read(&path).unwrap();
    // The last tensors are the matrix of the top block's `down_proj`, and the final norm in f32.
    let block = bytes.len() - 256 * 4 - 144;
    for (at, value) in [(block, 0x7c00_u16), (block + 2, 0xfe01)] {
        let mut damaged = bytes.clone();
        damaged[at..at + 2].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&path, damaged).unwrap();
        let loaded = Checkpoint::open(&path).unwrap().load_as_stored(&DEVICE, DType::F32);
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
        assert!(error.contains("model.layers.1.mlp.down_proj.weight"), "{error}");
    }
}
