//! Locks that processes share.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, ExistenceCheck, Script, SetExpiry, SetOptions, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{At, Error, Family, Redis, milliseconds};

static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// # Locks
impl Redis {
    /// Takes a lock for its guard, which renews it each third of `ttl` and gives it back when it is
    /// dropped. Where its process dies, or cannot reach Redis for that long, the lock ends after
    /// `ttl`, and somebody else can take it.
    ///
    /// As with every lock that can end, what is done under it should not be wrong if done twice at
    /// once: see [`Lock::lost`]. A Redis that fails over may give a lock to two.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use kv_runtime::redis::{Error, Redis};
    /// # async fn send_invoices() {}
    /// # async fn run(redis: Redis) -> Result<(), Error> {
    /// let lock = redis.lock("invoices", Duration::from_secs(10)).await?;
    /// tokio::select! {
    ///     () = send_invoices() => {}
    ///     () = lock.lost() => eprintln!("somebody else may send them now"),
    /// }
    /// lock.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] where somebody has it; [`Error::Lock`], or what any call can fail with.
    pub async fn lock(&self, name: &str, ttl: Duration) -> Result<Lock, Error> {
        let at = At::new(Family::Lock, "lock", name);
        let lock = Owned {
            redis: self.clone(),
            name: name.to_owned(),
            token: format!("{:032x}", fastrand::u128(..)),
            // What Redis can count, and so can we.
            ttl: Duration::from_millis(milliseconds(ttl).unsigned_abs()),
        };
        let began = Instant::now();
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(milliseconds(ttl).unsigned_abs()));
        let command = Cmd::set_options(lock.key(), &lock.token, options);
        match self.query(at, &command).await {
            Ok(Value::Nil) => return Err(Error::Locked { call: at.call() }),
            Ok(_) => {}
            Err(error) => {
                // It may be taken all the same.
                lock.release_later();
                return Err(error);
            }
        }
        let held_until = watch::Sender::new(Some(began + lock.ttl));
        let renewal = tokio::spawn(lock.clone().renew_on(held_until.clone()));
        Ok(Lock { lock, held_until: held_until.subscribe(), renewal, is_released: false })
    }
}

/// The guard of a lock; made by [`Redis::lock`]. It gives the lock back when it is dropped, and
/// [`Lock::release`] does so at once and tells how it went.
pub struct Lock {
    lock: Owned,
    /// Until when it is sure to be ours; `None` when it is lost.
    held_until: watch::Receiver<Option<Instant>>,
    renewal: JoinHandle<()>,
    is_released: bool,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("name", &self.lock.name).finish_non_exhaustive()
    }
}

impl Lock {
    /// Whether the lock is still the guard's, as far as is known without asking.
    pub fn is_held(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Returns when the lock is lost: somebody has removed or taken it, or it could not be renewed
    /// in time.
    pub async fn lost(&self) {
        // Without a sender it is not renewed any more.
        let _ = self.held_until.clone().wait_for(Option::is_none).await;
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// [`Error::LockLost`] where it was not the guard's any more, and stays as it is;
    /// [`Error::Lock`], or what any call can fail with: then it ends after its time.
    pub async fn release(mut self) -> Result<(), Error> {
        self.renewal.abort();
        self.is_released = true;
        self.lock.release().await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.is_released {
            self.lock.release_later();
        }
    }
}

/// What makes a lock somebody's.
#[derive(Clone)]
struct Owned {
    redis: Redis,
    name: String,
    token: String,
    ttl: Duration,
}

impl Owned {
    /// Apart from the keys that the user chooses.
    fn key(&self) -> String {
        self.redis.key(&format!("lock:{}", self.name))
    }

    async fn release(&self) -> Result<(), Error> {
        let at = At::new(Family::Lock, "release", &self.name);
        let mut call = RELEASE.key(self.key());
        call.arg(&self.token);
        match self.redis.invoke(at, &call).await? {
            true => Ok(()),
            false => Err(Error::LockLost { call: at.call() }),
        }
    }

    /// Where this is not possible any more, the lock ends after its time.
    fn release_later(&self) {
        if let Ok(runtime) = Handle::try_current() {
            let lock = self.clone();
            runtime.spawn(async move { lock.release().await });
        }
    }

    async fn renew(&self) -> Result<bool, Error> {
        let at = At::new(Family::Lock, "renew", &self.name);
        let mut call = RENEW.key(self.key());
        call.arg(&self.token).arg(milliseconds(self.ttl));
        self.redis.invoke(at, &call).await
    }

    /// Renews until the lock is lost.
    async fn renew_on(self, held_until: watch::Sender<Option<Instant>>) {
        let mut until = Instant::now() + self.ttl;
        if let Some(first) = *held_until.borrow() {
            until = first;
        }
        loop {
            sleep(self.ttl / 3).await;
            let began = Instant::now();
            // An answer that comes too late is none.
            match timeout_at(until, self.renew()).await {
                Ok(Ok(true)) => {
                    until = began + self.ttl;
                    held_until.send_replace(Some(until));
                }
                Ok(Err(_)) if Instant::now() < until => {}
                _ => {
                    held_until.send_replace(None);
                    return;
                }
            }
        }
    }
}
