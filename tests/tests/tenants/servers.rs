//! What the servers see of tenants: no key, and no table, that is not somebody's.

use futures_util::StreamExt;
use kv_runtime::Settings;
use kv_runtime::testing::{RedisServer, servers};
use kv_tests::models::{Account, Counter, Flight, Member, Seat};
use kv_tests::outside::connect;
use kv_tests::pair::Pair;

/// What is said without a key.
const KEYLESS: [&str; 13] = [
    "HELLO", "CLIENT", "AUTH", "SELECT", "PING", "INFO", "CONFIG", "SCRIPT", "TIME", "WAIT",
    "ECHO", "COMMAND", "MONITOR",
];

/// Which tenants were written to: of each no more than its name.
const OF_ALL: &str = "kv.written";

/// One use of each kind.
async fn use_everything(tenant: &Pair) {
    let kv = &tenant.kv;
    let accounts = kv.repository::<Account>();
    let account = |id| Account { id, revision: 1, note: None, active: true };
    for created in accounts.create_many(&[account(1), account(2)]).await {
        let _ = created.expect("a new row");
    }
    let receipt = accounts.update(&1, Account::patch().active(false)).await.expect("a row");
    let _ = accounts.upsert(&account(3)).await.expect("a row");
    let _ = accounts.delete(&2).await.expect("a row");
    let members = kv.repository::<Member>();
    let _ = members.create(&Member::with_badge(1, "A")).await.expect("a new row");
    members.find_by_badge("A").await.expect("an answer").expect("a row");
    members.find_by_badge("B").await.expect("an answer");
    let counter = Counter { id: 1, total: 0, r#type: "rides".to_owned() };
    let _ = kv.repository::<Counter>().create(&counter).await.expect("a new row");
    let counters = kv.repository::<Counter>();
    counters.increment(&1, |c| c.total, 1).await.expect("a row");
    let made = kv.transaction(async |unit| {
        let flight = Flight { flight: "AA".into(), taken: 1 };
        unit.repository::<Flight>().create(&flight).await?;
        let seat = Seat { flight: "AA".into(), number: 1, passenger: None };
        unit.repository::<Seat>().create(&seat).await
    });
    let _ = made.await.expect("new rows");
    assert_eq!(accounts.query().count().await.expect("a count"), 2);
    let drainer = tenant.spawn_drainer();
    receipt.await_durable().await.expect("PostgreSQL takes it");
    drainer.flush().await.expect("everything can be drained");
    accounts.invalidate(&1).await.expect("a clean row");
    accounts.get_by_id(&1).await.expect("the row");
    accounts.status(&1).await.expect("a status");
    drainer.shutdown().await.expect("everything can be drained");
    let redis = kv.redis().await.expect("the server is up");
    redis.set("notice", "from noon on").await.expect("set");
    let lock = redis.lock("notice", std::time::Duration::from_secs(60)).await.expect("it is free");
    redis.publish("notices", 1).await.expect("published");
    lock.release().await.expect("it was held");
}

/// The words of a command as `MONITOR` shows it, and whether a script said it.
fn words(line: &str) -> (Vec<String>, bool) {
    let (head, command) = line.split_once("] ").expect("a command");
    let words = command.split("\" \"").map(|word| word.trim_matches('"').to_owned());
    (words.collect(), head.ends_with(" lua"))
}

/// The keys, channels and patterns of a command.
fn keys(words: &[String]) -> Vec<&str> {
    let command = words[0].to_uppercase();
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    match command.as_str() {
        "EVALSHA" | "EVAL" => {
            let count: usize = words[2].parse().expect("how many keys");
            all[3..3 + count].to_vec()
        }
        "SCAN" => vec![all[3]],
        "XREAD" => {
            let places = all.iter().position(|word| *word == "STREAMS").expect("streams");
            let streams = (all.len() - places - 1) / 2;
            all[places + 1..][..streams].to_vec()
        }
        "DEL" | "UNLINK" | "EXISTS" | "SUBSCRIBE" | "PSUBSCRIBE" | "TOUCH" => all[1..].to_vec(),
        command if KEYLESS.contains(&command) => Vec::new(),
        _ => vec![all[1]],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_without_the_tenants_prefix() {
    let server = RedisServer::start().expect("a private server");
    let settings = Settings::new(server.url(), servers().create_database());
    let pair = Pair::connect(settings).await;
    let tenant = pair.tenant("acme").await;
    let client = redis::Client::open(server.url()).expect("a valid address");
    let monitor = client.get_async_monitor().await.expect("the server is up");
    use_everything(&tenant).await;
    let mut outside = connect(server.url()).await;
    let mut end = redis::cmd("ECHO");
    let _: String = end.arg("the end").query_async(&mut outside).await.expect("the server is up");

    let (mut seen, mut of_scripts) = (0, 0);
    let mut commands = monitor.into_on_message::<String>();
    while let Some(line) = commands.next().await {
        if line.contains("the end") {
            break;
        }
        let (words, is_of_script) = words(&line);
        let keys = keys(&words);
        for key in &keys {
            assert!(key.starts_with("acme/") || *key == OF_ALL, "a bare key: {line}");
        }
        seen += keys.len();
        of_scripts += if is_of_script { keys.len() } else { 0 };
    }
    println!("{seen} keys were seen, {of_scripts} of them in scripts");
    assert!(seen > 200 && of_scripts > 50, "{seen} keys, {of_scripts} of scripts");
    let left: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut outside).await.expect("the server is up");
    assert!(!left.is_empty() && left.iter().all(|key| key.starts_with("acme/") || key == OF_ALL));
}
