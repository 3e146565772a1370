//! Finding out how the processors are, by one instance for all or by each for itself.

mod alone;
mod shared;

use std::time::Duration;

use chrono::Utc;

pub(crate) use self::alone::watch_alone;
pub use self::shared::{SharedHealth, UPDATES};
use crate::board::Report;
use crate::gateway::{Gateway, HealthAnswer};
use crate::model::Processor;

/// A processor is asked at most so often. A little longer than it asks for, because a question may
/// take longer on its way than the next one.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5_300);

/// How a processor is; `None` where it could not say because it was asked too soon.
async fn ask(gateway: &Gateway, processor: Processor) -> Option<Report> {
    let timestamp = Utc::now();
    let (healthy, min_response_ms) = match gateway.health(processor).await {
        HealthAnswer::Told(health) => (!health.failing, health.min_response_time),
        HealthAnswer::Nothing => (false, 0),
        HealthAnswer::TooSoon => return None,
    };
    Some(Report { processor, healthy, min_response_ms, timestamp })
}
