//! The way to a server, which a test can cut and stall.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::error::ServerError;

/// Passes connections on to a server, as a network would that is not to be relied on.
///
/// It works on the Tokio runtime that it was made on. Dropping it ends its connections, and no
/// new ones are taken.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    state: watch::Sender<State>,
    answer_bytes_left: Arc<AtomicU64>,
}

/// No connection is cut after so many bytes.
const NO_LIMIT: u64 = u64::MAX;

/// The most that is passed on at a time.
const CHUNK: usize = 16 << 10;

/// What the connections have to know.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Raised to cut the connections that are open.
    cuts: u64,
    requests_are_stalled: bool,
    answers_are_stalled: bool,
}

impl Proxy {
    /// A way to the server of this URL, which has to name a port.
    ///
    /// # Errors
    ///
    /// When the URL names no port, or no port is free for the proxy.
    pub async fn to(server_url: &str) -> Result<Self, ServerError> {
        let (start, server, end) = split(server_url).ok_or(ServerError::NoPort)?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(ServerError::io("bind a port for a proxy"))?;
        let address = listener.local_addr().map_err(ServerError::io("ask for a proxy's port"))?;
        let (state, receiver) = watch::channel(State::default());
        let answer_bytes_left = Arc::new(AtomicU64::new(NO_LIMIT));
        let left = Arc::clone(&answer_bytes_left);
        tokio::spawn(pass_on_all(listener, server.to_owned(), receiver, left));
        Ok(Self { url: format!("{start}{address}{end}"), state, answer_bytes_left })
    }

    /// The server's URL by way of this proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the connections that are open, with what is on its way; new ones are passed on as
    /// before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Passes on so many more bytes of answers, of all connections together, and then cuts the one
    /// whose answer has the next: most likely in its middle.
    pub fn cut_answers_after(&self, bytes: u64) {
        self.answer_bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Passes nothing on until [`resume`](Self::resume); connections are taken, and kept.
    pub fn stall(&self) {
        self.state.send_modify(|state| {
            state.requests_are_stalled = true;
            state.answers_are_stalled = true;
        });
    }

    /// Passes on what is asked and nothing of what is answered, until [`resume`](Self::resume):
    /// with a [`cut`](Self::cut) before that, what was asked is done and its answer is lost.
    pub fn stall_answers(&self) {
        self.state.send_modify(|state| state.answers_are_stalled = true);
    }

    /// Passes on what was held back, and what comes.
    pub fn resume(&self) {
        self.state.send_modify(|state| {
            state.requests_are_stalled = false;
            state.answers_are_stalled = false;
        });
    }
}

/// The parts of a URL before, in and after `host:port`.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let start = url.find("://")? + "://".len();
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    let start = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let (_, port) = url[start..end].rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some((&url[..start], &url[start..end], &url[end..]))
}

async fn pass_on_all(
    listener: TcpListener,
    server: String,
    mut state: watch::Receiver<State>,
    answer_bytes_left: Arc<AtomicU64>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let left = Arc::clone(&answer_bytes_left);
                    tokio::spawn(pass_on(client, server.clone(), state.clone(), left));
                }
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// A server that is down ends the connection, and so does a proxy that was dropped.
async fn pass_on(
    mut client: TcpStream,
    server: String,
    mut state: watch::Receiver<State>,
    answer_bytes_left: Arc<AtomicU64>,
) {
    let cuts = state.borrow_and_update().cuts;
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let mut requests = pin!(copy(&mut from_client, &mut to_server));
    let mut answers = pin!(pass_answers(from_server, &mut to_client, &answer_bytes_left));
    loop {
        let state_now = *state.borrow_and_update();
        if state_now.cuts != cuts {
            return;
        }
        tokio::select! {
            // Where one side ends, there is nobody to pass anything on to.
            _ = &mut requests, if !state_now.requests_are_stalled => return,
            _ = &mut answers, if !state_now.answers_are_stalled => return,
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Ends with the answers, or where they are to be cut.
async fn pass_answers(
    mut from_server: ReadHalf<'_>,
    to_client: &mut WriteHalf<'_>,
    bytes_left: &AtomicU64,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from_server.read(&mut chunk).await?;
        let mut passed = read;
        let spent = bytes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            if left == NO_LIMIT {
                return None;
            }
            passed = read.min(usize::try_from(left).unwrap_or(read));
            // Others are not cut any more.
            Some(if passed < read { NO_LIMIT } else { left - passed as u64 })
        });
        if spent.is_err() {
            passed = read;
        }
        to_client.write_all(&chunk[..passed]).await?;
        if read == 0 || passed < read {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_url_is_split_around_its_host_and_port() {
        let url = "postgres://kv:a@b@127.0.0.1:15000/kv?sslmode=disable";
        let expected = ("postgres://kv:a@b@", "127.0.0.1:15000", "/kv?sslmode=disable");
        assert_eq!(split(url), Some(expected));
        assert_eq!(split("redis://h:6379"), Some(("redis://", "h:6379", "")));
        assert_eq!(split("redis://localhost"), None);
        assert_eq!(split("localhost:6379"), None);
    }

    /// A server that answers each byte, and a connection to it by way of a proxy.
    async fn echo_by_proxy() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = client.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let proxy = Proxy::to(&format!("echo://{address}")).await.expect("a proxy");
        let client = connect(&proxy).await;
        (proxy, client)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        let address = proxy.url().trim_start_matches("echo://");
        TcpStream::connect(address).await.expect("the proxy takes connections")
    }

    async fn echoed(client: &mut TcpStream) -> std::io::Result<u8> {
        client.write_u8(7).await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_open_and_no_more() {
        let (proxy, mut client) = echo_by_proxy().await;
        assert_eq!(echoed(&mut client).await.expect("an answer"), 7);
        proxy.cut();
        assert!(client.read_u8().await.is_err(), "the connection was cut");
        assert_eq!(echoed(&mut connect(&proxy).await).await.expect("an answer"), 7);
        let mut open = connect(&proxy).await;
        assert_eq!(echoed(&mut open).await.expect("an answer"), 7);
        drop(proxy);
        assert!(open.read_u8().await.is_err(), "the proxy is gone");
    }

    #[tokio::test]
    async fn an_answer_is_cut_in_its_middle() {
        let (proxy, mut client) = echo_by_proxy().await;
        proxy.cut_answers_after(2);
        client.write_all(&[1, 2, 3]).await.expect("it is taken");
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer, [1, 2]);
        assert_eq!(echoed(&mut connect(&proxy).await).await.expect("an answer"), 7);
    }

    /// No more than a look: what is stalled does not come at all.
    async fn is_silent(client: &mut TcpStream) -> bool {
        let answer = tokio::time::timeout(Duration::from_millis(200), client.read_u8());
        answer.await.is_err()
    }

    #[tokio::test]
    async fn what_is_stalled_is_passed_on_later() {
        for stall in [Proxy::stall, Proxy::stall_answers] {
            let (proxy, mut client) = echo_by_proxy().await;
            assert_eq!(echoed(&mut client).await.expect("an answer"), 7);
            stall(&proxy);
            client.write_u8(8).await.expect("it is taken");
            assert!(is_silent(&mut client).await, "nothing comes through");
            proxy.resume();
            assert_eq!(client.read_u8().await.expect("an answer"), 8);
        }
    }
}
