//! Which runs there are, and what each of them is.

use axum::extract::State;
use axum::http::HeaderMap;
use evals::metrics::spec;
use evals::run::{Facts, Problem, Status};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ask::Path;
use crate::recipe::{Stage, stages};
use crate::routes::{Answer, Of, as_json, of_run, reading};
use crate::runs::lock;
use crate::watched::{Promises, Watched};

/// A run in the list.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    name: String,
    kind: String,
    origin: String,
    state: &'static str,
    step: u64,
    total_steps: u64,
    stage: usize,
    updated: Option<u64>,
    started: Option<u64>,
    model: Option<String>,
    problems: u64,
}

impl Listed {
    fn of(id: String, run: &Watched) -> Self {
        let (facts, status) = (run.run.facts.as_ref(), run.run.status.as_ref());
        Self {
            id,
            name: run.name(),
            kind: facts.map_or_else(|| "train".to_owned(), |facts| facts.kind.clone()),
            origin: run.origin(),
            state: run.life(),
            step: status.map(|status| status.step).or(run.last_step()).unwrap_or(0),
            total_steps: status.map_or(0, |status| status.total_steps),
            stage: status.map_or(0, |status| status.stage),
            updated: status.map(|status| status.updated),
            started: status.map(|status| status.started),
            model: facts.and_then(|facts| Some(facts.model.as_ref()?.path.clone())),
            problems: {
                let (kept, more) = run.problems();
                kept.len() as u64 + more
            },
        }
    }
}

pub(crate) async fn list(State(runs): Of, headers: HeaderMap) -> Answer {
    let listed = reading(move || {
        let listed = runs.all().into_iter().map(|(id, run)| {
            let mut run = lock(&run);
            // A run that was deleted meanwhile is listed as it was.
            let _ = run.glance();
            Listed::of(id, &run)
        });
        Ok(listed.collect::<Vec<_>>())
    });
    Ok(as_json(&headers, &listed.await?))
}

/// What a run is, and what there is of it.
#[derive(Debug, Serialize)]
struct About {
    facts: Option<Facts>,
    status: Option<Value>,
    stages: Vec<Stage>,
    keys: Vec<Value>,
    sampled: Vec<u64>,
    evals: Vec<Value>,
    checkpoints: Vec<u64>,
    columns: Vec<String>,
    problems: Vec<Told>,
    /// Problems that are not among these.
    more_problems: u64,
    #[serde(flatten)]
    promises: Promises,
}

/// What could not be read of a run.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    line: Option<u64>,
    problem: String,
    act: String,
}

impl From<Problem> for Told {
    fn from(Problem { file, line, reason, act }: Problem) -> Self {
        Self { file, line, problem: reason, act }
    }
}

/// The status with what can be told of a run that is silent or was killed.
pub(crate) fn status_of(run: &Watched) -> Option<Value> {
    let status: &Status = run.run.status.as_ref()?;
    let mut value = serde_json::to_value(status).expect("plain fields become JSON");
    value["state"] = run.life().into();
    Some(value)
}

pub(crate) async fn about(State(runs): Of, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let about = of_run(runs, id, |run| {
        let keys = run.metrics.keys().iter().chain(run.timings.keys());
        let described = keys.map(|key| {
            let spec = spec(key);
            let (unit, meaning) = spec.map_or(("1", ""), |spec| (spec.unit, spec.meaning));
            json!({ "key": key, "unit": unit, "meaning": meaning })
        });
        let newest = run.index.lines.last().map(|entry| run.samples().tokens(entry.step));
        let columns = newest.and_then(Result::ok).map(|file| file.token_columns());
        let evals = run.evaluations().into_iter();
        let (problems, more_problems) = run.problems();
        Ok(About {
            facts: run.run.facts.clone(),
            status: status_of(run),
            stages: stages(&run.recipe().table),
            keys: described.collect(),
            sampled: run.sampled(),
            evals: evals.map(|(set, steps)| json!({ "set": set, "steps": steps })).collect(),
            checkpoints: run.checkpoints(),
            columns: columns.unwrap_or_default(),
            problems: problems.into_iter().map(Told::from).collect(),
            more_problems,
            promises: run.promises(),
        })
    });
    Ok(as_json(&headers, &about.await?))
}
