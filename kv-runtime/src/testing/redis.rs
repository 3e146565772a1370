//! A private Redis.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::error::ServerError;
use super::install;
use super::process::{ServerProcess, start_on_free_port};
use super::watcher::Signal;

const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Commands that move keys take longer.
const COMMAND_MAX: Duration = Duration::from_secs(10);

/// How a [`RedisServer`] is set up.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    append_only: bool,
    settings: Vec<(String, String)>,
}

impl RedisOptions {
    /// The defaults: everything in memory only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an append-only file is kept, so that [`RedisServer::restart`] finds the data again.
    #[must_use]
    pub fn append_only(mut self, append_only: bool) -> Self {
        self.append_only = append_only;
        self
    }

    /// Adds a line to the configuration file, for example `("maxmemory-policy", "noeviction")`.
    ///
    /// A later line wins over an earlier one and over the defaults.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    pub(super) fn of_cluster(mut self) -> Self {
        let settings = OF_CLUSTER.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.settings.splice(..0, settings);
        self
    }
}

/// The first settings of a node of a cluster, so that those of the test win.
const OF_CLUSTER: [(&str, &str); 2] =
    [("cluster-enabled", "yes"), ("cluster-node-timeout", "5000")];

/// A private `redis-server` or `valkey-server`, gone with its directory when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: ServerProcess,
    port: u16,
    url: String,
}

impl RedisServer {
    /// Starts a server with nothing in it, on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When the server can be neither found nor installed, or does not start.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(RedisOptions::new())
    }

    /// Starts a server with these options.
    ///
    /// # Errors
    ///
    /// When the server can be neither found nor installed, or does not start.
    pub fn start_with(options: RedisOptions) -> Result<Self, ServerError> {
        Self::launch(|port| configuration_text(port, &options), &[])
    }

    /// Starts a sentinel with these lines in its configuration.
    pub(super) fn start_sentinel(lines: &str) -> Result<Self, ServerError> {
        let text = |port| format!("bind 127.0.0.1\nport {port}\n{lines}");
        Self::launch(text, &["--sentinel"])
    }

    fn launch(text: impl Fn(u16) -> String, arguments: &[&str]) -> Result<Self, ServerError> {
        let program = install::redis_server()?;
        start_on_free_port(|port| {
            let mut process = ServerProcess::prepare("redis", Signal::Terminate, None)?;
            let configuration = process.directory().join("redis.conf");
            fs::write(&configuration, text(port))
                .map_err(ServerError::io("write the configuration of Redis"))?;
            let mut words = vec![configuration.into()];
            words.extend(arguments.iter().map(OsString::from));
            process.start(&program, words, |process_id| is_ready(port, process_id))?;
            Ok(Self { process, port, url: format!("redis://127.0.0.1:{port}") })
        })
    }

    /// The URL of the server, the same after a restart.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of the server, the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command in the form of a line, and answers what the server does.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the command.
    pub fn ask(&self, command: &str) -> Result<String, ServerError> {
        let answer = ask(self.port, command).map_err(ServerError::io("ask Redis"))?;
        answer.map_err(|output| ServerError::Refused { output })
    }

    /// Kills the server by SIGKILL, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the process that watches over the server is gone.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::Kill)
    }

    /// Starts the server again on the same port and directory, and stops it first if it runs.
    ///
    /// Without [`RedisOptions::append_only`] it comes back empty.
    ///
    /// # Errors
    ///
    /// When the server does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        let port = self.port;
        self.process.restart(Signal::Terminate, |process_id| is_ready(port, process_id))
    }
}

/// The server runs in its own directory, which is where its files go by default.
fn configuration_text(port: u16, options: &RedisOptions) -> String {
    let append_only = if options.append_only { "yes" } else { "no" };
    let mut text = format!("bind 127.0.0.1\nport {port}\nsave \"\"\nappendonly {append_only}\n");
    // By default it waits five seconds for further replicas before it feeds one.
    text.push_str("repl-diskless-sync-delay 0\n");
    for (name, value) in &options.settings {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// A status, a number or a text as it is; a list with the marks of its parts.
fn ask(port: u16, command: &str) -> std::io::Result<Result<String, String>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(COMMAND_MAX))?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    // Valkey drops a command that waits for replicas when it hears that nothing more is asked.
    (&stream).take(1).read_to_string(&mut answer)?;
    // A sentinel does not know QUIT, and ends when it hears no more. Others may have ended already.
    let _ = stream.shutdown(Shutdown::Write);
    stream.read_to_string(&mut answer)?;
    // The last line is the one to QUIT.
    let answer = answer.trim_end();
    let answer = answer.rsplit_once('\n').map_or("", |(answer, _)| answer).trim_end();
    Ok(match answer.split_at_checked(1) {
        Some(("-", error)) => Err(error.to_owned()),
        Some(("$", rest)) => Ok(rest.split_once("\r\n").map_or("", |(_, text)| text).to_owned()),
        Some(("+" | ":", rest)) => Ok(rest.to_owned()),
        _ => Ok(answer.to_owned()),
    })
}

/// Whether the server answers a PING, and is the one with this process id: on a port that was
/// taken in the meantime, another test's server would answer just as well.
fn is_ready(port: u16, process_id: u32) -> bool {
    ping(port, process_id).is_ok_and(|is_ready| is_ready)
}

fn ping(port: u16, process_id: u32) -> std::io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    // While it loads its append-only file it answers `-LOADING`.
    match lines.next() {
        Some(answer) if answer.as_deref().is_ok_and(|answer| answer == "+PONG") => {}
        _ => return Ok(false),
    }
    let expected = format!("process_id:{process_id}");
    for line in lines {
        if line? == expected {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_defaults_so_that_they_win() {
        let options = RedisOptions::new().append_only(true).setting("save", "900 1");
        assert_eq!(
            configuration_text(15_000, &options),
            "bind 127.0.0.1\nport 15000\nsave \"\"\nappendonly yes\n\
             repl-diskless-sync-delay 0\nsave 900 1\n"
        );
    }
}
