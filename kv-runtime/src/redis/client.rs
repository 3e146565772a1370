//! What the settings mean to the client library.

use std::time::Duration;

use redis::aio::ConnectionManagerConfig;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisError,
};

use crate::settings::{RedisSettings, Secret, ServerUrl};

/// How long the machine of a server may leave unanswered that something has arrived there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

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

/// An address whose connections are pushed what they have subscribed to.
pub(super) fn pushing(settings: &RedisSettings) -> Result<ConnectionInfo, RedisError> {
    connection_info(settings, &settings.url).map(pushed_to)
}

/// The same of another address.
pub(crate) fn pushed_to(info: ConnectionInfo) -> ConnectionInfo {
    let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    info.set_redis_settings(protocol)
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
        .tcp_settings(tcp_settings())
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

/// How a connection without retries behaves.
pub(crate) fn connection_config(settings: &RedisSettings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.command_timeout))
}

/// An address, with who logs in.
pub(crate) fn connection_info(
    settings: &RedisSettings,
    url: &ServerUrl,
) -> Result<ConnectionInfo, RedisError> {
    info(url, settings.username.as_deref(), settings.password.as_ref())
}

/// The same for a sentinel.
pub(super) fn sentinel_info(
    settings: &RedisSettings,
    url: &ServerUrl,
) -> Result<ConnectionInfo, RedisError> {
    info(url, settings.sentinel_username.as_deref(), settings.sentinel_password.as_ref())
}

fn info(
    url: &ServerUrl,
    username: Option<&str>,
    password: Option<&Secret>,
) -> Result<ConnectionInfo, RedisError> {
    #[cfg(feature = "redis-tls")]
    super::tls::choose_provider();
    let info = url.expose().into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.expose());
    }
    Ok(info.set_redis_settings(login).set_tcp_settings(tcp_settings()))
}

/// An address of which only the place is another one.
pub(crate) fn moved_to(address: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    }
}

/// A server whose machine has gone says nothing more, not even that: then the connection ends by
/// itself. And small writes are not held back until larger ones come.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(SILENCE_MAX / 5);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE_MAX);
    settings
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_ends_when_its_peer_is_silent_for_long() {
        let settings = RedisSettings::default();
        let info = connection_info(&settings, &settings.url).expect("a valid address");
        let tcp = info.tcp_settings();
        assert!(tcp.nodelay() && tcp.keepalive().is_some());
        #[cfg(target_os = "linux")]
        assert_eq!(tcp.user_timeout(), Some(SILENCE_MAX));
    }
}
