//! A verifier that is a server of the user.

mod client;
mod config;
mod headers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rewards::{Attempt, Verdict};
use serde::Serialize;

use super::fault::{Fault, FaultKind};
use super::protocol::{Reply, Request, digest, failed, in_brief, object, pending};
use super::retry::{Outside, Trial};
use crate::console::Console;
use crate::printable::{counted, quoted};
use crate::signals::Stop;
use client::{HttpClient, NoReply};
pub use config::HttpConfig;
use config::without_secrets;
use headers::Headers;

/// A verifier that is asked by HTTP.
///
/// A batch that the server fails on, or is late with, is asked for in halves, down to the attempt
/// that is to blame: that is an [`Outcome::Error`](rewards::Outcome::Error). A server that cannot
/// be reached, refuses or breaks the protocol is away.
#[derive(Debug)]
pub struct Http {
    config: HttpConfig,
    client: Arc<HttpClient>,
    console: Console,
    /// A request that was answered, once there is one.
    trial: OnceLock<Arc<Vec<u8>>>,
}

/// Attempts by their numbers, and what the server answered.
type Answer = (Vec<usize>, Result<String, NoReply>);

/// Where the judging of a step stands.
struct Round {
    /// Batches that are to be sent.
    queue: VecDeque<Vec<usize>>,
    /// Why attempts have no verdict of the server's.
    failures: BTreeMap<usize, String>,
    fault: Option<Fault>,
}

impl Http {
    /// A verifier that is first asked when there is something to judge; `console` is told of
    /// failures.
    ///
    /// # Errors
    ///
    /// Fails where an environment variable of `headers` is not set, or the file `ca` cannot be read
    /// or holds no certificate.
    pub fn new(config: HttpConfig, console: Console) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let headers = Headers::read(&config.headers, variable).map_err(|error| anyhow!(error))?;
        let client = Arc::new(HttpClient::new(&config, headers)?);
        Ok(Self { config, client, console, trial: OnceLock::new() })
    }

    /// Sends a request for these attempts; its answer goes to `answers`.
    ///
    /// The thread holds nothing of the caller's, so that a stop need not wait for it.
    fn send(&self, attempts: &[Attempt<'_>], batch: Vec<usize>, answers: &Sender<Answer>) {
        let (client, answers) = (self.client.clone(), answers.clone());
        let body = body(batch.iter().map(|&index| &attempts[index]));
        let trial = self.trial.get().cloned();
        thread::spawn(move || {
            let mut answer = client.post(&body);
            // Either the attempt takes too long or the server hangs: what it has answered before
            // shows which.
            if batch.len() == 1
                && let (Err(NoReply::Late(late)), Some(trial)) = (&answer, trial)
                && client.post(&trial).is_err()
            {
                answer = Err(NoReply::Unreachable(late.clone()));
            }
            // Nobody waits for it after a stop.
            let _ = answers.send((batch, answer));
        });
    }

    /// Enters an answer: its verdicts, or the halves that are to be asked for, or why the server is
    /// away.
    fn enter(&self, round: &mut Round, answer: Answer, verdicts: &mut [Option<Verdict>]) {
        let (mut batch, answer) = answer;
        match answer.and_then(|text| self.read(&text, batch.len())) {
            Ok(found) => {
                for (index, verdict) in batch.into_iter().zip(found) {
                    verdicts[index] = Some(verdict.unwrap_or_else(|reason| {
                        round.failures.insert(index, reason);
                        failed()
                    }));
                }
            }
            Err(NoReply::Failed(reason) | NoReply::Late(reason)) if batch.len() == 1 => {
                round.failures.insert(batch[0], reason.reason);
                verdicts[batch[0]] = Some(failed());
            }
            Err(NoReply::Failed(_) | NoReply::Late(_)) => {
                let second = batch.split_off(batch.len().div_ceil(2));
                round.queue.push_front(second);
                round.queue.push_front(batch);
            }
            Err(NoReply::Unreachable(reason)) => {
                round.fault.get_or_insert(reason);
            }
        }
    }

    /// The verdicts of a reply to so many attempts; those that the server refuses with the reason.
    fn read(&self, text: &str, count: usize) -> Result<Vec<Result<Verdict, String>>, NoReply> {
        let broken = |what: &str| NoReply::Unreachable(self.client.broken(what, text));
        let replies = replies(text).map_err(|problem| broken(&problem))?;
        let mut verdicts: Vec<_> = (0..count).map(|_| None).collect();
        for reply in replies {
            let id = reply.id;
            match verdicts.get_mut(id) {
                Some(place @ None) => *place = Some(reply.verdict(self.config.judges_answers)),
                _ => {
                    return Err(broken(&format!(
                        "{id} is not the `id` of an attempt, or was judged twice"
                    )));
                }
            }
        }
        let got = verdicts.iter().flatten().count();
        let all: Option<Vec<_>> = verdicts.into_iter().collect();
        all.ok_or_else(|| broken(&format!("expected {}, got {got}", counted(count, "verdict"))))
    }
}

/// A request for attempts.
#[derive(Serialize)]
struct Requests<'a> {
    attempts: Vec<Request<'a>>,
}

impl<'a> Requests<'a> {
    /// For these attempts, each with its place as `id`.
    fn new(attempts: impl Iterator<Item = &'a Attempt<'a>>) -> Self {
        let attempts = attempts.enumerate().map(|(id, attempt)| Request::new(id, attempt));
        Self { attempts: attempts.collect() }
    }
}

/// The request for attempts as it is sent.
fn body<'a>(attempts: impl Iterator<Item = &'a Attempt<'a>>) -> Vec<u8> {
    serde_json::to_vec(&Requests::new(attempts)).expect("a request has a JSON form")
}

/// The replies of an answer `{"verdicts": [...]}`.
fn replies(text: &str) -> Result<Vec<Reply>, String> {
    let verdicts = object(text.as_bytes())?.list("verdicts")?;
    verdicts.into_iter().map(|verdict| Reply::read(verdict.as_bytes())).collect()
}

/// The next answer.
fn receive(answers: &Receiver<Answer>, stop: &Stop) -> Result<Answer, Fault> {
    const GLANCE: Duration = Duration::from_millis(50);
    loop {
        match answers.recv_timeout(GLANCE) {
            Ok(answer) => return Ok(answer),
            Err(_) if stop.is_requested() => return Err(Fault::stopped()),
            Err(_) => {}
        }
    }
}

impl Outside for Http {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn judges_answers(&self) -> bool {
        self.config.judges_answers
    }

    fn criterion(&self) -> String {
        let HttpConfig { name, url, .. } = &self.config;
        format!("http `{name}`, url {}", digest(&[without_secrets(url).as_bytes()]))
    }

    fn limits(&self) -> String {
        format!("`timeout_s` = {}", self.config.timeout_s)
    }

    fn trial(&self, attempt: &Attempt<'_>, stop: &Stop) -> Result<Trial, Fault> {
        let (sender, answers) = channel();
        self.send(std::slice::from_ref(attempt), vec![0], &sender);
        let (_, answer) = receive(&answers, stop)?;
        let found = answer.and_then(|text| self.read(&text, 1));
        let mut found = found.map_err(|reason| match reason {
            NoReply::Failed(Fault { reason, kind: FaultKind::Permanent }) => {
                Fault { reason, kind: FaultKind::Failed }
            }
            NoReply::Failed(fault) | NoReply::Late(fault) | NoReply::Unreachable(fault) => fault,
        })?;
        let _ = self.trial.set(Arc::new(body(std::iter::once(attempt))));
        Ok(Trial { refusal: found.remove(0).err() })
    }

    fn by_hand(&self, attempt: &Attempt<'_>) -> String {
        let request = quoted(&in_brief(&Requests::new(std::iter::once(attempt))));
        let url = quoted(&without_secrets(&self.config.url));
        let has_secrets = !self.config.headers.is_empty() || self.config.url.contains('?');
        let more = if has_secrets { ", with the query and the headers of the recipe" } else { "" };
        format!("curl --json {request} {url}{more}")
    }

    fn judge(
        &self,
        attempts: &[Attempt<'_>],
        verdicts: &mut [Option<Verdict>],
        stop: &Stop,
    ) -> Result<(), Fault> {
        let pending = pending(verdicts);
        let queue = pending.chunks(self.config.batch.get()).map(<[_]>::to_vec).collect();
        let mut round = Round { queue, failures: BTreeMap::new(), fault: None };
        let (sender, answers) = channel();
        let mut running = 0;
        loop {
            while running < self.config.concurrency.get()
                && round.fault.is_none()
                && let Some(batch) = round.queue.pop_front()
            {
                self.send(attempts, batch, &sender);
                running += 1;
            }
            if running == 0 {
                break;
            }
            // What is under way when the server goes away may still be answered, and is then kept.
            let answer = receive(&answers, stop)?;
            running -= 1;
            self.enter(&mut round, answer, verdicts);
        }
        if let Some((_, reason)) = round.failures.first_key_value() {
            let (name, count) = (&self.config.name, round.failures.len());
            let all = counted(pending.len(), "attempt");
            self.console.warn(&format!("verifier `{name}` failed on {count} of {all}: {reason}"));
        }
        round.fault.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
