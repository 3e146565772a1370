//! The writes: each has the rows that it changes forgotten.

use async_trait::async_trait;

use super::DBClient;
use crate::error::StorageError;
use crate::models::{
    Bsp, Bucket, Deletion, File, FileStep, Msp, NewBsp, NewBucket, NewFile, NewMsp,
    NewPaymentStream, PaymentStream, Terms,
};
use crate::storage::{ReadStorage, WriteStorage};
use crate::values::{Amount, Digest};

#[async_trait]
impl WriteStorage for DBClient {
    async fn set_last_indexed_block(&self, block: i64) -> Result<(), StorageError> {
        self.storage.set_last_indexed_block(block).await
    }

    async fn create_bsp(&self, new: NewBsp, addresses: &[Vec<u8>]) -> Result<Bsp, StorageError> {
        self.storage.create_bsp(new, addresses).await
    }

    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), StorageError> {
        let _written = self.bsps.written(id);
        self.storage.set_bsp_capacity(id, capacity).await
    }

    async fn set_bsp_stake(&self, id: i64, stake: Amount) -> Result<(), StorageError> {
        let _written = self.bsps.written(id);
        self.storage.set_bsp_stake(id, stake).await
    }

    async fn set_bsp_proven(&self, id: i64, tick: i64, root: Digest) -> Result<(), StorageError> {
        let _written = self.bsps.written(id);
        self.storage.set_bsp_proven(id, tick, root).await
    }

    async fn delete_bsp(&self, id: i64) -> Result<(), StorageError> {
        let _written = self.bsps.written(id);
        self.storage.delete_bsp(id).await
    }

    async fn add_file_to_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError> {
        self.storage.add_file_to_bsp(bsp_id, file_id).await
    }

    async fn remove_file_from_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError> {
        self.storage.remove_file_from_bsp(bsp_id, file_id).await
    }

    async fn create_msp(&self, new: NewMsp, addresses: &[Vec<u8>]) -> Result<Msp, StorageError> {
        self.storage.create_msp(new, addresses).await
    }

    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, StorageError> {
        self.storage.create_bucket(new).await
    }

    async fn set_bucket_msp(&self, id: i64, msp_id: Option<i64>) -> Result<(), StorageError> {
        let _written = self.buckets.written(id);
        self.storage.set_bucket_msp(id, msp_id).await
    }

    async fn delete_bucket(&self, id: i64) -> Result<(), StorageError> {
        let _written = self.buckets.written(id);
        self.storage.delete_bucket(id).await
    }

    async fn create_file(&self, new: NewFile, peers: &[Vec<u8>]) -> Result<File, StorageError> {
        let _counted = self.buckets.written(new.bucket_id);
        self.storage.create_file(new, peers).await
    }

    async fn set_file_step(&self, id: i64, step: FileStep) -> Result<(), StorageError> {
        let _written = self.files.written(id);
        self.storage.set_file_step(id, step).await
    }

    async fn set_file_deletion(
        &self,
        id: i64,
        deletion: Option<Deletion>,
    ) -> Result<(), StorageError> {
        let _written = self.files.written(id);
        self.storage.set_file_deletion(id, deletion).await
    }

    async fn delete_file(&self, id: i64) -> Result<(), StorageError> {
        let bucket_id = self.get_file(id).await?.bucket_id;
        let _written = self.files.written(id);
        let _counted = self.buckets.written(bucket_id);
        self.storage.delete_file(id).await
    }

    async fn create_payment_stream(
        &self,
        new: NewPaymentStream,
    ) -> Result<PaymentStream, StorageError> {
        self.storage.create_payment_stream(new).await
    }

    async fn set_payment_terms(&self, id: i64, terms: Terms) -> Result<(), StorageError> {
        self.storage.set_payment_terms(id, terms).await
    }

    async fn charge(&self, id: i64, amount: &Amount, tick: i64) -> Result<(), StorageError> {
        self.storage.charge(id, amount, tick).await
    }
}
