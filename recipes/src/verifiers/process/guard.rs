//! Ends the processes of a verifier: when it is dropped, and when this process ends, however it
//! ends.

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::now;

/// What the processes of one verifier have in common and no others do: an environment variable,
/// which children inherit.
///
/// A process group is not enough, since a child leaves it by `setsid`; neither is the tree of
/// processes, since a child whose parent has ended is adopted by another process.
#[derive(Debug)]
pub(super) struct Mark(String);

/// The name of the variable.
const VARIABLE: &str = "STEARIN_VERIFIER";
/// Looks for marked processes are repeated, since a process may start another in between.
#[cfg(target_os = "linux")]
const ROUNDS: usize = 5;

impl Mark {
    /// A mark that no process has.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (pid, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // The point at the end keeps it from being the start of another.
        Self(format!("{VARIABLE}={pid}-{count}-{}.", now()))
    }

    /// Marks what `command` starts.
    pub(super) fn put_on(&self, command: &mut Command) {
        command.env(VARIABLE, &self.0[VARIABLE.len() + 1..]);
    }

    /// Kills all processes that have the mark and can be found.
    pub(super) fn end_all(&self) {
        #[cfg(target_os = "linux")]
        for _ in 0..ROUNDS {
            let mut ended = 0;
            for process in self.processes() {
                use nix::sys::signal::{Signal, kill};
                ended += usize::from(kill(process, Signal::SIGKILL).is_ok());
            }
            if ended == 0 {
                return;
            }
        }
    }

    /// The processes that have the mark. One that has ended has no environment.
    #[cfg(target_os = "linux")]
    fn processes(&self) -> Vec<nix::unistd::Pid> {
        let is_marked = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|one| one == self.0.as_bytes())
        };
        let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_marked).map(nix::unistd::Pid::from_raw).collect()
    }
}

/// Kills the processes of a verifier as soon as this process is gone, also after SIGKILL.
///
/// A shell waits at the reading end of a pipe. Its writing end is here alone, so the system closes
/// it when this process ends. Compared with `PR_SET_PDEATHSIG` of Linux, this needs no unsafe code,
/// reaches the children of the child too, and does not depend on the thread that started it.
#[derive(Debug)]
pub(super) struct Guard {
    #[cfg(unix)]
    shell: std::process::Child,
}

/// Reads until the end of the pipe, then kills the group `$0` and, where the system shows the
/// environment of processes, those whose environment has `$1`. The signals are those that reach
/// this process and its terminal.
#[cfg(unix)]
const SCRIPT: &str = r#"
    trap "" HUP INT TERM
    read -r _
    kill -s KILL -- "-$0"
    for round in 1 2 3; do
        for process in /proc/[0-9]*; do
            grep -qsF -e "$1" "$process/environ" && kill -s KILL "${process#/proc/}"
        done
    done
"#;

impl Guard {
    /// Guards the process group of the number `group` and what has the mark.
    ///
    /// # Errors
    ///
    /// Fails when the shell cannot be started.
    #[cfg(unix)]
    pub(super) fn over(group: u32, mark: &Mark) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        use std::process::Stdio;

        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, &group.to_string(), &mark.0]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { shell: command.spawn()? })
    }

    /// There are no process groups here.
    #[cfg(not(unix))]
    pub(super) fn over(_: u32, _: &Mark) -> io::Result<Self> {
        Ok(Self {})
    }
}

#[cfg(unix)]
impl Drop for Guard {
    /// Ends the shell before it reads the end of the pipe: the number of the group may belong to
    /// others once its processes are gone.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
