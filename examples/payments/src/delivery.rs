//! From a payment that was accepted to one that a processor has.
//!
//! The row says whom a payment is sent to before it is sent, so that whoever takes it over goes on
//! with the same processor. It goes to the other one only if the first one's answer was clear: it
//! was refused, and the processor does not have it. What is neither recorded nor refused stays with
//! its processor for good.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::future::join_all;
use kv_runtime::{Error, UpdateIfError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::board::Board;
use crate::config::DeliverySettings;
use crate::gateway::{Gateway, Outcome};
use crate::metrics::Metrics;
use crate::model::{Payment, PaymentPatch, Processor, State};
use crate::store::Store;

/// How many payments wait in this process; what is more waits in the store alone.
const WAITING_MAX: usize = 20_000;

/// How often it is looked for payments that nobody delivers.
const SWEEP: Duration = Duration::from_millis(500);

/// How long a delivery waits at most for requests that are being accepted.
const YIELD_MAX: Duration = Duration::from_millis(50);

/// How many of them are taken over at once.
const SWEEP_MAX: usize = 200;

/// What delivers the payments of an instance. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    parts: Arc<Parts>,
    waiting: mpsc::Sender<Payment>,
    /// How many requests are being accepted.
    accepting: watch::Sender<usize>,
}

/// A request that is being accepted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Accepting(watch::Sender<usize>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What delivering takes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) gateway: Gateway,
    pub(crate) board: Board,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: DeliverySettings,
}

impl Delivery {
    /// Nothing is delivered before [`run`](Self::run).
    pub(crate) fn new(parts: Parts) -> (Self, mpsc::Receiver<Payment>) {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        (Self { parts: Arc::new(parts), waiting, accepting: watch::Sender::new(0) }, taken)
    }

    /// Says that a request is being accepted: its caller waits for the answer, as nobody does for a
    /// delivery.
    pub(crate) fn accepting(&self) -> Accepting {
        self.accepting.send_modify(|count| *count += 1);
        Accepting(self.accepting.clone())
    }

    /// Until when a payment that is accepted now is this instance's.
    pub(crate) fn lease(&self) -> DateTime<Utc> {
        Utc::now() + self.parts.settings.lease
    }

    /// Takes a payment that was accepted. Where too many wait, it is found after its lease.
    pub(crate) fn add(&self, payment: Payment) {
        let _ = self.waiting.try_send(payment);
    }

    /// Delivers what is added, and what nobody else delivers.
    pub(crate) async fn run(self, taken: mpsc::Receiver<Payment>) {
        tokio::join!(self.deliver_all(taken), self.sweep());
    }

    async fn deliver_all(&self, mut taken: mpsc::Receiver<Payment>) {
        let room = Arc::new(Semaphore::new(self.parts.settings.in_flight));
        let mut pace = tokio::time::interval(self.parts.settings.pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut accepting = self.accepting.subscribe();
        while let Some(payment) = taken.recv().await {
            self.parts.board.wait_for_choice().await;
            pace.tick().await;
            // There may always be one.
            let none = accepting.wait_for(|count| *count == 0);
            let _ = tokio::time::timeout(YIELD_MAX, none).await;
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let parts = Arc::clone(&self.parts);
            tokio::spawn(async move {
                if let Err(error) = parts.deliver(payment).await {
                    // It is found again after its lease.
                    tracing::warn!(%error, "a payment is left for later");
                }
                drop(permit);
            });
        }
    }

    /// Looks for payments whose lease is over: their instance has died, or nobody took them.
    async fn sweep(&self) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            // Who has enough to do leaves them to the others, and what it has itself alone.
            if self.waiting.capacity() + SWEEP_MAX < WAITING_MAX {
                continue;
            }
            match self.take_over().await {
                Ok(payments) => payments.into_iter().for_each(|payment| self.add(payment)),
                Err(error) => tracing::warn!(%error, "it is not known which payments wait"),
            }
        }
    }

    /// Takes over some payments whose processor takes any.
    async fn take_over(&self) -> Result<Vec<Payment>, Error> {
        let Parts { store: Store { payments, .. }, board, metrics, .. } = &*self.parts;
        let healthy: Vec<Processor> =
            Processor::ALL.into_iter().filter(|&p| board.is_healthy(p)).collect();
        if healthy.is_empty() {
            return Ok(Vec::new());
        }
        let left = payments
            .query()
            .filter(|p| p.state.eq(State::Pending).and(p.leased_until.le(Utc::now())))
            .filter(|p| p.processor.is_null().or(p.processor.is_in(healthy)))
            .order_by(|p| p.leased_until.asc())
            .limit(SWEEP_MAX as u64)
            .load()
            .await?;
        let taken = left.into_iter().map(async |payment| {
            let leased_until = self.lease();
            let patch = Payment::patch().leased_until(leased_until);
            // Of several instances, one gets it.
            let receipt = payments.update_if(&payment.id, payment.version, patch).await.ok()?;
            Metrics::add(&metrics.taken_over);
            Some(Payment { leased_until, version: receipt.version, ..payment })
        });
        Ok(join_all(taken).await.into_iter().flatten().collect())
    }
}

impl Parts {
    /// Sends a payment to a processor, or to the one that it was sent to.
    async fn deliver(&self, mut payment: Payment) -> Result<(), Error> {
        if let Some(processor) = payment.processor {
            return self.deliver_again(processor, payment).await;
        }
        // Each of them once; what both have refused rests for a while.
        for _ in Processor::ALL {
            let Some(processor) = self.board.choose() else { break };
            let requested_at = Utc::now().trunc_subsecs(3);
            let patch = Payment::patch()
                .processor(Some(processor))
                .requested_at(requested_at)
                .leased_until(Utc::now() + self.settings.lease);
            let Some(version) = self.change(&payment, patch).await? else { return Ok(()) };
            payment.processor = Some(processor);
            payment.requested_at = requested_at;
            payment.version = version;
            match self.pay(processor, &payment).await {
                Outcome::Recorded => return self.finish(processor, payment).await,
                Outcome::Refused => {}
                Outcome::Unclear => return self.rest(&payment, Some(processor)).await,
            }
        }
        self.rest(&payment, None).await
    }

    /// Sends a payment to the processor that may have it.
    async fn deliver_again(&self, processor: Processor, payment: Payment) -> Result<(), Error> {
        let found = self.gateway.look_for(processor, &payment).await;
        if found == Outcome::Recorded || self.pay(processor, &payment).await == Outcome::Recorded {
            return self.finish(processor, payment).await;
        }
        // Also if it was refused: an earlier request may still be on its way.
        self.rest(&payment, Some(processor)).await
    }

    /// Asks a processor to pay, and notices if it fails or takes its time.
    async fn pay(&self, processor: Processor, payment: &Payment) -> Outcome {
        let paying = self.gateway.pay(processor, payment);
        tokio::pin!(paying);
        let outcome = match tokio::time::timeout(self.settings.slow, &mut paying).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.board.suspect(processor);
                paying.await
            }
        };
        let counters = match outcome {
            Outcome::Recorded => return outcome,
            Outcome::Refused => &self.metrics.refused,
            Outcome::Unclear => &self.metrics.unclear,
        };
        self.board.suspect(processor);
        Metrics::add(&counters[processor as usize]);
        outcome
    }

    async fn finish(&self, processor: Processor, payment: Payment) -> Result<(), Error> {
        let processed_at = Some(Utc::now().trunc_subsecs(3));
        let patch = Payment::patch().state(State::Processed).processed_at(processed_at);
        let Some(version) = self.change(&payment, patch).await? else { return Ok(()) };
        Metrics::add(&self.metrics.processed[processor as usize]);
        let payment = Payment { state: State::Processed, processed_at, version, ..payment };
        self.store.remember(&payment).await;
        Ok(())
    }

    /// Leaves a payment to whoever finds it in a while.
    async fn rest(&self, payment: &Payment, processor: Option<Processor>) -> Result<(), Error> {
        let patch =
            Payment::patch().processor(processor).leased_until(Utc::now() + self.settings.retry);
        self.change(payment, patch).await.map(drop)
    }

    /// Changes a payment that is still this instance's, and answers its new version. `None` where
    /// another instance has it, or nobody because it was purged.
    async fn change(&self, payment: &Payment, patch: PaymentPatch) -> Result<Option<i64>, Error> {
        match self.store.payments.update_if(&payment.id, payment.version, patch).await {
            Ok(receipt) => Ok(Some(receipt.version)),
            Err(UpdateIfError::Conflict { .. }) => Ok(None),
            Err(UpdateIfError::Other(error)) if error.is_not_found() => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}
