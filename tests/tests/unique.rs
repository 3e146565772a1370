//! Unique values: one row has each, wherever that row is; and rows are found by them.

use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{DeadLetterFilter, Error, KvModel, Repository, Settings};
use kv_tests::contract;
use kv_tests::models::Member;
use kv_tests::outside::RedisView;
use kv_tests::pair::{After, Pair};
use rust_decimal::Decimal;
use tokio::task::JoinSet;

contract!(
    under direct schemes:
    a_value_belongs_to_one_row,
    a_row_is_found_by_its_values_wherever_it_is,
    a_row_that_has_to_be_there_is_got_by_its_values,
    a_deleted_rows_value_is_free,
    a_change_moves_the_value,
    a_row_is_got_or_created,
    a_row_is_upserted_by_a_value,
);

mod queued {
    use super::*;

    contract!(
        a_part_of_a_value_is_changed_with_the_rest_of_the_row,
        null_belongs_to_nobody,
        equal_numbers_are_one_value,
        a_refused_create_frees_its_values,
        many_rows_are_created_or_refused_one_by_one,
        many_values_are_looked_up_at_once,
        a_row_that_was_got_or_created_has_its_version,
        rows_are_listed_by_an_index,
    );
}

mod racing {
    use super::*;

    contract!(in parallel: of_many_at_once_one_has_the_value);
}

async fn create(members: &Repository<Member>, row: &Member) {
    let _ = members.create(row).await.expect("a new row");
}

fn is_clash(error: &Error, name: &str) -> bool {
    matches!(error, Error::NotUnique { fields, .. } if *fields == name)
}

async fn a_value_belongs_to_one_row(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    for (at, after) in After::ALL.into_iter().enumerate() {
        let first = i64::try_from(at).expect("few") * 10;
        let badge = format!("B{at}");
        create(&members, &Member::with_badge(first, &badge)).await;
        pair.bring(&members, &[first], after).await;
        let error =
            members.create(&Member::with_badge(first + 1, &badge)).await.expect_err("it is taken");
        assert!(is_clash(&error, "badge") && error.is_duplicate(), "{after:?}: {error:?}");
        let same_mail = Member { email: format!("{first}@a.b"), ..Member::sample(first + 1) };
        let error = members.create(&same_mail).await.expect_err("it is taken");
        assert!(is_clash(&error, "tenant_id_and_email"), "{after:?}: {error:?}");
        assert!(error.to_string().contains("`tenant_id_and_email`"), "{error}");
        // Nothing is left of what was refused; and with another part it is another value.
        assert_eq!(members.find_by_id(&(first + 1)).await.expect("an answer"), None);
        create(&members, &Member { tenant_id: 2, ..same_mail }).await;
        create(&members, &Member::sample(first + 2)).await;
        let patch = Member::patch().badge(Some(badge.clone()));
        let error = members.update(&(first + 2), patch).await.expect_err("it is taken");
        assert!(is_clash(&error, "badge"), "{after:?}: {error:?}");
        // Its own it may have again.
        let patch = Member::patch().badge(Some(badge));
        let _ = members.update(&first, patch).await.expect("its own");
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn a_row_is_found_by_its_values_wherever_it_is(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    assert_eq!(members.find_by_badge("A").await.expect("an answer"), None);
    let row = Member::with_badge(1, "A");
    create(&members, &row).await;
    for after in After::ALL {
        pair.bring(&members, &[1], after).await;
        for _ in 0..2 {
            assert_eq!(members.find_by_badge("A").await.expect("a row"), Some(row.clone()));
        }
        let found = members.find_by_tenant_id_and_email(1, &row.email).await.expect("a row");
        assert_eq!(found, Some(row.clone()), "{after:?}");
        assert_eq!(members.find_by_badge("B").await.expect("an answer"), None);
    }
}

async fn a_row_that_has_to_be_there_is_got_by_its_values(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    let row = Member::with_badge(1, "A");
    create(&members, &row).await;
    for after in After::ALL {
        pair.bring(&members, &[1], after).await;
        assert_eq!(members.get_by_badge("A").await.expect("a row"), row, "{after:?}");
        let got = members.get_by_tenant_id_and_email(1, &row.email).await.expect("a row");
        assert_eq!(got, row, "{after:?}");
        let error = members.get_by_tenant_id_and_email(2, &row.email).await.expect_err("no row");
        assert!(
            matches!(error, Error::NotFoundBy { fields: "tenant_id_and_email", .. }),
            "{error:?}"
        );
        let error = members.get_by_badge("secret").await.expect_err("no row");
        assert!(error.is_not_found(), "{error:?}");
        assert_eq!(error.to_string(), "Member.get_by: there is no row with this `badge`");
    }
}

async fn a_deleted_rows_value_is_free(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    for (at, after) in After::ALL.into_iter().enumerate() {
        let first = i64::try_from(at).expect("few") * 10;
        create(&members, &Member::with_badge(first, "A")).await;
        pair.bring(&members, &[first], after).await;
        let _ = members.delete(&first).await.expect("a row");
        assert_eq!(members.find_by_badge("A").await.expect("an answer"), None, "{after:?}");
        create(&members, &Member::with_badge(first + 1, "A")).await;
        let found = members.find_by_badge("A").await.expect("an answer").expect("a row");
        assert_eq!(found.id, first + 1);
        let _ = members.delete(&(first + 1)).await.expect("a row");
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
    assert!(pair.kv.durable_rows::<Member>().await.expect("the rows").is_empty());
}

async fn a_change_moves_the_value(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::with_badge(1, "A")).await;
    for after in After::ALL {
        pair.bring(&members, &[1], after).await;
        let _ = members.update(&1, Member::patch().badge("B")).await.expect("a row");
        assert_eq!(members.find_by_badge("A").await.expect("an answer"), None, "{after:?}");
        let found = members.find_by_badge("B").await.expect("an answer").expect("a row");
        assert_eq!(found.id, 1);
        pair.bring(&members, &[1], after).await;
        let upserted = Member::with_badge(1, "A");
        let _ = members.upsert(&upserted).await.expect("a row");
        assert_eq!(members.find_by_badge("B").await.expect("an answer"), None, "{after:?}");
        assert_eq!(members.find_by_badge("A").await.expect("an answer"), Some(upserted));
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn a_part_of_a_value_is_changed_with_the_rest_of_the_row(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::sample(1)).await;
    create(&members, &Member { tenant_id: 2, email: "1@a.b".into(), ..Member::sample(2) }).await;
    for after in After::ALL {
        pair.bring(&members, &[1, 2], after).await;
        let error = members.update(&1, Member::patch().tenant_id(2)).await.expect_err("taken");
        assert!(is_clash(&error, "tenant_id_and_email"), "{after:?}: {error:?}");
    }
    let _ = members.update(&1, Member::patch().tenant_id(3)).await.expect("it is free");
    let found = members.find_by_tenant_id_and_email(3, "1@a.b").await.expect("an answer");
    assert_eq!(found.map(|row| row.id), Some(1));
    let _ = members.update(&2, Member::patch().tenant_id(1)).await.expect("it is free now");
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn null_belongs_to_nobody(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::with_badge(1, "A")).await;
    create(&members, &Member::sample(2)).await;
    let _ = members.update(&1, Member::patch().badge(None)).await.expect("a row");
    assert_eq!(members.find_by_badge("A").await.expect("an answer"), None);
    create(&members, &Member::with_badge(3, "A")).await;
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn equal_numbers_are_one_value(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member { code: Some(Decimal::new(1_250, 2)), ..Member::sample(1) }).await;
    for after in After::ALL {
        pair.bring(&members, &[1], after).await;
        let same = Member { code: Some(Decimal::new(125, 1)), ..Member::sample(2) };
        let error = members.create(&same).await.expect_err("12.5 is 12.50");
        assert!(is_clash(&error, "code"), "{after:?}: {error:?}");
        let found = members.find_by_code(Decimal::new(12_500, 3)).await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(1), "{after:?}");
    }
}

/// By its id, after it had taken its value; and by PostgreSQL, once its dead letter is discarded.
async fn a_refused_create_frees_its_values(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::sample(1)).await;
    let error = members.create(&Member::with_badge(1, "A")).await.expect_err("the id is there");
    assert!(matches!(error, Error::Duplicate { .. }), "{error:?}");
    create(&members, &Member::with_badge(2, "A")).await;
    assert_eq!(pair.drain().await.dead_letters, 0);
    if !pair.has_servers() {
        return;
    }
    pair.sql("ALTER TABLE members ADD CHECK (id <> 3)").await;
    create(&members, &Member::with_badge(3, "B")).await;
    assert_eq!(pair.drain().await.dead_letters, 1);
    let error = members.create(&Member::with_badge(4, "B")).await.expect_err("a held row keeps it");
    assert!(is_clash(&error, "badge"), "{error:?}");
    let discarded = pair.kv.dead_letters().discard(&DeadLetterFilter::new()).await;
    assert_eq!(discarded.expect("one letter"), 1);
    create(&members, &Member::with_badge(4, "B")).await;
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn a_row_is_got_or_created(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    for after in After::ALL {
        let got = members.get_or_create_by_badge(&Member::with_badge(1, "A")).await.expect("a row");
        assert_eq!(got.row, Member::with_badge(1, "A"));
        assert_eq!(got.created.is_some(), after == After::Write);
        pair.bring(&members, &[1], after).await;
        let got = members.get_or_create_by_badge(&Member::with_badge(2, "A")).await.expect("a row");
        assert_eq!((got.row.id, got.created.is_none()), (1, true), "{after:?}");
    }
    // A clash by another value is an error.
    let row = Member { email: "1@a.b".into(), ..Member::with_badge(2, "B") };
    let error = members.get_or_create_by_badge(&row).await.expect_err("the mail is taken");
    assert!(is_clash(&error, "tenant_id_and_email"), "{error:?}");
}

async fn a_row_is_upserted_by_a_value(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    let (row, _) = members.upsert_by_badge(&Member::with_badge(1, "A")).await.expect("a row");
    assert_eq!(row.id, 1);
    for after in After::ALL {
        pair.bring(&members, &[1], after).await;
        let team = Some(format!("{after:?}"));
        let other =
            Member { email: "1@a.b".into(), team: team.clone(), ..Member::with_badge(2, "A") };
        let (row, _) = members.upsert_by_badge(&other).await.expect("a row");
        assert_eq!((row.id, &row.team), (1, &team), "it keeps its id");
        assert_eq!(members.get_by_id(&1).await.expect("a row"), row);
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("the rows").len(), 1);
}

async fn many_rows_are_created_or_refused_one_by_one(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::with_badge(1, "A")).await;
    let rows = [
        Member::with_badge(2, "A"),
        Member::with_badge(3, "B"),
        Member::with_badge(4, "B"),
        Member::with_badge(5, "C"),
    ];
    let created = members.create_many(&rows).await;
    let outcomes: Vec<bool> = created.iter().map(Result::is_ok).collect();
    assert_eq!((outcomes[0], outcomes[3]), (false, true));
    assert_ne!(outcomes[1], outcomes[2], "one of them has it");
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn many_values_are_looked_up_at_once(pair: Pair) {
    let pair = pair.with(|settings| settings.partitions = 1).await;
    let unit = pair.kv.transaction(async |unit| {
        for id in 0..30 {
            unit.repository::<Member>().create(&Member::with_badge(id, &format!("B{id}"))).await?;
        }
        Ok::<_, Error>(())
    });
    unit.await.expect("a unit");
    assert_eq!(pair.drain().await.dead_letters, 0);
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("the rows").len(), 30);
}

/// A row that counts its changes and is found by a value.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "documents")]
struct Document {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    title: String,
    #[kv(version)]
    version: i64,
}

async fn a_row_that_was_got_or_created_has_its_version(pair: Pair) {
    let table = "CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL UNIQUE, \
                 version bigint NOT NULL)";
    pair.sql(table).await;
    let documents = pair.kv.repository::<Document>();
    let new = Document { id: 1, title: "A".into(), version: 0 };
    let got = documents.get_or_create_by_title(&new).await.expect("a row");
    assert!(got.created.is_some());
    let patch = Document::patch().title("B");
    let _ = documents.update_if(&1, got.row.version, patch).await.expect("nobody else wrote");
    let (row, _) = documents
        .upsert_by_title(&Document { id: 2, title: "B".into(), version: 0 })
        .await
        .expect("a row");
    assert_eq!(row.id, 1);
    let patch = Document::patch().title("C");
    let _ = documents.update_if(&1, row.version, patch).await.expect("nobody else wrote");
}

async fn rows_are_listed_by_an_index(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    for id in 0..6 {
        let team = (id % 2 == 0).then(|| "red".to_owned());
        create(&members, &Member { team, ..Member::sample(id) }).await;
        if id == 2 {
            pair.drain().await;
        }
    }
    let _ = members.update(&0, Member::patch().team(None)).await.expect("a row");
    let red = members.list_by_team("red").order_by(|m| m.id.desc()).load().await.expect("rows");
    assert_eq!(red.iter().map(|row| row.id).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(members.list_by_team("blue").count().await.expect("a number"), 0);
}

async fn of_many_at_once_one_has_the_value(pair: Pair) {
    const TASKS: i64 = 100;
    let mut tasks = JoinSet::new();
    for id in 0..TASKS {
        let members = pair.kv.repository::<Member>();
        tasks.spawn(
            async move { members.get_or_create_by_badge(&Member::with_badge(id, "A")).await },
        );
    }
    let got = tasks.join_all().await;
    let rows: Vec<_> = got.into_iter().map(|got| got.expect("a row")).collect();
    assert_eq!(rows.iter().filter(|got| got.created.is_some()).count(), 1);
    assert!(rows.iter().all(|got| got.row == rows[0].row), "all have got the same");
    assert_eq!(pair.drain().await.dead_letters, 0);
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("the rows").len(), 1);
}

/// What Redis says of a value's owner may be older than what was changed behind its back.
#[tokio::test]
async fn an_outdated_owner_does_not_hide_the_new_one() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::with_badge(1, "A")).await;
    create(&members, &Member::sample(2)).await;
    pair.drain().await;
    assert!(members.find_by_badge("A").await.expect("an answer").is_some());
    pair.sql("UPDATE members SET badge = NULL WHERE id = 1").await;
    pair.sql("UPDATE members SET badge = 'A' WHERE id = 2").await;
    for id in [1, 2] {
        let () = redis.ask(&["DEL", &members.key(&id).expect("an id")]).await;
    }
    let found = members.find_by_badge("A").await.expect("an answer");
    assert_eq!(found.map(|row| row.id), Some(2));
    let error = members.create(&Member::with_badge(3, "A")).await.expect_err("it is taken");
    assert!(is_clash(&error, "badge"), "{error:?}");
}

#[tokio::test]
async fn a_full_redis_does_not_keep_rows_from_being_found() {
    let server = RedisServer::start().expect("a private server");
    let mut settings = Settings::new(server.url(), servers().create_database());
    settings.tenant = Some("full".to_owned());
    let pair = Pair::connect(settings).await;
    let redis = RedisView::of(&pair).await;
    let members = pair.kv.repository::<Member>();
    create(&members, &Member::with_badge(1, "A")).await;
    pair.drain().await;
    members.invalidate(&1).await.expect("a clean row");
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let found = members.find_by_badge("A").await.expect("PostgreSQL answers");
    assert_eq!(found.map(|row| row.id), Some(1));
}
