//! What the errors of a Redis server mean.

use redis::{ErrorKind, RedisError};

use crate::hot_store::HotStoreError;

/// What a failed command means where doing it twice does no harm.
pub(super) fn classify(error: RedisError) -> HotStoreError {
    if error.code() == Some("KVMOVED") {
        return HotStoreError::Moved;
    }
    if is_misfit(&error) {
        return HotStoreError::Configuration(Box::new(error));
    }
    if error.is_timeout() && !error.is_connection_refusal() {
        return HotStoreError::Timeout(Box::new(error));
    }
    HotStoreError::Unavailable(Box::new(error))
}

/// What a failed write means: once it was sent, only an answer tells what became of it.
pub(super) fn classify_write(error: RedisError) -> HotStoreError {
    let was_sent = !error.is_connection_refusal() && (error.is_timeout() || error.is_io_error());
    if error.code() == Some("KVMOVED") {
        return HotStoreError::Moved;
    }
    // A closed stream is one that has no ids left.
    if error.code() == Some("KVCLOSED")
        || error.detail().is_some_and(|detail| detail.contains("exhausted the last possible ID"))
    {
        return HotStoreError::Elsewhere;
    }
    // So it was if the answer is not understood.
    let is_odd = error.kind() == ErrorKind::UnexpectedReturnType;
    if was_sent || is_odd || error.code() == Some("KVUNKNOWN") {
        return HotStoreError::OutcomeUnknown(Box::new(error));
    }
    classify(error)
}

/// Whether the server, its data and the settings do not fit together: waiting does not help.
fn is_misfit(error: &RedisError) -> bool {
    let codes = ["WRONGTYPE", "KVFOREIGN", "KVPARTITIONS", "NOAUTH", "WRONGPASS", "NOPERM"];
    error.code().is_some_and(|code| codes.contains(&code))
        || error.kind() == ErrorKind::AuthenticationFailed
}
