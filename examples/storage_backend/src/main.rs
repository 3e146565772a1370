//! A short story of the storage, on what `STORAGE_MODE` names: see `Config::from_env`.
//!
//! ```sh
//! STORAGE_MODE=memory cargo run -p kv-storage-backend
//! ```

use std::error::Error;
use std::process::ExitCode;

use kv_storage_backend::models::{NewBsp, NewBucket, NewFile, NewMsp};
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use kv_storage_backend::values::{Amount, Digest, OnchainId};
use kv_storage_backend::{Config, Page, Services};

#[tokio::main]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<(), Box<dyn Error>> {
    let services = Services::new(Config::from_env()?).await?;
    let db = &services.db;
    let msp = db.create_msp(new_msp(), &[b"/dns/msp.example/tcp/30333".to_vec()]).await?;
    let bsp = db.create_bsp(new_bsp(), &[b"/dns/bsp.example/tcp/30333".to_vec()]).await?;
    println!("MSP {} and BSP {} have registered", msp.id, bsp.id);

    let user_account = format!("user-{:08x}", fastrand::u32(..));
    let bucket = db.create_bucket(new_bucket(&user_account, msp.id)).await?;
    for name in ["one.jpg", "two.jpg", "three.jpg"] {
        let peers = [b"a peer of the network".to_vec()];
        let file = db.create_file(new_file(bucket.id, name), &peers).await?;
        db.add_file_to_bsp(bsp.id, file.id).await?;
    }
    let bucket = db.get_bucket(bucket.id).await?;
    println!("{user_account} keeps {} files, {} bytes", bucket.file_count, bucket.total_size);

    services.flush().await?;
    for file in services.reports.list_files_of_user(&user_account, Page::default()).await? {
        let location = String::from_utf8_lossy(&file.location);
        println!("  {}/{location}", String::from_utf8_lossy(&file.bucket_name));
    }
    let status = services.shutdown().await?;
    println!("{} entries are drained, {} refused", status.entries_drained, status.dead_letters);
    Ok(())
}

fn new_msp() -> NewMsp {
    NewMsp {
        onchain_msp_id: OnchainId(random()),
        account: "msp".to_owned(),
        capacity: Amount::from(1 << 50),
        value_prop: "near to you".to_owned(),
    }
}

fn new_bsp() -> NewBsp {
    NewBsp {
        onchain_bsp_id: OnchainId(random()),
        account: "bsp".to_owned(),
        capacity: Amount::from(1 << 40),
        stake: Amount::from(1_000_000_000_000_000_000),
    }
}

fn new_bucket(user_account: &str, msp_id: i64) -> NewBucket {
    NewBucket {
        onchain_bucket_id: OnchainId(random()),
        user_account: user_account.to_owned(),
        msp_id: Some(msp_id),
        name: b"pictures".to_vec(),
        collection_id: None,
        private: true,
    }
}

fn new_file(bucket_id: i64, name: &str) -> NewFile {
    NewFile {
        file_key: Digest(random()),
        bucket_id,
        location: name.as_bytes().to_vec(),
        fingerprint: Digest(random()),
        size: 1_000,
    }
}

/// As the chain's hashes are.
fn random() -> [u8; 32] {
    std::array::from_fn(|_| fastrand::u8(..))
}

/// An error with those that it came of.
fn with_sources(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message.push_str(&format!(": {error}"));
        source = error.source();
    }
    message
}
