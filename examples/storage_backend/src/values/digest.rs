//! Hashes of contents.

use kv_runtime::KvValue;

/// The 32 bytes of a hash: a file's key, a fingerprint, the root of a Merkle tree. Stored as
/// `bytea`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, KvValue)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The root of a tree with nothing in it.
    pub const ZERO: Self = Self([0; 32]);
}
