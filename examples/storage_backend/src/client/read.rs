//! The reads: by an id out of the cache, and everything else with a limit.

use async_trait::async_trait;

use super::DBClient;
use crate::error::StorageError;
use crate::models::{Bsp, Bucket, File, Msp, Multiaddress, PaymentStream, PeerId, ServiceState};
use crate::page::{Listed, Page};
use crate::storage::ReadStorage;
use crate::values::{Digest, OnchainId};

#[async_trait]
impl ReadStorage for DBClient {
    async fn find_service_state(&self) -> Result<Option<ServiceState>, StorageError> {
        self.storage.find_service_state().await
    }

    async fn get_bsp(&self, id: i64) -> Result<Bsp, StorageError> {
        self.bsps.get_or_load(id, self.storage.get_bsp(id)).await
    }

    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, StorageError> {
        self.storage.find_bsp_by_onchain_id(id).await
    }

    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, StorageError> {
        self.storage.list_bsps(self.limited(page)).await
    }

    async fn list_multiaddresses_of_bsp(
        &self,
        bsp_id: i64,
    ) -> Result<Vec<Multiaddress>, StorageError> {
        self.storage.list_multiaddresses_of_bsp(bsp_id).await
    }

    async fn list_files_of_bsp(&self, bsp_id: i64, page: Page) -> Result<Vec<File>, StorageError> {
        self.storage.list_files_of_bsp(bsp_id, self.limited(page)).await
    }

    async fn get_msp(&self, id: i64) -> Result<Msp, StorageError> {
        self.msps.get_or_load(id, self.storage.get_msp(id)).await
    }

    async fn find_msp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Msp>, StorageError> {
        self.storage.find_msp_by_onchain_id(id).await
    }

    async fn get_bucket(&self, id: i64) -> Result<Bucket, StorageError> {
        self.buckets.get_or_load(id, self.storage.get_bucket(id)).await
    }

    async fn find_bucket_by_onchain_id(
        &self,
        id: &OnchainId,
    ) -> Result<Option<Bucket>, StorageError> {
        self.storage.find_bucket_by_onchain_id(id).await
    }

    async fn list_buckets_of_user(
        &self,
        user_account: &str,
        msp_id: i64,
        page: Page,
    ) -> Result<Listed<Bucket>, StorageError> {
        self.storage.list_buckets_of_user(user_account, msp_id, self.limited(page)).await
    }

    async fn get_file(&self, id: i64) -> Result<File, StorageError> {
        self.files.get_or_load(id, self.storage.get_file(id)).await
    }

    async fn find_file_by_key(&self, key: &Digest) -> Result<Option<File>, StorageError> {
        self.storage.find_file_by_key(key).await
    }

    async fn list_files_of_bucket(
        &self,
        bucket_id: i64,
        page: Page,
    ) -> Result<Vec<File>, StorageError> {
        self.storage.list_files_of_bucket(bucket_id, self.limited(page)).await
    }

    async fn find_oldest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError> {
        self.storage.find_oldest_file(fingerprint).await
    }

    async fn find_latest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError> {
        self.storage.find_latest_file(fingerprint).await
    }

    async fn list_peers_of_file(&self, file_id: i64) -> Result<Vec<PeerId>, StorageError> {
        self.storage.list_peers_of_file(file_id).await
    }

    async fn get_payment_stream(&self, id: i64) -> Result<PaymentStream, StorageError> {
        self.storage.get_payment_stream(id).await
    }

    async fn list_payment_streams(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<PaymentStream>, StorageError> {
        self.storage.list_payment_streams(user_account, self.limited(page)).await
    }
}
