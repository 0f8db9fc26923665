//! Ends a group of processes when this one ends, however it ends.

use std::io;

/// Kills a process group as soon as this process is gone, also after SIGKILL.
///
/// A shell waits at the reading end of a pipe. Its writing end is here alone, so the system closes
/// it when this process ends. Compared with `PR_SET_PDEATHSIG` of Linux, this needs no unsafe code,
/// reaches the children of the child too, and does not depend on the thread that started it.
#[derive(Debug)]
pub(super) struct Guard {
    #[cfg(unix)]
    shell: std::process::Child,
}

/// Reads until the end of the pipe, then kills the group `$0`. The signals are those that reach
/// this process and its terminal.
#[cfg(unix)]
const SCRIPT: &str = r#"trap "" HUP INT TERM; read -r _; kill -s KILL -- "-$0""#;

impl Guard {
    /// Guards the process group of the number `group`.
    ///
    /// # Errors
    ///
    /// Fails when the shell cannot be started.
    #[cfg(unix)]
    pub(super) fn over(group: u32) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};

        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, &group.to_string()]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { shell: command.spawn()? })
    }

    /// There are no process groups here.
    #[cfg(not(unix))]
    pub(super) fn over(_: u32) -> io::Result<Self> {
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
