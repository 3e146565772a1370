//! Connections by TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kv_runtime::testing::{PostgresOptions, PostgresServer, servers};
use kv_runtime::{ConnectError, Kv, PostgresTls, Settings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::ask;

/// The address that the test of the system's roots is to go to.
const URL: &str = "KV_TEST_TLS_URL";

/// Somebody who signs certificates, and the file that says so.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file");
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server whose certificate is of this host.
    fn server_of(&self, host: &str) -> PostgresServer {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let options = PostgresOptions::new().tls(certificate.pem(), key.serialize_pem());
        PostgresServer::start_with(options).expect("a server")
    }
}

async fn connect(url: &str, tls: PostgresTls) -> Result<Kv, ConnectError> {
    let mut settings = Settings::new(servers().redis_url(), url);
    settings.postgres.tls = tls;
    Kv::connect(settings).await
}

async fn is_encrypted(kv: &Kv) -> bool {
    let mut connection = kv.connection().await.expect("a connection");
    let sql = "SELECT ssl::text AS value FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    ask(&mut connection, sql).await == "true"
}

fn source_of(error: &ConnectError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn whose_certificates_are_taken_is_what_the_settings_say() {
    let authority = Authority::new();
    let server = authority.server_of("127.0.0.1");
    let plain = connect(server.url(), PostgresTls::Off).await.expect("plain");
    assert!(!is_encrypted(&plain).await);
    for tls in [PostgresTls::CaFile(authority.file()), PostgresTls::Insecure] {
        let kv = connect(server.url(), tls.clone()).await.expect("its certificate is taken");
        assert!(is_encrypted(&kv).await, "{tls:?}");
    }
    let other = Authority::new();
    for tls in [PostgresTls::CaFile(other.file()), PostgresTls::SystemRoots] {
        let error = connect(server.url(), tls.clone()).await.expect_err("a stranger's");
        assert!(matches!(error, ConnectError::PostgreSql { .. }), "{tls:?}: {error}");
        assert!(
            source_of(&error).contains("invalid peer certificate"),
            "{tls:?}: {}",
            source_of(&error)
        );
    }
}

#[tokio::test]
async fn a_certificate_has_to_be_of_the_host() {
    let authority = Authority::new();
    let server = authority.server_of("elsewhere.example");
    let error = connect(server.url(), PostgresTls::CaFile(authority.file())).await;
    let error = error.expect_err("another host's");
    assert!(source_of(&error).contains("not valid for name"), "{}", source_of(&error));
    let kv = connect(server.url(), PostgresTls::Insecure).await.expect("anybody's");
    assert!(is_encrypted(&kv).await);
}

#[tokio::test]
async fn what_is_to_be_encrypted_is_never_plain() {
    let url = servers().create_database();
    for parameters in ["", "?sslmode=require"] {
        let url = format!("{url}{parameters}");
        let error = connect(&url, PostgresTls::Insecure).await.expect_err("no TLS");
        assert!(source_of(&error).contains("TLS"), "{}", source_of(&error));
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let authority = Authority::new();
    let folder = authority.folder.path();
    fs::write(folder.join("empty.pem"), "").expect("a file");
    fs::write(folder.join("bad.pem"), authority.issuer.pem().replace("MII", "MIX"))
        .expect("a file");
    for name in ["absent.pem", "empty.pem", "bad.pem"] {
        let tls = PostgresTls::CaFile(folder.join(name));
        let error = connect("postgres://localhost/app", tls).await.expect_err(name);
        let ConnectError::Settings(error) = error else { panic!("{name}: {error}") };
        assert_eq!(error.setting, "postgres.tls");
        assert!(error.problem.contains(name), "{error}");
    }
}

/// The roots are the system's where no CA file is named: here those of a process of its own.
#[tokio::test]
async fn the_roots_are_those_of_the_system() {
    let authority = Authority::new();
    let server = authority.server_of("127.0.0.1");
    assert!(goes_by_system_roots(server.url(), &authority.file()));
    let other = Authority::new();
    assert!(!goes_by_system_roots(server.url(), &other.file()));
}

fn goes_by_system_roots(url: &str, roots: &Path) -> bool {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", "pool::tls::by_system_roots", "--ignored"])
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .env("REDIS_URL", servers().redis_url())
        .env("DATABASE_URL", url)
        .env(URL, format!("{url}?sslmode=verify-full"))
        .output()
        .expect("the test runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("running 1 test"), "{text}");
    output.status.success()
}

#[tokio::test]
#[ignore = "run by `the_roots_are_those_of_the_system`"]
async fn by_system_roots() {
    let url = std::env::var(URL).expect("an address");
    let kv = connect(&url, PostgresTls::Off).await.expect("the system trusts it");
    assert!(is_encrypted(&kv).await);
}
