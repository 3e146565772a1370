//! A drainer in a process of its own, for tests that kill it.
//!
//! It takes its settings from the environment, as a service would, and says `ready` once it
//! drains. It ends when its standard input does, after it has drained everything; and on SIGTERM,
//! after it has finished its batches and given its leases back.
//!
//! With `--die-at <failpoint> --after <n>` it kills itself by SIGKILL when it comes to that
//! failpoint for the n-th time, and says so right before.

use std::error::Error;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use kv_runtime::{Kv, Settings};
use kv_tests::models::Account;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--die-at", point, "--after", times] => die_at(point, times.parse()?)?,
        _ => return Err("usage: drain_process [--die-at <failpoint> --after <n>]".into()),
    }
    let kv = Kv::connect(Settings::from_env()?).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    let drainer = kv.drainer().model::<Account>().spawn();
    println!("ready");
    let input = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        read = input => read??,
        _ = terminated.recv() => {
            drainer.stop().await;
            // The runtime would wait for the standard input to end.
            std::process::exit(0);
        }
    };
    let status = drainer.shutdown().await?;
    println!("drained {} entries", status.entries_drained);
    Ok(())
}

/// Kills this process when a failpoint is reached for the n-th time.
fn die_at(point: &str, times: usize) -> Result<(), String> {
    let name = point.to_owned();
    let reached = AtomicUsize::new(0);
    fail::cfg_callback(point, move || {
        if reached.fetch_add(1, Ordering::SeqCst) + 1 != times {
            return;
        }
        println!("reached {name}");
        let process_id = std::process::id().to_string();
        // The signal comes before the command's end is seen; if it does not, this is no kill.
        let ended = Command::new("kill").args(["-9", &process_id]).status();
        eprintln!("not killed: {ended:?}");
        std::process::exit(1);
    })
}
