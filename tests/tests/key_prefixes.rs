//! Two models with one key prefix: whoever uses the second one is told, because in Redis the rows of
//! both would be the same.

use kv_runtime::schema::Schema;
use kv_runtime::{Error, Kv, KvModel};

mod shop {
    use super::KvModel;

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "shop_orders")]
    pub(super) struct Order {
        #[kv(id, fresh)]
        pub(super) id: i64,
    }
}

mod kitchen {
    use super::KvModel;

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "kitchen_orders")]
    pub(super) struct Order {
        #[kv(id, fresh)]
        pub(super) id: i64,
    }
}

#[tokio::test]
#[should_panic(
    expected = "models `Order` of table `shop_orders` and `Order` of table `kitchen_orders` have the \
                same key prefix `order`"
)]
async fn a_second_repository_is_refused() {
    let kv = Kv::memory();
    let _ = kv.repository::<shop::Order>().create(&shop::Order { id: 1 }).await;
    let _ = kv.repository::<kitchen::Order>();
}

#[tokio::test]
#[should_panic(expected = "have the same key prefix `order`")]
async fn it_is_refused_within_a_unit_of_work() {
    let kv = Kv::memory();
    let _ = kv.repository::<shop::Order>();
    let unit = kv.transaction(async |unit| {
        unit.repository::<kitchen::Order>().create(&kitchen::Order { id: 1 }).await
    });
    let _: Result<_, Error> = unit.await;
}

#[tokio::test]
#[should_panic(expected = "have the same key prefix `order`")]
async fn one_drainer_does_not_carry_both() {
    let _ = Kv::memory().drainer().model::<shop::Order>().model::<kitchen::Order>();
}

#[tokio::test]
#[should_panic(expected = "have the same key prefix `order`")]
async fn two_drainers_do_not_either() {
    let kv = Kv::memory();
    let _first = kv.drainer().model::<shop::Order>().spawn();
    let _second = kv.drainer().models(&Schema::new().model::<kitchen::Order>()).spawn();
}

#[tokio::test]
#[should_panic(expected = "have the same key prefix `order`")]
async fn a_drainer_of_tenants_is_told_when_it_is_spawned() {
    let kv = Kv::memory();
    let _ = kv.tenant("acme").expect("a name").repository::<shop::Order>();
    let _drainer = kv.drainer().model::<kitchen::Order>().all_tenants().spawn();
}

#[tokio::test]
#[should_panic(expected = "have the same key prefix `order`")]
async fn a_repository_of_a_tenant_is_told_of_its_drainer() {
    let kv = Kv::memory();
    let _drainer = kv.drainer().model::<shop::Order>().all_tenants().spawn();
    let _ = kv.tenant("acme").expect("a name").repository::<kitchen::Order>();
}

#[tokio::test]
async fn a_model_is_used_any_number_of_times_and_each_pair_has_its_own() {
    let kv = Kv::memory();
    for id in 0..2 {
        let _ =
            kv.repository::<shop::Order>().create(&shop::Order { id }).await.expect("a new row");
    }
    let schema = Schema::new().model::<shop::Order>();
    let drainer = kv.drainer().model::<shop::Order>().models(&schema).spawn();
    assert_eq!(drainer.shutdown().await.expect("everything is drained").entries_drained, 2);
    let other = Kv::memory().repository::<kitchen::Order>();
    assert!(!other.exists(&0).await.expect("an answer"));
}
