//! Scripts and pipelines.

use std::collections::BTreeMap;

use kv_runtime::redis::{Error, Expiry, Script};
use kv_tests::outside::connect;
use redis::InfoDict;

use super::common::{ask, handle, handle_with, private_server, settings};

#[tokio::test]
async fn a_script_has_a_typed_result() {
    let redis = handle().await;
    redis.set("visits", 30).await.expect("set");
    let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(redis.eval::<i64>(&add, &["visits"], 12).await.expect("run"), 42);
    assert_eq!(redis.get::<i64>("visits").await.expect("the tenant's own key"), 42);

    let list = Script::new("return {ARGV[2], redis.call('GET', KEYS[2]), ARGV[1]}");
    redis.set("b", "middle").await.expect("set");
    let texts: Vec<String> = redis.eval(&list, &["a", "b"], &["last", "first"]).await.expect("run");
    assert_eq!(texts, ["first", "middle", "last"]);

    let error = redis.eval::<i64>(&list, &["a", "b"], &["", ""]).await.expect_err("no number");
    assert!(matches!(error, Error::Parsing { type_name: "i64", .. }), "{error:?}");
    let fail = Script::new("return redis.error_reply('ERR no luck')");
    let error = redis.eval::<()>(&fail, &["a"], None::<&str>).await.expect_err("it fails");
    assert!(matches!(&error, Error::Script { .. }) && format!("{error:?}").contains("no luck"));
    assert_eq!(error.to_string(), "eval of `a`: the script fails");
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_again() {
    let server = private_server();
    let redis = handle_with(&kv_runtime::RedisSettings::new(server.url())).await;
    let script = Script::new("return 1");
    for _ in 0..2 {
        assert_eq!(redis.eval::<i64>(&script, &[], None::<&str>).await.expect("run"), 1);
        let () = ask(server.url(), &["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn commands_of_a_pipeline_answer_in_order() {
    let redis = handle().await;
    let mut pipeline = redis.pipeline();
    pipeline
        .set("a", 1, Expiry::Default)
        .get("a")
        .get("none")
        .hset("h", "f", "v")
        .hgetall("h")
        .rpush("l", &[1, 2])
        .sadd("s", &["x"])
        .command("INCRBY", "a", 9)
        .delete("a");
    pipeline.set_json("j", &vec![1, 2], Expiry::Never).expect("valid JSON");
    type Answers = ((), i64, Option<i64>, u8, BTreeMap<String, String>, u8, u8, i64, u8, ());
    let answers: Answers = pipeline.run().await.expect("run");
    let hash = BTreeMap::from([("f".to_owned(), "v".to_owned())]);
    assert_eq!(answers, ((), 1, None, 1, hash, 2, 1, 10, 1, ()));
    assert_eq!(redis.get_json::<Vec<u8>>("j").await.expect("it is set"), [1, 2]);
    assert_eq!(redis.lrange::<u8>("l", 0, -1).await.expect("the tenant's own"), [1, 2]);
}

#[tokio::test]
async fn a_refused_command_of_a_pipeline_is_told() {
    let redis = handle().await;
    redis.set("word", "a").await.expect("set");
    let mut pipeline = redis.pipeline();
    pipeline.rpush("word", &[1]).set("other", 1, Expiry::Default);
    let error = pipeline.run::<Vec<kv_runtime::redis::Value>>().await.expect_err("it is no list");
    assert!(matches!(&error, Error::Pipeline { .. }), "{error:?}");
    assert_eq!(error.to_string(), "pipeline of `word`: Redis refuses a command of the pipeline");
    assert!(redis.exists("other").await.expect("an answer"), "the others are done");

    // What Redis refuses to queue has no effect at all.
    let mut pipeline = redis.pipeline();
    pipeline.atomic().set("third", 1, Expiry::Default).command("NOSUCH", "word", "secret");
    let error = pipeline.run::<Vec<kv_runtime::redis::Value>>().await.expect_err("no command");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert!(!redis.exists("third").await.expect("an answer"));
}

/// The server reads a pipeline in far fewer pieces than it has commands.
#[tokio::test]
async fn a_pipeline_is_one_round_trip() {
    let server = private_server();
    let mut settings = settings();
    settings.url = server.url().into();
    settings.connections = 1;
    let redis = handle_with(&settings).await;
    let mut pipeline = redis.pipeline();
    for number in 0..100 {
        pipeline.set("number", number, Expiry::Default);
    }
    let mut view = connect(server.url()).await;
    let mut reads = async || {
        let info: InfoDict =
            redis::cmd("INFO").arg("stats").query_async(&mut view).await.expect("up");
        info.get::<u64>("total_reads_processed").expect("since Redis 6")
    };
    let before = reads().await;
    let () = pipeline.run().await.expect("run");
    let in_one = reads().await - before;
    assert!(in_one <= 5, "{in_one} reads, one of which asks for the number");
    for number in 0..100 {
        redis.set("number", number).await.expect("set");
    }
    assert!(reads().await - before > 100);
}
