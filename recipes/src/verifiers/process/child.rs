//! A child process, and the threads that hold its pipes, so that no other thread ever waits for one
//! without end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::guard::{Guard, Mark};
use super::stderr::{StderrLog, Tail};
use crate::signals::Stop;

/// Longest line of a child, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// What a program has to do that ends without an error before it replies.
const STAYS: &str = "it has to read attempts, one a line, and reply to each until its standard \
     input is closed (docs/verifiers.md)";

/// Why a child wrote no line.
#[derive(Debug)]
pub(super) enum NoLine {
    /// The run is to stop.
    Stopped,
    /// It failed, and why.
    Failed(String),
    /// It wrote none in time, as this says.
    Late(String),
}

/// A child that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Lines for it. Gone where it is to end.
    requests: Option<SyncSender<Vec<u8>>>,
    /// Its lines, or what is wrong with them. The queue holds one line: a child that writes in a
    /// loop waits in its own write, and takes no memory here.
    replies: Receiver<Result<Vec<u8>, String>>,
    tail: Arc<Tail>,
    mark: Mark,
    guard: Option<Guard>,
    started: Instant,
    /// Whether it has written a line that was expected.
    pub(super) ready: bool,
    /// Whether it has replied to an attempt.
    pub(super) has_replied: bool,
}

impl Running {
    /// Starts a program with its arguments.
    ///
    /// # Errors
    ///
    /// Says why the program cannot be started.
    pub(super) fn start(command: &[String], stderr_log: &Arc<StderrLog>) -> Result<Self, String> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C on our terminal is ours alone, and its children end with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mark = Mark::new();
        mark.put_on(&mut command);
        let mut child = command.spawn().map_err(|error| {
            format!("cannot start `{program}`: {error}\n  check `command` in the recipe")
        })?;
        let stdin = child.stdin.take().expect("its stdin is piped");
        let stdout = child.stdout.take().expect("its stdout is piped");
        let stderr = child.stderr.take().expect("its stderr is piped");
        let (requests, lines) = sync_channel(1);
        let (sender, replies) = sync_channel(1);
        thread::spawn(move || write_lines(stdin, &lines));
        thread::spawn(move || read_lines(stdout, &sender));
        let tail = Arc::new(Tail::default());
        let (kept, stderr_log) = (tail.clone(), stderr_log.clone());
        thread::spawn(move || kept.drain(stderr, &stderr_log));
        let guard = Guard::over(child.id(), &mark);
        let mut running = Self {
            child,
            requests: Some(requests),
            replies,
            tail,
            mark,
            guard: None,
            started: Instant::now(),
            ready: false,
            has_replied: false,
        };
        // A child without its guard is ended at once, by its own drop.
        let reason = |error| format!("cannot start `/bin/sh`, which ends `{program}`: {error}");
        running.guard = Some(guard.map_err(reason)?);
        Ok(running)
    }

    /// Whether it runs and has written nothing unasked.
    pub(super) fn is_well(&mut self) -> bool {
        let runs = matches!(self.child.try_wait(), Ok(None));
        runs && (!self.ready || matches!(self.replies.try_recv(), Err(TryRecvError::Empty)))
    }

    /// Time since it was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Hands a line over, without waiting until it is read.
    pub(super) fn send(&self, line: Vec<u8>) -> Result<(), NoLine> {
        let requests = self.requests.as_ref().expect("it is not to end");
        // A reply may come before its request was read, so the queue may be full.
        requests.try_send(line).map_err(|_| self.failed("it does not read its requests"))
    }

    /// Its next line.
    pub(super) fn line(&mut self, limit: Duration, stop: &Stop) -> Result<Vec<u8>, NoLine> {
        const GLANCE: Duration = Duration::from_millis(50);
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.replies.recv_timeout(left.min(GLANCE)) {
                Ok(line) => return line.map_err(|reason| self.failed(&reason)),
                Err(RecvTimeoutError::Timeout) if stop.is_requested() => {
                    return Err(NoLine::Stopped);
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(self.late(limit));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = match self.ended() {
                        // A script that judges one attempt and ends.
                        Some(status) if status.success() => {
                            format!("it ended with exit code 0 and no reply: {STAYS}")
                        }
                        Some(status) => format!("it ended ({status})"),
                        None => format!("it closed its standard output: {STAYS}"),
                    };
                    return Err(self.failed(&reason));
                }
            }
        }
    }

    /// What is said where it wrote nothing in this time.
    fn late(&self, limit: Duration) -> NoLine {
        let (line, key) =
            if self.ready { ("reply", "deadline_s") } else { ("first line", "start_s") };
        let seconds = limit.as_secs_f64();
        let reason = self.tail.explain(&format!("no {line} within {seconds:.1} s ({key})"));
        if self.has_replied {
            return NoLine::Late(reason);
        }
        NoLine::Late(format!(
            "{reason}\n  if it has printed one, it has to flush it: Python keeps what it prints to a \
             pipe back unless it is started by `python -u` or prints with flush=True"
        ))
    }

    /// A failure with what it wrote to standard error last.
    pub(super) fn failed(&self, reason: &str) -> NoLine {
        NoLine::Failed(self.tail.explain(reason))
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
        self.guard = None;
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.child.id()) {
            use nix::sys::signal::{Signal, killpg};
            // The group outlives its first process while it has others; it may also be gone.
            let _ = killpg(nix::unistd::Pid::from_raw(group), Signal::SIGKILL);
        }
        self.mark.end_all();
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

fn read_lines(stdout: ChildStdout, sender: &SyncSender<Result<Vec<u8>, String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout).take(MAX_LINE).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            // An empty line says nothing.
            Ok(_) if line.last() == Some(&b'\n') && line.trim_ascii().is_empty() => continue,
            Ok(_) if line.last() == Some(&b'\n') => Ok(line),
            Ok(_) if line.len() as u64 == MAX_LINE => {
                Err(format!("a line of more than {MAX_LINE} bytes"))
            }
            Ok(_) => return,
            Err(error) => Err(error.to_string()),
        };
        let broken = line.is_err();
        if sender.send(line).is_err() || broken {
            return;
        }
    }
}
