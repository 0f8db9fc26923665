//! Verifiers outside this process: how they are asked, and waited for while they are away.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use evals::run::Phase;
use rewards::{Attempt, Unavailable, Verdict, Verifier};

use super::fault::{Fault, FaultKind};
use super::protocol::shortened;
use crate::console::{Console, duration};
use crate::printable::counted;
use crate::signals::Stop;

/// Time after which a line says that a verifier has not replied yet.
const SLOW: Duration = Duration::from_secs(5);
/// Replies in a row that break the protocol, after which a run ends.
const MOST_BROKEN: usize = 3;

/// How a run waits: whom it tells, who may end it, and how long it sleeps.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Who is told.
    pub console: Console,
    /// Who may end it.
    pub stop: Stop,
    /// Time before the verifier is asked for the second time; it doubles with every further one.
    pub first_delay: Duration,
    /// Longest time between two of them.
    pub max_delay: Duration,
    /// Time after which a line says that a verifier has not replied yet.
    pub slow: Duration,
}

impl RetryPolicy {
    /// From one second to one minute.
    pub fn new(console: Console, stop: Stop) -> Self {
        Self {
            console,
            stop,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(1),
            slow: SLOW,
        }
    }

    /// Sleeps; whether it was not stopped.
    fn sleep(&self, time: Duration) -> bool {
        const GLANCE: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        while !self.stop.is_requested() {
            self.console.set_phase(Phase::Waiting, 0, 1);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(GLANCE));
        }
        false
    }
}

/// The attempt of a first contact.
#[derive(Debug, Clone)]
pub struct TrialAttempt<'a> {
    /// What its completion is, for people.
    pub what: String,
    /// The attempt.
    pub attempt: Attempt<'a>,
}

/// What a verifier said at the first contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its error where it answered with one, which may be right for that attempt.
    pub refusal: Option<String>,
}

/// A verifier outside this process, as [`Retrying`] asks it.
pub trait Outside: fmt::Debug + Send + Sync {
    /// Its name, unique in its rubric.
    fn name(&self) -> &str;

    /// Whether its verdicts carry the outcome.
    fn judges_answers(&self) -> bool;

    /// What its verdicts depend on, without secrets.
    fn criterion(&self) -> String;

    /// First contact: asks for one verdict that is not used.
    ///
    /// # Errors
    ///
    /// Fails when there is no reply that follows the protocol.
    fn trial(&self, attempt: &Attempt<'_>, stop: &Stop) -> Result<Trial, Fault>;

    /// The keys that limit the time of a reply, with their values.
    fn limits(&self) -> String;

    /// A command for a shell that asks for the verdict on `attempt`, with its long texts cut.
    fn by_hand(&self, attempt: &Attempt<'_>) -> String;

    /// Fills the empty places of `verdicts`, one for each attempt.
    ///
    /// # Errors
    ///
    /// Fails when the verifier is away or `stop` was asked; what was filled by then is kept.
    fn judge(
        &self,
        attempts: &[Attempt<'_>],
        verdicts: &mut [Option<Verdict>],
        stop: &Stop,
    ) -> Result<(), Fault>;
}

/// Asks a verifier again and again while it is away: the run pauses, and no attempt gets a reward
/// that nobody gave. Once stopped or past its limit, it returns [`Unavailable`].
#[derive(Debug)]
pub struct Retrying {
    verifier: Box<dyn Outside>,
    policy: RetryPolicy,
    give_up: Option<Duration>,
    /// Whether a line said that it is slow with what it is to judge: one is enough for a run.
    is_slow: AtomicBool,
    /// The same of the first contact.
    is_slow_at_first: AtomicBool,
}

/// The pauses for one question.
struct Pauses<'a> {
    retrying: &'a Retrying,
    next: Duration,
    since: Option<Instant>,
    /// Replies in a row that broke the protocol.
    broken: usize,
    /// What Ctrl-C does meanwhile.
    on_stop: &'static str,
}

impl Retrying {
    /// Waits for `verifier`.
    pub fn new(
        verifier: Box<dyn Outside>,
        policy: RetryPolicy,
        give_up_after_s: Option<f64>,
    ) -> Self {
        let give_up = give_up_after_s.map(Duration::from_secs_f64);
        let (is_slow, is_slow_at_first) = Default::default();
        Self { verifier, policy, give_up, is_slow, is_slow_at_first }
    }

    /// First contact, before the run does anything else. A verifier that may still be starting is
    /// waited for.
    ///
    /// # Errors
    ///
    /// Fails when the verifier answers in a way that waiting does not change, when it is away for
    /// longer than its limit, and when the run is stopped.
    pub fn trial(&self, trial: &TrialAttempt<'_>) -> Result<Trial, Unavailable> {
        let mut pauses = self.pauses("Ctrl-C ends the run, which has not begun yet");
        loop {
            let ask = || self.verifier.trial(&trial.attempt, &self.policy.stop);
            match self.watched("the trial attempt", &self.is_slow_at_first, ask) {
                Ok(met) => {
                    pauses.end();
                    return Ok(met);
                }
                Err(fault) if fault.is_transient() => pauses.wait(&fault)?,
                Err(fault) => return Err(self.refused(trial, &fault)),
            }
        }
    }

    /// What is reported of a verifier that failed at the first contact.
    fn refused(
        &self,
        TrialAttempt { what, attempt }: &TrialAttempt<'_>,
        fault: &Fault,
    ) -> Unavailable {
        let Fault { reason, kind } = fault;
        if !kind.was_asked() {
            return self.unavailable(fault.to_string());
        }
        let (predicate, given) = (kind.predicate(), shortened(attempt.text));
        let by_hand = self.verifier.by_hand(attempt);
        self.unavailable(format!(
            "{predicate} at the trial attempt, before the run: {reason}\n  \
             its completion was {what}: `{given}`\n  to repeat it: {by_hand}"
        ))
    }

    /// Calls `ask`, and prints a line if that takes long, unless `is_told`.
    fn watched<T>(&self, what: &str, is_told: &AtomicBool, ask: impl FnOnce() -> T) -> T {
        let RetryPolicy { console, slow, .. } = &self.policy;
        thread::scope(|scope| {
            let (done, asked) = channel::<()>();
            if !is_told.load(Ordering::Relaxed) {
                scope.spawn(move || {
                    use std::sync::mpsc::RecvTimeoutError::Timeout;
                    if asked.recv_timeout(*slow) == Err(Timeout) {
                        is_told.store(true, Ordering::Relaxed);
                        let (name, limits) = (self.verifier.name(), self.verifier.limits());
                        let after = duration(slow.as_secs_f64());
                        console.print(&format!(
                            "waiting for verifier `{name}`: {what} is not judged after {after} \
                             ({limits})"
                        ));
                    }
                });
            }
            let answer = ask();
            drop(done);
            answer
        })
    }

    fn pauses(&self, on_stop: &'static str) -> Pauses<'_> {
        let next = self.policy.first_delay;
        Pauses { retrying: self, next, since: None, broken: 0, on_stop }
    }

    fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { verifier: self.verifier.name().to_owned(), reason }
    }
}

impl Pauses<'_> {
    /// Sleeps until the verifier is to be asked again.
    fn wait(&mut self, fault: &Fault) -> Result<(), Unavailable> {
        let Retrying { verifier, policy, give_up, .. } = self.retrying;
        let unavailable = |reason| self.retrying.unavailable(reason);
        if policy.stop.is_requested() {
            return Err(unavailable(fault.to_string()));
        }
        self.broken = if fault.kind == FaultKind::Protocol { self.broken + 1 } else { 0 };
        if self.broken >= MOST_BROKEN {
            return Err(unavailable(format!(
                "{fault}\n  it did so {MOST_BROKEN} times in a row, so the run does not wait \
                 longer: repair the verifier"
            )));
        }
        let gone = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let left = give_up.map(|limit| limit.saturating_sub(gone));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(unavailable(format!(
                "{fault}\n  gave up after {}: `give_up_after_s` is {}",
                duration(gone.as_secs_f64()),
                give_up.unwrap_or_default().as_secs_f64()
            )));
        }
        let pause = left.map_or(self.next, |left| left.min(self.next));
        let (name, again) = (verifier.name(), duration(pause.as_secs_f64()));
        policy.console.warn(&match self.since {
            None => format!(
                "paused: verifier `{name}` {fault}\n  start it or repair it, and the \
                 run goes on by itself; asking again in {again}, then less often\n  {}",
                self.on_stop
            ),
            Some(_) => format!(
                "paused for {}: verifier `{name}` {fault}; asking again in {again}",
                duration(gone.as_secs_f64())
            ),
        });
        policy.console.waits(name, &fault.reason);
        self.since = self.since.or_else(|| Some(Instant::now()));
        if !policy.sleep(pause) {
            return Err(unavailable(fault.to_string()));
        }
        self.next = (2 * self.next).min(policy.max_delay);
        Ok(())
    }

    /// Says that the verifier is back, where it was away.
    fn end(&self) {
        if let Some(since) = self.since {
            let (name, gone) = (self.retrying.name(), duration(since.elapsed().as_secs_f64()));
            let console = &self.retrying.policy.console;
            console.warn(&format!("`{name}` answers again after {gone}: going on"));
            console.set_phase(Phase::Judge, 0, 1);
        }
    }
}

impl Verifier for Retrying {
    fn name(&self) -> &str {
        self.verifier.name()
    }

    fn judges_answers(&self) -> bool {
        self.verifier.judges_answers()
    }

    fn criterion(&self) -> String {
        self.verifier.criterion()
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let mut verdicts: Vec<_> = attempts.iter().map(|_| None).collect();
        let mut pauses = self.pauses(
            "Ctrl-C saves the state before this step and ends the run; --resume goes on from there",
        );
        let what = format!("a batch of {}", counted(attempts.len(), "attempt"));
        loop {
            let ask = || self.verifier.judge(attempts, &mut verdicts, &self.policy.stop);
            match self.watched(&what, &self.is_slow, ask) {
                Ok(()) => break,
                Err(fault) => pauses.wait(&fault)?,
            }
        }
        pauses.end();
        let verdicts: Option<Vec<_>> = verdicts.into_iter().collect();
        verdicts.ok_or_else(|| self.unavailable("left attempts without a verdict".into()))
    }
}

#[cfg(test)]
mod tests;
