//! What can go wrong with a call of the handle.

use std::any::type_name;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::Source;
use crate::settings::SettingsError;

/// Why a call of the handle failed.
///
/// Its messages name the operation and the key, without the tenant's prefix, and never a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing under the key, or no such field.
    #[error("{call}: there is nothing")]
    NotFound {
        /// The operation and the key.
        call: Call,
    },
    /// What is there is not of the type that was asked for.
    #[error("{call}: what is there is no `{type_name}`: {problem}")]
    Parsing {
        /// The operation and the key.
        call: Call,
        /// The type that was asked for.
        type_name: &'static str,
        /// What does not fit, without the value.
        problem: String,
    },
    /// A value has no form in JSON, such as a map whose keys are no texts.
    #[error("{call}: a `{type_name}` cannot be written as JSON: {problem}")]
    Encoding {
        /// The operation and the key.
        call: Call,
        /// The type of the value.
        type_name: &'static str,
        /// What does not fit, without the value.
        problem: String,
    },
    /// Redis did not answer in time. What the call writes may be done or not.
    #[error("{call}: Redis did not answer in time")]
    Timeout {
        /// The operation and the key.
        call: Call,
        /// What the connection said.
        #[source]
        source: Source,
    },
    /// Too many commands are on their way already; nothing was sent.
    #[error(
        "{call}: {in_flight_max} commands are on their way already; is Redis slow, or \
         `redis.in_flight_max` too low?"
    )]
    Overloaded {
        /// The operation and the key.
        call: Call,
        /// [`RedisSettings::in_flight_max`](crate::RedisSettings::in_flight_max).
        in_flight_max: usize,
    },
    /// Redis cannot be reached, or does not take commands now. What the call writes may be done
    /// where the connection was lost before the answer.
    #[error("{call}: Redis is unavailable")]
    Unavailable {
        /// The operation and the key.
        call: Call,
        /// What it or the connection said.
        #[source]
        source: Source,
    },
    /// The lock belongs to somebody else.
    #[error("{call}: it is locked")]
    Locked {
        /// The operation and the name of the lock.
        call: Call,
    },
    /// The lock did not belong to its guard any more: its time was over, and it may have been
    /// somebody else's.
    #[error("{call}: the lock was lost")]
    LockLost {
        /// The operation and the name of the lock.
        call: Call,
    },
    /// Redis refused an operation on a string, or on a key as a whole.
    #[error("{call}: Redis refuses it")]
    String {
        /// The operation and the key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation on a hash.
    #[error("{call}: Redis refuses it")]
    Hash {
        /// The operation and the key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation on a list.
    #[error("{call}: Redis refuses it")]
    List {
        /// The operation and the key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation on a set.
    #[error("{call}: Redis refuses it")]
    Set {
        /// The operation and the key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation on a stream.
    #[error("{call}: Redis refuses it")]
    Stream {
        /// The operation and the stream.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation of a consumer group.
    #[error("{call}: Redis refuses it")]
    Group {
        /// The operation and the stream.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// A script failed.
    #[error("{call}: the script fails")]
    Script {
        /// The operation and the first key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// A command of a pipeline was refused. The others may be done.
    #[error("{call}: Redis refuses a command of the pipeline")]
    Pipeline {
        /// The operation and the first key.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused to publish or to subscribe.
    #[error("{call}: Redis refuses it")]
    PubSub {
        /// The operation and the channel.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// Redis refused an operation on a lock.
    #[error("{call}: Redis refuses it")]
    Lock {
        /// The operation and the name of the lock.
        call: Call,
        /// What Redis said.
        #[source]
        source: Source,
    },
    /// The pair is in memory, or PostgreSQL alone.
    #[error(
        "the pair has no connection to Redis; open one that has with `Kv::connect`, or Redis alone \
         with `Redis::connect`"
    )]
    InMemory,
    /// A setting is out of its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Redis does not take connections.
    #[error(
        "Redis at {address} does not take connections; is it running, and are its address and the \
         password right?"
    )]
    Connect {
        /// The address, without its password.
        address: String,
        /// What it or the connection said.
        #[source]
        source: Source,
    },
}

impl Error {
    /// Whether there is nothing under the key.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the lock belongs to somebody else.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

/// What was being done when an error came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method of the handle.
    pub operation: &'static str,
    /// The key, stream, channel or name of the lock, without the tenant's prefix; of several the
    /// first.
    pub key: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.operation, self.key)
    }
}

/// What an operation is about, which says what a refusal of Redis becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    String,
    Hash,
    List,
    Set,
    Stream,
    Group,
    Script,
    Pipeline,
    PubSub,
    Lock,
}

/// A call that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) family: Family,
    pub(super) operation: &'static str,
    pub(super) key: &'a str,
}

impl<'a> At<'a> {
    pub(super) fn new(family: Family, operation: &'static str, key: &'a str) -> Self {
        Self { family, operation, key }
    }

    pub(super) fn call(self) -> Call {
        Call { operation: self.operation, key: self.key.to_owned() }
    }

    pub(super) fn not_found(self) -> Error {
        Error::NotFound { call: self.call() }
    }

    /// What an error of Redis or of the way to it means for this call.
    pub(super) fn failed(self, error: RedisError) -> Error {
        let call = self.call();
        if error.is_timeout() {
            return Error::Timeout { call, source: Box::new(error) };
        }
        if is_unavailable(&error) {
            return Error::Unavailable { call, source: Box::new(error) };
        }
        let source = said(error);
        match self.family {
            Family::String => Error::String { call, source },
            Family::Hash => Error::Hash { call, source },
            Family::List => Error::List { call, source },
            Family::Set => Error::Set { call, source },
            Family::Stream => Error::Stream { call, source },
            Family::Group => Error::Group { call, source },
            Family::Script => Error::Script { call, source },
            Family::Pipeline => Error::Pipeline { call, source },
            Family::PubSub => Error::PubSub { call, source },
            Family::Lock => Error::Lock { call, source },
        }
    }

    /// What Redis answered is no `T`. What the conversion says of it holds the value.
    pub(super) fn no_such_type<T>(self) -> Error {
        let problem = "Redis has it in another form".to_owned();
        Error::Parsing { call: self.call(), type_name: type_name::<T>(), problem }
    }

    pub(super) fn no_json<T>(self, error: &serde_json::Error) -> Error {
        let problem = without_value(error);
        Error::Parsing { call: self.call(), type_name: type_name::<T>(), problem }
    }

    pub(super) fn not_as_json<T: ?Sized>(self, error: &serde_json::Error) -> Error {
        let problem = without_value(error);
        Error::Encoding { call: self.call(), type_name: type_name::<T>(), problem }
    }
}

/// Whether the error says nothing about the command.
pub(super) fn is_unavailable(error: &RedisError) -> bool {
    error.is_connection_dropped()
        || matches!(
            error.kind(),
            ErrorKind::Io
                | ErrorKind::AuthenticationFailed
                | ErrorKind::ClusterConnectionNotFound
                | ErrorKind::MasterNameNotFoundBySentinel
                | ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::ReadOnly
                )
        )
}

/// A refusal of Redis. To a command that it does not know it answers with the arguments, which are
/// not for everybody's eyes.
fn said(error: RedisError) -> Source {
    let text = error.to_string();
    match text.split_once(", with args beginning with") {
        Some((said, _)) => said.into(),
        None => Box::new(error),
    }
}

/// What serde says is wrong has the value in it; this is the rest.
fn without_value(error: &serde_json::Error) -> String {
    let (what, line, column) = (error.classify(), error.line(), error.column());
    match what {
        serde_json::error::Category::Data if line == 0 => "a part of it does not fit".to_owned(),
        serde_json::error::Category::Data => {
            format!("its JSON does not fit at line {line}, column {column}")
        }
        serde_json::error::Category::Syntax => {
            format!("it is not JSON at line {line}, column {column}")
        }
        serde_json::error::Category::Eof => "its JSON ends too early".to_owned(),
        serde_json::error::Category::Io => "it cannot be written".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const FAMILIES: [Family; 10] = [
        Family::String,
        Family::Hash,
        Family::List,
        Family::Set,
        Family::Stream,
        Family::Group,
        Family::Script,
        Family::Pipeline,
        Family::PubSub,
        Family::Lock,
    ];

    fn at(family: Family) -> At<'static> {
        At::new(family, "operation", "key")
    }

    #[test]
    fn a_refusal_is_of_the_operations_family() {
        for family in FAMILIES {
            let refusal = redis::make_extension_error("WRONGTYPE".to_owned(), None);
            let error = at(family).failed(refusal);
            let name = format!("{error:?}");
            assert!(name.starts_with(&format!("{family:?} {{")), "{name}");
            assert!(error.to_string().starts_with("operation of `key`: "), "{error}");
            let source = std::error::Error::source(&error).expect("what Redis said");
            assert!(source.to_string().contains("WRONGTYPE"), "{source}");
        }
    }

    #[test]
    fn what_says_nothing_about_the_command_is_told_apart() {
        let of = |kind: io::ErrorKind| at(Family::Hash).failed(io::Error::from(kind).into());
        assert!(matches!(of(io::ErrorKind::TimedOut), Error::Timeout { .. }));
        assert!(matches!(of(io::ErrorKind::BrokenPipe), Error::Unavailable { .. }));
        assert!(matches!(of(io::ErrorKind::ConnectionRefused), Error::Unavailable { .. }));
        for kind in [
            ErrorKind::AuthenticationFailed,
            ErrorKind::ClusterConnectionNotFound,
            ErrorKind::MasterNameNotFoundBySentinel,
            ErrorKind::Server(ServerErrorKind::BusyLoading),
            ErrorKind::Server(ServerErrorKind::ClusterDown),
            ErrorKind::Server(ServerErrorKind::MasterDown),
            ErrorKind::Server(ServerErrorKind::ReadOnly),
        ] {
            let error = at(Family::List).failed((kind, "said").into());
            assert!(matches!(error, Error::Unavailable { .. }), "{kind:?}: {error:?}");
        }
    }

    #[test]
    fn no_argument_is_shown_of_a_command_that_redis_does_not_know() {
        let detail = "unknown command 'X', with args beginning with: 'secret'".to_owned();
        let refusal = redis::make_extension_error("ERR".to_owned(), Some(detail));
        let error = format!("{:?}", at(Family::Stream).failed(refusal));
        assert!(error.contains("unknown command 'X'") && !error.contains("secret"), "{error}");
    }
}
