//! The run record: what a run leaves for those who look at it, written and read by the same types.
//!
//! ```text
//! run.json                          what this run is: `Facts`
//! status.json                       what it is doing now: `Status`
//! metrics.jsonl                     an object a step, the same bytes for equal runs: `MetricTable`
//! timings.jsonl                     seconds, rates and memory of the same steps
//! health.jsonl                      warnings, as they came: `HealthLine`
//! changes.jsonl                     settings that a resume changed: `Changes`
//! samples/index.jsonl               a recorded group a line: `GroupEntry`
//! samples/step-000020.jsonl         the same groups as texts and verdicts: `SampleGroup`
//! samples/step-000020.safetensors   the columns of their tokens: `StepTokens`, `TokenFile`
//! tokens/step-000020.jsonl          where it is asked for, such columns as text: `TokensLine`
//! evals/step-000100/NAME.json       the figures of an evaluation: `Summary`
//! evals/step-000100/NAME.jsonl      a problem of it a line: `ProblemLine`
//! evals/step-000100/NAME.safetensors   the tokens of its first problems: `StepTokens`
//! ```
//!
//! [`Record`] writes it, [`Run`] opens it, and [`Tail`] follows a log while it grows. [`Foreign`]
//! reads the files of other trainers into the same types. A file has a
//! module with its struct, its writer and its reader. docs/record.md describes the format.

mod changes;
mod columns;
mod cut;
mod dump;
mod evaluated;
pub mod evaluation;
mod facts;
mod figure;
mod figures;
mod files;
mod foreign;
mod health;
mod held_out;
mod index;
mod lines;
mod log;
mod open;
mod paired;
mod problem;
mod record;
pub mod results;
mod samples;
mod schema;
mod sink;
mod status;
mod step;
mod summary;
mod table;
mod tail;
mod thin;
mod tokens;
mod tree;

pub use changes::{Change, Changes, Class, read_changes};
pub use columns::TokenFile;
pub use cut::{cut, cut_evaluations, cut_values};
pub use dump::{Credit, TokensLine};
pub use evaluation::{GreedyResult, ProblemLine};
pub use facts::{Accepted, AdapterFacts, Digest, Facts, Files, ModelFacts};
pub use figure::Figure;
pub use files::{
    Seen, check_files, cut_file, entries, folder_problem, is_folder, open_file, open_to_append,
    read_file, read_text,
};
pub use foreign::{Foreign, Origin, Spell};
pub use health::{HealthLine, Level, read_health};
pub use held_out::evaluations;
pub use index::{GroupEntry, read_index};
pub use lines::{Lines, Problems};
pub use log::{Line, read_log};
pub use open::{Run, Samples};
pub use paired::{Pair, paired_figures, pairs_by_id, pairs_by_number};
pub use problem::{Problem, read_json};
pub use record::{Groups, GroupsRule, Record, RecordConfig, Sampled, SamplesConfig};
pub use samples::{SampleCompletion, SampleEnd, SampleGroup};
pub use schema::{FileSchema, SCHEMAS};
pub use sink::{Folder, Sink, sync_folder, write_whole};
pub use status::{Phase, State, Status, Waiting};
pub use step::{Learnt, Step, StepFiles};
pub use summary::{Excerpt, Part, Summary};
pub use table::MetricTable;
pub use tail::{Polled, Tail};
pub use thin::Thinning;
pub use tokens::{StepTokens, TokensAbout, flag};
pub use tree::{Node, Sibling, tree};

/// Version of everything written here.
pub const FORMAT: u32 = 2;

/// Name of a step's entry in a folder.
pub fn step_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step that an entry `step-NNNNNN`, `step-NNNNNN.jsonl` or `step-NNNNNN.safetensors` belongs
/// to.
pub fn step_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    let stripped = [".jsonl", ".safetensors"].iter().find_map(|end| digits.strip_suffix(end));
    let digits = stripped.unwrap_or(digits);
    let step = digits.parse().ok()?;
    // Another spelling of the number is a name that nobody here gives.
    (step_name(step).strip_prefix("step-") == Some(digits)).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_step_and_a_partial_one_says_none() {
        assert_eq!(step_of_name(&step_name(20)), Some(20));
        assert_eq!(step_of_name("step-1234567.jsonl"), Some(1_234_567));
        assert_eq!(step_of_name("step-000020.safetensors"), Some(20));
        for name in ["step-000002.jsonl.partial", "step-", "step--1", "latest", "step-2x"] {
            assert_eq!(step_of_name(name), None, "{name}");
        }
    }
}
