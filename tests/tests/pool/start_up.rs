//! What keeps a pool from being opened, and how that is told.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, servers};
use kv_runtime::{ConnectError, Kv, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::ask;

/// The error and all that it came of, as one text.
fn told(error: &ConnectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

async fn refused(url: &str) -> (ConnectError, String) {
    let settings = Settings::new(servers().redis_url(), url);
    let error = Kv::connect(settings).await.expect_err(url);
    let text = told(&error);
    assert!(!text.contains("s3cret"), "{text}");
    (error, text)
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_told() {
    let (error, text) = refused("mysql://u:s3cret@localhost/app").await;
    assert!(matches!(error, ConnectError::Settings(_)), "{text}");
    let (error, text) = refused("postgres://u:s3cret@localhost:many/app").await;
    assert!(matches!(error, ConnectError::PostgreSql { .. }), "{text}");
    // Nobody listens to the port of a server that is gone.
    let server = PostgresServer::start().expect("a server");
    let url = server.url().replace("kv@", "kv:s3cret@");
    drop(server);
    let (error, text) = refused(&url).await;
    assert!(matches!(error, ConnectError::PostgreSql { .. }), "{text}");
    let (error, text) = refused(&servers().create_database().replace("/kv_", "/no_")).await;
    assert!(matches!(error, ConnectError::PostgreSql { .. }), "{text}");
    assert!(text.contains("does not exist"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = PostgresServer::start().expect("a server");
    let mut outside = AsyncPgConnection::establish(server.url()).await.expect("the server is up");
    let file = ask(&mut outside, "SELECT current_setting('hba_file') AS value").await;
    outside
        .batch_execute(&format!(
            "CREATE ROLE guest LOGIN PASSWORD 'right'; \
             COPY (VALUES ('host all kv all trust'), ('host all all all scram-sha-256')) \
             TO '{file}'; SELECT pg_reload_conf()"
        ))
        .await
        .expect("valid SQL");
    let right = server.url().replace("kv@", "guest:right@");
    Kv::connect(Settings::new(servers().redis_url(), right)).await.expect("the right password");
    let (error, text) = refused(&server.url().replace("kv@", "guest:s3cret@")).await;
    assert!(matches!(error, ConnectError::PostgreSql { .. }), "{text}");
    assert!(text.contains("password authentication failed"), "{text}");
}

/// Hands on what a client says to a server until the client asks something.
async fn relay_until(word: &'static [u8], server_port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server_port)).await.expect("the server");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let back = tokio::io::copy(&mut from_server, &mut to_client);
                let there = async {
                    let mut buffer = [0; 4_096];
                    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                        if buffer[..length].windows(word.len()).any(|window| window == word) {
                            break;
                        }
                        to_server.write_all(&buffer[..length]).await.expect("the server");
                    }
                };
                tokio::select! { _ = back => {}, () = there => {} }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_fails_the_first_statement_is_told() {
    let server = PostgresServer::start().expect("a server");
    let port = relay_until(b"SELECT 1", server.port()).await;
    let (error, text) = refused(&format!("postgres://kv:s3cret@127.0.0.1:{port}/kv")).await;
    assert!(matches!(error, ConnectError::PostgreSql { .. }), "{text}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgres://kv:s3cret@127.0.0.1:{port}/kv");
    let mut settings = Settings::new(servers().redis_url(), url);
    settings.postgres.checkout_timeout = Duration::from_millis(50);
    let error = Kv::connect(settings).await.expect_err("no answer");
    let text = told(&error);
    assert!(text.contains("`postgres.checkout_timeout`"), "{text}");
}
