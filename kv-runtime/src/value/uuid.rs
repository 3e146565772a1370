//! `uuid::Uuid`.

use uuid::Uuid;

use super::{IsNull, KvElement, KvValue, ValueError, required};
use crate::model::ColumnType;

/// A new UUID, for an id that the client makes: of version 7, so that ids are in the order of the
/// time, as indexes like it.
///
/// ```
/// # use kv_runtime::{Error, Kv, KvModel, new_uuid};
/// # use uuid::Uuid;
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// struct Booking {
///     #[kv(id, default = new_uuid())]
///     id: Uuid,
///     reference: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let bookings = Kv::memory().repository::<Booking>();
/// let new = NewBooking { reference: "AB-12".into() };
/// let first = bookings.create_new(new.clone()).await?.row;
/// let second = bookings.create_new(new).await?.row;
/// assert!(first.id < second.id);
/// # Ok(())
/// # }
/// ```
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

impl KvValue for Uuid {
    const TYPE: ColumnType = ColumnType::Uuid;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        let mut buffer = Uuid::encode_buffer();
        out.push_str(self.hyphenated().encode_lower(&mut buffer));
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        Uuid::try_parse(required(text)?).map_err(|_| ValueError::Invalid { expected: "UUID" })
    }
}

impl KvElement for Uuid {}
