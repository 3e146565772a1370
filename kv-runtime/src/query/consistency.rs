//! How fresh an answer is, as a type.

use std::time::Duration;

/// How fresh the answers of a query are: [`Overlay`] or [`StoredOnly`].
pub trait Consistency: private::Level {
    /// An answer, with what is to be said of it.
    type Answer<T>;

    #[doc(hidden)]
    fn answer<T>(value: T, behind: Option<Behind>) -> Self::Answer<T>;
}

/// The answers see every write that was acknowledged before they were asked for, drained or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlay;

/// The answers are those of PostgreSQL alone, and say how far behind Redis they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredOnly;

/// What PostgreSQL alone answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Stored<T> {
    /// The answer.
    pub value: T,
    /// How far behind it may be; `None` where Redis could not say so within two seconds.
    pub behind: Option<Behind>,
}

/// How far PostgreSQL was behind Redis just before it was asked; by its answer it may have come
/// nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behind {
    /// How many entries of the model's queue were not drained, in all partitions and as Redis
    /// counts them; those of other models on the queue count, and dead letters do not.
    pub entries: u64,
    /// How old the oldest of them was, by the clocks of Redis' server and of this process; zero
    /// without any.
    pub age: Duration,
    /// By how much the replica that answered may have been behind the primary, beside that: it had
    /// all that was committed so long before it was asked. Zero where the primary answered, `None`
    /// where [`PostgresSettings::replica_max_lag`](crate::PostgresSettings::replica_max_lag) sets
    /// no bound and nobody looks.
    pub replica_lag: Option<Duration>,
}

impl Default for Behind {
    fn default() -> Self {
        Self { entries: 0, age: Duration::ZERO, replica_lag: Some(Duration::ZERO) }
    }
}

impl Consistency for Overlay {
    type Answer<T> = T;

    fn answer<T>(value: T, _: Option<Behind>) -> T {
        value
    }
}

impl Consistency for StoredOnly {
    type Answer<T> = Stored<T>;

    fn answer<T>(value: T, behind: Option<Behind>) -> Stored<T> {
        Stored { value, behind }
    }
}

/// What queries are asked by, which nobody else can add to.
pub(crate) mod private {
    /// A [`Consistency`](super::Consistency).
    pub trait Level: Send + 'static {
        /// Whether dirty rows are laid over what PostgreSQL has.
        const LAYS_OVER: bool;
    }

    impl Level for super::Overlay {
        const LAYS_OVER: bool = true;
    }

    impl Level for super::StoredOnly {
        const LAYS_OVER: bool = false;
    }
}
