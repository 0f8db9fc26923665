//! A plan in words.

use std::fmt::{self, Write as _};

use ::settings::number;
use engine::{AdapterConfig, Module};

use super::{
    AdapterSize, Named, Plan, ProblemStats, Prompts, Samples, StagePlan, Stored, settings,
};
use crate::config::{BaseChoice, BestBy, Recipe};
use crate::memory::{F32, MemoryEstimate};
use crate::printable::{both_ends, counted, thousands};

/// Characters shown of each end of a prompt.
const PROMPT: usize = 300;

fn mib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    match mib {
        // Not less than it is: it may be a limit.
        ..0.1 => format!("{} KiB", bytes.div_ceil(1024)),
        ..10.0 => format!("{mib:.1} MiB"),
        ..10_000.0 => format!("{mib:.0} MiB"),
        _ => format!("{:.0} GiB", mib / 1024.0),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recipe = &self.recipe;
        let mut line = |name: &str, text: &str| writeln!(f, "{name:>12}  {text}");
        line("run", &format!("{}, {}", recipe.name, counted(recipe.total_steps(), "step")))?;
        line(
            "model",
            &format!(
                "{}, {} parameters, {}",
                recipe.model.path,
                thousands(self.parameters),
                counted(self.threads, "thread")
            ),
        )?;
        line("sizes", &self.sizes)?;
        if let Some(adapter) = &self.adapter {
            line("adapter", &adapter.describe(self.parameters))?;
            line("base", &self.stored.describe(recipe.model.base(), self.parameters))?;
            for named in &adapter.named {
                line("adapter", &named.describe())?;
            }
        }
        for note in &self.notes {
            line("note", note)?;
        }
        line("problems", &self.problems.describe(recipe.data.max_prompt_tokens.get()))?;
        for (what, input) in &self.inputs {
            line(what, input)?;
        }
        match (&self.prompt, recipe.prompt.suffix.as_deref()) {
            (Some(prompt), _) => line("a prompt", &both_ends(prompt, PROMPT))?,
            (None, Some(suffix)) if !suffix.trim().is_empty() => {
                line("suffix", &format!("of every prompt: {}", both_ends(suffix, PROMPT)))?;
            }
            (None, _) => {}
        }
        for (index, (stage, settings)) in self.stages.iter().zip(&recipe.stages).enumerate() {
            line(&format!("stage {index} {}", stage.kind), &stage.to_string())?;
            for (name, row) in
                settings::rows(index, settings, &self.origins, self.adapter.is_some())
            {
                line(name, &row)?;
            }
            if let Some(reference) = settings.reference() {
                line("reference", &reference.describe(index, self.adapter.is_some()))?;
            }
            line("memory", &stage.memory.to_string())?;
            if let Some((base, memory)) = &stage.other {
                line("or", &format!("with base = {}: {memory}", written(*base)))?;
            }
        }
        line("marks", settings::MARKS)?;
        line("evaluation", &self.evaluation())?;
        line("samples", &self.samples.to_string())?;
        line("checkpoints", &kept(recipe))?;
        line("disk", &self.on_disk())
    }
}

impl Plan {
    /// What is to be said of stages that take more than `most` bytes of memory, a line each.
    pub fn beyond(&self, most: u64) -> Vec<String> {
        let stages = self.stages.iter().enumerate();
        let beyond = stages.filter(|(_, stage)| stage.memory.total() > most);
        let line = |(index, stage): (usize, &StagePlan)| {
            let slots = stage.group_size.map_or_else(String::new, |_| {
                format!("`stage.{index}.slots`, `stage.{index}.rollout.max_new_tokens` or ")
            });
            format!(
                "stage {index} may take about {} of memory, more than the {} of this machine\n\
                 lower {slots}`stage.{index}.micro_batch_tokens`, or take a smaller model",
                mib(stage.memory.total()),
                mib(most)
            )
        };
        beyond.map(line).collect()
    }

    /// How often the run is evaluated, and on how much.
    fn evaluation(&self) -> String {
        let sets = self.recipe.held_out_sets();
        let Some(first) = self.evaluations.first() else {
            return "none: there is neither `data.held_out` nor an `[[eval.set]]`".to_owned();
        };
        let each = sets.iter().enumerate().map(|(at, set)| match &self.problems {
            ProblemStats::Problems { held_out, .. } => set.completions() * held_out[at].problems,
            ProblemStats::Nothing { .. } => set.completions(),
        });
        let each: Vec<_> = each.collect();
        let lacks = self.lacks_problems();
        if self.evaluations.iter().all(|times| times == first) {
            let completions = if lacks {
                let each = each.iter().zip(&sets);
                let each = each.map(|(count, set)| format!("{count} of each in {}", set.name));
                format!("completions of problems: {}", each.collect::<Vec<_>>().join(", "))
            } else {
                counted(thousands(each.iter().sum::<usize>() as u64), "completion")
            };
            return format!("{}, {completions}", counted(first, "time"));
        }
        let what = if lacks { "completions of each problem" } else { "completions" };
        let all = self.evaluations.iter().zip(&sets).zip(&each).map(|((times, set), count)| {
            let times = counted(times, "time");
            format!("{} {times}, {} {what}", set.name, thousands(*count as u64))
        });
        all.collect::<Vec<_>>().join("; ")
    }

    /// What the run writes.
    fn on_disk(&self) -> String {
        let evaluations = match &self.problems {
            ProblemStats::Problems { .. } => "samples, tokens and evaluations",
            ProblemStats::Nothing { .. } => "samples and tokens; evaluations not included",
        };
        format!(
            "{} at most: {} a checkpoint, {} of {evaluations}",
            mib(self.disk),
            mib(self.checkpoint),
            mib(self.recorded)
        )
    }
}

/// A value of `model.base` as a recipe has it.
fn written(base: BaseChoice) -> &'static str {
    match base {
        BaseChoice::AsStored => "\"as-stored\"",
        BaseChoice::F32 => "\"f32\"",
    }
}

impl AdapterSize {
    /// What is trained; `all` are the weights of the model.
    fn describe(&self, all: u64) -> String {
        let AdapterConfig { rank, alpha, targets, .. } = &self.config;
        let names: Vec<_> = targets.iter().map(|target| target.name()).collect();
        let names =
            if names.len() == Module::ALL.len() { "all-linear".into() } else { names.join(", ") };
        let scale = self.config.scale();
        let scale = if scale < 1e6 { format!("{scale:.4}") } else { number(scale) };
        format!(
            "{} parameters, {:.2} % of the model's: rank {rank}, alpha {}, scale {scale}, {names}{}",
            thousands(self.parameters),
            100.0 * self.parameters as f64 / all as f64,
            number(*alpha),
            if self.is_fresh { "" } else { ", as the adapter that it starts from" }
        )
    }
}

impl Named {
    /// Which adapter it is.
    fn describe(&self) -> String {
        let Self { name, from, rank, parameters } = self;
        let parameters = thousands(*parameters);
        format!("{name}: {parameters} parameters that do not change, rank {rank}, from {from}")
    }
}

impl Stored {
    /// What the weights take; `all` is their number.
    fn describe(&self, base: BaseChoice, all: u64) -> String {
        let types: Vec<_> =
            self.types.iter().map(|(name, bytes)| format!("{name} {}", mib(*bytes))).collect();
        let guess = if self.guess.is_empty() { String::new() } else { format!(", {}", self.guess) };
        format!(
            "{}: {} as stored ({}{guess}), {} in f32",
            written(base),
            mib(self.bytes()),
            types.join(", "),
            mib(all * F32)
        )
    }
}

/// Which checkpoints stay.
fn kept(recipe: &Recipe) -> String {
    let best = match (recipe.best_by(), &recipe.checkpoint.best) {
        (Some(BestBy { set, figure }), _) => format!(" and the best by {set} {}", figure.title()),
        (None, None) => String::new(),
        (None, _) => "; no best one: no set to choose it by is evaluated after a step".to_owned(),
    };
    format!("the newest {}{best}", recipe.checkpoint.keep)
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, groups, stride, bytes, .. } = *self;
        match stride {
            0 => f.write_str("none"),
            _ => write!(
                f,
                "at most {} a recorded step of {} and {} in the end, with 1 step of {stride} recorded",
                mib(step),
                counted(groups, "group"),
                mib(bytes)
            ),
        }
    }
}

impl ProblemStats {
    fn describe(&self, limit: usize) -> String {
        match self {
            Self::Problems { train, held_out, prompts } => {
                let lengths = prompts.map_or_else(
                    || {
                        format!(
                            "prompts taken as {limit} tokens, their limit, because there is no tokenizer"
                        )
                    },
                    |Prompts { min, mean, max }| {
                        format!("prompts of {min} to {max} tokens, {mean:.1} on average")
                    },
                );
                format!(
                    "{} to train on, {} held out; {lengths}",
                    thousands(*train as u64),
                    thousands(held_out.iter().map(|set| set.problems as u64).sum())
                )
            }
            Self::Nothing { missing } => {
                format!("unknown: {missing}; prompts taken as {limit} tokens, their limit")
            }
        }
    }
}

impl fmt::Display for StagePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text =
            format!("{} x {}", counted(self.steps, "step"), counted(self.batch, "problem"));
        if let Some(group_size) = self.group_size {
            write!(text, " x {}", counted(group_size, "sibling"))?;
        }
        let epochs = self.epochs.map_or_else(|| "unknown".into(), |epochs| format!("{epochs:.2}"));
        write!(
            text,
            " = {} ({epochs} epochs), {}",
            counted(thousands(self.samples), "sample"),
            counted(thousands(self.updates), "update")
        )?;
        if self.passes > 1 {
            write!(text, " ({} passes over each batch)", self.passes)?;
        }
        if let Some(drawn) = self.most_drawn {
            write!(text, ", chosen from at most {} sampled", thousands(drawn))?;
        }
        if let Some(tokens) = self.most_tokens {
            write!(text, ", at most {}", counted(thousands(tokens), "token"))?;
        }
        f.write_str(&text)
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (adapter, pass) = if self.scratch > 0 {
            ("adapter", "a block's forward pass")
        } else {
            ("adapter with gradients and optimizer", "a block's backward pass")
        };
        let parts = [
            ("weights", self.weights),
            (adapter, self.adapter),
            ("decoded weights", self.decoding),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("reference", self.reference),
            ("cache", self.cache),
            ("sampling's copy of the weights in bf16", self.rounded),
            ("activations", self.activations),
            ("head's gradient", self.head),
            ("a changed block", self.scratch),
            ("logits", self.logits),
            (pass, self.working),
            ("tokenizer", self.tokenizer),
            ("program", self.program),
        ];
        let listed: Vec<_> = parts
            .iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(name, bytes)| format!("{name} {}", mib(*bytes)))
            .collect();
        let mut turns = Vec::new();
        if self.cache > 0 {
            let copy = if self.rounded > 0 && !self.keeps_copy() { ", copy" } else { "" };
            turns.push(format!("; cache{copy} and backward pass in turn"));
        }
        if self.in_turn {
            turns.push("; gradients and activations in turn".to_owned());
        }
        write!(f, "at most about {}: {}{}", mib(self.total()), listed.join(", "), turns.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(mib(1 << 20), "1.0 MiB");
        assert_eq!([0, 1, 93_799].map(mib), ["0 KiB", "1 KiB", "92 KiB"]);
        assert_eq!(mib(300 << 20), "300 MiB");
        assert_eq!(mib(300 << 30), "300 GiB");
    }
}
