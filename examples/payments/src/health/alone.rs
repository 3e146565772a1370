//! The health of the processors as this instance finds it, without Redis.

use futures_util::future::join_all;

use super::{POLL_INTERVAL, ask};
use crate::board::Board;
use crate::gateway::Gateway;
use crate::model::Processor;

/// Asks again and again.
pub(crate) async fn watch_alone(gateway: Gateway, board: Board) {
    let mut tick = tokio::time::interval(POLL_INTERVAL);
    loop {
        tick.tick().await;
        let reports = join_all(Processor::ALL.map(|processor| ask(&gateway, processor))).await;
        reports.into_iter().flatten().for_each(|report| board.learn(report));
    }
}
