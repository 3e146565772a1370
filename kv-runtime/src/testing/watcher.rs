//! The watcher: a small shell process between us and a server.
//!
//! A server that we started ourselves would outlive a SIGKILL of our process. The watcher holds
//! the reading end of a pipe whose only writer is our process, so it learns of our end however
//! it comes, then stops the server and removes its directory. As the server's parent it also
//! knows, without a race, whether the server still runs.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::error::ServerError;
use super::process::ServiceUser;

/// Called with the directory and the signal that stops the server at the end of the run.
///
/// Each line on its standard input is a call of one of its functions, each call writes one line.
const SCRIPT: &str = r#"
directory=$1
last_signal=$2
server=
exit_code=0
# A test may have been given a PATH without `sleep` and `rm`.
PATH=$PATH:/usr/bin:/bin

# The end of the run shows as the end of the input, never as a signal. SIGPIPE belongs to the
# list because our process may go away between a call and its answer.
trap '' HUP INT QUIT TERM PIPE

launch() {
    (trap - HUP INT QUIT TERM PIPE; exec "$@") </dev/null >>"$directory/server.log" 2>&1 &
    server=$!
    echo "running $server"
}

# An ended child answers `kill -0` until the shell has collected it. Not every shell does so
# unasked; waiting for the empty subshell makes it.
is_running() {
    [ -n "$server" ] && (:) && kill -0 "$server" 2>/dev/null
}

# An ended server's id is forgotten at once, as it may soon belong to another process.
state() {
    if is_running; then
        echo "running $server"
        return
    fi
    if [ -n "$server" ]; then
        wait "$server"
        exit_code=$?
        server=
    fi
    echo "exited $exit_code"
}

# A signal can be lost on a program that is just starting, so it is repeated each second.
stop() {
    checks=0
    while is_running; do
        if [ "$checks" -ge 500 ]; then
            kill -s KILL "$server"
        elif [ $((checks % 50)) -eq 0 ]; then
            kill -s "$1" "$server"
        fi
        checks=$((checks + 1))
        sleep 0.02 || sleep 1
    done
    state
}

# Made here and not by our process, which could be gone before it has told anybody.
mkdir -m 700 "$directory" && cd "$directory" || exit 1
state

while IFS= read -r call; do
    eval "$call"
done

stop "$last_signal"
cd /
# What is left of a killed PostgreSQL may still write for a moment.
attempts=20
while [ -e "$directory" ] && [ "$attempts" -gt 0 ]; do
    rm -rf "$directory" || sleep 0.1
    attempts=$((attempts - 1))
done
"#;

/// A signal by which a server is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// Redis: orderly. PostgreSQL would wait for its clients.
    Terminate,
    /// PostgreSQL: orderly, without waiting for clients.
    Interrupt,
    /// PostgreSQL: at once, to be recovered at the next start.
    Quit,
    /// At once, whatever the server would like to do.
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// What the watcher knows of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerState {
    Running { process_id: u32 },
    Exited { exit_code: i32 },
}

/// Our end of the watcher. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub(super) struct Watcher {
    process: Child,
    /// The pipe whose end tells the watcher that we are gone. `None` only while being dropped.
    calls: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Watcher {
    /// Starts a watcher that makes `directory` and, in the end, removes it.
    pub(super) fn start(
        directory: &Path,
        last_signal: Signal,
        user: Option<ServiceUser>,
    ) -> Result<Self, ServerError> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "kv-testing-watcher"])
            .arg(directory)
            .arg(last_signal.name())
            // Ours may be closed to the user of the server.
            .current_dir("/")
            // Logs are searched for English messages.
            .env("LC_ALL", "C")
            // A Ctrl-C goes to the terminal's process group; the watcher must not be in it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        remove_postgres_variables(&mut command);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut process =
            command.spawn().map_err(ServerError::io("start `/bin/sh` to watch over a server"))?;
        let calls = process.stdin.take();
        let answers = process.stdout.take().ok_or(ServerError::WatcherGone)?;
        let mut watcher = Self { process, calls, answers: BufReader::new(answers) };
        if watcher.read_answer()?.is_none() {
            return Err(ServerError::Directory { path: directory.to_owned() });
        }
        Ok(watcher)
    }

    /// Starts a program in the background; `server.log` gets what it writes.
    pub(super) fn launch(
        &mut self,
        program: &Path,
        arguments: &[OsString],
    ) -> Result<ServerState, ServerError> {
        let mut call = b"launch".to_vec();
        append_quoted(&mut call, program.as_os_str());
        for argument in arguments {
            append_quoted(&mut call, argument);
        }
        self.call(call)
    }

    /// Whether what was launched last still runs.
    pub(super) fn state(&mut self) -> Result<ServerState, ServerError> {
        self.call(b"state".to_vec())
    }

    /// Stops the server, by SIGKILL when it takes long, and waits until it is gone.
    pub(super) fn stop(&mut self, signal: Signal) -> Result<(), ServerError> {
        self.call(format!("stop {}", signal.name()).into_bytes())?;
        Ok(())
    }

    fn call(&mut self, mut line: Vec<u8>) -> Result<ServerState, ServerError> {
        line.push(b'\n');
        let calls = self.calls.as_mut().ok_or(ServerError::WatcherGone)?;
        calls.write_all(&line).map_err(ServerError::io("write to the watcher of a server"))?;
        self.read_answer()?.ok_or(ServerError::WatcherGone)
    }

    /// `None` when the watcher has ended.
    fn read_answer(&mut self) -> Result<Option<ServerState>, ServerError> {
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .map_err(ServerError::io("read from the watcher of a server"))?;
        Ok(parse_answer(&answer))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.calls = None;
        // Nothing to do about a failure here: the watcher goes on without us.
        let _ = self.process.wait();
    }
}

/// A developer's `PGHOST`, `PGOPTIONS` and the like are not meant for private servers.
pub(super) fn remove_postgres_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
}

fn parse_answer(answer: &str) -> Option<ServerState> {
    let (state, number) = answer.trim_end().split_once(' ')?;
    match state {
        "running" => Some(ServerState::Running { process_id: number.parse().ok()? }),
        "exited" => Some(ServerState::Exited { exit_code: number.parse().ok()? }),
        _ => None,
    }
}

/// Appends a blank and the word in single quotes, in which a shell interprets nothing.
fn append_quoted(line: &mut Vec<u8>, word: &OsStr) {
    line.extend_from_slice(b" '");
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => line.extend_from_slice(b"'\\''"),
            _ => line.push(byte),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn start() -> (Watcher, PathBuf) {
        let name = format!("kv-testing-watcher-{:016x}", fastrand::u64(..));
        let directory = std::env::temp_dir().join(name);
        let watcher = Watcher::start(&directory, Signal::Terminate, None);
        (watcher.expect("a watcher starts"), directory)
    }

    fn launch_shell(watcher: &mut Watcher, script: &str) -> ServerState {
        let arguments = [OsString::from("-c"), OsString::from(script)];
        watcher.launch(Path::new("/bin/sh"), &arguments).expect("the watcher answers")
    }

    fn wait_for_exit(watcher: &mut Watcher) -> i32 {
        loop {
            match watcher.state().expect("the watcher answers") {
                ServerState::Exited { exit_code } => return exit_code,
                ServerState::Running { .. } => {
                    std::thread::sleep(std::time::Duration::from_millis(5))
                }
            }
        }
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        let (mut watcher, directory) = start();
        launch_shell(&mut watcher, r#"printf '%s' "it's \$HOME *""#);
        assert_eq!(wait_for_exit(&mut watcher), 0);
        let log = std::fs::read_to_string(directory.join("server.log")).expect("a log");
        assert_eq!(log, "it's $HOME *");
    }

    #[test]
    fn an_end_is_noticed_with_its_exit_code() {
        let (mut watcher, _) = start();
        launch_shell(&mut watcher, "exit 7");
        assert_eq!(wait_for_exit(&mut watcher), 7);
        let later = watcher.state().expect("the watcher answers");
        assert_eq!(later, ServerState::Exited { exit_code: 7 });
    }

    #[test]
    fn dropping_stops_the_server_and_removes_the_directory() {
        let (mut watcher, directory) = start();
        let state = launch_shell(&mut watcher, "exec sleep 100");
        let ServerState::Running { process_id } = state else {
            panic!("not running: {state:?}");
        };
        drop(watcher);
        assert!(!directory.exists());
        let probe = Command::new("kill").args(["-0", &process_id.to_string()]).output();
        assert!(!probe.expect("kill runs").status.success());
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = Watcher::start(directory.path(), Signal::Terminate, None);
        assert!(matches!(refused, Err(ServerError::Directory { .. })));
        assert!(directory.path().exists());
    }
}
