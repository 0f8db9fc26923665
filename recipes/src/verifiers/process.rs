use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rewards::rows::Fields;
use rewards::rubric::Described;
use rewards::{Attempt, Unavailable, Verdict, Verifier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem;
use super::protocol::{Reply, Request, failed, shortened};
use crate::console::Console;

/// A verifier that is a child process and stays: one JSON object a line in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Name of its part of the reward.
    #[serde(default = "default_name")]
    pub name: String,
    /// Factor of its reward.
    #[serde(default = "super::default_weight")]
    pub weight: f64,
    /// The program and its arguments; it starts where `stearin` was started.
    pub command: Vec<String>,
    /// Whether its verdicts carry the outcome; one verifier of a recipe has to.
    #[serde(default = "super::default_judges")]
    pub judges_answers: bool,
    /// Longest time for one attempt, in seconds from when it is handed over.
    #[serde(default = "default_deadline")]
    pub deadline_s: f64,
    /// Longest time until it says that it is ready, in seconds from its start.
    #[serde(default = "default_start")]
    pub start_s: f64,
    /// Processes that share the attempts of a step.
    #[serde(default = "default_workers")]
    pub workers: NonZeroUsize,
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
        problem(&[("deadline_s", self.deadline_s), ("start_s", self.start_s)])
    }
}

/// A verifier that is a child process.
///
/// A child that dies, is late or breaks the protocol costs the attempt that it was at
/// ([`Outcome::Error`](rewards::Outcome::Error)) and is started again for the next; one that cannot
/// be started is [`Unavailable`].
#[derive(Debug)]
pub struct Process {
    config: ProcessConfig,
    console: Console,
    /// Every worker's child, while it has one.
    children: Vec<Mutex<Option<Running>>>,
}

impl Process {
    /// Starts the children without waiting for them to be ready; `console` is told of their
    /// failures.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be started.
    pub fn start(config: ProcessConfig, console: Console) -> Result<Self> {
        let mut children = Vec::with_capacity(config.workers.get());
        for _ in 0..config.workers.get() {
            match Running::start(&config) {
                Ok(child) => children.push(Mutex::new(Some(child))),
                Err(reason) => bail!("verifier `{}`: {reason}", config.name),
            }
        }
        Ok(Self { config, console, children })
    }

    /// What one worker's child says about the attempts that it takes.
    fn work(
        &self,
        child: &Mutex<Option<Running>>,
        attempts: &[Attempt<'_>],
        next: &AtomicUsize,
    ) -> Result<Vec<Said>, Unavailable> {
        let mut child = child.lock().expect("a worker does not panic");
        let mut said = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(attempt) = attempts.get(index) else { return Ok(said) };
            let running = self.ready(&mut child).inspect_err(|_| {
                // The others need not go on with what will have to be judged anew.
                next.store(attempts.len(), Ordering::Relaxed);
            })?;
            let deadline = Duration::from_secs_f64(self.config.deadline_s);
            let reply = running.ask(&Request::new(index, attempt), index, deadline);
            if reply.is_err() {
                *child = None;
            }
            // An error that the child itself reports is about the attempt: the child is sound.
            let verdict = reply.and_then(|reply| reply.verdict(self.config.judges_answers));
            said.push(Said { index, verdict });
        }
    }

    /// The child of a worker, alive and ready for the next attempt.
    fn ready<'a>(&self, child: &'a mut Option<Running>) -> Result<&'a mut Running, Unavailable> {
        let away = |reason| Unavailable { verifier: self.config.name.clone(), reason };
        // What died while nothing was asked of it has cost no attempt.
        if child.as_mut().is_some_and(|running| !running.is_well()) {
            *child = None;
        }
        let mut running = match child.take() {
            Some(running) => running,
            None => Running::start(&self.config).map_err(away)?,
        };
        running.wait(Duration::from_secs_f64(self.config.start_s)).map_err(away)?;
        Ok(child.insert(running))
    }
}

impl Verifier for Process {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn judges_answers(&self) -> bool {
        self.config.judges_answers
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let next = &AtomicUsize::new(0);
        let done: Vec<_> = thread::scope(|scope| {
            let work = |child| scope.spawn(move || self.work(child, attempts, next));
            let workers: Vec<_> = self.children.iter().map(work).collect();
            workers.into_iter().map(|one| one.join().expect("a worker does not panic")).collect()
        });
        let mut said = Vec::with_capacity(attempts.len());
        for worker in done {
            said.extend(worker?);
        }
        said.sort_unstable_by_key(|said| said.index);
        let reasons: Vec<_> = said.iter().filter_map(|said| said.verdict.as_ref().err()).collect();
        if let Some(reason) = reasons.first() {
            let (name, failures, all) = (&self.config.name, reasons.len(), attempts.len());
            self.console.say(&format!(
                "verifier `{name}` failed on {failures} of {all} attempts: {reason}"
            ));
        }
        Ok(said.into_iter().map(|said| said.verdict.unwrap_or_else(|_| failed())).collect())
    }
}

/// The verdict on an attempt, or why there is none.
#[derive(Debug)]
struct Said {
    index: usize,
    verdict: Result<Verdict, String>,
}

/// Longest line of a child, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// A child and the threads that hold its pipes, so that none of ours ever waits without end.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Lines for it. Gone where it is to end.
    requests: Option<Sender<Vec<u8>>>,
    /// Its lines, or what is wrong with them.
    replies: Receiver<Result<Vec<u8>, String>>,
    started: Instant,
    ready: bool,
}

impl Running {
    fn start(config: &ProcessConfig) -> Result<Self, String> {
        let (program, arguments) = config.command.split_first().expect("a command has a program");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C on our terminal is ours alone, and its children end with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| {
            format!("cannot start `{program}`: {error}\n  check `command` in the recipe")
        })?;
        let stdin = child.stdin.take().expect("its stdin is piped");
        let stdout = child.stdout.take().expect("its stdout is piped");
        let (requests, lines) = channel();
        let (said, replies) = channel();
        thread::spawn(move || write_lines(stdin, &lines));
        thread::spawn(move || read_lines(stdout, &said));
        let (requests, started) = (Some(requests), Instant::now());
        Ok(Self { child, requests, replies, started, ready: false })
    }

    /// Whether it runs and has said nothing unasked.
    fn is_well(&mut self) -> bool {
        let runs = matches!(self.child.try_wait(), Ok(None));
        runs && (!self.ready || matches!(self.replies.try_recv(), Err(TryRecvError::Empty)))
    }

    /// Waits until it is ready.
    fn wait(&mut self, limit: Duration) -> Result<(), String> {
        if self.ready {
            return Ok(());
        }
        let line = self.line(limit.saturating_sub(self.started.elapsed())).map_err(|reason| {
            format!("it was started and did not say {{\"ready\": true}}: {reason}")
        })?;
        let ready = Fields::read(&line).and_then(|fields| fields.parsed("ready", "true"));
        self.ready = ready == Ok(Some(true));
        if self.ready {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        Err(format!("expected {{\"ready\": true}} as its first line, got `{}`", shortened(&line)))
    }

    /// Hands one attempt over; the clock starts now.
    fn ask(&mut self, request: &Request<'_>, id: usize, limit: Duration) -> Result<Reply, String> {
        let mut line = serde_json::to_vec(request).expect("a request has a JSON form");
        line.push(b'\n');
        let requests = self.requests.as_ref().expect("it is not to end");
        requests.send(line).map_err(|_| "it takes no more requests".to_owned())?;
        let line = self.line(limit)?;
        let reply = Reply::read(&line).map_err(|error| {
            let line = String::from_utf8_lossy(&line);
            format!(
                "expected a reply as one JSON object a line, got `{}`: {error}",
                shortened(&line)
            )
        })?;
        if reply.id != id {
            return Err(format!("expected a reply to attempt {id}, got one to {}", reply.id));
        }
        Ok(reply)
    }

    fn line(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        match self.replies.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Err(format!("no reply within {limit:?}")),
            Err(RecvTimeoutError::Disconnected) => Err(match self.ended() {
                Some(status) => format!("it ended ({status})"),
                None => "it closed its standard output".into(),
            }),
        }
    }

    /// How it ended; nothing where it goes on for a moment. Its pipes close a little before it is
    /// gone.
    fn ended(&mut self) -> Option<ExitStatus> {
        const MOMENT: Duration = Duration::from_millis(300);
        let end = Instant::now() + MOMENT;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
                status => return status.ok().flatten(),
            }
        }
    }
}

impl Drop for Running {
    /// Ends it: by the end of its input, and by force where it goes on nevertheless.
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.ended();
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.child.id()) {
            use nix::sys::signal::{Signal, killpg};
            // The group outlives its first process while it has others; it may also be gone.
            let _ = killpg(nix::unistd::Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_lines(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>) {
    for line in lines {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            // The child has gone; who waits for its reply is told by the other pipe.
            return;
        }
    }
}

fn read_lines(stdout: ChildStdout, said: &Sender<Result<Vec<u8>, String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout).take(MAX_LINE).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(_) if line.last() == Some(&b'\n') => Ok(line),
            Ok(_) if line.len() as u64 == MAX_LINE => {
                Err(format!("a line of more than {MAX_LINE} bytes"))
            }
            Ok(_) => return,
            Err(error) => Err(error.to_string()),
        };
        let broken = line.is_err();
        if said.send(line).is_err() || broken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
                *) echo '{"id": '$id', "reward": '$id'}' ;;
            esac
        done
    "#;

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

        fn ask(&self, completions: &[&str]) -> Result<Vec<Verdict>, Unavailable> {
            let problem = Problem {
                id: "1".into(),
                problem: "1+1".into(),
                answer: "2".into(),
                source: String::new(),
                ..Problem::default()
            };
            let attempt = |&text| Attempt {
                problem: &problem,
                text,
                num_tokens: 3,
                max_tokens: 8,
                truncated: false,
            };
            self.process.verify(&completions.iter().map(attempt).collect::<Vec<_>>())
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
        for (nth, word) in ["die", "hang", "chat", "other", "silent", "long"].iter().enumerate() {
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
                assert_eq!(error.verifier, "process");
                assert!(error.reason.contains(words), "{}", error.reason);
            }
        };
        away("exit 4", "it ended (exit status: 4)");
        away("sleep 60", "no reply within");
        away("echo hello; sleep 60", "got `hello`");
        away("echo '{\"ready\": false}'; sleep 60", "as its first line");
        let config: ProcessConfig = toml::from_str("command = [\"./no-such\"]").unwrap();
        let error = Process::start(config, Console::silent()).unwrap_err().to_string();
        assert!(error.starts_with("verifier `process`: cannot start `./no-such`: "), "{error}");
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
