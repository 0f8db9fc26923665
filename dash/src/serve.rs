//! Connections: how many there are, and how long a request may take to come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at a time; further ones wait to be taken. A process has file descriptors for them
/// and for what they ask for.
const CONNECTIONS: usize = 512;

/// Answers for ever. A connection whose request has not come within `patience` ends, so that
/// clients that send a byte at a time cannot keep others out.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    patience: Duration,
) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let service = TowerToHyperService::new(router);
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (stream, _) = Listener::accept(&mut listener).await;
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            // A client that breaks off is no fault of ours.
            let _ = connection.await;
            drop(place);
        });
    }
}
