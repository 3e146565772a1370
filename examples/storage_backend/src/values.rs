//! Types of fields that are more than what they are stored as.

mod amount;
mod digest;
mod onchain_id;

pub use amount::{Amount, InvalidAmount};
pub use digest::Digest;
pub use onchain_id::{InvalidOnchainId, OnchainId};
