//! One connection, and the writes that wait for it.
//!
//! A write that finds the lane free is sent at once. Writes that come while it is busy are sent
//! together in the next call: one call of the script for many rows costs the server little more
//! than half of what a call for each would, so the lane gets faster as it gets busier. Nothing
//! ever waits for company.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::connection::Connection;
use crate::hot_store::{HotStoreError, Write, WriteOutcome};
use crate::key::slot_of_key;

/// How many calls with writes are on their way at once: one at the server, and one behind it.
const CALLS_MAX: usize = 2;
/// The most writes of a call, and about the most bytes of values: while it runs, the server does
/// nothing else.
const WRITES_MAX: usize = 32;
const BYTES_MAX: usize = 1024 * 1024;

/// What becomes of one write.
pub(super) type WriteResult = Result<WriteOutcome, HotStoreError>;

/// A connection with its queue of writes.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    connection: Connection,
    waiting: mpsc::UnboundedSender<Waiting>,
    calls: Arc<Semaphore>,
}

/// A write whose caller waits for the answer.
#[derive(Debug)]
struct Waiting {
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
    pub(super) fn new(connection: Connection, sender: impl SendWrites) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        let lane = Self { connection: connection.clone(), waiting, calls: Arc::clone(&calls) };
        // The task's own lane must not keep its queue open.
        let (closed, _) = mpsc::unbounded_channel();
        let inner = Self { connection, waiting: closed, calls };
        tokio::spawn(inner.send_waiting(queue, sender));
        lane
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a write, alone if the lane is free, else with the others that wait.
    pub(super) async fn write(&self, write: &Arc<Write>, sender: &impl SendWrites) -> WriteResult {
        if let Ok(_call) = self.calls.try_acquire() {
            let results = sender.send(&self.connection, std::slice::from_ref(write)).await;
            return results.into_iter().next().unwrap_or_else(|| Err(gone()));
        }
        let (answer, result) = oneshot::channel();
        let waiting = Waiting { write: Arc::clone(write), answer };
        if self.waiting.send(waiting).is_err() {
            return Err(gone());
        }
        result.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn send_waiting(
        self,
        mut queue: mpsc::UnboundedReceiver<Waiting>,
        sender: impl SendWrites,
    ) {
        let mut group = Vec::with_capacity(WRITES_MAX);
        while queue.recv_many(&mut group, WRITES_MAX).await > 0 {
            let Ok(call) = Arc::clone(&self.calls).acquire_owned().await else { return };
            // Those that came while the call before was on its way.
            while group.len() < WRITES_MAX
                && let Ok(waiting) = queue.try_recv()
            {
                group.push(waiting);
            }
            let group = std::mem::replace(&mut group, Vec::with_capacity(WRITES_MAX));
            tokio::spawn(self.clone().send_group(group, sender.clone(), call));
        }
    }

    async fn send_group(
        self,
        group: Vec<Waiting>,
        sender: impl SendWrites,
        _call: OwnedSemaphorePermit,
    ) {
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
