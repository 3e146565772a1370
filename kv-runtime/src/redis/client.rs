//! What the settings mean to the client library.

use redis::aio::ConnectionManagerConfig;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError};

use crate::settings::{RedisSettings, ServerUrl};

/// Why an address cannot be connected to, if so.
pub(crate) fn address_problem(url: &ServerUrl, has_ca_file: bool) -> Option<&'static str> {
    let Some(parsed) = redis::parse_redis_url(url.expose()) else {
        return Some("is not an address like `redis://localhost:6379`");
    };
    match parsed.scheme() {
        "rediss" | "valkeys" if cfg!(not(feature = "redis-tls")) => {
            Some("asks for TLS; build kv-runtime with its feature `redis-tls`")
        }
        "redis" | "valkey" | "unix" if has_ca_file => {
            Some("should begin with `rediss://`, because `redis.ca_file` is set")
        }
        _ if url.expose().into_connection_info().is_err() => {
            Some("is not an address of a Redis server")
        }
        _ => None,
    }
}

/// A client of the one server.
pub(crate) fn client(settings: &RedisSettings) -> Result<Client, RedisError> {
    open(settings, connection_info(settings, &settings.url)?)
}

/// One whose connections are pushed what they have subscribed to.
pub(super) fn pushing(settings: &RedisSettings) -> Result<Client, RedisError> {
    let info = connection_info(settings, &settings.url)?;
    let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    open(settings, info.set_redis_settings(protocol))
}

/// A client of a server that has another address than the settings say.
pub(crate) fn open(settings: &RedisSettings, info: ConnectionInfo) -> Result<Client, RedisError> {
    #[cfg(feature = "redis-tls")]
    if let Some(certificates) = super::tls::certificates(settings)? {
        return Client::build_with_tls(info, certificates);
    }
    #[cfg(not(feature = "redis-tls"))]
    let _ = settings;
    Client::open(info)
}

/// A client of the cluster, to be told more.
pub(crate) fn cluster(settings: &RedisSettings) -> Result<ClusterClientBuilder, RedisError> {
    let mut nodes = Vec::with_capacity(settings.cluster_nodes.len());
    for url in &settings.cluster_nodes {
        nodes.push(connection_info(settings, url)?);
    }
    let builder = ClusterClient::builder(nodes)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.command_timeout)
        .min_retry_wait(milliseconds(settings.reconnect_delay_min))
        .max_retry_wait(milliseconds(settings.reconnect_delay_max));
    #[cfg(feature = "redis-tls")]
    if let Some(certificates) = super::tls::certificates(settings)? {
        return Ok(builder.certs(certificates));
    }
    Ok(builder)
}

/// How a connection to the one server behaves. The library waits a random part of each delay.
pub(crate) fn manager_config(settings: &RedisSettings) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.command_timeout))
        .set_min_delay(settings.reconnect_delay_min)
        .set_max_delay(settings.reconnect_delay_max)
        .set_number_of_retries(settings.reconnect_retries)
}

/// An address, with who logs in.
pub(crate) fn connection_info(
    settings: &RedisSettings,
    url: &ServerUrl,
) -> Result<ConnectionInfo, RedisError> {
    #[cfg(feature = "redis-tls")]
    super::tls::choose_provider();
    let info = url.expose().into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    Ok(info.set_redis_settings(login))
}

pub(super) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
