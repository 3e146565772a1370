//! The writes. Where one changes a row, it says when.

use async_trait::async_trait;
use chrono::Utc;
use kv_runtime::Error;

use super::{KvStorage, WriteStorage};
use crate::error::StorageError;
use crate::models::{
    Bsp, BspFile, Bucket, Deletion, File, FileStep, Msp, NewBsp, NewBucket, NewFile, NewMsp,
    NewPaymentStream, PaymentStream, ServiceState, Terms,
};
use crate::values::{Amount, Digest};

#[async_trait]
impl WriteStorage for KvStorage {
    async fn set_last_indexed_block(&self, block: i64) -> Result<(), StorageError> {
        let unit = self.kv.transaction(async |unit| {
            let states = unit.repository::<ServiceState>();
            let Some(_) = states.find_by_id(&ServiceState::ID).await? else {
                return states.create(&ServiceState::at_block(block)).await;
            };
            let patch = ServiceState::patch().last_indexed_block(block).updated_at(Utc::now());
            states.update(&ServiceState::ID, patch).await
        });
        unit.await?;
        Ok(())
    }

    async fn create_bsp(&self, new: NewBsp, addresses: &[Vec<u8>]) -> Result<Bsp, StorageError> {
        Ok(self.bsp_with_addresses(new, addresses).await?)
    }

    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), StorageError> {
        self.bsps.update(&id, Bsp::patch().capacity(capacity).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn set_bsp_stake(&self, id: i64, stake: Amount) -> Result<(), StorageError> {
        self.bsps.update(&id, Bsp::patch().stake(stake).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn set_bsp_proven(&self, id: i64, tick: i64, root: Digest) -> Result<(), StorageError> {
        let patch = Bsp::patch().last_tick_proven(Some(tick)).merkle_root(root);
        self.bsps.update(&id, patch.updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn delete_bsp(&self, id: i64) -> Result<(), StorageError> {
        Ok(self.delete_bsp_with_addresses(id).await?)
    }

    async fn add_file_to_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError> {
        self.bsp_files.upsert(&BspFile { bsp_id, file_id }).await?;
        Ok(())
    }

    async fn remove_file_from_bsp(&self, bsp_id: i64, file_id: i64) -> Result<(), StorageError> {
        self.bsp_files.delete(&(bsp_id, file_id)).await?;
        Ok(())
    }

    async fn create_msp(&self, new: NewMsp, addresses: &[Vec<u8>]) -> Result<Msp, StorageError> {
        Ok(self.msp_with_addresses(new, addresses).await?)
    }

    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, StorageError> {
        Ok(self.buckets.create_new(new).await?.row)
    }

    async fn set_bucket_msp(&self, id: i64, msp_id: Option<i64>) -> Result<(), StorageError> {
        self.buckets.update(&id, Bucket::patch().msp_id(msp_id).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn delete_bucket(&self, id: i64) -> Result<(), StorageError> {
        self.buckets.delete(&id).await?;
        Ok(())
    }

    async fn create_file(&self, new: NewFile, peers: &[Vec<u8>]) -> Result<File, StorageError> {
        let file = self.file_with_peers(new, peers).await?;
        self.count_in_bucket(file.bucket_id, 1, file.size).await?;
        Ok(file)
    }

    async fn set_file_step(&self, id: i64, step: FileStep) -> Result<(), StorageError> {
        self.files.update(&id, File::patch().step(step).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn set_file_deletion(
        &self,
        id: i64,
        deletion: Option<Deletion>,
    ) -> Result<(), StorageError> {
        self.files.update(&id, File::patch().deletion(deletion).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn delete_file(&self, id: i64) -> Result<(), StorageError> {
        let file = self.files.get_by_id(&id).await?;
        self.delete_file_with_peers(id).await?;
        Ok(self.count_in_bucket(file.bucket_id, -1, -file.size).await?)
    }

    async fn create_payment_stream(
        &self,
        new: NewPaymentStream,
    ) -> Result<PaymentStream, StorageError> {
        Ok(self.streams.create_new(new).await?.row)
    }

    async fn set_payment_terms(&self, id: i64, terms: Terms) -> Result<(), StorageError> {
        self.streams.update(&id, PaymentStream::with_terms(terms).updated_at(Utc::now())).await?;
        Ok(())
    }

    async fn charge(&self, id: i64, amount: &Amount, tick: i64) -> Result<(), StorageError> {
        // Only integers are counted in Redis itself: of others, the unit of work is done anew
        // where somebody else was faster.
        let unit = self.kv.transaction(async |unit| {
            let streams = unit.repository::<PaymentStream>();
            let paid = streams.get_by_id(&id).await?.total_amount_paid;
            let patch = PaymentStream::patch()
                .total_amount_paid(paid.plus(amount)?)
                .charged_at_tick(Some(tick))
                .updated_at(Utc::now());
            streams.update(&id, patch).await?;
            Ok::<_, StorageError>(())
        });
        unit.await?;
        Ok(())
    }
}

impl KvStorage {
    /// Adds to both counters of a bucket, each exactly, whoever does so at the same time.
    async fn count_in_bucket(&self, id: i64, files: i64, bytes: i64) -> Result<(), Error> {
        self.buckets.increment(&id, |bucket| bucket.file_count, files).await?;
        self.buckets.increment(&id, |bucket| bucket.total_size, bytes).await?;
        Ok(())
    }
}
