//! `/score` and `/fork`: what a model makes of a recorded completion.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::App;
use crate::ask::{Body, Path};
use crate::events::COMMENT;
use crate::groups::{completion, prompt};
use crate::job::{End, Listener};
use crate::model::Model;
use crate::reroll::{Fault, Fork, Recorded, Refusal, Score, Weights};
use crate::routes::{Answer, as_json, of_run};
use crate::trouble::Trouble;
use crate::watched::Watched;

/// Alternatives of a token, at most.
const MOST_ALTERNATIVES: usize = 64;
/// The highest temperature of a fork. Beyond it all tokens are about as likely as one another.
const WARMEST: f64 = 10.0;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/model", get(about))
        .route("/score", post(score))
        .route("/fork", post(fork))
        .route("/fork/{job}/events", get(events))
        .route("/fork/{job}", delete(cancel))
}

fn no_model() -> Trouble {
    Trouble::missing("this server has no model").act(
        "start it with `--model run`, for the checkpoints of the run, or with `--model` and the name \
         of a model",
    )
}

fn model(app: &App) -> Result<&Arc<Model>, Trouble> {
    app.model.as_ref().ok_or_else(no_model)
}

/// Where the weights come from; where there are none, why.
async fn about(State(app): State<App>, headers: HeaderMap) -> Response {
    let bounds = json!({ "n": [1, Fork::MOST], "temperature": [0, WARMEST] });
    let about = match app.model.as_ref().map(|model| &model.weights) {
        Some(Weights::Checkpoints) => json!({ "weights": "checkpoints", "fork": bounds }),
        Some(Weights::Model(name)) => json!({ "weights": "model", "name": name, "fork": bounds }),
        None => {
            let Trouble { error, act, .. } = no_model();
            json!({ "weights": null, "error": error, "act": act })
        }
    };
    as_json(&headers, &about)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreBody {
    run: String,
    step: u64,
    group: usize,
    sibling: usize,
    checkpoint: Option<u64>,
    #[serde(default = "five")]
    top: usize,
}

fn five() -> usize {
    5
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForkBody {
    run: String,
    step: u64,
    group: usize,
    sibling: usize,
    token: usize,
    n: usize,
    checkpoint: Option<u64>,
    temperature: Option<f64>,
    max_new_tokens: Option<usize>,
}

fn expected(key: &str, expected: &str, got: impl std::fmt::Display) -> Trouble {
    Trouble::bad(format!("{key}: expected {expected}, got {got}"))
}

async fn score(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Body<ScoreBody>, Trouble>,
) -> Answer {
    let model = model(&app)?;
    let ScoreBody { run, step, group, sibling, checkpoint, top } = body?.0;
    if top > MOST_ALTERNATIVES {
        return Err(expected("top", &format!("at most {MOST_ALTERNATIVES}"), top));
    }
    let weights = model.weights.clone();
    let asked = of_run(Arc::clone(&app.runs), run, move |run| {
        let checkpoint = chosen(run, &weights, checkpoint)?;
        Ok(Score { recorded: recorded(run, step, group, sibling)?, checkpoint, top })
    });
    Ok(as_json(&headers, &model.score(asked.await?).await?))
}

async fn fork(State(app): State<App>, body: Result<Body<ForkBody>, Trouble>) -> Answer {
    let model = model(&app)?;
    let ForkBody { run, step, group, sibling, token, n, checkpoint, temperature, max_new_tokens } =
        body?.0;
    if !(1..=Fork::MOST).contains(&n) {
        return Err(expected("n", &format!("1 to {}", Fork::MOST), n));
    }
    if let Some(asked) = temperature.filter(|asked| !(0.0..=WARMEST).contains(asked)) {
        return Err(expected("temperature", &format!("0 to {WARMEST}"), asked));
    }
    if max_new_tokens == Some(0) {
        return Err(expected("max_new_tokens", "1 or more", 0));
    }
    let weights = model.weights.clone();
    let asked = of_run(Arc::clone(&app.runs), run, move |run| {
        let checkpoint = chosen(run, &weights, checkpoint)?;
        let recorded = recorded(run, step, group, sibling)?;
        let length = recorded.tokens.len();
        if token >= length {
            return Err(expected("token", &format!("a token of the {length}"), token)
                .act("count the tokens that are kept, from 0; the next one is drawn again"));
        }
        Ok(Fork { recorded, checkpoint, token, n, temperature, max_new_tokens })
    })
    .await?;
    let checkpoint = asked.checkpoint;
    let job = model.fork(asked).await?.to_string();
    let body = json!({ "job": job, "checkpoint": checkpoint }).to_string();
    Ok((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The checkpoint that is asked for, or the newest.
fn chosen(run: &Watched, weights: &Weights, asked: Option<u64>) -> Result<Option<u64>, Trouble> {
    match (weights, asked) {
        (Weights::Model(_), None) => Ok(None),
        (Weights::Model(name), Some(step)) => {
            let error = format!("checkpoint: this server has one model, {name}, got step {step}");
            Err(Trouble::bad(error).act("leave it out, or start the server with `--model run`"))
        }
        (Weights::Checkpoints, asked) => {
            let steps = run.checkpoints();
            let Some(newest) = steps.last() else {
                return Err(Trouble::bad("the run has no checkpoint yet")
                    .act("wait for its first one, or start the server with `--model MODEL`"));
            };
            let step = asked.unwrap_or(*newest);
            if !steps.contains(&step) {
                let all: Vec<_> = steps.iter().map(u64::to_string).collect();
                let all = format!("the step of a checkpoint ({})", all.join(", "));
                return Err(expected("checkpoint", &all, step));
            }
            Ok(Some(step))
        }
    }
}

fn recorded(run: &Watched, step: u64, group: usize, sibling: usize) -> Result<Recorded, Trouble> {
    let entry = run.entry(step, group)?;
    if sibling >= entry.n {
        return Err(expected("sibling", &format!("one of {} from 0", entry.n), sibling));
    }
    let samples = run.samples();
    let mut file = samples.tokens(step)?;
    Ok(Recorded {
        root: run.root().to_owned(),
        group: samples.group(entry)?,
        sibling,
        prompt: prompt(&mut file, entry)?,
        tokens: completion(&mut file, entry, sibling)?,
        about: file.about().clone(),
    })
}

impl From<Refusal> for Trouble {
    fn from(Refusal { fault, error, act }: Refusal) -> Self {
        let status = match fault {
            Fault::Request => StatusCode::BAD_REQUEST,
            Fault::Gone => StatusCode::GONE,
            Fault::Server => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { act, ..Self::new(status, error) }
    }
}

/// What a fork gives: `completion` for each continuation, then one of `done`, `cancelled` and
/// `failed`. The id of an event is its number, so that `Last-Event-ID` resumes.
async fn events(
    State(app): State<App>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let place = app.hubs.place()?;
    let listener = model(&app)?.listen(&job)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let from = last.map_or(0, |last: usize| last.saturating_add(1));
    let is_over = {
        let state = listener.known.borrow();
        state.end.is_some() && from > state.told.len()
    };
    if is_over {
        // A browser then does not connect again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream(listener, place, from);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT)).into_response())
}

/// The events of a fork from number `from` on.
fn stream(
    listener: Listener,
    place: OwnedSemaphorePermit,
    from: usize,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    unfold((listener, place, from), |(mut listener, place, next)| async move {
        loop {
            let event = {
                let state = listener.known.borrow_and_update();
                match (state.told.get(next), &state.end) {
                    (Some(one), _) => Some(("completion", json!(one))),
                    (None, Some(_)) if next > state.told.len() => return None,
                    (None, Some(end)) => Some(last(end)),
                    (None, None) => None,
                }
            };
            if let Some((name, data)) = event {
                let event = Event::default().event(name).id(next.to_string());
                return Some((Ok(event.data(data.to_string())), (listener, place, next + 1)));
            }
            listener.changed().await;
        }
    })
}

fn last(end: &End) -> (&'static str, Value) {
    match end {
        End::Done(share) => ("done", json!(share)),
        End::Cancelled(share, reason) => {
            let mut data = json!(share);
            data["reason"] = reason.as_str().into();
            ("cancelled", data)
        }
        End::Failed(Refusal { error, act, .. }) => {
            ("failed", json!({ "error": error, "act": act }))
        }
    }
}

async fn cancel(State(app): State<App>, Path(job): Path<String>) -> Answer {
    model(&app)?.job(&job)?.cancel("it was cancelled");
    Ok(StatusCode::NO_CONTENT.into_response())
}
