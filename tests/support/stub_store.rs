//! A web server of files that serves ranges, and fails as storages do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use futures::{StreamExt, stream};

/// What befalls the requests for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Status(u16),
    /// So many requests fail with 503, those behind them are served.
    Busy(u32),
    /// So many answers break off in their middle, those behind them are whole.
    Half(u32),
    /// Another tag each time.
    Changing,
    /// Refused as an old signature is.
    Expired,
    /// Whatever is asked for, the whole is sent.
    NoRanges,
}

#[derive(Default)]
struct Inner {
    folder: PathBuf,
    troubles: HashMap<String, Trouble>,
    /// `METHOD path?query range`
    asked: Vec<String>,
}

#[derive(Clone)]
pub struct StubStore {
    inner: Arc<Mutex<Inner>>,
    address: String,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl StubStore {
    pub fn of(folder: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let inner = Inner { folder: folder.to_owned(), ..Inner::default() };
        let inner = Arc::new(Mutex::new(inner));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { inner, address, _runtime: Arc::new(runtime) }
    }

    pub fn url(&self, name: &str) -> PathBuf {
        format!("{}/{name}", self.address).into()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn trouble(&self, name: &str, trouble: Option<Trouble>) {
        let mut inner = self.inner.lock().expect("not poisoned");
        match trouble {
            Some(trouble) => _ = inner.troubles.insert(name.to_owned(), trouble),
            None => _ = inner.troubles.remove(name),
        }
    }

    /// What was asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().expect("not poisoned").asked)
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response<Body> {
    let mut inner = inner.lock().expect("not poisoned");
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = range.unwrap_or("").to_owned();
    let asked = request.uri().path_and_query().map_or("", |path| path.as_str());
    let line = format!("{} {asked} {range}", request.method());
    inner.asked.push(line);
    let count = inner.asked.len();
    let trouble = inner.troubles.get(&name).copied();
    match trouble {
        Some(Trouble::Status(status)) => return refused(status, ""),
        Some(Trouble::Busy(0)) | None => {}
        Some(Trouble::Half(left)) if request.method() == Method::GET => {
            inner.troubles.insert(name.clone(), Trouble::Half(left.saturating_sub(1)));
        }
        Some(Trouble::Busy(left)) => {
            inner.troubles.insert(name, Trouble::Busy(left - 1));
            return refused(503, "");
        }
        Some(Trouble::Expired) => {
            let body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message>\
                <Signature>q7x9</Signature></Error>";
            return refused(403, body);
        }
        Some(_) => {}
    }
    let Ok(bytes) = fs_err::read(inner.folder.join(&name)) else { return refused(404, "") };
    let version = if trouble == Some(Trouble::Changing) { count } else { 0 };
    let tag = format!("\"{}-{version}\"", bytes.len());
    serve(&bytes, &tag, request.method(), request.headers(), &range, trouble)
}

fn serve(
    bytes: &[u8],
    tag: &str,
    method: &Method,
    headers: &HeaderMap,
    range: &str,
    trouble: Option<Trouble>,
) -> Response<Body> {
    if headers.get(header::IF_MATCH).is_some_and(|wanted| wanted != tag) {
        return refused(412, "");
    }
    let len = bytes.len();
    let told = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let told = told.filter(|_| trouble != Some(Trouble::NoRanges));
    let bounds = told.map(|(from, to)| {
        let to = to.parse().map_or(len, |to: usize| (to + 1).min(len));
        (from.parse().expect("a number"), to)
    });
    let mut response = Response::builder().header(header::ETAG, tag);
    let (from, to) = bounds.unwrap_or((0, len));
    if bounds.is_some() {
        let told = format!("bytes {from}-{}/{len}", to - 1);
        response = response.status(206).header(header::CONTENT_RANGE, told);
    }
    response = response.header(header::CONTENT_LENGTH, to - from);
    if method == Method::HEAD {
        return response.body(Body::empty()).expect("a response");
    }
    let part = Bytes::copy_from_slice(&bytes[from..to]);
    let body = match trouble {
        Some(Trouble::Half(1..)) if part.len() > 1 => {
            let half = part.slice(..part.len() / 2);
            // What was sent has arrived by then.
            let broken = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err(std::io::Error::other("broken off"))
            };
            Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
        }
        _ => Body::from(part),
    };
    response.body(body).expect("a response")
}

fn refused(status: u16, body: &'static str) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    Response::builder().status(status).body(Body::from(body)).expect("a response")
}
