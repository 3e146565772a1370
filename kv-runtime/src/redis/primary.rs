//! A connection to the primary that sentinels name, which comes back by asking them again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
#[cfg(feature = "cache")]
use redis::ConnectionInfo;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, ServerErrorKind,
    Value,
};

use super::sentinel::{Place, Sentinels, refused};

/// A connection to the present primary. Clones share it.
#[derive(Clone)]
pub(crate) struct Primary {
    inner: Arc<Inner>,
}

struct Inner {
    way: Way,
    attempt: Mutex<Attempt>,
    /// Whether somebody asks the sentinels if the primary is still where it was.
    is_looked_after: AtomicBool,
}

/// How it is connected.
#[derive(Clone)]
struct Way {
    sentinels: Arc<Sentinels>,
    config: AsyncConnectionConfig,
}

/// A try to connect, for all that wait for it.
#[derive(Clone)]
struct Attempt {
    number: u64,
    outcome: Shared<BoxFuture<'static, Result<Connected, RedisError>>>,
}

#[derive(Clone)]
struct Connected {
    place: Place,
    connection: MultiplexedConnection,
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").finish_non_exhaustive()
    }
}

impl Primary {
    /// Connects, which proves that the sentinels, the service and the password are right.
    pub(crate) async fn connect(
        sentinels: &Arc<Sentinels>,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let way = Way { sentinels: Arc::clone(sentinels), config };
        let attempt = Mutex::new(Attempt::begin(0, &way));
        let is_looked_after = AtomicBool::new(false);
        let primary = Self { inner: Arc::new(Inner { way, attempt, is_looked_after }) };
        primary.present().outcome.await?;
        Ok(primary)
    }

    /// Sends a command.
    pub(crate) async fn send_one(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (number, Connected { place, mut connection }) = self.connected().await?;
        let sent = connection.send_packed_command(command);
        let answer = self.unless_elsewhere(&place, sent).await;
        let said = answer.as_ref().map(std::slice::from_ref);
        self.heed(number, place, said);
        answer
    }

    /// Sends commands in one round trip; an error that the server answers to one of them is its
    /// answer.
    pub(crate) async fn send(
        &self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> Result<Vec<Value>, RedisError> {
        let (number, Connected { place, mut connection }) = self.connected().await?;
        let sent = connection.send_packed_commands(pipeline, offset, count);
        let answers = self.unless_elsewhere(&place, sent).await;
        self.heed(number, place, answers.as_deref());
        answers
    }

    /// Where the sentinels say that it is.
    #[cfg(feature = "cache")]
    pub(crate) async fn present_place(&self) -> Result<(String, u16), RedisError> {
        let place = self.inner.way.sentinels.locate().await?;
        Ok((place.host, place.port))
    }

    /// The address of a server that is or was the primary.
    #[cfg(feature = "cache")]
    pub(crate) fn address_at(&self, host: &str, port: u16) -> ConnectionInfo {
        self.inner.way.sentinels.address_at(host, port)
    }

    /// The present connection itself.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connected().await.map(|(_, connected)| connected.connection)
    }

    /// The connection that counts now, and by which attempt it came; one to a server that others
    /// have found to be the primary no more is not used.
    async fn connected(&self) -> Result<(u64, Connected), RedisError> {
        let Attempt { number, outcome } = self.present();
        let connected = outcome.await?;
        if !self.inner.way.sentinels.is_elsewhere(&connected.place) {
            return Ok((number, connected));
        }
        self.reconnect(number);
        let Attempt { number, outcome } = self.present();
        Ok((number, outcome.await?))
    }

    /// A server that hangs says nothing, and may not be the primary any more.
    async fn unless_elsewhere<T>(
        &self,
        place: &Place,
        sent: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        tokio::select! {
            answer = sent => answer,
            () = self.inner.way.sentinels.found_elsewhere(place) => {
                Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
            }
        }
    }

    /// Has it connected again where the server is gone, or is no primary any more.
    fn heed(&self, number: u64, place: Place, said: Result<&[Value], &RedisError>) {
        let is_over = match said {
            Ok(answers) => answers.iter().any(|answer| tells_demotion(answer, ANSWER_DEPTH)),
            Err(error) if error.is_timeout() => return self.look_later(number, place),
            Err(error) => error.is_unrecoverable_error() || is_demoted(error),
        };
        if is_over {
            self.reconnect(number);
        }
    }

    /// The attempt whose outcome counts: where the last one has failed, the next.
    fn present(&self) -> Attempt {
        let mut attempt = self.attempt();
        if let Some(Err(_)) = attempt.outcome.peek() {
            *attempt = Attempt::begin(attempt.number + 1, &self.inner.way);
        }
        attempt.clone()
    }

    /// Connects again, unless somebody did since that attempt.
    fn reconnect(&self, number: u64) {
        let mut attempt = self.attempt();
        if attempt.number == number {
            *attempt = Attempt::begin(number + 1, &self.inner.way);
            // It begins now, whether somebody waits for it or not.
            tokio::spawn(attempt.outcome.clone().map(drop));
        }
    }

    /// Asks the sentinels where the primary is, while others go on.
    fn look_later(&self, number: u64, place: Place) {
        if self.inner.is_looked_after.swap(true, Ordering::AcqRel) {
            return;
        }
        let primary = self.clone();
        tokio::spawn(async move {
            let found = primary.inner.way.sentinels.locate().await;
            primary.inner.is_looked_after.store(false, Ordering::Release);
            if found.is_ok_and(|found| found != place) {
                primary.reconnect(number);
            }
        });
    }

    fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.inner.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn begin(number: u64, way: &Way) -> Self {
        let way = way.clone();
        let outcome = async move { way.connect_with_retries().await };
        Self { number, outcome: outcome.boxed().shared() }
    }
}

impl Way {
    /// As often as the settings say, with a random part of each delay between.
    async fn connect_with_retries(&self) -> Result<Connected, RedisError> {
        let settings = self.sentinels.settings();
        let mut retries = settings.reconnect_retries;
        let mut delay = settings.reconnect_delay_min;
        loop {
            match self.connect().await {
                Err(error) if retries == 0 || !error.is_io_error() => return Err(error),
                Err(_) => retries -= 1,
                connected => return connected,
            }
            tokio::time::sleep(delay.mul_f64(fastrand::f64())).await;
            delay = delay.saturating_mul(2).min(settings.reconnect_delay_max);
        }
    }

    /// Whoever waits for it has sent nothing yet, whatever kept it from being connected.
    async fn connect(&self) -> Result<Connected, RedisError> {
        match self.sentinels.connect(&self.config).await {
            Ok((place, connection)) => Ok(Connected { place, connection }),
            Err(error) if error.is_io_error() && !error.is_connection_refusal() => {
                Err(refused(format!("the primary does not take connections: {error}")))
            }
            Err(error) => Err(error),
        }
    }
}

impl ConnectionLike for Primary {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.send_one(command).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.send(pipeline, offset, count).boxed()
    }

    fn get_db(&self) -> i64 {
        self.inner.way.sentinels.database()
    }
}

/// Scripts put the refusal of a single write into a list of outcomes.
const ANSWER_DEPTH: usize = 2;

fn tells_demotion(answer: &Value, depth: usize) -> bool {
    match answer {
        Value::ServerError(error) => is_demoted(&RedisError::from(error.clone())),
        Value::Array(answers) if depth > 0 => {
            answers.iter().any(|answer| tells_demotion(answer, depth - 1))
        }
        _ => false,
    }
}

/// Whether a server says that it is a replica. What a script was refused is in the text of the
/// older servers' errors.
fn is_demoted(error: &RedisError) -> bool {
    let kinds = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown].map(ErrorKind::Server);
    kinds.contains(&error.kind()) || error.detail().is_some_and(|text| text.contains("-READONLY "))
}
