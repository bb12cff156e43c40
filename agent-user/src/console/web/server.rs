//! Requests in, answers out: one thread, HTTP/1 by hyper, everything bounded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION, SET_COOKIE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::gate::{BODY_BYTES, Gate, Refused};
use super::{page, pages};
use crate::console::control::Board;
use crate::console::graph::Graph;
use crate::console::{api, metrics};

/// Connections at once, and of these, pages that wait for news.
const CONNECTIONS: usize = 64;
const LISTENERS: usize = 16;
/// Head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// A client that says nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a waiting page is told that something changed.
const NEWS: Duration = Duration::from_millis(500);
/// Rounds of [`NEWS`] after which a quiet connection is touched, so that one whose browser went away ends.
const QUIET_ROUNDS: u32 = 30;
/// What a wrong token costs who guesses.
const WRONG_TOKEN: Duration = Duration::from_millis(500);
/// Rows of the lists on a page.
const ROWS: usize = 200;

/// Nothing from elsewhere, no inline script or style, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types agentward";

pub(super) struct Console {
    pub(super) board: Arc<Board>,
    pub(super) gate: Gate,
    connections: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

impl Console {
    pub(super) fn new(board: Arc<Board>, gate: Gate) -> Arc<Console> {
        Arc::new(Console {
            board,
            gate,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        })
    }

    /// Waits until one more connection may be served.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().acquire_owned().await.ok()
    }

    /// Serves one connection; `peer` is the user at the other end of a unix socket.
    pub(super) async fn serve<S>(self: Arc<Self>, stream: S, peer: Option<u32>, _place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(|request| {
            let console = self.clone();
            async move { Ok::<_, Infallible>(console.answer(request, peer).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_BYTES).half_close(false);
        // A connection that breaks is the client's affair.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: Option<u32>) -> Response<Out> {
        let path = request.uri().path().to_owned();
        let mut response = match self.gate.check(request.method(), request.uri(), request.headers()) {
            Err(Refused(status, reason)) => plain(status, "text/plain; charset=utf-8", reason),
            Ok(()) => self.route(request, &path, peer).await,
        };
        let headers = response.headers_mut();
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
        ] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    async fn route(&self, request: Request<Incoming>, path: &str, peer: Option<u32>) -> Response<Out> {
        if let Some(asset) = path.strip_prefix("/assets/") {
            return asset_of(asset);
        }
        let admitted = self.gate.admits(request.headers(), peer);
        match (request.method().clone(), path) {
            (Method::POST, "/login") => self.login(request).await,
            (Method::POST, "/logout") => {
                let cookie = self.gate.end_session(request.headers());
                with_cookie(redirect("/login"), &cookie)
            }
            (Method::POST, _) => plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "nothing is changed here"),
            (_, "/login") if admitted => redirect("/"),
            (_, "/login") => html(StatusCode::OK, page::login(false)),
            (_, path) if !admitted && (path.starts_with("/api/") || path == "/metrics") => {
                plain(StatusCode::UNAUTHORIZED, "application/json", "{\"error\":\"log in, or send the token as a bearer\"}")
            }
            (_, _) if !admitted => redirect("/login"),
            (_, "/api/v1/events") => self.events(),
            (_, "/metrics") => plain(StatusCode::OK, metrics::KIND, metrics::text(&self.board)),
            (_, "/api/v1/openapi.json") => plain(StatusCode::OK, "application/json", super::OPENAPI),
            (_, path) if path.starts_with("/api/") => {
                let asked = request.uri().path_and_query().map_or(path, |path| path.as_str());
                match api::answer(&self.board, asked.trim_start_matches("/api")) {
                    Some(json) => plain(StatusCode::OK, "application/json", json),
                    None => plain(StatusCode::NOT_FOUND, "application/json", "{\"error\":\"not found\"}"),
                }
            }
            (_, path) => self.page(path),
        }
    }

    fn page(&self, path: &str) -> Response<Out> {
        let picture = &self.board.picture;
        picture.looked();
        let overview = || api::overview(&self.board);
        let recording = picture.is_recording();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let found = match segments[..] {
            [""] => Some(pages::overview(&overview(), &picture.alerts(ROWS))),
            ["alerts"] => Some(pages::alerts(&picture.alerts(ROWS), recording)),
            ["alerts", uid] => picture.alert_of(uid).map(|alert| pages::alert(&alert, recording)),
            ["alerts", uid, "report.html"] => return self.report(uid),
            ["workflows"] => Some(pages::workflows(&picture.workflows(ROWS), recording)),
            ["workflows", id] => picture.workflow(id).map(|workflow| pages::workflow(&workflow, recording)),
            ["workflows", id, file] => return self.graph(id, file),
            ["agents"] => Some(pages::agents(&overview())),
            ["agents", id] => picture.agent(id).map(|agent| pages::agent(&agent, recording)),
            ["rules"] => Some(pages::rules(&picture.rules(), recording)),
            _ => None,
        };
        match found {
            Some(page) => html(StatusCode::OK, page),
            None => missing(),
        }
    }

    fn report(&self, uid: &str) -> Response<Out> {
        let Some(alert) = self.board.picture.alert_of(uid) else { return missing() };
        let name = format!("attachment; filename=\"agentward-{}.html\"", alert.row.uid);
        download(plain(StatusCode::OK, "text/html; charset=utf-8", pages::report(&alert)), &name)
    }

    fn graph(&self, id: &str, file: &str) -> Response<Out> {
        let Some(workflow) = self.board.picture.workflow(id) else { return missing() };
        let graph = Graph::of_workflow(&workflow);
        let (kind, text) = match file {
            "graph.svg" => ("image/svg+xml", graph.svg_file(&format!("Workflow {}", workflow.row.id))),
            "graph.mmd" => ("text/plain; charset=utf-8", graph.mermaid()),
            "graph.dot" => ("text/plain; charset=utf-8", graph.dot()),
            _ => return missing(),
        };
        let name = format!("attachment; filename=\"agentward-{}-{file}\"", workflow.row.id);
        download(plain(StatusCode::OK, kind, text), &name)
    }

    async fn login(&self, request: Request<Incoming>) -> Response<Out> {
        let body = Limited::new(request.into_body(), BODY_BYTES).collect();
        let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, body).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain; charset=utf-8", "the request is too large or too slow");
        };
        let body = body.to_bytes();
        let text = String::from_utf8_lossy(&body);
        let token = text.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
        // Form encoding; a token of ours needs none, an operator's may.
        let token = percent_encoding::percent_decode_str(&token.replace('+', " ")).decode_utf8_lossy().into_owned();
        if !self.gate.is_token(token.trim()) {
            tokio::time::sleep(WRONG_TOKEN).await;
            return html(StatusCode::UNAUTHORIZED, page::login(true));
        }
        match self.gate.begin_session() {
            Ok(cookie) => with_cookie(redirect("/"), &cookie),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", "no randomness for a session"),
        }
    }

    /// Server-sent events (HTML standard, 9.2): the revision of the picture whenever it grew.
    fn events(&self) -> Response<Out> {
        let Ok(place) = self.listeners.clone().try_acquire_owned() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "too many pages are open");
        };
        let (sender, receiver) = mpsc::channel(2);
        let board = self.board.clone();
        tokio::spawn(async move {
            let mut told = None;
            let mut quiet = 0;
            loop {
                board.picture.looked();
                let revision = board.picture.revision();
                let message = if told != Some(revision) {
                    format!("id: {revision}\nevent: change\ndata: {revision}\n\n")
                } else if quiet >= QUIET_ROUNDS {
                    ": still here\n\n".into()
                } else {
                    String::new()
                };
                told = Some(revision);
                quiet += 1;
                if !message.is_empty() {
                    quiet = 0;
                    if sender.send(Bytes::from(message)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(NEWS) => {}
                }
            }
        });
        let mut response = Response::new(Out::Events { receiver, _place: place });
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }
}

/// A body that is there, or one that grows.
pub(super) enum Out {
    Whole(Full<Bytes>),
    Events { receiver: mpsc::Receiver<Bytes>, _place: OwnedSemaphorePermit },
}

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Out::Whole(body) => Pin::new(body).poll_frame(context),
            Out::Events { receiver, .. } => receiver.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Out::Whole(body) => body.size_hint(),
            Out::Events { .. } => hyper::body::SizeHint::default(),
        }
    }
}

fn plain(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Out> {
    let mut response = Response::new(Out::Whole(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn html(status: StatusCode, page: String) -> Response<Out> {
    plain(status, "text/html; charset=utf-8", page)
}

fn missing() -> Response<Out> {
    html(
        StatusCode::NOT_FOUND,
        page::fault("Not found", "It is not there, or it is so old that the picture let it go. The journal has all alerts."),
    )
}

fn redirect(to: &'static str) -> Response<Out> {
    let mut response = plain(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    response
}

fn with_cookie(mut response: Response<Out>, cookie: &str) -> Response<Out> {
    let value = HeaderValue::from_str(cookie).expect("our cookies are hex digits and attributes");
    response.headers_mut().insert(SET_COOKIE, value);
    response
}

/// A file leaves the console's origin at once: whatever opens it gets no right of the console.
fn download(mut response: Response<Out>, disposition: &str) -> Response<Out> {
    if let Ok(value) = HeaderValue::from_str(disposition) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    let sandbox = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    response.headers_mut().insert("content-security-policy", HeaderValue::from_static(sandbox));
    response
}

fn asset_of(name: &str) -> Response<Out> {
    match super::ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, kind, text)) => {
            let mut response = plain(StatusCode::OK, kind, *text);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        None => missing(),
    }
}
