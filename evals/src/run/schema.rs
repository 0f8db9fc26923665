//! JSON schemas of the files of the record, for programs that read them.

use schemars::{Schema, schema_for};

use super::{
    Changes, Facts, GroupEntry, HealthLine, ProblemLine, SampleGroup, Status, Summary, TokensLine,
};

/// A file of the record, and what makes its schema.
pub type FileSchema = (&'static str, fn() -> Schema);

/// The files that have a schema, as docs/record.md names them: of one with lines, that of a line.
/// The values of `metrics.jsonl` and `timings.jsonl` are in the metric table.
pub const SCHEMAS: [FileSchema; 9] = [
    ("run.json", || schema_for!(Facts)),
    ("status.json", || schema_for!(Status)),
    ("health.jsonl", || schema_for!(HealthLine)),
    ("changes.jsonl", || schema_for!(Changes)),
    ("samples/index.jsonl", || schema_for!(GroupEntry)),
    ("samples/step.jsonl", || schema_for!(SampleGroup)),
    ("tokens/step.jsonl", || schema_for!(TokensLine)),
    ("evals/NAME.json", || schema_for!(Summary)),
    ("evals/NAME.jsonl", || schema_for!(ProblemLine)),
];
