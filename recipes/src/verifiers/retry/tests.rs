use std::sync::Mutex;

use rewards::Problem;

use super::*;

/// Away for so many questions; each time it judges one attempt more, and notes which.
#[derive(Debug, Clone, Default)]
struct Shy(std::sync::Arc<Mutex<(usize, Vec<usize>)>>, Habit);

/// How it is away.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Habit {
    #[default]
    Asleep,
    /// It breaks the protocol.
    Mad,
    /// It judges, in this time.
    Slow(Duration),
}

impl Shy {
    fn away(questions: usize) -> Self {
        let shy = Self::default();
        shy.0.lock().unwrap().0 = questions;
        shy
    }

    fn is_away(&self) -> bool {
        let left = &mut self.0.lock().unwrap().0;
        let away = *left > 0;
        *left = left.saturating_sub(1);
        away
    }

    fn retrying(&self, stop: &Stop, give_up: Option<f64>) -> Retrying {
        let (first_delay, max_delay) = (Duration::from_millis(1), Duration::from_millis(4));
        let policy = RetryPolicy {
            first_delay,
            max_delay,
            ..RetryPolicy::new(Console::silent(), stop.clone())
        };
        Retrying::new(Box::new(self.clone()), policy, give_up)
    }
}

impl Outside for Shy {
    fn name(&self) -> &'static str {
        "shy"
    }

    fn judges_answers(&self) -> bool {
        false
    }

    fn criterion(&self) -> String {
        "shy".into()
    }

    fn limits(&self) -> String {
        "`timeout_s` = 60".into()
    }

    fn trial(&self, _: &Attempt<'_>, _: &Stop) -> Result<Trial, Fault> {
        if let Habit::Slow(time) = self.1 {
            thread::sleep(time);
        }
        if self.is_away() {
            return Err(Fault::transient("asleep".into()));
        }
        Ok(Trial { refusal: None })
    }

    fn by_hand(&self, _: &Attempt<'_>) -> String {
        "ask shy".into()
    }

    fn judge(
        &self,
        attempts: &[Attempt<'_>],
        verdicts: &mut [Option<Verdict>],
        _: &Stop,
    ) -> Result<(), Fault> {
        if let Habit::Slow(time) = self.1 {
            thread::sleep(time);
        }
        let is_away = self.is_away();
        let most = if is_away { 1 } else { attempts.len() };
        let places = verdicts.iter_mut().enumerate().filter(|(_, place)| place.is_none());
        for (index, place) in places.take(most) {
            *place = Some(Verdict::form(index as f64));
            self.0.lock().unwrap().1.push(index);
        }
        match self.1 {
            _ if !is_away => Ok(()),
            Habit::Mad => Err(Fault::protocol("gibberish".into())),
            _ => Err(Fault::permanent("asleep".into())),
        }
    }
}

fn with_attempts<T>(count: usize, run: impl FnOnce(&[Attempt<'_>]) -> T) -> T {
    let problem = Problem {
        id: "1".into(),
        problem: "1+1".into(),
        answer: "2".into(),
        source: String::new(),
        ..Problem::default()
    };
    let (text, truncated) = ("", false);
    let attempt = Attempt { problem: &problem, text, num_tokens: 1, max_tokens: 1, truncated };
    run(&vec![attempt; count])
}

fn trial_of<'a>(attempt: &Attempt<'a>) -> TrialAttempt<'a> {
    TrialAttempt { what: "a text".into(), attempt: *attempt }
}

#[test]
fn a_verifier_that_comes_back_is_waited_for_and_asked_for_the_rest() {
    let stop = Stop::default();
    for away in [0, 1, 3, 5] {
        let shy = Shy::away(away);
        let retrying = shy.retrying(&stop, None);
        let verdicts = with_attempts(4, |attempts| retrying.verify(attempts).unwrap());
        let rewards: Vec<_> = verdicts.iter().map(|verdict| verdict.reward).collect();
        assert_eq!(rewards, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(shy.0.lock().unwrap().1, [0, 1, 2, 3], "each is judged once");
    }
}

#[test]
fn a_verifier_that_keeps_breaking_the_protocol_ends_the_run_and_keeps_its_verdicts() {
    let stop = Stop::default();
    let mad = |questions| Shy(Shy::away(questions).0, Habit::Mad);
    with_attempts(4, |attempts| {
        let shy = mad(2);
        assert_eq!(shy.retrying(&stop, None).verify(attempts).unwrap().len(), 4);
        let shy = mad(usize::MAX);
        let error = shy.retrying(&stop, None).verify(attempts).unwrap_err();
        assert_eq!(
            error.to_string(),
            "verifier `shy` broke the protocol: gibberish\n  it did so 3 times in a row, so \
             the run does not wait longer: repair the verifier"
        );
        assert_eq!(shy.0.lock().unwrap().1, [0, 1, 2], "it was asked three times");
    });
}

#[test]
fn a_slow_verifier_is_told_once_with_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.txt");
    let console = Console::silent();
    console.log_to(&log).unwrap();
    // What a busy machine does to the short times is less than the long ones.
    let (short, long) = (Duration::from_millis(100), Duration::from_mins(5));
    let takes = |time, slow, away| {
        let shy = Shy(Shy::away(away).0, Habit::Slow(time));
        let policy = RetryPolicy {
            slow,
            first_delay: Duration::from_millis(1),
            ..RetryPolicy::new(console.clone(), Stop::default())
        };
        Retrying::new(Box::new(shy), policy, None)
    };
    with_attempts(2, |attempts| {
        let quick = takes(Duration::ZERO, long, 0);
        quick.trial(&trial_of(&attempts[0])).unwrap();
        quick.verify(attempts).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
        // It is asked for the trial twice.
        let slow = takes(6 * short, short, 1);
        slow.trial(&trial_of(&attempts[0])).unwrap();
        slow.verify(attempts).unwrap();
        slow.verify(attempts).unwrap();
    });
    let said = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("waiting for")).collect();
    let expected = |what: &str| {
        format!("waiting for verifier `shy`: {what} is not judged after 0.1 s (`timeout_s` = 60)")
    };
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].ends_with(&expected("the trial attempt")), "{said}");
    assert!(lines[1].ends_with(&expected("a batch of 2 attempts")), "{said}");
}

#[test]
fn a_stop_ends_the_waiting() {
    let stop = Stop::default();
    let retrying = Shy::away(usize::MAX).retrying(&stop, None);
    let asked = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        stop.request();
    });
    with_attempts(2, |attempts| {
        assert_eq!(retrying.verify(attempts).unwrap_err().reason, "is unavailable: asleep");
        asked.join().unwrap();
        assert!(retrying.verify(attempts).is_err());
        assert!(retrying.trial(&trial_of(&attempts[0])).is_err());
    });
}

#[test]
fn a_limit_ends_the_waiting_with_an_error_that_names_it() {
    let stop = Stop::default();
    let began = Instant::now();
    with_attempts(2, |attempts| {
        let retrying = Shy::away(usize::MAX).retrying(&stop, Some(0.05));
        let trial = retrying.trial(&trial_of(&attempts[0])).unwrap_err();
        for error in [retrying.verify(attempts).unwrap_err(), trial] {
            let begin = "verifier `shy` is unavailable: asleep\n  gave up after ";
            assert!(error.to_string().starts_with(begin), "{error}");
            assert!(error.reason.contains(": `give_up_after_s` is 0."), "{error}");
        }
        let retrying = Shy::away(3).retrying(&stop, Some(60.0));
        assert_eq!(retrying.verify(attempts).unwrap().len(), 2);
    });
    assert!(began.elapsed() >= Duration::from_millis(100), "it waits until then");
    assert!(!stop.is_requested());
}
