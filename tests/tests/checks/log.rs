//! What a test's own thread logs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// One that logs nothing, for the threads of other tests.
///
/// Where there is a single subscriber, an event is on or off for good by what the thread has that
/// comes to it first, which may be none.
static SILENT: Once = Once::new();

/// The log of the thread that began it.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins it; it ends with what is answered beside it.
    pub(super) fn begin() -> (Self, impl Drop) {
        SILENT.call_once(|| tracing_subscriber::fmt().with_max_level(LevelFilter::OFF).init());
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
        let guard = subscriber.finish().set_default();
        (log, guard)
    }

    /// What was logged so far.
    pub(super) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
