use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Descent, StageSettings, StepPlan, stage_settings};
use crate::config::{MOST_COMPLETIONS, StageData};
use crate::memory::MemoryFactors;

stage_settings! {
    /// A supervised stage: the negative log-likelihood of the solutions, each token with credit 1.
    pub struct SftStage {}
}

impl SftStage {
    pub(super) const KIND: &str = "sft";
    /// It samples nothing.
    pub(super) const SAMPLES: bool = false;
}

impl StageSettings for SftStage {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn steps(&self) -> u64 {
        self.steps.get()
    }

    fn batch(&self) -> usize {
        self.batch.get()
    }

    fn descent(&self) -> Descent<'_> {
        self.descent_settings()
    }

    fn data(&self) -> Option<&StageData> {
        self.data.as_ref()
    }

    fn plan(&self, _: u64) -> StepPlan {
        let memory = MemoryFactors {
            rows: self.micro_batch_tokens.get() as u64,
            alone: false,
            activations: self.activations.most(),
            cached: 0,
            reference: false,
            gradients: self.optim.estimator().is_none(),
        };
        StepPlan { sampled: None, memory }
    }

    fn problems(&self) -> Vec<String> {
        let batch = self.batch.get();
        let problem =
            || format!("batch: expected at most {MOST_COMPLETIONS} problems, got {batch}");
        (batch > MOST_COMPLETIONS).then(problem).into_iter().collect()
    }

    fn learns_solutions(&self) -> bool {
        true
    }
}
