//! Connections by TLS, and whose certificates they take.

use std::path::Path;
use std::sync::Arc;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::with_sources;
use crate::settings::{PostgresTls, ServerUrl, SettingsError};

/// Opens connections by TLS, and never plain ones.
#[derive(Clone)]
pub(super) struct TlsConnector(MakeRustlsConnect);

impl TlsConnector {
    /// For all but [`PostgresTls::Off`].
    pub(super) fn new(tls: &PostgresTls) -> Result<Self, SettingsError> {
        let unusable = |problem| SettingsError { setting: "postgres.tls", problem };
        // Not the provider of the process: whether there is one is up to who else uses it.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(format!("cannot be used: {error}")))?;
        let config = match tls {
            PostgresTls::Insecure => {
                tracing::warn!("anybody's certificate is taken for that of PostgreSQL");
                let verifier = Arc::new(AnyCertificate(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            PostgresTls::CaFile(path) => {
                builder.with_root_certificates(roots_in(path).map_err(unusable)?)
            }
            _ => builder.with_root_certificates(roots_of_system().map_err(unusable)?),
        };
        Ok(Self(MakeRustlsConnect::new(config.with_no_client_auth())))
    }

    pub(super) async fn establish(&self, url: &str) -> ConnectionResult<AsyncPgConnection> {
        let bad =
            |error: tokio_postgres::Error| ConnectionError::BadConnection(with_sources(&error));
        // The client knows fewer modes than there are; this is what they come to.
        let url = ServerUrl::from(url).without("sslmode");
        let mut config: tokio_postgres::Config = url.expose().parse().map_err(bad)?;
        config.ssl_mode(SslMode::Require);
        let (client, connection) = config.connect(self.0.clone()).await.map_err(bad)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error: pem::Error| {
        format!("names the CA file `{}`, which cannot be read: {error}", path.display())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?).map_err(|error| {
            format!("names the CA file `{}`, which has no CA in it: {error}", path.display())
        })?;
    }
    if roots.is_empty() {
        return Err(format!("names the CA file `{}`, which has no certificate", path.display()));
    }
    Ok(roots)
}

/// Some of a system's certificates may be malformed without that the others are of no use.
fn roots_of_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!(
            "asks for the certificates that the system trusts, and there are none{problem}; name \
             a CA file"
        ));
    }
    Ok(roots)
}

/// Takes any certificate, if only the server has the key to it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
