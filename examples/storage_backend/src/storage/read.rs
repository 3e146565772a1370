//! The reads: mostly what the derive has written.

use async_trait::async_trait;

use super::{KvStorage, ReadStorage};
use crate::error::StorageError;
use crate::models::{
    Bsp, BspMultiaddress, Bucket, File, Msp, Multiaddress, PaymentStream, PeerId, ServiceState,
};
use crate::page::{Listed, Page};
use crate::values::{Digest, OnchainId};

#[async_trait]
impl ReadStorage for KvStorage {
    async fn find_service_state(&self) -> Result<Option<ServiceState>, StorageError> {
        Ok(self.states.find_by_id(&ServiceState::ID).await?)
    }

    async fn get_bsp(&self, id: i64) -> Result<Bsp, StorageError> {
        Ok(self.bsps.get_by_id(&id).await?)
    }

    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, StorageError> {
        Ok(self.bsps.find_by_onchain_bsp_id(id).await?)
    }

    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, StorageError> {
        Ok(page.of(self.bsps.query()).load().await?)
    }

    async fn list_multiaddresses_of_bsp(
        &self,
        bsp_id: i64,
    ) -> Result<Vec<Multiaddress>, StorageError> {
        let links = self.kv.repository::<BspMultiaddress>().query();
        let links = links.filter(|link| link.bsp_id.eq(bsp_id)).load().await?;
        let ids: Vec<i64> = links.iter().map(|link| link.multiaddress_id).collect();
        Ok(self.multiaddresses.get_many(&ids).await?.into_iter().flatten().collect())
    }

    async fn list_files_of_bsp(&self, bsp_id: i64, page: Page) -> Result<Vec<File>, StorageError> {
        let links = self.bsp_files.query().filter(|link| link.bsp_id.eq(bsp_id));
        let ids: Vec<i64> = page.of(links).load().await?.iter().map(|link| link.file_id).collect();
        Ok(self.files.get_many(&ids).await?.into_iter().flatten().collect())
    }

    async fn get_msp(&self, id: i64) -> Result<Msp, StorageError> {
        Ok(self.msps.get_by_id(&id).await?)
    }

    async fn find_msp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Msp>, StorageError> {
        Ok(self.msps.find_by_onchain_msp_id(id).await?)
    }

    async fn get_bucket(&self, id: i64) -> Result<Bucket, StorageError> {
        Ok(self.buckets.get_by_id(&id).await?)
    }

    async fn find_bucket_by_onchain_id(
        &self,
        id: &OnchainId,
    ) -> Result<Option<Bucket>, StorageError> {
        Ok(self.buckets.find_by_onchain_bucket_id(id).await?)
    }

    async fn list_buckets_of_user(
        &self,
        user_account: &str,
        msp_id: i64,
        page: Page,
    ) -> Result<Listed<Bucket>, StorageError> {
        let found = self.buckets.list_by_user_account_and_msp_id(user_account, msp_id);
        let total = found.clone().count().await?;
        Ok(Listed { rows: page.of(found).load().await?, total })
    }

    async fn get_file(&self, id: i64) -> Result<File, StorageError> {
        Ok(self.files.get_by_id(&id).await?)
    }

    async fn find_file_by_key(&self, key: &Digest) -> Result<Option<File>, StorageError> {
        Ok(self.files.find_by_file_key(key).await?)
    }

    async fn list_files_of_bucket(
        &self,
        bucket_id: i64,
        page: Page,
    ) -> Result<Vec<File>, StorageError> {
        Ok(page.of(self.files.list_by_bucket_id(bucket_id)).load().await?)
    }

    async fn find_oldest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError> {
        // Not by the id alone: each process has a block of these.
        let files = self.files.list_by_fingerprint(fingerprint);
        let files = files.order_by(|file| file.created_at.asc()).order_by(|file| file.id.asc());
        Ok(files.first().await?)
    }

    async fn find_latest_file(&self, fingerprint: &Digest) -> Result<Option<File>, StorageError> {
        let files = self.files.list_by_fingerprint(fingerprint);
        let files = files.order_by(|file| file.created_at.desc()).order_by(|file| file.id.desc());
        Ok(files.first().await?)
    }

    async fn list_peers_of_file(&self, file_id: i64) -> Result<Vec<PeerId>, StorageError> {
        let links = self.file_peer_ids.query().filter(|link| link.file_id.eq(file_id));
        let ids: Vec<i64> = links.load().await?.iter().map(|link| link.peer_id).collect();
        Ok(self.peer_ids.get_many(&ids).await?.into_iter().flatten().collect())
    }

    async fn get_payment_stream(&self, id: i64) -> Result<PaymentStream, StorageError> {
        Ok(self.streams.get_by_id(&id).await?)
    }

    async fn list_payment_streams(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<PaymentStream>, StorageError> {
        Ok(page.of(self.streams.list_by_user_account(user_account)).load().await?)
    }
}
