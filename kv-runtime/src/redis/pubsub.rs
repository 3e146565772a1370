//! Publishing, and subscriptions that outlive their connection.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use redis::aio::{ConnectionManager, SendError};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, Msg, ProtocolVersion, PushInfo, PushKind, RedisError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::primary::Primary;
use super::sentinel::Sentinels;
use super::strings::{from_json, to_json};
use super::{At, Error, Family, FromRedisValue, Redis, ToSingleRedisArg, Value, client, read};
use crate::settings::RedisSettings;

/// How many messages wait for a subscriber that is slower than they come.
const WAITING_MAX: usize = 16_384;

/// A message that was published.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The channel, without the tenant's prefix.
    pub channel: String,
    /// The pattern of the subscription, without the tenant's prefix; `None` where it was of the
    /// channel.
    pub pattern: Option<String>,
    /// What was published.
    pub payload: Vec<u8>,
}

impl Message {
    /// What was published.
    ///
    /// # Errors
    /// [`Error::Parsing`] where it is no `T`.
    pub fn get<T: FromRedisValue>(&self) -> Result<T, Error> {
        let at = At::new(Family::PubSub, "message", &self.channel);
        read(at, Value::BulkString(self.payload.clone()))
    }

    /// The value whose JSON was published.
    ///
    /// # Errors
    /// As [`Message::get`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        from_json(At::new(Family::PubSub, "message", &self.channel), &self.payload)
    }
}

/// # Pub/sub
///
/// Redis hands a message to those who are connected and subscribed at that time, and keeps nothing:
/// what is published while a subscriber's connection is cut, it does not get.
impl Redis {
    /// Publishes a message, and answers how many subscribers have got it; of a cluster, those of
    /// one node.
    ///
    /// # Errors
    /// [`Error::PubSub`], or what any call can fail with.
    pub async fn publish(
        &self,
        channel: &str,
        payload: impl ToSingleRedisArg,
    ) -> Result<u64, Error> {
        let at = At::new(Family::PubSub, "publish", channel);
        self.query(at, &Cmd::publish(self.key(channel), payload)).await
    }

    /// Publishes a value's JSON.
    ///
    /// # Errors
    /// [`Error::Encoding`], or as [`Redis::publish`].
    pub async fn publish_json<T: Serialize + ?Sized>(
        &self,
        channel: &str,
        value: &T,
    ) -> Result<u64, Error> {
        let json = to_json(At::new(Family::PubSub, "publish_json", channel), value)?;
        self.publish(channel, json).await
    }

    /// Subscribes to channels, over a connection of its own.
    ///
    /// ```no_run
    /// # use kv_runtime::redis::{Error, Redis};
    /// # async fn run(redis: Redis) -> Result<(), Error> {
    /// let mut news = redis.subscribe(&["news"]).await?;
    /// redis.publish("news", "it rains").await?;
    /// if let Some(message) = news.next().await {
    ///     assert_eq!(message.get::<String>()?, "it rains");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::PubSub`], or what any call can fail with.
    pub async fn subscribe(&self, channels: &[&str]) -> Result<Subscription, Error> {
        let at = At::new(Family::PubSub, "subscribe", channels.first().unwrap_or(&""));
        let mut subscription = self.subscription(at).await?;
        subscription.add(at, channels, false).await?;
        Ok(subscription)
    }

    /// Subscribes to all channels that match patterns, in which `*`, `?` and `[…]` are as in
    /// `KEYS`; over a connection of its own. Channels of other tenants never match.
    ///
    /// # Errors
    /// As [`Redis::subscribe`].
    pub async fn subscribe_to_patterns(&self, patterns: &[&str]) -> Result<Subscription, Error> {
        let at = At::new(Family::PubSub, "subscribe_to_patterns", patterns.first().unwrap_or(&""));
        let mut subscription = self.subscription(at).await?;
        subscription.add(at, patterns, true).await?;
        Ok(subscription)
    }

    async fn subscription(&self, at: At<'_>) -> Result<Subscription, Error> {
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let cut = Arc::new(Notify::new());
        let pushed = {
            let (prefix, missed, cut) =
                (Arc::clone(&self.prefix), Arc::clone(&missed), Arc::clone(&cut));
            move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    cut.notify_one();
                }
                let Some(message) = message(&prefix, push) else { return Ok(()) };
                match sender.try_send(message) {
                    Err(mpsc::error::TrySendError::Closed(_)) => return Err(SendError),
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(()) => {}
                }
                Ok(())
            }
        };
        let settings = self.settings();
        let subscriber = Subscriber::connect(settings, pushed);
        let subscriber = tokio::time::timeout(settings.connect_timeout, subscriber).await;
        let subscriber = match subscriber {
            Ok(connected) => connected.map_err(|error| at.failed(error))?,
            Err(_) => {
                let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(at.failed(error.into()));
            }
        };
        let keeper = match &subscriber {
            Subscriber::Single(manager) => {
                let kept = keep(manager.clone(), cut, settings.reconnect_delay_max);
                Some(tokio::spawn(kept))
            }
            Subscriber::Primary(primary, names) => {
                let (primary, names) = (primary.clone(), Arc::clone(names));
                let kept = keep_primary(primary, names, cut, settings.reconnect_delay_max);
                Some(tokio::spawn(kept))
            }
            // Its library subscribes again by itself.
            Subscriber::Cluster(_) => None,
        };
        Ok(Subscription { redis: self.clone(), subscriber, messages, missed, keeper })
    }
}

/// The message that Redis pushes, if it is one.
fn message(prefix: &str, push: PushInfo) -> Option<Message> {
    let message = Msg::from_push_info(push)?;
    let without_prefix = |name: String| match name.strip_prefix(prefix) {
        Some(name) => name.to_owned(),
        None => name,
    };
    let pattern = message.get_pattern::<Option<String>>().ok().flatten();
    Some(Message {
        channel: without_prefix(message.get_channel_name().to_owned()),
        pattern: pattern.map(without_prefix),
        payload: message.get_payload_bytes().to_vec(),
    })
}

/// Messages of some channels or patterns; made by [`Redis::subscribe`].
///
/// A connection that is cut comes back by itself and subscribes again. It is a
/// [`Stream`](futures_util::Stream) of [`Message`], too. Dropping it ends the subscription.
pub struct Subscription {
    redis: Redis,
    subscriber: Subscriber,
    messages: mpsc::Receiver<Message>,
    missed: Arc<AtomicU64>,
    keeper: Option<JoinHandle<()>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("redis", &self.redis).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next message. It waits, also through an outage.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// How many messages were let go, because more than 16,384 waited to be taken.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Subscribes to more channels.
    ///
    /// # Errors
    /// As [`Redis::subscribe`].
    pub async fn subscribe(&mut self, channels: &[&str]) -> Result<(), Error> {
        let at = At::new(Family::PubSub, "subscribe", channels.first().unwrap_or(&""));
        self.add(at, channels, false).await
    }

    /// Gives channels up.
    ///
    /// # Errors
    /// As [`Redis::subscribe`].
    pub async fn unsubscribe(&mut self, channels: &[&str]) -> Result<(), Error> {
        let at = At::new(Family::PubSub, "unsubscribe", channels.first().unwrap_or(&""));
        let channels: Vec<String> = channels.iter().map(|name| self.redis.key(name)).collect();
        let given_up = match &mut self.subscriber {
            Subscriber::Single(connection) => connection.unsubscribe(channels).await,
            Subscriber::Primary(primary, names) => names.remove(primary, channels).await,
            Subscriber::Cluster(connection) => connection.unsubscribe(channels).await,
        };
        given_up.map_err(|error| at.failed(error))
    }

    /// The prefix has no character that has a meaning in patterns, whatever the tenant's name.
    async fn add(&mut self, at: At<'_>, names: &[&str], are_patterns: bool) -> Result<(), Error> {
        if names.is_empty() {
            let error = (ErrorKind::Client, "there is no name of a channel");
            return Err(at.failed(error.into()));
        }
        let names: Vec<String> = names.iter().map(|name| self.redis.key(name)).collect();
        let added = match (&mut self.subscriber, are_patterns) {
            (Subscriber::Single(connection), false) => connection.subscribe(names).await,
            (Subscriber::Single(connection), true) => connection.psubscribe(names).await,
            (Subscriber::Primary(primary, kept), _) => kept.add(primary, names, are_patterns).await,
            (Subscriber::Cluster(connection), false) => connection.subscribe(names).await,
            (Subscriber::Cluster(connection), true) => connection.psubscribe(names).await,
        };
        added.map_err(|error| at.failed(error))
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// A connection that is pushed messages.
enum Subscriber {
    Single(ConnectionManager),
    /// With what has to be subscribed to on the next one, too.
    Primary(Primary, Arc<Names>),
    Cluster(ClusterConnection),
}

/// What a subscription is of.
#[derive(Debug, Default)]
struct Names {
    channels: Mutex<BTreeSet<String>>,
    patterns: Mutex<BTreeSet<String>>,
}

impl Names {
    /// They count from now on, also if the connection is cut meanwhile.
    async fn add(
        &self,
        primary: &Primary,
        names: Vec<String>,
        are_patterns: bool,
    ) -> Result<(), RedisError> {
        let mut connection = primary.connection().await?;
        let kept = if are_patterns { &self.patterns } else { &self.channels };
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend(names.iter().cloned());
        match are_patterns {
            true => connection.psubscribe(names).await,
            false => connection.subscribe(names).await,
        }
    }

    async fn remove(&self, primary: &Primary, channels: Vec<String>) -> Result<(), RedisError> {
        let is_kept = |channel: &String| !channels.contains(channel);
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).retain(is_kept);
        primary.connection().await?.unsubscribe(channels).await
    }

    /// Subscribes to all of them anew.
    async fn restore(&self, primary: &Primary) -> Result<(), RedisError> {
        let copy = |names: &Mutex<BTreeSet<String>>| -> Vec<String> {
            names.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
        };
        let (channels, patterns) = (copy(&self.channels), copy(&self.patterns));
        let mut connection = primary.connection().await?;
        if !channels.is_empty() {
            connection.subscribe(channels).await?;
        }
        if !patterns.is_empty() {
            connection.psubscribe(patterns).await?;
        }
        Ok(())
    }
}

impl Subscriber {
    async fn connect(
        settings: &RedisSettings,
        pushed: impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        if settings.is_cluster() {
            let builder = client::cluster(settings)?.use_protocol(ProtocolVersion::RESP3);
            let client = builder.push_sender(pushed).build()?;
            return client.get_async_connection().await.map(Self::Cluster);
        }
        let info = client::pushing(settings)?;
        if settings.has_sentinels() {
            let config = client::connection_config(settings).set_push_sender(pushed);
            let primary = Primary::connect(&Sentinels::new(settings, info)?, config).await?;
            return Ok(Self::Primary(primary, Arc::default()));
        }
        let config =
            client::manager_config(settings).set_push_sender(pushed).set_automatic_resubscription();
        let manager = ConnectionManager::new_with_config(client::open(settings, info)?, config);
        manager.await.map(Self::Single)
    }
}

/// The library tries a few times to connect again, and then waits for the next command: this is it.
async fn keep(manager: ConnectionManager, cut: Arc<Notify>, delay_max: Duration) {
    loop {
        cut.notified().await;
        while redis::cmd("PING").exec_async(&mut manager.clone()).await.is_err() {
            tokio::time::sleep(delay_max.mul_f64(fastrand::f64())).await;
        }
    }
}

/// The same for the primary that sentinels name, where each connection begins with no subscription.
async fn keep_primary(primary: Primary, names: Arc<Names>, cut: Arc<Notify>, delay_max: Duration) {
    let ping = redis::cmd("PING");
    loop {
        cut.notified().await;
        while primary.send_one(&ping).await.is_err() || names.restore(&primary).await.is_err() {
            tokio::time::sleep(delay_max.mul_f64(fastrand::f64())).await;
        }
    }
}
