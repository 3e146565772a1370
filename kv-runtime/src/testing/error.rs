//! What can go wrong with a private server.

use std::io;
use std::path::PathBuf;

/// Why a private server could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A program is not on this machine and was not installed.
    #[error(
        "{program} was not found on PATH; install it with `apt-get install {debian_package}` or \
         `brew install {homebrew_package}`, or {alternative}"
    )]
    #[non_exhaustive]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// The Debian package that has it.
        debian_package: &'static str,
        /// The Homebrew package that has it.
        homebrew_package: &'static str,
        /// What else one may do.
        alternative: &'static str,
    },

    /// A variable of the environment names something else than a program.
    #[error("{variable} is {}, which is no program; write the path of a server's program", path.display())]
    #[non_exhaustive]
    NamedProgram {
        /// The variable.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
    },

    /// The package manager failed.
    #[error(
        "{package} could not be installed; install it by hand, or {alternative}; apt-get said:\n{output}"
    )]
    #[non_exhaustive]
    Install {
        /// The package that was to be installed.
        package: &'static str,
        /// What else one may do.
        alternative: &'static str,
        /// The end of what the package manager wrote.
        output: String,
    },

    /// PostgreSQL refuses to run as root, and there is nobody else to run it.
    #[error(
        "PostgreSQL does not run as root and there is no user `postgres` or `nobody`; run as another user, or set DATABASE_URL"
    )]
    NoServiceUser,

    /// The temporary directory is closed to the user that the server runs as.
    #[error(
        "could not make the directory {}; point TMPDIR to one in which the user of the server may write",
        path.display()
    )]
    #[non_exhaustive]
    Directory {
        /// The directory that was to be made.
        path: PathBuf,
    },

    /// The server ended before it was ready.
    #[error("{program} ended at start-up with exit code {exit_code}; its log ends:\n{log}")]
    #[non_exhaustive]
    Exited {
        /// The program that ended.
        program: String,
        /// Its exit code as the shell gives it: above 128 for a signal.
        exit_code: i32,
        /// The end of its log.
        log: String,
    },

    /// The server runs but did not become ready.
    #[error("{program} was not ready after {seconds} s; its log ends:\n{log}")]
    #[non_exhaustive]
    TimedOut {
        /// The program that was waited for.
        program: String,
        /// How long was waited.
        seconds: u64,
        /// The end of its log.
        log: String,
    },

    /// No port was free.
    #[error("no free port was found on 127.0.0.1 in {attempts} attempts")]
    #[non_exhaustive]
    NoFreePort {
        /// How many ports were tried.
        attempts: usize,
    },

    /// A database name that would need quoting in SQL or in a URL.
    #[error(
        "{name:?} cannot name a test database; use 1 to 63 lower-case letters, digits and underscores, with a letter first"
    )]
    #[non_exhaustive]
    DatabaseName {
        /// The name that was asked for.
        name: String,
    },

    /// A database address that is not a URL.
    #[error("DATABASE_URL is no URL; write it as postgres://user@host:port/database")]
    DatabaseUrl,

    /// Redis refused a command.
    #[error("Redis refused a command: {output}")]
    #[non_exhaustive]
    Refused {
        /// What it said.
        output: String,
    },

    /// The nodes of a cluster did not come to one state.
    #[error("the nodes of the Redis Cluster did not agree within {seconds} s")]
    #[non_exhaustive]
    NoAgreement {
        /// How long was waited.
        seconds: u64,
    },

    /// Sentinels and servers did not come to one primary.
    #[error("the sentinels and their servers did not agree on a primary within {seconds} s")]
    #[non_exhaustive]
    NoPrimary {
        /// How long was waited.
        seconds: u64,
    },

    /// A URL that a proxy cannot stand before.
    #[error("the server's URL names no port; write it as redis://host:port")]
    NoPort,

    /// PostgreSQL refused a statement, or could not be reached.
    #[error("psql failed: {output}")]
    #[non_exhaustive]
    Psql {
        /// What `psql` wrote.
        output: String,
    },

    /// The process that watches over the server is gone.
    #[error("the watcher of a private server ended early; start the server anew")]
    WatcherGone,

    /// The operating system refused something.
    #[error("could not {action}")]
    #[non_exhaustive]
    Io {
        /// What was tried.
        action: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: puts what was tried beside what the operating system said.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Whether the server ended because something else listens on its port.
    pub(super) fn is_address_in_use(&self) -> bool {
        self.log_mentions("ddress already in use")
    }

    /// Whether the server ended because what is left of its predecessor is still going away.
    pub(super) fn is_predecessor_alive(&self) -> bool {
        self.is_address_in_use()
            || self.log_mentions("pre-existing shared memory block")
            || self.log_mentions("lock file \"postmaster.pid\" already exists")
    }

    fn log_mentions(&self, text: &str) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains(text))
    }
}
