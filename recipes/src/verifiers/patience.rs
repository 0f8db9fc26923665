//! Waiting for a verifier that is away.

use std::thread;
use std::time::{Duration, Instant};

use rewards::{Attempt, Unavailable, Verdict, Verifier};

use crate::console::{Console, duration};
use crate::signals::Stop;

/// How a run waits: whom it tells, who may end it, and how long it sleeps.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Who is told.
    pub console: Console,
    /// Who may end it.
    pub stop: Stop,
    /// Time before the verifier is asked for the second time; it doubles with every further one.
    pub first: Duration,
    /// Longest time between two of them.
    pub most: Duration,
}

impl Waiting {
    /// From one second to one minute.
    pub fn new(console: Console, stop: Stop) -> Self {
        Self { console, stop, first: Duration::from_secs(1), most: Duration::from_mins(1) }
    }

    /// Sleeps; whether it was not stopped.
    fn sleep(&self, time: Duration) -> bool {
        const GLANCE: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        while !self.stop.asked() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(GLANCE));
        }
        false
    }
}

/// Asks a verifier again and again while it is away: the run pauses, since a reward that nobody
/// gave is none. Being stopped meanwhile, it says [`Unavailable`].
#[derive(Debug)]
pub struct Patient {
    verifier: Box<dyn Verifier>,
    waiting: Waiting,
}

impl Patient {
    /// Waits for `verifier`.
    pub fn new(verifier: Box<dyn Verifier>, waiting: Waiting) -> Self {
        Self { verifier, waiting }
    }
}

impl Verifier for Patient {
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
        let Waiting { console, most, .. } = &self.waiting;
        let (mut pause, mut since) = (self.waiting.first, None);
        loop {
            let away = match self.verifier.verify(attempts) {
                Err(away) => away,
                Ok(verdicts) => {
                    if let Some(since) = since {
                        let (name, gone) = (self.name(), seconds(since));
                        console.say(&format!("`{name}` answers again after {gone}: going on"));
                    }
                    return Ok(verdicts);
                }
            };
            if self.waiting.stop.asked() {
                return Err(away);
            }
            let again = duration(pause.as_secs_f64());
            match since {
                None => console.say(&format!(
                    "paused: {away}\n  start it or repair it, and the run goes on by itself; asking \
                     again in {again}, then less often\n  Ctrl-C saves what is learnt and ends the run; \
                     --resume takes it up from there"
                )),
                Some(since) => console.say(&format!(
                    "paused for {}: {away}; asking again in {again}",
                    seconds(since)
                )),
            }
            since = since.or_else(|| Some(Instant::now()));
            if !self.waiting.sleep(pause) {
                return Err(away);
            }
            pause = (2 * pause).min(*most);
        }
    }
}

fn seconds(since: Instant) -> String {
    duration(since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Away for so many questions.
    #[derive(Debug)]
    struct Away(AtomicUsize);

    impl Verifier for Away {
        fn name(&self) -> &'static str {
            "away"
        }

        fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
            let left =
                self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            match left {
                Ok(_) => Err(Unavailable { verifier: "away".into(), reason: "asleep".into() }),
                Err(_) => Ok(vec![Verdict::form(1.0); attempts.len()]),
            }
        }
    }

    fn patient(away: usize, stop: &Stop) -> Patient {
        let (first, most) = (Duration::from_millis(1), Duration::from_millis(4));
        let waiting = Waiting { first, most, ..Waiting::new(Console::silent(), stop.clone()) };
        Patient::new(Box::new(Away(AtomicUsize::new(away))), waiting)
    }

    #[test]
    fn a_verifier_that_comes_back_is_waited_for() {
        let stop = Stop::default();
        for away in [0, 1, 5] {
            assert_eq!(patient(away, &stop).verify(&[]).unwrap(), []);
        }
    }

    #[test]
    fn a_stop_ends_the_waiting() {
        let stop = Stop::default();
        let patient = patient(usize::MAX, &stop);
        let asked = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            stop.ask();
        });
        assert_eq!(patient.verify(&[]).unwrap_err().reason, "asleep");
        asked.join().unwrap();
        assert!(patient.verify(&[]).is_err());
    }
}
