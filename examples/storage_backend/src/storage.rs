//! What business code sees of the storage: two traits, and who does what they say.

mod associations;
mod read;
mod write;

use async_trait::async_trait;
use kv_runtime::{Kv, Repository};

use crate::error::StorageError;
use crate::models::{
    Bsp, BspFile, Bucket, Deletion, File, FilePeerId, FileStep, Msp, Multiaddress, NewBsp,
    NewBucket, NewFile, NewMsp, NewPaymentStream, PaymentStream, PeerId, ServiceState, Terms,
};
use crate::page::{Listed, Page};
use crate::values::{Amount, Digest, OnchainId};

/// The reads. `get_…` answers an error where there is no row, `find_…` answers `None`.
///
/// Who has these alone cannot write:
///
/// ```compile_fail,E0599
/// # use std::sync::Arc;
/// # use kv_storage_backend::storage::ReadStorage;
/// async fn write(storage: Arc<dyn ReadStorage>) {
///     storage.set_last_indexed_block(7).await;
/// }
/// ```
#[async_trait]
pub trait ReadStorage: Send + Sync {
    /// What the service knows of itself, once it has come to a first block.
    async fn find_service_state(&self) -> Result<Option<ServiceState>, StorageError>;

    /// A BSP by its id.
    async fn get_bsp(&self, id: i64) -> Result<Bsp, StorageError>;

    /// A BSP by what the chain calls it.
    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, StorageError>;

    /// The BSPs, in the order of their ids.
    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, StorageError>;

    /// Where a BSP can be reached.
    async fn list_multiaddresses_of_bsp(
        &self,
        bsp_id: i64,
    ) -> Result<Vec<Multiaddress>, StorageError>;

    /// The files that a BSP has.
    async fn list_files_of_bsp(&self, bsp_id: i64, page: Page) -> Result<Vec<File>, StorageError>;

    /// An MSP by its id.
    async fn get_msp(&self, id: i64) -> Result<Msp, StorageError>;

    /// An MSP by what the chain calls it.
    async fn find_msp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Msp>, StorageError>;

    /// A bucket by its id.
    async fn get_bucket(&self, id: i64) -> Result<Bucket, StorageError>;

    /// A bucket by what the chain calls it.
    async fn find_bucket_by_onchain_id(
        &self,
        id: &OnchainId,
    ) -> Result<Option<Bucket>, StorageError>;

    /// A user's buckets that an MSP keeps, in the order of their ids.
    async fn list_buckets_of_user(
        &self,
        user_account: &str,
        msp_id: i64,
        page: Page,
    ) -> Result<Listed<Bucket>, StorageError>;

    /// A file by its id.
    async fn get_file(&self, id: i64) -> Result<File, StorageError>;

    /// A file by its key.
    async fn find_file_by_key(&self, key: &Digest) -> Result<Option<File>, StorageError>;

    /// The files of a bucket, in the order of their ids.
    async fn list_files_of_bucket(
        &self,
        bucket_id: i64,
        page: Page,
    ) -> Result<Vec<File>, StorageError>;

    /// Of the files with the same content, the one that was made first.
    async fn find_oldest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError>;

    /// Of the files with the same content, the one that was made last.
    async fn find_latest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError>;

    /// The peers that have brought a file.
    async fn list_peers_of_file(&self, file_id: i64) -> Result<Vec<PeerId>, StorageError>;

    /// A payment stream by its id.
    async fn get_payment_stream(&self, id: i64) -> Result<PaymentStream, StorageError>;

    /// The streams that a user pays by, in the order of their ids.
    async fn list_payment_streams(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<PaymentStream>, StorageError>;
}

/// The writes beside the reads.
#[async_trait]
pub trait WriteStorage: ReadStorage {
    /// Notes how far the service has come with the chain.
    async fn set_last_indexed_block(&self, block: i64) -> Result<(), StorageError>;

    /// Makes a BSP together with its addresses, or neither.
    async fn create_bsp(&self, new: NewBsp, addresses: &[Vec<u8>]) -> Result<Bsp, StorageError>;

    /// Changes how much a BSP can keep.
    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), StorageError>;

    /// Changes what a BSP has put up.
    async fn set_bsp_stake(&self, id: i64, stake: Amount) -> Result<(), StorageError>;

    /// Notes that a BSP has proven that it has its files.
    async fn set_bsp_proven(&self, id: i64, tick: i64, root: Digest) -> Result<(), StorageError>;

    /// Deletes a BSP together with its addresses; it may have no files.
    async fn delete_bsp(&self, id: i64) -> Result<(), StorageError>;

    /// Notes that a BSP has a file; said twice, it is noted once.
    async fn add_file_to_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError>;

    /// Notes that a BSP has a file no longer.
    async fn remove_file_from_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError>;

    /// Makes an MSP together with its addresses, or neither.
    async fn create_msp(&self, new: NewMsp, addresses: &[Vec<u8>]) -> Result<Msp, StorageError>;

    /// Makes a bucket.
    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, StorageError>;

    /// Gives a bucket to an MSP, or to none.
    async fn set_bucket_msp(&self, id: i64, msp_id: Option<i64>) -> Result<(), StorageError>;

    /// Deletes a bucket; it may have no files.
    async fn delete_bucket(&self, id: i64) -> Result<(), StorageError>;

    /// Makes a file together with the peers that bring it, or neither; then counts it in its
    /// bucket.
    async fn create_file(&self, new: NewFile, peers: &[Vec<u8>]) -> Result<File, StorageError>;

    /// Notes how far a file has come.
    async fn set_file_step(&self, id: i64, step: FileStep) -> Result<(), StorageError>;

    /// Notes why a file is to go, or that it stays.
    async fn set_file_deletion(
        &self,
        id: i64,
        deletion: Option<Deletion>,
    ) -> Result<(), StorageError>;

    /// Deletes a file together with its peers; then counts it no longer.
    async fn delete_file(&self, id: i64) -> Result<(), StorageError>;

    /// Makes a payment stream.
    async fn create_payment_stream(
        &self,
        new: NewPaymentStream,
    ) -> Result<PaymentStream, StorageError>;

    /// Changes what a stream pays for.
    async fn set_payment_terms(&self, id: i64, terms: Terms) -> Result<(), StorageError>;

    /// Adds a payment to what was paid by a stream, up to a tick.
    async fn charge(&self, id: i64, amount: &Amount, tick: i64) -> Result<(), StorageError>;
}

/// The storage on a pair of stores, whichever it is.
#[derive(Debug, Clone)]
pub struct KvStorage {
    kv: Kv,
    states: Repository<ServiceState>,
    multiaddresses: Repository<Multiaddress>,
    peer_ids: Repository<PeerId>,
    bsps: Repository<Bsp>,
    bsp_files: Repository<BspFile>,
    msps: Repository<Msp>,
    buckets: Repository<Bucket>,
    files: Repository<File>,
    file_peer_ids: Repository<FilePeerId>,
    streams: Repository<PaymentStream>,
}

impl KvStorage {
    /// The storage on this pair.
    pub fn new(kv: Kv) -> Self {
        Self {
            states: kv.repository(),
            multiaddresses: kv.repository(),
            peer_ids: kv.repository(),
            bsps: kv.repository(),
            bsp_files: kv.repository(),
            msps: kv.repository(),
            buckets: kv.repository(),
            files: kv.repository(),
            file_peer_ids: kv.repository(),
            streams: kv.repository(),
            kv,
        }
    }
}
