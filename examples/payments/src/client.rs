//! Requests with JSON, by HTTP/1.1 and without TLS.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

/// A pool of connections to any servers. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

/// What a server has answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The value whose JSON it is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// There is no answer: what was asked may be done or not.
#[derive(Debug)]
pub struct NoAnswer(String);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no answer: {}", self.0)
    }
}

impl std::error::Error for NoAnswer {}

impl Client {
    /// No connection yet; `timeout` is how long an answer may take.
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { pool, timeout }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn get(&self, url: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, url, Bytes::new()).await
    }

    /// Hands something over.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn post(&self, url: &str, json: impl Into<Bytes>) -> Result<Answer, NoAnswer> {
        self.send(Method::POST, url, json.into()).await
    }

    /// Sets something.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn put(&self, url: &str, json: impl Into<Bytes>) -> Result<Answer, NoAnswer> {
        self.send(Method::PUT, url, json.into()).await
    }

    async fn send(&self, method: Method, url: &str, json: Bytes) -> Result<Answer, NoAnswer> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(json))
            .map_err(|error| NoAnswer(error.to_string()))?;
        match tokio::time::timeout(self.timeout, self.answered(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer(format!("not within {:?}", self.timeout))),
        }
    }

    async fn answered(&self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let response = self.pool.request(request).await;
        let response = response.map_err(|error| NoAnswer(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| NoAnswer(error.to_string()))?.to_bytes();
        Ok(Answer { status, body })
    }
}
