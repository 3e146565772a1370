//! A drainer in a process of its own, for tests that kill or pause it.
//!
//! It takes its settings from the environment, as a service would, and says `ready` once it
//! drains. It ends when its standard input does, after it has drained everything; at SIGTERM it
//! stops.
//!
//! With `--switch <scheme>` it moves the queue to a storage scheme instead, and ends; it fails if the
//! switch does.
//!
//! With `--partitions <n>` it gives the queue so many partitions instead, in the same way.
//!
//! With `--all-tenants` it drains those.
//!
//! With `--at <failpoint> --after <n> --signal <signal>` it sends itself the signal when it comes
//! to that failpoint for the n-th time, and says so right before.

use std::error::Error;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use kv_runtime::{Kv, Settings, StorageScheme};
use kv_tests::models::Account;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const USAGE: &str = "usage: drain_process [--switch <scheme> | --partitions <n> | --all-tenants] \
                     [--at <failpoint> --after <n> --signal <signal>]";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (scheme, partitions, arguments) = match arguments.as_slice() {
        ["--switch", scheme, rest @ ..] => (Some(scheme.parse::<StorageScheme>()?), None, rest),
        ["--partitions", count, rest @ ..] => (None, Some(count.parse()?), rest),
        arguments => (None, None, arguments),
    };
    let (of_tenants, arguments) = match arguments {
        ["--all-tenants", rest @ ..] => (true, rest),
        arguments => (false, arguments),
    };
    match arguments {
        [] => {}
        ["--at", point, "--after", times, "--signal", signal] => {
            send_at(point, times.parse()?, (*signal).to_owned())?;
        }
        _ => return Err(USAGE.into()),
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let kv = Kv::connect(Settings::from_env()?).await?;
    if let Some(scheme) = scheme {
        return Ok(kv.switch_scheme::<Account>(scheme).await?);
    }
    if let Some(count) = partitions {
        return Ok(kv.change_partitions::<Account>(count).await?);
    }
    let drainer = kv.drainer().model::<Account>();
    let drainer = if of_tenants { drainer.all_tenants() } else { drainer }.spawn();
    println!("ready");
    tokio::select! {
        _ = terminate.recv() => drainer.stop().await,
        _ = end_of_input() => {
            let status = drainer.shutdown().await?;
            println!("drained {} entries", status.entries_drained);
        }
    }
    Ok(())
}

/// A thread of its own, because the runtime's end would wait for one of its own.
fn end_of_input() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        tell.send(())
    });
    told
}

/// Sends this process a signal when a failpoint is reached for the n-th time.
fn send_at(point: &str, times: usize, signal: String) -> Result<(), String> {
    let name = point.to_owned();
    let reached = AtomicUsize::new(0);
    fail::cfg_callback(point, move || {
        if reached.fetch_add(1, Ordering::SeqCst) + 1 != times {
            return;
        }
        println!("reached {name}");
        let process_id = std::process::id().to_string();
        // A signal that kills or pauses comes before the command's end is seen.
        let sent = Command::new("kill").args(["-s", &signal, &process_id]).status();
        if signal == "KILL" || !sent.is_ok_and(|sent| sent.success()) {
            eprintln!("{signal} was not sent");
            std::process::exit(1);
        }
    })
}
