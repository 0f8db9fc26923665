//! Parts of a request. One that makes no sense is answered like any other trouble.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::trouble::Trouble;

/// How long the body of a request may take to come.
const BODY: Duration = Duration::from_secs(10);

/// The parts of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// What follows the `?`.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// The body, as JSON.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(read) = read.map_err(|error| refused(&error.body_text()))?;
        Ok(Self(read))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(read) = read.map_err(|error| refused(&error.body_text()))?;
        Ok(Self(read))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &S) -> Result<Self, Trouble> {
        let Ok(read) = timeout(BODY, Bytes::from_request(request, state)).await else {
            let error = format!("the body of the request did not come within {} s", BODY.as_secs());
            return Err(Trouble::new(StatusCode::REQUEST_TIMEOUT, error));
        };
        let bytes = read.map_err(|rejection| {
            Trouble::new(rejection.status(), format!("the request: {}", rejection.body_text()))
        })?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Self).map_err(|error| Trouble::bad(format!("the request: {error}")))
    }
}

fn refused(error: &str) -> Trouble {
    Trouble::bad(format!("the address: {error}"))
}
