//! Settings that are allowed and rarely meant: remarks of the dry run and of the start of a run.

use optim::{OptimConfig, Schedule};

use super::{Recipe, ReferenceChoice, Stage};

/// A learning rate above which full fine-tuning of a pretrained model by `AdamW` mostly diverges.
const HIGH_LR: f64 = 1e-3;
/// The same for a built-in policy, which is small and starts from random weights.
const HIGH_LR_BUILTIN: f64 = 0.1;
/// The same for an adapter, which learns best at about ten times the rate of full fine-tuning
/// ("`LoRA` Without Regret", Thinking Machines 2025; reproduced by TRL).
const HIGH_LR_ADAPTER: f64 = 5e-3;
/// A learning rate below which an adapter hardly learns.
const LOW_LR_ADAPTER: f64 = 3e-6;
/// Passes over the problems beyond which a stage mostly learns them by heart.
const MANY_EPOCHS: f64 = 50.0;

impl Recipe {
    /// One line for each setting that is far from usual; `train` is the number of problems that
    /// each stage trains on.
    pub fn remarks(&self, train: &[usize]) -> Vec<String> {
        let is_builtin = self.model.path.starts_with("builtin:");
        let is_adapter = self.model.adapter.is_some();
        let (most, usual) = match (is_builtin, is_adapter) {
            (true, _) => (HIGH_LR_BUILTIN, "1e-4 to 3e-3"),
            (false, true) => (HIGH_LR_ADAPTER, USUAL_ADAPTER),
            (false, false) => (HIGH_LR, "1e-6 to 1e-4"),
        };
        let mut found = self.unused();
        for (index, stage) in self.stages.iter().map(Stage::settings).enumerate() {
            let lr = peak(stage.descent().schedule);
            if lr > most {
                found.push(format!(
                    "stage.{index}.schedule.lr = {lr} is very high: training usually diverges above \
                     {most:e}; usual values are {usual}"
                ));
            }
            if is_adapter {
                found.extend(of_adapter(index, lr, stage.descent().optim));
            }
            let Some(&problems) = train.get(index).filter(|problems| **problems > 0) else {
                continue;
            };
            let epochs = stage.steps() as f64 * stage.batch() as f64 / problems as f64;
            if epochs > MANY_EPOCHS && !is_builtin {
                found.push(format!(
                    "stage {index} passes {epochs:.0} times over its {problems} problems, and may \
                     learn them by heart: watch the held-out accuracy, or lower stage.{index}.steps"
                ));
            }
        }
        found
    }
}

impl Recipe {
    /// References and adapters that nothing looks back at.
    fn unused(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let Stage::Rl(stage) = stage else { continue };
            if stage.reference != ReferenceChoice::default() && !stage.has_reference() {
                found.push(format!(
                    "stage.{index}.reference changes nothing: no KL term looks back at it; set \
                     stage.{index}.loss.kl or reward_kl, or remove it"
                ));
            }
        }
        let unused = self.model.adapters.keys().filter(|name| !self.looks_back_at(name));
        found.extend(unused.map(|name| {
            format!(
                "model.adapters.{name} is not read: no stage looks back at it; name it by `reference = \
                 {{ kind = \"adapter\", name = \"{name}\" }}` of a stage with a KL term, or remove it"
            )
        }));
        found
    }
}

/// Learning rates of adapters.
const USUAL_ADAPTER: &str = "1e-5 to 1e-3";

/// What is rarely meant in the settings of a stage that trains an adapter, at this learning rate.
fn of_adapter(stage: usize, lr: f64, optim: &OptimConfig) -> Vec<String> {
    let mut found = Vec::new();
    if lr < LOW_LR_ADAPTER {
        found.push(format!(
            "stage.{stage}.schedule.lr = {lr:e} is very low for an adapter, which learns best at about \
             10 times the rate of full fine-tuning; usual values are {USUAL_ADAPTER}"
        ));
    }
    let (decay, usual) = (optim.weight_decay(), OptimConfig::default().weight_decay());
    if decay > 0.0 && decay.to_bits() != usual.to_bits() {
        found.push(format!(
            "stage.{stage}.optim.weight_decay = {decay} changes nothing: the matrices of an adapter have \
             no weight decay; remove it"
        ));
    }
    found
}

/// The highest learning rate of a schedule.
fn peak(schedule: &Schedule) -> f64 {
    match schedule {
        Schedule::Constant { lr, .. }
        | Schedule::Linear { lr, .. }
        | Schedule::Cosine { lr, .. }
        | Schedule::Wsd { lr, .. } => *lr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(model: &str, lr: &str, steps: u64, train: usize) -> Vec<String> {
        with("", "", (model, lr), steps, train)
    }

    /// With more lines in the tables of the model and of the stage.
    fn with(
        of_model: &str,
        of_stage: &str,
        (model, lr): (&str, &str),
        steps: u64,
        train: usize,
    ) -> Vec<String> {
        let text = format!(
            "[model]\npath = '{model}'\n{of_model}\n[data]\ntrain = {{ kind = 'jsonl', path = 'a' }}\n\
             [[stage]]\nkind = 'sft'\nsteps = {steps}\nbatch = 10\n\
             schedule = {{ kind = 'cosine', lr = {lr} }}\n{of_stage}"
        );
        Recipe::parse("a", &text).unwrap().remarks(&[train])
    }

    #[test]
    fn a_high_learning_rate_and_many_epochs_are_remarked_on() {
        let lr = remarks("hf://a/b", "1.0", 10, 100);
        assert_eq!(lr.len(), 1, "{lr:?}");
        assert_eq!(
            lr[0],
            "stage.0.schedule.lr = 1 is very high: training usually diverges above 1e-3; usual \
             values are 1e-6 to 1e-4"
        );
        let epochs = remarks("hf://a/b", "1e-5", 1720, 100);
        assert_eq!(epochs.len(), 1, "{epochs:?}");
        let begin = "stage 0 passes 172 times over its 100 problems";
        assert!(epochs[0].starts_with(begin), "{epochs:?}");
        for (lr, steps) in [("1e-3", 10), ("1e-5", 500)] {
            assert_eq!(remarks("hf://a/b", lr, steps, 100), [""; 0]);
        }
        assert_eq!(remarks("builtin:tiny", "1e-2", 1720, 100), [""; 0]);
        let builtin = remarks("builtin:tiny", "1.0", 10, 100);
        assert!(builtin[0].ends_with("above 1e-1; usual values are 1e-4 to 3e-3"), "{builtin:?}");
        assert_eq!(remarks("hf://a/b", "1e-5", 1720, 0), [""; 0], "the problems are not known");
    }

    #[test]
    fn a_rate_of_full_fine_tuning_is_remarked_on_with_an_adapter() {
        let at = |model: &str, lr: &str| with("adapter = 'lora'", "", (model, lr), 10, 100);
        let low = at("hf://a/b", "1e-6");
        assert_eq!(
            low,
            [
                "stage.0.schedule.lr = 1e-6 is very low for an adapter, which learns best at about 10 \
              times the rate of full fine-tuning; usual values are 1e-5 to 1e-3"
            ]
        );
        assert_eq!(at("builtin:tiny", "1e-6"), low);
        for lr in ["3e-6", "5e-3"] {
            assert_eq!(at("hf://a/b", lr), [""; 0], "{lr}");
        }
        for lr in ["0.006", "0.01", "0.02"] {
            let high = at("hf://a/b", lr);
            assert!(high[0].ends_with("above 5e-3; usual values are 1e-5 to 1e-3"), "{high:?}");
        }
        assert_eq!(remarks("hf://a/b", "1e-6", 10, 100), [""; 0], "all weights are trained");
    }

    #[test]
    fn weight_decay_that_changes_nothing_is_remarked_on() {
        let decay = |of_model: &str, decay: &str| {
            with(of_model, &format!("optim.weight_decay = {decay}"), ("hf://a/b", "1e-5"), 10, 100)
        };
        assert_eq!(
            decay("adapter = 'lora'", "0.1"),
            [
                "stage.0.optim.weight_decay = 0.1 changes nothing: the matrices of an adapter have no \
              weight decay; remove it"
            ]
        );
        assert_eq!(decay("adapter = 'lora'", "0.0"), [""; 0]);
        assert_eq!(decay("", "0.1"), [""; 0], "all weights are trained");
        assert_eq!(with("adapter = 'lora'", "", ("hf://a/b", "1e-5"), 10, 100), [""; 0]);
    }
}
