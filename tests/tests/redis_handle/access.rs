//! Who logs in, and connections by TLS.

use std::sync::Arc;

use kv_runtime::RedisSettings;
use kv_runtime::redis::{Error, Redis};
use kv_runtime::testing::RedisServer;
use rcgen::CertifiedKey;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::common::{ask, private_server, soon};

#[tokio::test]
async fn a_user_logs_in_with_a_password_that_is_never_shown() {
    let server = private_server();
    let rule = ["ACL", "SETUSER", "app", "on", ">a word", "~*", "&*", "+@all"];
    let () = ask(server.url(), &rule).await;
    let mut settings = RedisSettings::new(server.url());
    settings.username = Some("app".to_owned());
    settings.password = Some("a word".into());
    let redis = Redis::connect(&settings, Some("acme")).await.expect("it is let in");
    redis.set("a", 1).await.expect("set");
    let clients: String = ask(server.url(), &["CLIENT", "LIST"]).await;
    assert_eq!(clients.matches("user=app").count(), settings.connections, "{clients}");

    settings.password = Some("secret".into());
    let error = Redis::connect(&settings, None).await.expect_err("it is another word");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(!format!("{error:?} {settings:?}").contains("secret"));
}

/// Takes TLS off before a server, and has a certificate for `localhost` that it has signed itself.
struct Front {
    url: String,
    directory: TempDir,
    task: JoinHandle<()>,
}

impl Front {
    async fn of(server: &RedisServer) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), cert.pem()).expect("a file");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let behind = server.port();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who does not trust the certificate goes away.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let server = TcpStream::connect(("127.0.0.1", behind)).await;
                    let _ = copy_bidirectional(&mut client, &mut server.expect("up")).await;
                });
            }
        });
        Self { url: format!("rediss://localhost:{port}"), directory, task }
    }

    fn settings(&self) -> RedisSettings {
        let mut settings = RedisSettings::new(self.url.as_str());
        settings.ca_file = Some(self.directory.path().join("ca.pem"));
        settings
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn connections_by_tls_trust_who_the_file_names() {
    let server = private_server();
    let front = Front::of(&server).await;
    let redis = Redis::connect(&front.settings(), Some("acme")).await.expect("it is trusted");
    redis.set("a", 1).await.expect("set");
    assert_eq!(ask::<i64>(server.url(), &["GET", "acme/a"]).await, 1);
    let mut news = redis.subscribe(&["news"]).await.expect("subscribed");
    redis.publish("news", "it rains").await.expect("published");
    let message = soon("it comes", news.next()).await.expect("it goes on");
    assert_eq!(message.get::<String>().expect("a text"), "it rains");
}

#[tokio::test]
async fn connections_by_tls_trust_nobody_else() {
    let server = private_server();
    let (front, other) = (Front::of(&server).await, Front::of(&server).await);
    let mut settings = front.settings();
    settings.ca_file = other.settings().ca_file;
    let error = Redis::connect(&settings, None).await.expect_err("another has signed it");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    settings.ca_file = None;
    Redis::connect(&settings, None).await.expect_err("the system does not know it");
    settings.ca_file = Some(front.directory.path().join("none.pem"));
    let error = Redis::connect(&settings, None).await.expect_err("there is no file");
    assert!(format!("{error:?}").contains("none.pem"), "{error:?}");
}
