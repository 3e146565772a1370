//! The health of the processors in Redis: one instance asks, all know.

use std::time::Duration;

use kv_runtime::redis::{Error, Expiry, Lock, Redis, SetReply};

use super::{POLL_INTERVAL, ask};
use crate::board::{Board, REPORT_TTL, Report};
use crate::gateway::Gateway;
use crate::model::Processor;

/// Where changes are published.
pub const UPDATES: &str = "processor:health:updates";

/// Who has this lock asks.
const POLLER: &str = "processor:health:poller";

/// For so long after the poller has died, nobody asks.
const POLLER_TTL: Duration = Duration::from_secs(5);

/// How often each instance reads the keys, so that a message which it has missed does not matter,
/// and looks whether somebody has to ask.
const REFRESH: Duration = Duration::from_millis(500);

/// The health of the processors, in Redis.
#[derive(Debug, Clone)]
pub struct SharedHealth {
    redis: Redis,
}

impl SharedHealth {
    /// In this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The last report of a processor; `None` where it is older than 30 s, or there was none.
    ///
    /// # Errors
    /// That Redis cannot be asked, which is not the same.
    pub async fn find(&self, processor: Processor) -> Result<Option<Report>, Error> {
        self.redis.find_json(&key(processor)).await
    }

    /// Stores a report, and publishes it.
    ///
    /// # Errors
    /// That of a connection.
    pub async fn store(&self, report: &Report) -> Result<(), Error> {
        self.redis.set_json_with(&key(report.processor), report, Expiry::After(REPORT_TTL)).await?;
        self.redis.publish_json(UPDATES, report).await.map(drop)
    }

    /// Keeps a board up to date; asks the processors where nobody else does.
    pub(crate) async fn watch(self, gateway: Gateway, board: Board) {
        tokio::join!(self.refresh(&board), self.listen(&board), self.poll(&gateway));
    }

    /// Reads the keys again and again.
    async fn refresh(&self, board: &Board) {
        let mut tick = tokio::time::interval(REFRESH);
        loop {
            tick.tick().await;
            for processor in Processor::ALL {
                match self.find(processor).await {
                    Ok(Some(report)) => board.learn(report),
                    Ok(None) => board.forget(processor),
                    // What is known is believed until it is too old.
                    Err(error) => tracing::warn!(%error, "the processors' health is not known"),
                }
            }
        }
    }

    /// Takes in what is published.
    async fn listen(&self, board: &Board) {
        let mut updates = loop {
            match self.redis.subscribe(&[UPDATES]).await {
                Ok(updates) => break updates,
                Err(error) => tracing::warn!(%error, "no news of the processors' health"),
            }
            tokio::time::sleep(REFRESH).await;
        };
        while let Some(message) = updates.next().await {
            match message.json() {
                Ok(report) => board.learn(report),
                Err(error) => tracing::warn!(%error, "a message about health is not understood"),
            }
        }
    }

    /// Asks the processors while nobody else does.
    async fn poll(&self, gateway: &Gateway) {
        let mut tick = tokio::time::interval(REFRESH);
        let mut poller: Option<Lock> = None;
        loop {
            tick.tick().await;
            if !poller.as_ref().is_some_and(Lock::is_held) {
                poller = self.redis.lock(POLLER, POLLER_TTL).await.ok();
            }
            if poller.is_some() {
                tokio::join!(
                    self.poll_one(gateway, Processor::Default),
                    self.poll_one(gateway, Processor::Fallback),
                );
            }
        }
    }

    /// Asks a processor, if it was not asked for long enough, by whichever instance.
    async fn poll_one(&self, gateway: &Gateway, processor: Processor) {
        let polled = format!("processor:polled:{}", processor.name());
        let is_due = self.redis.set_if_absent_with(&polled, 1, Expiry::After(POLL_INTERVAL)).await;
        if !matches!(is_due, Ok(SetReply::Set)) {
            return;
        }
        let Some(report) = ask(gateway, processor).await else { return };
        if let Err(error) = self.store(&report).await {
            tracing::warn!(%error, "the processors' health cannot be stored");
        }
    }
}

fn key(processor: Processor) -> String {
    format!("processor:health:{}", processor.name())
}
