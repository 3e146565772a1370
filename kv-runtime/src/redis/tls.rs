//! Encrypted connections.

use std::fs;

use redis::{ErrorKind, RedisError, TlsCertificates};
use rustls::crypto::CryptoProvider;

use crate::settings::RedisSettings;

/// What a server's certificate has to be signed by, where it is not what the system trusts.
pub(super) fn certificates(
    settings: &RedisSettings,
) -> Result<Option<TlsCertificates>, RedisError> {
    let Some(file) = &settings.ca_file else { return Ok(None) };
    let root_cert = fs::read(file).map_err(|error| {
        let problem = format!("{}: {error}", file.display());
        let kind = ErrorKind::InvalidClientConfig;
        RedisError::from((kind, "the file `redis.ca_file` cannot be read", problem))
    })?;
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) }))
}

/// Where the application has not chosen an implementation of the ciphers, and its dependencies
/// bring several, rustls would panic.
pub(super) fn choose_provider() {
    if CryptoProvider::get_default().is_none() {
        // Who was faster has chosen as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
