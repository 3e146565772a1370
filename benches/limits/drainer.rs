//! The drainer as a process of its own, which is this program again.

use std::process::Stdio;

use kv_runtime::{Kv, Settings};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::Outcome;
use crate::ride::Ride;

/// Says that the program is to be a drainer; its settings are in the environment.
const ASKED_FOR: &str = "KV_BENCH_DRAINER";

pub(crate) fn is_asked_for() -> bool {
    std::env::var_os(ASKED_FOR).is_some()
}

/// Drains until its input ends, and says then what it has done.
pub(crate) fn run() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let kv = Kv::connect(Settings::from_env()?).await?;
        let drainer = kv.drainer().model::<Ride>().spawn();
        // Ends with whoever started it, too.
        tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        let status = drainer.shutdown().await?;
        println!("{} {}", status.entries_drained, status.rows_written);
        Ok(())
    })
}

/// A drainer that runs.
pub(crate) struct Drainer {
    child: Child,
}

/// What a drainer has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) entries: u64,
    pub(crate) rows: u64,
}

impl Drainer {
    /// Starts one with the settings that these variables name.
    pub(crate) fn start(variables: &[(&str, String)]) -> Outcome<Self> {
        let child = Command::new(std::env::current_exe()?)
            .env(ASKED_FOR, "1")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> Outcome<u32> {
        self.child.id().ok_or_else(|| "the drainer has ended".into())
    }

    /// Has it drain all there is and end.
    pub(crate) async fn finish(mut self) -> Outcome<Done> {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().await?;
        let text = String::from_utf8(output.stdout)?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut number = || numbers.next().ok_or("the drainer failed, see above");
        Ok(Done { entries: number()??, rows: number()?? })
    }
}
