//! A verifier that is a program of the user.

mod child;
mod guard;
mod stderr;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use rewards::rows::Fields;
use rewards::rubric::Described;
use rewards::{Attempt, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::protocol::{Reply, Request, digest, failed, in_brief, misread, pending, shortened};
use super::retry::{Fault, FaultKind, Outside, Trial};
use super::{crowd, problem};
use crate::console::Console;
use crate::printable::quoted;
use crate::signals::Stop;
use child::{NoLine, Running};
use stderr::StderrLog;

/// A verifier that is a child process and stays: one JSON object a line in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Name of its part of the reward, in records and metrics.
    #[serde(default = "default_name")]
    pub name: String,
    /// Factor of its reward.
    ///
    /// Names: TRL `reward_weights`.
    #[serde(default = "super::default_weight")]
    pub weight: f64,
    /// The program and its arguments. It starts in the folder where `stearin` was started.
    pub command: Vec<String>,
    /// Whether its verdicts say if the answer is correct. Exactly one verifier of a recipe has to.
    #[serde(default = "super::default_judges")]
    pub judges_answers: bool,
    /// Longest time for one attempt, in seconds from when it is handed over.
    #[serde(default = "default_deadline")]
    pub deadline_s: f64,
    /// Longest time until its first line, in seconds from its start.
    #[serde(default = "default_start")]
    pub start_s: f64,
    /// Number of processes that share the attempts of a step.
    #[serde(default = "default_workers")]
    pub workers: NonZeroUsize,
    /// Longest time that the run waits for a program that cannot be started, in seconds, or
    /// `"off"`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub give_up_after_s: Option<f64>,
}

fn default_name() -> String {
    "process".to_owned()
}

fn default_deadline() -> f64 {
    10.0
}

fn default_start() -> f64 {
    60.0
}

fn default_workers() -> NonZeroUsize {
    NonZeroUsize::MIN
}

impl ProcessConfig {
    pub(crate) fn described(&self) -> Described<'_> {
        let Self { name, weight, judges_answers, .. } = self;
        Described { name, weight: *weight, judges_answers: *judges_answers, outside: true }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Some("command: expected a program and its arguments, got nothing".into());
        }
        let times = [("deadline_s", self.deadline_s), ("start_s", self.start_s)];
        problem(&times).or_else(|| crowd("workers", self.workers)).or_else(|| {
            self.give_up_after_s.and_then(|limit| problem(&[("give_up_after_s", limit)]))
        })
    }
}

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
const FIRST_LINE: &str = "its first line has to be {\"ready\": true} (docs/verifiers.md)";

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
            let (name, failures, all) = (&self.config.name, reasons.len(), pending.len());
            self.stderr_log.print(&format!(
                "verifier `{name}` failed on {failures} of {all} attempts: {reason}"
            ));
        }
        for JudgedAttempt { index, verdict } in judged {
            verdicts[index] = Some(verdict.unwrap_or_else(|_| failed()));
        }
        faults.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use rewards::{Outcome, Problem};

    use super::*;

    /// Earns its number; some completions break it. It notes every start in the file `$1`.
    const JUDGE: &str = r#"
        echo start >> "$1"
        echo '{"ready": true}'
        while read -r line; do
            id=${line#*'"id":'}
            id=${id%%,*}
            case $line in
                *die*) exit 3 ;;
                *hang*) sleep 60 ;;
                *chat*) echo hello ;;
                *other*) echo '{"id": 99, "reward": 1}' ;;
                *refuse*) echo '{"id": '$id', "error": "not mine"}' ;;
                *silent*) exec >&-; sleep 60 ;;
                *long*) head -c 2000000 /dev/zero | tr '\0' x; echo ;;
                *flood*) while :; do echo again; done ;;
                *noise*) yes noise | head -n 200000 >&2; echo '{"id": '$id', "reward": '$id'}' ;;
                *blank*) echo; printf ' \r\n'; echo '{"id": '$id', "reward": '$id'}'; echo ;;
                *) echo '{"id": '$id', "reward": '$id'}' ;;
            esac
        done
    "#;

    /// Attempts with these texts.
    fn with<T>(completions: &[&str], run: impl FnOnce(&[Attempt<'_>]) -> T) -> T {
        let problem = Problem {
            id: "1".into(),
            problem: "1+1".into(),
            answer: "2".into(),
            ..Problem::default()
        };
        let attempt = |&text| Attempt {
            problem: &problem,
            text,
            num_tokens: 3,
            max_tokens: 8,
            truncated: false,
        };
        run(&completions.iter().map(attempt).collect::<Vec<_>>())
    }

    struct Judge {
        folder: tempfile::TempDir,
        process: Process,
    }

    impl Judge {
        fn new(script: &str, change: impl FnOnce(&mut ProcessConfig)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let starts = folder.path().join("starts").display().to_string();
            let command = ["sh", "-c", script, "judge", &starts].map(str::to_owned).to_vec();
            let mut config: ProcessConfig = toml::from_str("command = []").unwrap();
            (config.command, config.deadline_s) = (command, 1.0);
            change(&mut config);
            let process = Process::start(config, Console::silent()).unwrap();
            Self { folder, process }
        }

        fn ask(&self, completions: &[&str]) -> Result<Vec<Verdict>, Fault> {
            let mut verdicts = vec![None; completions.len()];
            with(completions, |attempts| {
                self.process.judge(attempts, &mut verdicts, &Stop::default())
            })?;
            Ok(verdicts.into_iter().map(Option::unwrap).collect())
        }

        fn trial(&self, completion: &str) -> Result<Trial, Fault> {
            with(&[completion], |attempts| self.process.trial(&attempts[0], &Stop::default()))
        }

        /// The rewards, nothing for an error.
        fn rewards(&self, completions: &[&str]) -> Vec<Option<f64>> {
            let verdicts = self.ask(completions).unwrap();
            let earned =
                |said: Verdict| (said.outcome != Some(Outcome::Error)).then_some(said.reward);
            verdicts.into_iter().map(earned).collect()
        }

        fn starts(&self) -> usize {
            let starts = fs::read_to_string(self.folder.path().join("starts"));
            starts.unwrap_or_default().lines().count()
        }
    }

    #[test]
    fn every_attempt_has_its_verdict_in_order() {
        for workers in [1, 3] {
            let judge = Judge::new(JUDGE, |config| config.workers = workers.try_into().unwrap());
            let text = "a \"quoted\"\nline and a wide tail ".repeat(9000);
            let expected: Vec<_> = (0..9).map(|id| Some(f64::from(id))).collect();
            assert_eq!(judge.rewards(&["a", "é", &text, "", "b", "c", "d", "e", "f"]).len(), 9);
            assert_eq!(judge.rewards(&["a"; 9]), expected);
            assert_eq!(judge.rewards(&[]), []);
            assert_eq!(judge.starts(), workers);
        }
    }

    #[test]
    fn what_breaks_it_is_an_error_and_costs_nobody_else() {
        let judge = Judge::new(JUDGE, |_| {});
        let (one, three) = (Some(1.0), Some(3.0));
        for (nth, word) in
            ["die", "hang", "chat", "other", "silent", "long", "flood"].iter().enumerate()
        {
            assert_eq!(
                judge.rewards(&["a", "b", word, "d"]),
                [Some(0.0), one, None, three],
                "{word}"
            );
            assert_eq!(judge.starts(), nth + 2, "{word}");
        }
        let starts = judge.starts();
        assert_eq!(judge.rewards(&["refuse", "b", "refuse", "d"]), [None, one, None, three]);
        assert_eq!(judge.starts(), starts, "an error that it reports itself is no failure of it");
        assert_eq!(judge.rewards(&["die"]), [None]);
        assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), one]);
    }

    #[test]
    fn the_deadline_begins_when_it_grades() {
        let slow = JUDGE.replacen("echo start", "sleep 1.5; echo start", 1);
        let judge = Judge::new(&slow, |config| config.deadline_s = 1.0);
        assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), Some(1.0)]);
        let steady = JUDGE.replacen("id=${line", "sleep 0.3; id=${line", 1);
        let judge = Judge::new(&steady, |config| config.deadline_s = 1.0);
        assert!(judge.rewards(&["a"; 5]).iter().all(Option::is_some), "each has its own");
    }

    #[test]
    fn what_died_unasked_is_started_again() {
        let once = JUDGE.replacen("while read -r line; do", "for i in 1; do read -r line", 1);
        let judge = Judge::new(&once, |_| {});
        for starts in 1..4 {
            assert_eq!(judge.rewards(&["a"]), [Some(0.0)]);
            assert_eq!(judge.starts(), starts);
            thread::sleep(Duration::from_millis(300));
        }
    }

    #[test]
    fn one_that_does_not_start_is_away() {
        let away = |script: &str, words: &str| {
            let judge = Judge::new(script, |config| config.start_s = 1.5);
            for _ in 0..2 {
                let error = judge.ask(&["a", "b"]).unwrap_err();
                assert!(error.reason.contains(words), "{}", error.reason);
                assert_eq!(error.kind, FaultKind::Unready);
            }
        };
        away("exit 4", "it ended (exit status: 4)");
        away("echo 'no module' >&2; exit 4", "its standard error ends in\n    no module");
        away("sleep 60", "Python keeps what it prints to a pipe back");
        away(
            "echo hello; sleep 60",
            "its first line was `hello`; its first line has to be {\"ready\"",
        );
        away("echo '{\"ready\": false}'; sleep 60", "its first line was `{\"ready\": false}`");
        let config: ProcessConfig = toml::from_str("command = [\"./no-such\"]").unwrap();
        let error = Process::start(config, Console::silent()).unwrap_err().to_string();
        assert!(error.starts_with("verifier `process`: cannot start `./no-such`: "), "{error}");
    }

    #[test]
    fn what_it_writes_in_a_loop_is_not_collected() {
        // It counts the lines that it could write after its reply.
        let script = r#"
            echo '{"ready": true}'
            line=$(head -c 60000 /dev/zero | tr '\0' x)
            read -r request
            echo '{"id": 0, "reward": 1}'
            while :; do echo "$line"; echo line >> "$1"; done
        "#;
        let judge = Judge::new(script, |_| {});
        assert_eq!(judge.rewards(&["a"]), [Some(1.0)]);
        thread::sleep(Duration::from_millis(500));
        let lines = judge.starts();
        assert!((1..10).contains(&lines), "{lines} lines of 60 kB were taken");
    }

    #[test]
    fn empty_lines_are_skipped() {
        let judge =
            Judge::new(&JUDGE.replacen("echo '{\"ready", "echo; echo '{\"ready", 1), |_| {});
        assert_eq!(judge.rewards(&["a", "blank", "b"]), [Some(0.0), Some(1.0), Some(2.0)]);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(judge.rewards(&["blank", "c"]), [Some(0.0), Some(1.0)]);
        assert_eq!(judge.starts(), 1);
    }

    #[test]
    fn standard_error_is_read_however_much_it_is() {
        let judge = Judge::new(JUDGE, |_| {});
        assert_eq!(judge.rewards(&["a", "noise", "b"]), [Some(0.0), Some(1.0), Some(2.0)]);
        assert_eq!(judge.starts(), 1);
    }

    #[test]
    fn one_that_answers_without_saying_that_it_is_ready_is_ready() {
        let script = JUDGE.replace("echo '{\"ready\": true}'", "");
        assert!(!script.contains("ready"));
        let judge = Judge::new(&script, |_| {});
        assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
        assert_eq!(judge.rewards(&["a", "b"]), [Some(0.0), Some(1.0)]);
        assert_eq!(judge.starts(), 1);
        // Known to be silent, what it dies of is the attempt, also right after a start.
        assert_eq!(judge.rewards(&["die", "die", "c"]), [None, None, Some(2.0)]);
        assert_eq!(judge.starts(), 3);
    }

    #[test]
    fn at_the_first_contact_what_breaks_it_is_an_error() {
        let judge = Judge::new(JUDGE, |_| {});
        assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
        assert_eq!(judge.trial("refuse"), Ok(Trial { refusal: Some("not mine".into()) }));
        for (word, kind, reason) in [
            ("die", FaultKind::Failed, "it ended (exit status: 3)"),
            ("hang", FaultKind::Failed, "no reply within 1.0 s (deadline_s)"),
            ("chat", FaultKind::Protocol, "it replied `hello`: no JSON, expected a JSON object"),
            ("other", FaultKind::Protocol, "it replied to attempt 99, expected to attempt 0"),
        ] {
            let away = judge.trial(word).unwrap_err();
            assert!(away.reason.starts_with(reason) && away.kind == kind, "{away:?}");
        }
    }

    #[test]
    fn a_first_line_that_does_not_come_costs_no_more_than_its_time() {
        // It never flushes: what it prints comes when it ends.
        let judge = Judge::new("lines=$(cat); echo \"$lines\"", |config| {
            (config.start_s, config.deadline_s) = (0.5, 20.0);
        });
        let began = Instant::now();
        let away = judge.trial("a").unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
        assert_eq!(away.kind, FaultKind::Unready);
        assert!(away.reason.starts_with("no first line within 0.5 s (start_s)\n"), "{away:?}");
        // One that is asked long after its start has the time of an attempt.
        let judge = Judge::new(&JUDGE.replacen("echo '{\"ready\": true}'", "", 1), |config| {
            (config.start_s, config.deadline_s) = (0.5, 20.0);
        });
        thread::sleep(Duration::from_millis(1200));
        assert_eq!(judge.trial("a"), Ok(Trial { refusal: None }));
    }

    #[test]
    fn a_wrong_reply_of_one_that_says_nothing_at_its_start_is_not_a_wrong_start() {
        for reply in ["{\"id\": 0, \"reward\": NaN}", "{\"id\": 7, \"reward\": 1}"] {
            let judge = Judge::new(&format!("read -r line; echo '{reply}'; read -r line"), |_| {});
            let away = judge.trial("a").unwrap_err();
            assert_eq!(away.kind, FaultKind::Protocol, "{away:?}");
            assert!(!away.reason.contains("ready"), "{away:?}");
        }
    }

    #[test]
    fn the_command_for_a_person_asks_the_same() {
        let judge = Judge::new("read -r line; printf '%s\\n' \"$line\"", |_| {});
        let problem = &Problem { problem: "it's \"1+1\"".into(), ..Problem::default() };
        for text in ["2", "a\nb\\c 'd'"] {
            let attempt = Attempt { problem, text, num_tokens: 1, max_tokens: 1, truncated: false };
            let by_hand = judge.process.by_hand(&attempt);
            let output = std::process::Command::new("sh").args(["-c", &by_hand]).output().unwrap();
            let asked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(asked, serde_json::to_value(Request::new(0, &attempt)).unwrap());
        }
    }

    #[test]
    fn a_stop_does_not_wait_for_a_reply() {
        let judge = Judge::new(JUDGE, |config| config.deadline_s = 60.0);
        let (stop, began) = (Stop::default(), Instant::now());
        let requested = stop.clone();
        let stopping = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            requested.request();
        });
        let mut verdicts = vec![None; 3];
        let ended = with(&["a", "hang", "b"], |attempts| {
            judge.process.judge(attempts, &mut verdicts, &stop)
        });
        assert_eq!(ended, Err(Fault::stopped()));
        assert!(verdicts[0].is_some() && verdicts[2].is_none(), "what it said is kept");
        assert!(began.elapsed() < Duration::from_secs(5));
        stopping.join().unwrap();
    }

    #[test]
    fn its_criterion_tells_commands_apart_and_shows_none() {
        let criterion = |command: &str| {
            let text = format!("name = \"judge\"\ncommand = {command}");
            let process = Process::start(toml::from_str(&text).unwrap(), Console::silent());
            process.unwrap().criterion()
        };
        let one = criterion("[\"true\", \"--key\", \"s3cret\"]");
        assert!(one.starts_with("process `judge`, command ") && !one.contains("s3cret"), "{one}");
        assert_eq!(one, criterion("[\"true\", \"--key\", \"s3cret\"]"));
        assert_ne!(one, criterion("[\"true\", \"--keys3cret\"]"));
    }

    #[test]
    fn its_children_end_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!(
            "echo '{{\"ready\": true}}'; sleep 60 & echo $! > {}; read -r line; wait",
            pid.display()
        );
        let judge = Judge::new(&script, |config| config.deadline_s = 0.2);
        assert_eq!(judge.rewards(&["a"]), [None]);
        drop(judge);
        assert_ends(&pid);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn children_in_sessions_of_their_own_end_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        // Its parent ends at once, so that another process adopts it.
        let script = format!(
            "(setsid sh -c 'echo $$ > {}; exec sleep 60' &); echo '{{\"ready\": true}}'; sleep 0.1; read -r \
             line; read -r line",
            pid.display()
        );
        let judge = Judge::new(&script, |config| config.deadline_s = 0.3);
        assert_eq!(judge.rewards(&["a"]), [None]);
        drop(judge);
        assert_ends(&pid);
    }

    /// Fails unless the process whose number is in the file `pid` ends soon.
    #[track_caller]
    fn assert_ends(pid: &std::path::Path) {
        let pid = fs::read_to_string(pid).unwrap();
        let runs = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            // A zombie has ended; whoever adopted it reaps it.
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let end = Instant::now() + Duration::from_secs(5);
        while runs() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(), "{pid} still runs");
    }
}
