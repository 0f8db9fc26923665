//! Two runs beside each other: their settings, and the problems that both evaluated.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use crate::ask::Query;
use crate::paired::{compared, last};
use crate::recipe::{differences, flat};
use crate::routes::{Answer, Of, as_json, reading};
use crate::runs::lock;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pair {
    a: String,
    b: String,
}

pub(crate) async fn diff(
    State(runs): Of,
    Query(Pair { a, b }): Query<Pair>,
    headers: HeaderMap,
) -> Answer {
    let rows = reading(move || {
        let (a, b) = (runs.get(&a)?, runs.get(&b)?);
        if Arc::ptr_eq(&a, &b) {
            return Ok(Vec::new());
        }
        // One after the other: two requests may name the same runs the other way round.
        let a = flat(&lock(&a));
        Ok(differences(&a, &flat(&lock(&b))))
    });
    Ok(as_json(&headers, &rows.await?))
}

pub(crate) async fn paired(
    State(runs): Of,
    Query(Pair { a, b }): Query<Pair>,
    headers: HeaderMap,
) -> Answer {
    let rows = reading(move || {
        let (a, b) = (runs.get(&a)?, runs.get(&b)?);
        // One after the other: two requests may name the same runs the other way round.
        let a = last(&lock(&a));
        Ok(compared(&a, &last(&lock(&b))))
    });
    Ok(as_json(&headers, &rows.await?))
}
