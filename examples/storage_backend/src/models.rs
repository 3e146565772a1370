//! The rows of the backend: one struct each.
//!
//! What belongs together lies together: a provider and its associations share a queue and are in
//! the partition of the provider, a file and its peers in that of the file. So each of these can
//! be written as one unit of work.

mod bucket;
mod file;
mod network;
mod payment_stream;
mod provider;
mod service_state;

pub use bucket::*;
pub use file::*;
pub use network::*;
pub use payment_stream::*;
pub use provider::*;
pub use service_state::*;
