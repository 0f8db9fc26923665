//! A verifier that is a program of the user.

mod child;
mod config;
mod guard;
mod stderr;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use rewards::rows::Fields;
use rewards::{Attempt, Verdict};

use super::fault::{Fault, FaultKind};
use super::protocol::{Reply, Request, digest, failed, in_brief, misread, pending, shortened};
use super::retry::{Outside, Trial};
use crate::console::Console;
use crate::printable::{counted, quoted};
use crate::signals::Stop;
use child::{NoLine, Running};
pub use config::ProcessConfig;
use stderr::StderrLog;

/// A verifier that is a child process.
///
/// A child that dies, is late or breaks the protocol costs the attempt that it was at
/// ([`Outcome::Error`](rewards::Outcome::Error)) and is started again for the next; one that cannot
/// be started is away.
#[derive(Debug)]
pub struct Process {
    config: ProcessConfig,
    stderr_log: Arc<StderrLog>,
    /// Every worker's child, while it has one.
    children: Vec<Mutex<Option<Running>>>,
    /// Whether the program says that it is ready, once that is known.
    announces: OnceLock<bool>,
}

/// The verdict on an attempt, or why there is none.
#[derive(Debug)]
struct JudgedAttempt {
    index: usize,
    verdict: Result<Verdict, String>,
}

/// What a line has to be that is not the first one of a program that is ready.
const FIRST_LINE: &str = "its first line has to be {\"ready\": true}, and other text belongs to \
     standard error (docs/verifiers.md)";

/// A failure of a child on an attempt.
fn failed_on(reason: NoLine) -> Fault {
    of_kind(FaultKind::Failed, reason)
}

/// A failure of a child that was not ready: that is not about the attempt.
fn unready(reason: NoLine) -> Fault {
    of_kind(FaultKind::Unready, reason)
}

fn of_kind(kind: FaultKind, reason: NoLine) -> Fault {
    match reason {
        NoLine::Stopped => Fault::stopped(),
        NoLine::Failed(reason) | NoLine::Late(reason) => Fault { reason, kind },
    }
}

impl Process {
    /// Starts the children without waiting for them to be ready; `console` is told of their
    /// failures, and shows what they write to standard error.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be started.
    pub fn start(config: ProcessConfig, console: Console) -> Result<Self> {
        let stderr_log = Arc::new(StderrLog::new(&config.name, console));
        let mut children = Vec::with_capacity(config.workers.get());
        for _ in 0..config.workers.get() {
            match Running::start(&config.command, &stderr_log) {
                Ok(child) => children.push(Mutex::new(Some(child))),
                Err(reason) => bail!("verifier `{}`: {reason}", config.name),
            }
        }
        Ok(Self { config, stderr_log, children, announces: OnceLock::new() })
    }

    /// What one worker's child says about the attempts that it takes, and what kept it from taking
    /// more.
    fn work(
        &self,
        child: &Mutex<Option<Running>>,
        attempts: &[Attempt<'_>],
        pending: &[usize],
        next: &AtomicUsize,
        stop: &Stop,
    ) -> (Vec<JudgedAttempt>, Option<Fault>) {
        let mut child = child.lock().expect("a worker does not panic");
        let mut judged = Vec::new();
        while let Some(&index) = pending.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = match self.one(&mut child, index, &attempts[index], stop) {
                Ok(Ok(reply)) => reply.verdict(self.config.judges_answers),
                Ok(Err(fault)) => Err(fault.reason),
                Err(fault) => {
                    // The others would only meet with the same.
                    next.store(pending.len(), Ordering::Relaxed);
                    return (judged, Some(fault));
                }
            };
            judged.push(JudgedAttempt { index, verdict });
        }
        (judged, None)
    }

    /// The reply to one attempt, or why the child failed on it. A child that failed is gone
    /// afterwards.
    fn one(
        &self,
        child: &mut Option<Running>,
        id: usize,
        attempt: &Attempt<'_>,
        stop: &Stop,
    ) -> Result<Result<Reply, Fault>, Fault> {
        if stop.is_requested() {
            return Err(Fault::stopped());
        }
        // What died while nothing was asked of it has cost no attempt.
        if child.as_mut().is_some_and(|running| !running.is_well()) {
            *child = None;
        }
        let mut running = match child.take() {
            Some(running) => running,
            None => {
                Running::start(&self.config.command, &self.stderr_log).map_err(Fault::permanent)?
            }
        };
        match self.ask(&mut running, &Request::new(id, attempt), id, stop) {
            Ok(reply) => {
                *child = Some(running);
                Ok(Ok(reply))
            }
            Err(fault) if matches!(fault.kind, FaultKind::Failed | FaultKind::Protocol) => {
                Ok(Err(fault))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Hands one attempt over and waits for the reply.
    ///
    /// A program that is known to say that it is ready is waited for first. One that is not may be
    /// ready without a word, so it gets the attempt at once, and its first line shows which it is.
    fn ask(
        &self,
        running: &mut Running,
        request: &Request<'_>,
        id: usize,
        stop: &Stop,
    ) -> Result<Reply, Fault> {
        let deadline = Duration::from_secs_f64(self.config.deadline_s);
        let announces = self.announces.get().copied();
        if !running.ready && announces == Some(true) {
            await_ready(running, self.first_line_within(running, announces), stop)?;
        }
        let mut line = serde_json::to_vec(request).expect("a request has a JSON form");
        line.push(b'\n');
        // What is not known to be ready has not failed on the attempt.
        let failure = if running.ready || announces == Some(false) { failed_on } else { unready };
        let limit =
            if running.ready { deadline } else { self.first_line_within(running, announces) };
        running.send(line).map_err(failure)?;
        let mut line = running.line(limit, stop).map_err(failure)?;
        if !running.ready && is_ready(&line) {
            running.ready = true;
            let _ = self.announces.set(true);
            line = running.line(deadline, stop).map_err(failed_on)?;
        }
        if !running.ready && announces.is_none() && !is_meant_as_reply(&line) {
            return Err(wrong_first_line(running, &line));
        }
        let reply = read_reply(running, &line, id)?;
        if !running.ready {
            running.ready = true;
            let _ = self.announces.set(false);
        }
        running.has_replied = true;
        Ok(reply)
    }

    /// Longest time until the first line of a child, from now on.
    ///
    /// The first line of a program that does not say that it is ready is its first reply. When it
    /// began to judge is not known, so it then has the deadline of the attempt as well.
    fn first_line_within(&self, running: &Running, announces: Option<bool>) -> Duration {
        /// A child of this age is asked right after its start.
        const AT_ONCE: Duration = Duration::from_secs(1);
        let deadline = Duration::from_secs_f64(self.config.deadline_s);
        let left = Duration::from_secs_f64(self.config.start_s).saturating_sub(running.age());
        match announces {
            Some(true) => left,
            Some(false) => left + deadline,
            None if running.age() < AT_ONCE => left,
            // It may have been ready for long, while others were started.
            None => left.max(deadline),
        }
    }
}

/// Waits until a child says that it is ready.
fn await_ready(running: &mut Running, limit: Duration, stop: &Stop) -> Result<(), Fault> {
    let line = running.line(limit, stop).map_err(unready)?;
    if !is_ready(&line) {
        return Err(wrong_first_line(running, &line));
    }
    running.ready = true;
    Ok(())
}

fn wrong_first_line(running: &Running, line: &[u8]) -> Fault {
    let got = shortened(&String::from_utf8_lossy(line));
    unready(running.failed(&format!("its first line was `{got}`; {FIRST_LINE}")))
}

/// The reply to the attempt `id` in a line.
fn read_reply(running: &Running, line: &[u8], id: usize) -> Result<Reply, Fault> {
    let refused = |what: &str| of_kind(FaultKind::Protocol, running.failed(what));
    let reply = Reply::read(line).map_err(|problem| {
        let said = misread(&String::from_utf8_lossy(line), &problem);
        refused(&format!("it replied {said}"))
    })?;
    if reply.id != id {
        let other = reply.id;
        return Err(refused(&format!("it replied to attempt {other}, expected to attempt {id}")));
    }
    Ok(reply)
}

/// Whether a line says that the program is ready.
fn is_ready(line: &[u8]) -> bool {
    let ready = Fields::read(line).and_then(|fields| fields.parsed("ready", "true"));
    ready == Ok(Some(true))
}

/// Whether a line is a reply, if perhaps a wrong one, and not what a program prints at its start.
fn is_meant_as_reply(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    line.trim_start().starts_with('{') && line.contains("\"id\"")
}

impl Outside for Process {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn judges_answers(&self) -> bool {
        self.config.judges_answers
    }

    fn criterion(&self) -> String {
        let words: Vec<_> = self.config.command.iter().map(String::as_bytes).collect();
        format!("process `{}`, command {}", self.config.name, digest(&words))
    }

    fn limits(&self) -> String {
        let ProcessConfig { deadline_s, start_s, .. } = &self.config;
        format!("`deadline_s` = {deadline_s}, `start_s` = {start_s}")
    }

    fn trial(&self, attempt: &Attempt<'_>, stop: &Stop) -> Result<Trial, Fault> {
        let mut child = self.children[0].lock().expect("a worker does not panic");
        match self.one(&mut child, 0, attempt, stop)? {
            Ok(reply) => Ok(Trial { refusal: reply.verdict(self.config.judges_answers).err() }),
            Err(fault) => Err(fault),
        }
    }

    fn by_hand(&self, attempt: &Attempt<'_>) -> String {
        let request = in_brief(&Request::new(0, attempt));
        // Some shells' `echo` reads backslashes.
        let echo = if request.contains('\\') { "printf '%s\\n'" } else { "echo" };
        let words: Vec<_> = self.config.command.iter().map(|word| quoted(word)).collect();
        format!("{echo} {} | {}", quoted(&request), words.join(" "))
    }

    fn judge(
        &self,
        attempts: &[Attempt<'_>],
        verdicts: &mut [Option<Verdict>],
        stop: &Stop,
    ) -> Result<(), Fault> {
        let (pending, next) = (&pending(verdicts)[..], &AtomicUsize::new(0));
        let done: Vec<_> = thread::scope(|scope| {
            let work = |child| scope.spawn(move || self.work(child, attempts, pending, next, stop));
            let workers: Vec<_> = self.children.iter().map(work).collect();
            workers.into_iter().map(|one| one.join().expect("a worker does not panic")).collect()
        });
        let (judged, faults): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        let mut judged: Vec<_> = judged.into_iter().flatten().collect();
        judged.sort_unstable_by_key(|one| one.index);
        let reasons: Vec<_> = judged.iter().filter_map(|one| one.verdict.as_ref().err()).collect();
        if let Some(reason) = reasons.first() {
            let (name, failures) = (&self.config.name, reasons.len());
            let all = counted(pending.len(), "attempt");
            self.stderr_log
                .print(&format!("verifier `{name}` failed on {failures} of {all}: {reason}"));
        }
        for JudgedAttempt { index, verdict } in judged {
            verdicts[index] = Some(verdict.unwrap_or_else(|_| failed()));
        }
        faults.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
