//! Answers other than success.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use evals::run::Problem;
use serde::Serialize;

/// An answer other than success: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Trouble {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    pub(crate) error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<String>,
}

impl Trouble {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), file: None, line: None, act: None }
    }

    /// Something that is not there.
    pub(crate) fn missing(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// A request that makes no sense.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The same with what to do.
    pub(crate) fn act(self, act: impl Into<String>) -> Self {
        Self { act: Some(act.into()), ..self }
    }
}

impl From<Problem> for Trouble {
    /// What the index names and cannot be read: damaged, or thinned in between.
    fn from(problem: Problem) -> Self {
        let Problem { file, line, reason, act } = problem;
        Self { file: Some(file), line, act: Some(act), ..Self::new(StatusCode::GONE, reason) }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("plain fields become JSON");
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
