//! What clients ask of a Redis server, as its MONITOR command tells.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use kv_runtime::testing::RedisServer;

/// A word that no test has in a key.
const END: &str = "the-end-of-what-is-watched";

/// Watches a server that only one test uses.
pub(super) struct Monitor {
    port: u16,
    lines: BufReader<TcpStream>,
}

impl Monitor {
    pub(super) fn of(server: &RedisServer) -> Self {
        let mut lines = BufReader::new(send(server.port(), "MONITOR"));
        let mut answer = String::new();
        lines.read_line(&mut answer).expect("an answer");
        assert_eq!(answer.trim_end(), "+OK");
        Self { port: server.port(), lines }
    }

    /// The names of the commands that clients have sent since the last call; those that scripts
    /// call are left out.
    pub(super) fn commands(&mut self) -> Vec<String> {
        let _end = send(self.port, &format!("ECHO {END}"));
        let mut commands = Vec::new();
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("a command in time");
            if line.contains(END) {
                return commands;
            }
            // `+<time> [<database> <client, or lua>] "<command>" "<argument>"…`
            let (source, words) = line.split_once("] ").expect("a line of MONITOR");
            if !source.ends_with(" lua") {
                let command = words.split('"').nth(1).unwrap_or_default();
                commands.push(command.to_ascii_uppercase());
            }
        }
    }
}

fn send(port: u16, command: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is up");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a valid time");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("the server listens");
    stream
}
