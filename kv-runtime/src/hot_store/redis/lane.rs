//! One connection, and the writes that wait for it.
//!
//! A write that finds the lane free is sent at once. Writes that come while it is busy are sent
//! together in the next call: one call of the script for many rows costs the server little more
//! than half of what a call for each would, so the lane gets faster as it gets busier. Nothing
//! ever waits for company.
//!
//! Two calls are on their way at once, and share what there is: where one took all that waits, the
//! other would be of the one write that came next, and the server idle while the many of the first
//! are answered and come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use crate::hot_store::{HotStoreError, Write, WriteOutcome};
use crate::key::slot_of_key;

/// How many calls with writes are on their way at once: one at the server, and one behind it.
const CALLS_MAX: usize = 2;
/// How long one that is next waits for these: the caller of a write that was sent at once may not go
/// on, and then does not hear that it is over.
const PATIENCE: Duration = Duration::from_millis(50);
/// The most writes of a call, and about the most bytes of values: while it runs, the server does
/// nothing else.
const WRITES_MAX: usize = 64;
const BYTES_MAX: usize = 1024 * 1024;

/// What becomes of one write.
pub(super) type WriteResult = Result<WriteOutcome, HotStoreError>;

/// A connection with its queue of writes.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    connection: Connection,
    waiting: mpsc::UnboundedSender<Waiting>,
    calls: Arc<Semaphore>,
    /// How many writes the calls have that are on their way.
    under_way: Arc<AtomicUsize>,
    /// How long a write may wait to be sent.
    wait_max: Duration,
}

/// A call that is on its way, as long as this is kept.
#[derive(Debug)]
struct Call {
    under_way: Arc<AtomicUsize>,
    writes: usize,
    /// None for one that could not wait for it.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.under_way.fetch_sub(self.writes, Ordering::Relaxed);
    }
}

/// A write whose caller waits for the answer.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    write: Arc<Write>,
    answer: oneshot::Sender<WriteResult>,
}

/// Sends writes as one call of the script.
pub(super) trait SendWrites: Clone + Send + Sync + 'static {
    /// The results are in the order of the writes.
    fn send(
        &self,
        connection: &Connection,
        writes: &[Arc<Write>],
    ) -> impl Future<Output = Vec<WriteResult>> + Send;
}

impl Lane {
    /// A lane on a connection. Its task ends when the last clone is dropped.
    pub(super) fn new(connection: Connection, wait_max: Duration, sender: impl SendWrites) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        let lane = Self { connection, waiting, calls, under_way: Arc::default(), wait_max };
        // The task's own lane must not keep its queue open.
        let (closed, _) = mpsc::unbounded_channel();
        let inner = Self { waiting: closed, ..lane.clone() };
        tokio::spawn(inner.send_waiting(queue, sender));
        lane
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Another one on its connection.
    pub(super) fn with_sender(&self, sender: impl SendWrites) -> Self {
        Self::new(self.connection.clone(), self.wait_max, sender)
    }

    /// Sends a write, alone if the lane is free, else with the others that wait.
    pub(super) async fn write(&self, write: &Arc<Write>, sender: &impl SendWrites) -> WriteResult {
        if self.calls.available_permits() == CALLS_MAX
            && let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned()
        {
            let _call = self.begin(1, Some(permit));
            let results = sender.send(&self.connection, std::slice::from_ref(write)).await;
            return results.into_iter().next().unwrap_or_else(|| Err(gone()));
        }
        let (answer, result) = oneshot::channel();
        let waiting = Waiting { since: Instant::now(), write: Arc::clone(write), answer };
        if self.waiting.send(waiting).is_err() {
            return Err(gone());
        }
        result.await.unwrap_or_else(|_| Err(gone()))
    }

    fn begin(&self, writes: usize, permit: Option<OwnedSemaphorePermit>) -> Call {
        self.under_way.fetch_add(writes, Ordering::Relaxed);
        Call { under_way: Arc::clone(&self.under_way), writes, _permit: permit }
    }

    async fn send_waiting(
        self,
        mut queue: mpsc::UnboundedReceiver<Waiting>,
        sender: impl SendWrites,
    ) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = queue.recv().await else { return };
                waiting.push_back(first);
            }
            let permit = timeout(PATIENCE, Arc::clone(&self.calls).acquire_owned()).await;
            // Those that came while the call before was on its way.
            while let Ok(next) = queue.try_recv() {
                waiting.push_back(next);
            }
            let group = self.next_group(&mut waiting);
            if !group.is_empty() {
                let call = self.begin(group.len(), permit.ok().and_then(Result::ok));
                tokio::spawn(self.clone().send_group(group, sender.clone(), call));
            }
        }
    }

    /// Takes the writes of a call, its share of all that wait or are on their way. Who has waited for
    /// too long is told so, and who has gone away wants nothing any more.
    fn next_group(&self, waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
        let all = waiting.len() + self.under_way.load(Ordering::Relaxed);
        let most = all.div_ceil(CALLS_MAX).min(WRITES_MAX);
        let mut group = Vec::with_capacity(most.min(waiting.len()));
        while group.len() < most
            && let Some(next) = waiting.pop_front()
        {
            if next.answer.is_closed() {
                continue;
            }
            if next.since.elapsed() < self.wait_max {
                group.push(next);
                continue;
            }
            let error = "the writes before it have had no answer in time, so it was not sent";
            let _ = next.answer.send(Err(HotStoreError::Unavailable(error.into())));
        }
        group
    }

    async fn send_group(self, group: Vec<Waiting>, sender: impl SendWrites, _call: Call) {
        let (writes, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.write, waiting.answer)).unzip();
        let mut answers = answers.into_iter();
        for call in calls(&writes, self.connection.is_cluster()) {
            let results = sender.send(&self.connection, call).await;
            // The results first: once they end, no answer must be taken any more.
            for (result, answer) in results.into_iter().zip(answers.by_ref()) {
                // A caller that was cancelled does not want it any more.
                let _ = answer.send(result);
            }
        }
    }
}

/// Cuts writes into calls that do not hold up the server; one write is a call, however large. In a
/// cluster a call is about one slot.
pub(super) fn calls(
    mut writes: &[Arc<Write>],
    is_cluster: bool,
) -> impl Iterator<Item = &[Arc<Write>]> {
    std::iter::from_fn(move || {
        let slot = |write: &Arc<Write>| is_cluster.then(|| slot_of_key(&write.key.key));
        let first = writes.first().and_then(slot);
        let mut bytes = 0;
        let fits = |write: &&Arc<Write>| {
            bytes += write.change.byte_len();
            bytes <= BYTES_MAX && slot(write) == first
        };
        let fitting = writes.iter().take(WRITES_MAX).take_while(fits).count();
        let (call, rest) = writes.split_at(fitting.max(1).min(writes.len()));
        writes = rest;
        (!call.is_empty()).then_some(call)
    })
}

/// The runtime is shutting down; whether the write was sent is not known.
fn gone() -> HotStoreError {
    HotStoreError::OutcomeUnknown("the connection's task has ended".into())
}
