//! Large results, a page at a time.

use futures_util::stream::{self, Stream, TryStreamExt};

use super::{Page, Query};
use crate::error::Error;
use crate::model::KvModel;

impl<M: KvModel> Query<M> {
    /// The rows one after the other, of which `page_rows` are asked for at a time: for results that
    /// are too large to be had all at once.
    ///
    /// Each page sees every write that was acknowledged before it is asked for, so a row that changes
    /// meanwhile is as it is when its page comes; none is repeated and none skipped, as long as the
    /// fields that are ordered by stay as they are.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// use futures_util::TryStreamExt;
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, fare: i64 }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let bookings = Kv::memory().repository::<Booking>();
    /// # for id in 0..10 { bookings.create(&Booking { id, fare: 20 }).await?; }
    /// let mut rows = std::pin::pin!(bookings.query().filter(|b| b.fare.gt(10)).stream(3));
    /// let mut sum = 0;
    /// while let Some(booking) = rows.try_next().await? {
    ///     sum += booking.fare;
    /// }
    /// assert_eq!(sum, 200);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Each page has those of [`page`](Self::page); the stream ends with the first.
    pub fn stream(self, page_rows: u64) -> impl Stream<Item = Result<M, Error>> + Send + use<M> {
        let left = self.question.select.limit.unwrap_or(u64::MAX);
        let page_rows = page_rows.max(1);
        let pages = stream::try_unfold((Some(self), left), move |(query, left)| async move {
            let Some(query) = query.filter(|_| left > 0) else { return Ok(None) };
            let mut rest = Self::of(query.question.clone());
            let Page { rows, next } = query.limit(page_rows.min(left)).page().await?;
            let left = left - u64::try_from(rows.len()).unwrap_or(left).min(left);
            // What is left out in front is left out once.
            rest.question.select.offset = 0;
            // And what is waited for is drained once the first page is there.
            rest.question.receipts.clear();
            let rest = next.map(|cursor| rest.after(cursor));
            Ok::<_, Error>(Some((rows, (rest, left))))
        });
        pages.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten()
    }
}
