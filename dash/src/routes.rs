//! The answers of `/api/v1`, and those of the page's own files.

mod evaluations;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evals::hex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::about::{about, list};
use crate::ask::{Path, Query};
use crate::groups::{Filter, Page, tokens};
use crate::guard::guard;
use crate::runs::{Runs, lock};
use crate::series::Series;
use crate::trouble::Trouble;
use crate::two::{diff, paired};
use crate::watched::Watched;
use crate::{App, assets, events, forks, problem};

/// The server's routes.
pub(crate) fn router(app: App) -> Router {
    let of_run = Router::new()
        .route("/", get(about))
        .route("/series", get(series))
        .route("/health", get(health))
        .route("/groups", get(groups))
        .route("/groups/{step}/{group}", get(group))
        .route("/groups/{step}/{group}/tokens", get(group_tokens))
        .route("/groups/{step}/{group}/tree", get(group_tree))
        .route("/problem", get(problem_places))
        .route("/evals/{set}/{step}", get(evaluations::figures))
        .route("/evals/{set}/{step}/{problem}", get(evaluations::problem))
        .route("/evals/{set}/{step}/{problem}/tokens", get(evaluations::tokens))
        .route("/evals/{set}/{step}/{problem}/tree", get(evaluations::tree))
        .route("/recipe", get(recipe))
        .route("/events", get(events::events));
    Router::new()
        .route("/", get(index))
        .route("/assets/{version}/{*path}", get(asset))
        .route("/api/v1/runs", get(list))
        .nest("/api/v1/runs/{run}", of_run)
        .route("/api/v1/diff", get(diff))
        .route("/api/v1/paired", get(paired))
        .nest("/api/v1", forks::router())
        .fallback(|| async { Trouble::missing("there is nothing here").act("open /") })
        .method_not_allowed_fallback(|| async { Trouble::bad("this route is only read") })
        .layer(from_fn(guard))
        .with_state(app)
}

pub(crate) type Answer = Result<Response, Trouble>;
pub(crate) type Of = State<Arc<Runs>>;

/// Does what reads files outside of the thread that answers.
pub(crate) async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed on this run"))
    })
}

/// Answers with bytes, or with nothing where the browser has the same.
fn cached(headers: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    let hash = hex::encode(&Sha256::digest(&body)[..8]);
    let tag = HeaderValue::from_str(&format!("\"{hash}\"")).expect("digits are text");
    let known = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if known {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([kind, (header::ETAG, tag)], body).into_response()
}

pub(crate) fn as_json(headers: &HeaderMap, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("plain fields become JSON");
    cached(headers, "application/json", body)
}

/// What `read` makes of the run, whose files are read on before.
pub(crate) async fn of_run<T: Send + 'static>(
    runs: Arc<Runs>,
    id: String,
    read: impl FnOnce(&Watched) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    reading(move || {
        let run = runs.get(&id)?;
        let mut run = lock(&run);
        run.poll()?;
        read(&run)
    })
    .await
}

async fn index(headers: HeaderMap) -> Response {
    cached(&headers, "text/html; charset=utf-8", assets::index().into_bytes())
}

async fn asset(Path((version, path)): Path<(String, String)>) -> Answer {
    let found = (version == assets::version()).then(|| assets::find(&path)).flatten();
    let (bytes, kind) = found.ok_or_else(|| Trouble::missing("there is no such file"))?;
    let lasting = "public, max-age=31536000, immutable";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, lasting)], bytes).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    keys: String,
    from: u64,
    format: String,
}

async fn series(
    State(runs): Of,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    let Wanted { keys, from, format } = wanted;
    let keys: Vec<_> = keys.split(',').map(str::to_owned).collect();
    let series = of_run(runs, id, move |run| Series::asked(run, &keys, from)).await?;
    Ok(if format == "json" {
        as_json(&headers, &series.to_json())
    } else {
        cached(&headers, "application/octet-stream", series.to_bytes())
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct After {
    after: usize,
}

async fn health(
    State(runs): Of,
    Path(id): Path<String>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Answer {
    let page = of_run(runs, id, move |run| {
        let lines = run.health.lines.get(after..).unwrap_or_default();
        Ok(json!({ "next": after + lines.len(), "lines": lines }))
    });
    Ok(as_json(&headers, &page.await?))
}

async fn groups(
    State(runs): Of,
    Path(id): Path<String>,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Answer {
    let page = of_run(runs, id, move |run| {
        let chosen = filter.choose(&run.index.lines)?;
        Ok(json!(Page::of(&chosen, filter.after)))
    });
    Ok(as_json(&headers, &page.await?))
}

type Place = Path<(String, u64, usize)>;

async fn group(State(runs): Of, Path((id, step, group)): Place, headers: HeaderMap) -> Answer {
    let read = of_run(runs, id, move |run| Ok(run.samples().group(run.entry(step, group)?)?));
    Ok(as_json(&headers, &read.await?))
}

async fn group_tree(State(runs): Of, Path((id, step, group)): Place, headers: HeaderMap) -> Answer {
    let tree = of_run(runs, id, move |run| Ok(run.samples().tree(run.entry(step, group)?)?));
    Ok(as_json(&headers, &tree.await?))
}

#[derive(Debug, Deserialize)]
struct Siblings {
    siblings: Option<String>,
}

async fn group_tokens(
    State(runs): Of,
    Path((id, step, group)): Place,
    Query(Siblings { siblings }): Query<Siblings>,
    headers: HeaderMap,
) -> Answer {
    let bytes = of_run(runs, id, move |run| {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| Trouble::bad(format!("siblings: expected numbers, got `{text}`")))
        };
        let wanted = siblings.as_deref().map(|list| list.split(',').map(number).collect());
        let wanted: Option<Vec<usize>> = wanted.transpose()?;
        let entry = run.entry(step, group)?;
        tokens(&run.samples(), run.run.generation(), entry, wanted.as_deref())
    });
    Ok(cached(&headers, "application/octet-stream", bytes.await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Id {
    id: String,
}

async fn problem_places(
    State(runs): Of,
    Path(run): Path<String>,
    Query(Id { id }): Query<Id>,
    headers: HeaderMap,
) -> Answer {
    let places = of_run(runs, run, move |run| {
        let mut places = problem::places(run, &BTreeSet::from([id.clone()]))?;
        Ok(places.remove(&id))
    });
    Ok(as_json(&headers, &places.await?))
}

async fn recipe(State(runs): Of, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let text = of_run(runs, id, |run| {
        let recipe = run.recipe();
        let missing = || match &recipe.problem {
            Some(problem) => problem.clone().into(),
            None => Trouble::missing("the run has no recipe"),
        };
        recipe.text.clone().ok_or_else(missing)
    });
    Ok(cached(&headers, "text/plain; charset=utf-8", text.await?.into_bytes()))
}
