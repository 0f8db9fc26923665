//! Evaluations: figures, problems, and the tokens of those that are kept with them.

use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::json;

use super::{After, Answer, Of, as_json, cached, of_run};
use crate::ask::{Path, Query};
use crate::groups::{Page, tokens as columns};

pub(super) async fn figures(
    State(runs): Of,
    Path((id, set, step)): Path<(String, String, u64)>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Answer {
    let page = of_run(runs, id, move |run| {
        let (summary, lines) = run.evaluation(&set, step)?;
        let Page { next, lines } = Page::of(&lines, after);
        Ok(json!({ "summary": summary, "next": next, "lines": lines }))
    });
    Ok(as_json(&headers, &page.await?))
}

/// A problem of an evaluation: run, set, step and number.
type Place = Path<(String, String, u64, u64)>;

pub(super) async fn tokens(
    State(runs): Of,
    Path((id, set, step, number)): Place,
    headers: HeaderMap,
) -> Answer {
    let bytes = of_run(runs, id, move |run| {
        let line = run.evaluated_problem(&set, step, number)?;
        let (samples, entry) = run.evaluated(&set, step, &line)?;
        columns(&samples, run.run.generation(), &entry, None)
    });
    Ok(cached(&headers, "application/octet-stream", bytes.await?))
}

pub(super) async fn tree(
    State(runs): Of,
    Path((id, set, step, number)): Place,
    headers: HeaderMap,
) -> Answer {
    let tree = of_run(runs, id, move |run| {
        let line = run.evaluated_problem(&set, step, number)?;
        let (samples, entry) = run.evaluated(&set, step, &line)?;
        Ok(samples.tree(&entry)?)
    });
    Ok(as_json(&headers, &tree.await?))
}

pub(super) async fn problem(
    State(runs): Of,
    Path((id, set, step, number)): Place,
    headers: HeaderMap,
) -> Answer {
    let line = of_run(runs, id, move |run| run.evaluated_problem(&set, step, number));
    Ok(as_json(&headers, &line.await?))
}
