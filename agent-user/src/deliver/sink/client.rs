//! A small HTTP client: one connection to one receiver, HTTP/1.1 or HTTP/2, over TCP or verified TLS; every step has a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::{Tls, Trouble, TroubleKind};

const CONNECT: Duration = Duration::from_secs(10);
/// From the first byte of a request to the last of its answer. A receiver that reads one byte a second is a broken one.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Most bytes of an answer. A hostile receiver must not fill our memory.
const ANSWER_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

pub(super) struct Client {
    runtime: Runtime,
    address: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    version: Version,
    open: Option<Sender>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(url: &str, tls: &Tls, version: Version) -> io::Result<Client> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}"));
        let address: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let host = address.host().ok_or_else(|| wrong("names no host"))?.trim_matches(['[', ']']).to_owned();
        if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("holds a login; name a file with the secret instead"));
        }
        let (tls, usual) = match address.scheme_str() {
            Some("https") => {
                let alpn: &[&[u8]] = if version == Version::Http2 { &[b"h2"] } else { &[b"http/1.1"] };
                (Some(tls.client(alpn)?), 443)
            }
            Some("http") => (None, 80),
            _ => return Err(wrong("must begin with https:// or http://")),
        };
        let port = address.port_u16().unwrap_or(usual);
        Ok(Client { runtime: super::runtime()?, address, host, port, tls, version, open: None })
    }

    /// The path and query of the configured URL.
    pub(super) fn path(&self) -> &str {
        self.address.path_and_query().map_or("/", |path| path.as_str())
    }

    /// Sends one POST and waits for the whole answer. A kept connection that turns out to be closed is opened anew once.
    pub(super) fn post(&mut self, path: &str, headers: &[(&'static str, String)], body: &Bytes) -> Result<Answer, Trouble> {
        let kept = self.open.is_some();
        match self.exchange(path, headers, body) {
            Err(_) if kept => self.exchange(path, headers, body),
            other => other,
        }
    }

    fn exchange(&mut self, path: &str, headers: &[(&'static str, String)], body: &Bytes) -> Result<Answer, Trouble> {
        let request = self.request(path, headers, body)?;
        let place = format!("{}:{}", self.host, self.port);
        let mut sender = match self.open.take() {
            Some(sender) => sender,
            None => self.connect().map_err(|error| Trouble::later(format!("{place}: {error}")))?,
        };
        let sent = self.runtime.block_on(async {
            let exchange = async {
                let response = match &mut sender {
                    Sender::One(one) => {
                        one.ready().await?;
                        one.send_request(request).await?
                    }
                    Sender::Two(two) => {
                        two.ready().await?;
                        two.send_request(request).await?
                    }
                };
                collect(response).await
            };
            tokio::time::timeout(EXCHANGE, exchange).await
        });
        match sent {
            Ok(Ok(answer)) => {
                self.open = Some(sender);
                Ok(answer)
            }
            Ok(Err(error)) => Err(Trouble::later(format!("{place}: {error}"))),
            Err(_) => Err(Trouble::later(format!("{place}: no answer in {} s", EXCHANGE.as_secs()))),
        }
    }

    fn request(&self, path: &str, headers: &[(&'static str, String)], body: &Bytes) -> Result<Request<Full<Bytes>>, Trouble> {
        let authority = self.address.authority().map_or(self.host.as_str(), |authority| authority.as_str());
        let target = match self.version {
            Version::Http1 => path.to_owned(),
            Version::Http2 => format!("{}://{authority}{path}", self.address.scheme_str().unwrap_or("https")),
        };
        let mut request = Request::builder().method(Method::POST).uri(target);
        if self.version == Version::Http1 {
            request = request.header("host", authority);
        }
        request = request.header("user-agent", concat!("agentward/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Trouble::later(format!("{}: header {name} cannot hold the configured value", self.host)))?;
            value.set_sensitive(*name == "authorization");
            request = request.header(*name, value);
        }
        request.body(Full::new(body.clone())).map_err(|_| Trouble::later(format!("{}: not a usable path", self.host)))
    }

    fn connect(&self) -> io::Result<Sender> {
        let opened = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => self.handshake(stream).await,
                Some(config) => {
                    let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
                    self.handshake(stream).await
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(CONNECT, opened).await })?
    }

    /// The connection's own work runs as a task of this client's runtime: only while a request is under way.
    async fn handshake(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Sender> {
        let stream = TokioIo::new(stream);
        match self.version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Ok(Sender::One(sender))
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Ok(Sender::Two(sender))
            }
        }
    }
}

async fn collect(response: Response<hyper::body::Incoming>) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = response.into_parts();
    let collected = Limited::new(body, ANSWER_BYTES).collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, trailers, body: collected.to_bytes() })
}

impl Answer {
    /// Nothing when the request was taken. Credentials that are not taken are ours to repair: the records wait meanwhile.
    pub(super) fn trouble(&self, who: &str) -> Option<Trouble> {
        let why = format!("{who} answered {}", self.status);
        match self.status {
            200..=299 => None,
            400 | 406 | 409..=418 | 422 | 424 | 426..=428 | 431 => Some(Trouble::refused(why)),
            _ => Some(Trouble { kind: TroubleKind::Later(self.retry_after()), why }),
        }
    }

    /// `Retry-After` in seconds; a date is rare and not worth a calendar.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_retried_or_refused() {
        for (status, kind) in [
            (200, None),
            (204, None),
            (400, Some(TroubleKind::Refused)),
            (401, Some(TroubleKind::Later(None))),
            (403, Some(TroubleKind::Later(None))),
            (408, Some(TroubleKind::Later(None))),
            (413, Some(TroubleKind::Refused)),
            (429, Some(TroubleKind::Later(Some(Duration::from_secs(7))))),
            (503, Some(TroubleKind::Later(None))),
        ] {
            let mut headers = HeaderMap::new();
            if status == 429 {
                headers.insert("retry-after", HeaderValue::from_static("7"));
            }
            let answer = Answer { status, headers, trailers: HeaderMap::new(), body: Bytes::new() };
            assert_eq!(answer.trouble("x").map(|trouble| trouble.kind), kind, "{status}");
        }
    }

    #[test]
    fn urls_are_checked_before_the_first_alert() {
        for url in ["ftp://a/", "a", "https://user:pass@a/", "http:///x"] {
            assert!(Client::new(url, &Tls::default(), Version::Http1).is_err(), "{url}");
        }
    }
}
