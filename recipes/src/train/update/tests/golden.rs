//! Updates of adapters against PEFT and torch: `engine/testdata/lora/README.md`.

use std::collections::HashMap;
use std::path::Path;

use candle::{Device, Tensor};
use engine::Adapter;
use engine::loss::{Aggregation, Kl, PolicyLoss};
use optim::{AdamWConfig, OptimConfig};

use super::*;

#[test]
fn an_update_of_an_adapter_ends_where_that_of_torch_ends() {
    for name in ["llama", "qwen2"] {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora").join(name);
        let base = engine::load(&folder.join("base"), &Device::Cpu, DType::F32).unwrap().0;
        let (config, device) = (base.config(), &Device::Cpu);
        let adapter = Adapter::open(&folder.join("adapter"), config, DType::F32, device).unwrap();
        let model = base.with_adapter(adapter).unwrap();
        let expected: HashMap<String, Tensor> =
            candle::safetensors::load(folder.join("expected.safetensors"), device).unwrap();
        let ids = expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
        let mut table = Table::default();
        for ids in &ids {
            table.push_prompt(ids[..1].to_vec());
            table.push_completion(&ids[1..]);
        }
        table.credit = Credit::even(&table, 1.0);
        let schedule = Schedule::Constant { lr: 1e-3, warmup: 0, warmup_ratio: 0.0 };
        let loss = LossConfig {
            policy_loss: PolicyLoss::NegativeLogLikelihood {},
            aggregation: Aggregation::TokenMean {},
            kl: Kl::Off {},
            entropy_coefficient: 0.0,
        };
        let plan = plan(&model, &loss, &schedule);
        // What a recipe sets, but for the bound of the gradient's norm, which torch's step lacks.
        let config = AdamWConfig { max_grad_norm: 0.0, ..AdamWConfig::default() };
        let mut optimizer = Gradient::new(&OptimConfig::AdamW(config), &model).unwrap();
        update(&plan, &mut optimizer, &table, 0, &mut |_, _| {}, &mut |_| Ok(())).unwrap();
        let plain = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for own in model.trainable() {
            let want = &expected[&format!("after_1.base_model.model.{}", own.name)];
            for (got, want) in plain(&own.tensor).iter().zip(plain(want)) {
                assert!((got - want).abs() < 1e-6, "{name}: {}: {got}, {want}", own.name);
            }
        }
    }
}
