//! What the private servers share: a directory, a port, a watcher, and waiting until ready.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::error::ServerError;
use super::watcher::{ServerState, Signal, Watcher};

/// Below the ports that systems hand out by themselves. A port from that range can be taken by
/// any outgoing connection while its server is down, and a client that reconnects to it in a
/// loop can end up connected to itself. It also leaves room for Redis' cluster bus, 10,000 above.
const PORTS: Range<u16> = 15_000..32_768;
const PORT_ATTEMPTS_MAX: usize = 100;
/// How many ports a server is started on before its failure is passed on.
const START_ATTEMPTS_MAX: usize = 5;

/// Generous, as a loaded machine starts dozens of these at once.
const START_UP_MAX: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
const LOG_LINES_MAX: usize = 20;

/// The user that a server runs as when it refuses to run as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServiceUser {
    /// The user to become, `None` where the present one will do.
    pub(super) fn unless_unprivileged() -> Result<Option<Self>, ServerError> {
        if !is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (ask_id(&["-u", name]), ask_id(&["-g", name])) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        Err(ServerError::NoServiceUser)
    }
}

pub(super) fn is_root() -> bool {
    ask_id(&["-u"]) == Some(0)
}

fn ask_id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// One server under watch, in a directory of its own. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(super) struct ServerProcess {
    watcher: Watcher,
    directory: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where in the log the present launch begins.
    log_start: u64,
}

impl ServerProcess {
    /// Starts the watcher, which makes the directory, but no program yet.
    pub(super) fn prepare(
        name: &str,
        last_signal: Signal,
        user: Option<ServiceUser>,
    ) -> Result<Self, ServerError> {
        let name = format!("kv-testing-{name}-{:016x}", fastrand::u64(..));
        let directory = std::env::temp_dir().join(&name);
        let (watcher, directory) = match Watcher::start(&directory, last_signal, user) {
            // A root user's TMPDIR is often closed to others.
            Err(ServerError::Directory { .. }) if user.is_some() => {
                let directory = Path::new("/tmp").join(&name);
                (Watcher::start(&directory, last_signal, user)?, directory)
            }
            result => (result?, directory),
        };
        Ok(Self {
            watcher,
            directory,
            program: PathBuf::new(),
            arguments: Vec::new(),
            log_start: 0,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a program to its end.
    pub(super) fn run(
        &mut self,
        program: &Path,
        arguments: Vec<OsString>,
    ) -> Result<(), ServerError> {
        self.launch(program, arguments)?;
        self.poll(|process| match process.watcher.state()? {
            ServerState::Running { .. } => Ok(false),
            ServerState::Exited { exit_code: 0 } => Ok(true),
            ServerState::Exited { exit_code } => Err(process.exited(exit_code)),
        })
    }

    /// Starts the server and waits until `is_ready`, which is given its process id, says so.
    pub(super) fn start(
        &mut self,
        program: &Path,
        arguments: Vec<OsString>,
        is_ready: impl Fn(u32) -> bool,
    ) -> Result<(), ServerError> {
        self.launch(program, arguments)?;
        self.poll(|process| match process.watcher.state()? {
            ServerState::Running { process_id } => Ok(is_ready(process_id)),
            ServerState::Exited { exit_code } => Err(process.exited(exit_code)),
        })
    }

    /// Starts the same server again; what is left of a killed one may need a moment to go.
    pub(super) fn restart(
        &mut self,
        signal: Signal,
        is_ready: impl Fn(u32) -> bool,
    ) -> Result<(), ServerError> {
        self.stop(signal)?;
        let deadline = Instant::now() + START_UP_MAX;
        loop {
            let (program, arguments) = (self.program.clone(), self.arguments.clone());
            match self.start(&program, arguments, &is_ready) {
                Err(error) if error.is_predecessor_alive() && Instant::now() < deadline => {
                    thread::sleep(PROBE_INTERVAL);
                }
                result => return result,
            }
        }
    }

    /// Stops the server and waits until it is gone; does nothing if it is gone already.
    pub(super) fn stop(&mut self, signal: Signal) -> Result<(), ServerError> {
        self.watcher.stop(signal)
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.watcher.state(), Ok(ServerState::Running { .. }))
    }

    fn launch(&mut self, program: &Path, arguments: Vec<OsString>) -> Result<(), ServerError> {
        self.log_start = fs::metadata(self.log_path()).map_or(0, |log| log.len());
        self.watcher.launch(program, &arguments)?;
        self.program = program.to_owned();
        self.arguments = arguments;
        Ok(())
    }

    fn poll(
        &mut self,
        mut is_done: impl FnMut(&mut Self) -> Result<bool, ServerError>,
    ) -> Result<(), ServerError> {
        let deadline = Instant::now() + START_UP_MAX;
        while !is_done(self)? {
            if Instant::now() >= deadline {
                return Err(ServerError::TimedOut {
                    program: self.program.display().to_string(),
                    seconds: START_UP_MAX.as_secs(),
                    log: self.log_tail(),
                });
            }
            thread::sleep(PROBE_INTERVAL);
        }
        Ok(())
    }

    fn exited(&self, exit_code: i32) -> ServerError {
        ServerError::Exited {
            program: self.program.display().to_string(),
            exit_code,
            log: self.log_tail(),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// The last lines since the present launch. A log that cannot be read is an empty one: the
    /// failure that asks for it matters more.
    fn log_tail(&self) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = fs::File::open(self.log_path()) {
            let _ = file.seek(SeekFrom::Start(self.log_start));
            let _ = file.read_to_end(&mut log);
        }
        last_lines(&String::from_utf8_lossy(&log))
    }
}

pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}

/// Calls `start` with a free port, and with others as long as something else gets there first.
pub(super) fn start_on_free_port<S>(
    start: impl Fn(u16) -> Result<S, ServerError>,
) -> Result<S, ServerError> {
    for _ in 1..START_ATTEMPTS_MAX {
        match start(free_port()?) {
            Err(error) if error.is_address_in_use() => {}
            result => return result,
        }
    }
    start(free_port()?)
}

fn free_port() -> Result<u16, ServerError> {
    for _ in 0..PORT_ATTEMPTS_MAX {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ServerError::NoFreePort { attempts: PORT_ATTEMPTS_MAX })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn address_in_use() -> ServerError {
        ServerError::Exited {
            program: "redis-server".to_owned(),
            exit_code: 1,
            log: "bind: Address already in use".to_owned(),
        }
    }

    #[test]
    fn a_free_port_can_be_bound_and_leaves_room_for_the_cluster_bus() {
        let port = free_port().expect("a free port");
        assert!(port < 55_535);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    }

    #[test]
    fn a_taken_port_is_given_up_for_another() {
        let calls = Cell::new(0);
        let result = start_on_free_port(|port| {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(address_in_use()) } else { Ok(port) }
        });
        assert!(result.is_ok());
        assert_eq!(calls.get(), 3);
    }

    #[test]
    fn port_attempts_are_bounded_and_other_failures_are_not_repeated() {
        let calls = Cell::new(0);
        let count = || calls.set(calls.get() + 1);
        let taken: Result<(), _> = start_on_free_port(|_| {
            count();
            Err(address_in_use())
        });
        assert!(taken.is_err_and(|error| error.is_address_in_use()));
        assert_eq!(calls.replace(0), START_ATTEMPTS_MAX);
        let other: Result<(), _> = start_on_free_port(|_| {
            count();
            Err(ServerError::NoServiceUser)
        });
        assert!(other.is_err());
        assert_eq!(calls.get(), 1);
    }

    #[test]
    fn an_end_at_start_up_is_told_with_the_log() {
        let mut process =
            ServerProcess::prepare("process", Signal::Terminate, None).expect("a directory");
        let arguments = ["-c", "echo bad setting >&2; exit 3"].map(OsString::from);
        let error = process
            .start(Path::new("/bin/sh"), arguments.to_vec(), |_| false)
            .expect_err("it ends at once");
        assert_eq!(
            error.to_string(),
            "/bin/sh ended at start-up with exit code 3; its log ends:\nbad setting"
        );
    }

    #[test]
    fn only_the_last_lines_are_told() {
        let text: String = (1..=30).map(|line| format!("{line}\n")).collect();
        let tail = last_lines(&text);
        assert!(tail.starts_with("11\n") && tail.ends_with("\n30"));
    }
}
