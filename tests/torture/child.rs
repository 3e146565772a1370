//! What writers and drainers share: they are told to end by the end of their standard input, and
//! take their settings from the environment, as a service would.

use std::io::Read;
use std::time::Duration;

use kv_runtime::{Kv, Settings};
use tokio::sync::watch;

use crate::Failure;
use crate::models::{Account, Parcel, Seat};

const CONNECT_INTERVAL: Duration = Duration::from_millis(50);

/// Tells when this process is to end.
#[derive(Debug, Clone)]
pub(crate) struct End(watch::Receiver<bool>);

impl End {
    pub(crate) fn of_input() -> Self {
        let (ended, receiver) = watch::channel(false);
        // A thread, as a runtime would wait for a read at its own end.
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            ended.send_replace(true);
        });
        Self(receiver)
    }

    pub(crate) fn is_here(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&mut self) {
        // A sender that is gone has sent.
        let _ = self.0.wait_for(|is_here| *is_here).await;
    }
}

/// The servers may be down when a process starts; `None` where it is told to end meanwhile.
pub(crate) async fn connect(end: &mut End) -> Result<Option<Kv>, Failure> {
    let settings = settings()?;
    loop {
        match Kv::connect(settings.clone()).await {
            Ok(kv) => return Ok(Some(kv)),
            Err(error) => eprintln!("not connected yet: {error}"),
        }
        tokio::select! {
            () = end.wait() => return Ok(None),
            () = tokio::time::sleep(CONNECT_INTERVAL) => {}
        }
    }
}

/// Quick where a fault would otherwise keep the run waiting, so that more faults fit in.
fn settings() -> Result<Settings, Failure> {
    let mut settings = Settings::from_env()?;
    settings.row_ttl = Duration::from_secs(3);
    settings.drain.interval = Duration::from_millis(20);
    settings.drain.retention = Duration::from_secs(2);
    settings.drain.backoff_max = Duration::from_millis(500);
    Ok(settings)
}

/// Drains until it is told to end, and then what is left.
pub(crate) async fn drain() -> Result<(), Failure> {
    let mut end = End::of_input();
    let Some(kv) = connect(&mut end).await? else { return Ok(()) };
    let drainer = kv.drainer().model::<Account>().model::<Seat>().model::<Parcel>().spawn();
    end.wait().await;
    drainer.shutdown().await?;
    Ok(())
}
