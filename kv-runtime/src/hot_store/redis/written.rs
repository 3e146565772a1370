//! Which tenants were written to, so that a drainer need not look at all of them.
//!
//! It is said after a write and beside it, and can be lost with the process: a drainer that goes by
//! it looks at every tenant now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Pipeline, RedisError, Value};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::reply;
use super::script::WRITTEN;

/// The pause after it was said, in which others can come that are said together.
const PAUSE: Duration = Duration::from_millis(10);
/// The most tenants of a call.
const TENANTS_MAX: usize = 500;

/// Says it for all tenants of a process; its task ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    waiting: mpsc::UnboundedSender<Arc<Tenant>>,
}

#[derive(Debug)]
struct Tenant {
    name: String,
    /// Whether it is still to be said.
    waits: AtomicBool,
}

/// Says it of one tenant.
#[derive(Debug)]
pub(super) struct Told {
    teller: Teller,
    tenant: Arc<Tenant>,
}

/// Says that the tenant was written to when it is dropped, also by a caller that is cancelled.
pub(super) struct Telling<'a>(Option<&'a Told>);

impl Teller {
    pub(super) fn new(connection: Connection, key: String) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        tokio::spawn(tell(connection, key, queue));
        Self { waiting }
    }

    pub(super) fn of(&self, name: &str) -> Told {
        let tenant = Tenant { name: name.to_owned(), waits: AtomicBool::default() };
        Told { teller: self.clone(), tenant: Arc::new(tenant) }
    }
}

impl Told {
    fn tell(&self) {
        if !self.tenant.waits.swap(true, Ordering::SeqCst) {
            // Without its task the runtime is at its end.
            let _ = self.teller.waiting.send(Arc::clone(&self.tenant));
        }
    }
}

impl<'a> Telling<'a> {
    pub(super) fn of(told: Option<&'a Told>) -> Self {
        Self(told)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if let Some(told) = self.0 {
            told.tell();
        }
    }
}

async fn tell(
    connection: Connection,
    key: String,
    mut queue: mpsc::UnboundedReceiver<Arc<Tenant>>,
) {
    let mut waiting = BTreeSet::new();
    let mut came = Vec::new();
    while queue.recv_many(&mut came, TENANTS_MAX).await > 0 {
        loop {
            for tenant in came.drain(..) {
                // What is written from now on is said again.
                tenant.waits.store(false, Ordering::SeqCst);
                waiting.insert(tenant.name.clone());
            }
            let mut call = WRITTEN.call(1);
            call.arg(&key).arg(waiting.iter().collect::<Vec<_>>());
            let answers = connection.call(&WRITTEN, vec![call]).await;
            let said = answers.and_then(reply::all_done);
            tokio::time::sleep(PAUSE).await;
            match said {
                Ok(()) => break waiting.clear(),
                Err(error) => tracing::debug!(%error, "it could not be said who was written to"),
            }
        }
    }
}

/// The tenants that were written to since a number, and the number of the last one. Where Redis went
/// back in time it is all of them.
pub(super) async fn since(
    connection: &Connection,
    key: &str,
    number: u64,
) -> Result<(u64, Vec<String>), RedisError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ZSCORE").arg(key).arg("");
    pipeline.cmd("ZRANGE").arg(key).arg(format!("({number}")).arg("+inf").arg("BYSCORE");
    let mut answers = connection.send(&pipeline).await?.into_iter();
    let last = reply::score(answers.next().unwrap_or(Value::Nil))?;
    if last < number {
        return Box::pin(since(connection, key, 0)).await;
    }
    let names = reply::texts(answers.next().unwrap_or(Value::Nil))?;
    Ok((last, names.into_iter().filter(|name| !name.is_empty()).collect()))
}
