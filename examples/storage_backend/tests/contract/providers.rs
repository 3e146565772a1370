//! Providers, their addresses and their files.

use kv_storage_backend::models::{Bsp, BspFile};
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use kv_storage_backend::values::Amount;
use kv_storage_backend::{Page, StorageError};

use super::backend::Backend;
use super::samples::{a_bucket, digest, new_bsp, new_file, new_msp, onchain_id};
use crate::contract;

contract!(
    a_bsp_comes_with_its_addresses_or_not_at_all,
    a_bsp_of_a_file_that_is_absent_is_not_made,
    providers_are_found_by_what_the_chain_calls_them,
    columns_are_changed_by_themselves,
    a_file_of_a_bsp_is_noted_once,
    a_bsp_with_files_is_not_deleted,
    a_bsp_goes_with_its_addresses,
);

async fn a_bsp_comes_with_its_addresses_or_not_at_all(backend: Backend) {
    let addresses = [b"/ip4/10.0.0.1".to_vec(), vec![0, 0xff], b"/ip4/10.0.0.1".to_vec()];
    let first = backend.db.create_bsp(new_bsp(1), &addresses[..2]).await.expect("a new row");
    let second = backend.db.create_bsp(new_bsp(2), &addresses[2..]).await.expect("a new row");
    let error = backend.db.create_bsp(new_bsp(1), &addresses).await.expect_err("a second one");
    assert!(error.is_duplicate(), "{error}");
    for is_drained in [false, true] {
        if is_drained {
            backend.drained().await;
        }
        let mut of_first = backend.db.list_multiaddresses_of_bsp(first.id).await.expect("rows");
        of_first.sort_by_key(|row| row.id);
        let found: Vec<&[u8]> = of_first.iter().map(|row| &*row.address).collect();
        assert_eq!(found, [&addresses[0], &addresses[1]], "{is_drained}");
        let of_second = backend.db.list_multiaddresses_of_bsp(second.id).await.expect("rows");
        assert_eq!(of_second, of_first[..1], "one address, whoever has it");
        let bsps = backend.db.list_bsps(Page::default()).await.expect("rows");
        assert_eq!(bsps, [first.clone(), second.clone()], "and no third one");
    }
}

async fn a_bsp_of_a_file_that_is_absent_is_not_made(backend: Backend) {
    let bsp = backend.kv.repository::<Bsp>().new_row(new_bsp(1)).await.expect("an id");
    let link = BspFile { bsp_id: bsp.id, file_id: 99 };
    let made = backend.kv.transaction(async |unit| {
        unit.repository::<Bsp>().create(&bsp).await?;
        unit.repository::<BspFile>().create(&link).await?;
        Ok::<_, StorageError>(())
    });
    let made = made.await;
    assert!(backend.is_refused(made).await);
    assert_eq!(backend.kv.durable_rows::<Bsp>().await.expect("the rows"), []);
    assert_eq!(backend.kv.durable_rows::<BspFile>().await.expect("the rows"), []);
}

async fn providers_are_found_by_what_the_chain_calls_them(backend: Backend) {
    let bsp = backend.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    let msp = backend.db.create_msp(new_msp(1), &[b"/dns/a".to_vec()]).await.expect("a new row");
    assert!(bsp.id > 0 && msp.id > 0);
    let found = backend.db.find_bsp_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    assert_eq!(found, Some(bsp));
    let found = backend.db.find_msp_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    assert_eq!(found.as_ref(), Some(&msp));
    assert_eq!(backend.db.get_msp(msp.id).await.expect("the row"), msp);
    assert_eq!(backend.db.find_bsp_by_onchain_id(&onchain_id(2)).await.expect("an answer"), None);
    assert!(backend.db.get_bsp(99).await.expect_err("no row").is_not_found());
    backend.drained().await;
}

async fn columns_are_changed_by_themselves(backend: Backend) {
    let bsp = backend.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    let capacity = Amount::from(7);
    backend.db.set_bsp_capacity(bsp.id, capacity.clone()).await.expect("a row");
    let changed = backend.db.get_bsp(bsp.id).await.expect("the row");
    assert!(changed.updated_at > bsp.updated_at);
    assert_eq!((&changed.capacity, &changed.stake), (&capacity, &bsp.stake));
    backend.db.set_bsp_stake(bsp.id, Amount::from(8)).await.expect("a row");
    backend.db.set_bsp_proven(bsp.id, 12, digest(3)).await.expect("a row");
    backend.drained().await;
    let changed = backend.db.get_bsp(bsp.id).await.expect("the row");
    assert_eq!((changed.capacity, changed.stake), (capacity, Amount::from(8)));
    assert_eq!((changed.last_tick_proven, changed.merkle_root), (Some(12), digest(3)));
    assert_eq!(changed.created_at, bsp.created_at);
    let error = backend.db.set_bsp_stake(99, Amount::from(8)).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
}

async fn a_file_of_a_bsp_is_noted_once(backend: Backend) {
    let db = &backend.db;
    let bsp = db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    let bucket = a_bucket(&**db).await;
    let mut files = Vec::new();
    for number in 1..=3 {
        let file = db.create_file(new_file(number, bucket.id), &[]).await.expect("a new row");
        for _ in 0..2 {
            db.add_file_to_bsp(bsp.id, file.id).await.expect("noted");
        }
        files.push(file);
    }
    let noted = async |page| db.list_files_of_bsp(bsp.id, page).await.expect("rows");
    assert_eq!(noted(Page::default()).await, files);
    backend.drained().await;
    assert_eq!(noted(Page::new(1, 1)).await, files[1..2]);
    db.remove_file_from_bsp(bsp.id, files[1].id).await.expect("it was noted");
    let error = db.remove_file_from_bsp(bsp.id, files[1].id).await.expect_err("no longer");
    assert!(error.is_not_found(), "{error}");
    assert_eq!(noted(Page::default()).await, [files[0].clone(), files[2].clone()]);
}

async fn a_bsp_with_files_is_not_deleted(backend: Backend) {
    let bsp = backend.db.create_bsp(new_bsp(1), &[b"/dns/a".to_vec()]).await.expect("a new row");
    let bucket = a_bucket(&*backend.db).await;
    let file = backend.db.create_file(new_file(1, bucket.id), &[]).await.expect("a new row");
    backend.db.add_file_to_bsp(bsp.id, file.id).await.expect("noted");
    backend.drained().await;
    let deleted = backend.db.delete_bsp(bsp.id).await;
    assert!(backend.is_refused(deleted).await);
}

async fn a_bsp_goes_with_its_addresses(backend: Backend) {
    let addresses = [b"/dns/a".to_vec(), b"/dns/b".to_vec()];
    let bsp = backend.db.create_bsp(new_bsp(1), &addresses).await.expect("a new row");
    backend.db.delete_bsp(bsp.id).await.expect("a row");
    assert!(backend.db.get_bsp(bsp.id).await.expect_err("no row").is_not_found());
    backend.drained().await;
    assert_eq!(backend.db.list_multiaddresses_of_bsp(bsp.id).await.expect("no rows"), []);
    assert!(backend.db.delete_bsp(bsp.id).await.expect_err("no row").is_not_found());
    // The chain may have it register again.
    let again = backend.db.create_bsp(new_bsp(1), &addresses).await.expect("a new row");
    assert_ne!(again.id, bsp.id);
    backend.drained().await;
}
