//! Why the hot side could not do what it was asked.

use crate::durable_store::DurableStoreError;
use crate::error::Source;

/// Why entries are not known to be as safe as was asked.
#[derive(Debug, thiserror::Error)]
#[error("{acknowledged} replicas have told in time to have the entries")]
pub(crate) struct NotReplicated {
    /// How many have them.
    pub(crate) acknowledged: u32,
    /// What went wrong, if it was not the time that ran out.
    pub(crate) source: Option<Source>,
}

impl NotReplicated {
    /// The same error for another row of the same call.
    pub(crate) fn repeat(&self) -> Self {
        let source = self.source.as_ref().map(|source| source.to_string().into());
        Self { acknowledged: self.acknowledged, source }
    }
}

/// Why the hot side could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HotStoreError {
    #[error("the server is unavailable")]
    Unavailable(#[source] Source),
    #[error("the server did not answer in time")]
    Timeout(#[source] Source),
    /// Of a write alone: it was sent, and its answer was lost.
    #[error("the answer was lost")]
    OutcomeUnknown(#[source] Source),
    #[error("the server's data do not fit the settings")]
    Configuration(#[source] Source),
    /// The queue has another storage scheme than was thought, or is being moved to one, or to other
    /// partitions.
    #[error("the queue is closed while it is moved to another storage scheme or other partitions")]
    Elsewhere,
    /// The queue has other partitions by now, so that nothing lies where it was looked for.
    #[error("the queue has other partitions by now")]
    Moved,
    /// It was not the hot side that was asked.
    #[error(transparent)]
    Durable(#[from] DurableStoreError),
}

impl HotStoreError {
    /// What the server or the connection to it said.
    pub(crate) fn into_source(self) -> Source {
        match self {
            Self::Unavailable(source)
            | Self::Timeout(source)
            | Self::OutcomeUnknown(source)
            | Self::Configuration(source) => source,
            Self::Durable(error) => error.into_source(),
            Self::Elsewhere | Self::Moved => Box::new(self),
        }
    }

    /// The same error for another row of the same call.
    pub(crate) fn repeat(&self) -> Self {
        match self {
            Self::Elsewhere => Self::Elsewhere,
            Self::Moved => Self::Moved,
            Self::Durable(error) => Self::Durable(error.repeat()),
            Self::Unavailable(source) => Self::Unavailable(source.to_string().into()),
            Self::Timeout(source) => Self::Timeout(source.to_string().into()),
            Self::OutcomeUnknown(source) => Self::OutcomeUnknown(source.to_string().into()),
            Self::Configuration(source) => Self::Configuration(source.to_string().into()),
        }
    }
}
