//! A server that plays a model hub, and a second port that plays the store it redirects to. Real
//! sockets; faults are played from a script.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The commit that every revision stands for.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The repository that is there.
pub const REPO: &str = "acme/tiny";

/// What goes wrong with one request for a file's bytes.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// One byte in the middle is another.
    Wrong,
    /// A web page with status 200, called what is given.
    Html(&'static str),
    /// This status, with this `X-Error-Code`.
    Status(u16, &'static str),
    /// The whole file, whatever range was asked for.
    NoRanges,
    /// Pieces of 1 KiB with this pause between.
    Slow(Duration),
    /// Nothing, for this long.
    Silent(Duration),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// First byte asked for.
    pub start: Option<usize>,
    pub authorised: bool,
    /// Whether it came to the store, not to the hub itself.
    pub at_store: bool,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    faults: HashMap<String, VecDeque<Fault>>,
    seen: Vec<Seen>,
    store: u16,
    token: Option<String>,
    connections: usize,
}

/// The hub. Its threads end with the test.
#[derive(Clone)]
pub struct FakeHub {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl FakeHub {
    pub fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let (hub, store) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let state =
            State { files: files.into_iter().collect(), store: port(&store), ..State::default() };
        let started = Self { state: Arc::new(Mutex::new(state)), port: port(&hub) };
        for (listener, at_store) in [(hub, false), (store, true)] {
            let served = started.clone();
            thread::spawn(move || served.serve(&listener, at_store));
        }
        started
    }

    /// Value of `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Plays faults, one for each request of the file's bytes.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.with(|state| state.faults.entry(path.into()).or_default().extend(faults));
    }

    /// Puts another file in a file's place.
    pub fn replace(&self, path: &str, bytes: Vec<u8>) {
        self.with(|state| state.files.insert(path.into(), bytes));
    }

    /// Lets in only who has this token.
    pub fn demand(&self, token: &str) {
        self.with(|state| state.token = Some(token.into()));
    }

    pub fn connections(&self) -> usize {
        self.with(|state| state.connections)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.with(|state| state.seen.clone())
    }

    /// The first bytes asked for of a file, request by request.
    pub fn starts(&self, path: &str) -> Vec<usize> {
        let gets = |one: &Seen| one.method == "GET" && one.path.ends_with(path);
        self.seen().iter().filter(|one| gets(one)).map(|one| one.start.unwrap_or(0)).collect()
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics while holding it"))
    }

    fn serve(&self, listener: &TcpListener, at_store: bool) {
        for stream in listener.incoming().flatten() {
            let served = self.clone();
            served.with(|state| state.connections += 1);
            thread::spawn(move || while served.answer(&stream, at_store).is_some() {});
        }
    }

    /// Answers one request; none when the connection is to be closed.
    fn answer(&self, stream: &TcpStream, at_store: bool) -> Option<()> {
        let seen = read_request(stream, at_store)?;
        self.with(|state| state.seen.push(seen.clone()));
        let allowed = self.with(|state| state.token.is_none()) || seen.authorised || at_store;
        if !allowed {
            return reply(stream, "401 Unauthorized", &["X-Error-Code: GatedRepo"], b"", false);
        }
        if seen.path.starts_with("/api/") {
            return reply(stream, "200 OK", &[], self.info().to_string().as_bytes(), false);
        }
        let path = match seen.path.split_once("/resolve/") {
            Some((_, rest)) => rest.split_once('/')?.1.to_owned(),
            None => seen.path.strip_prefix("/store/")?.to_owned(),
        };
        let is_head = seen.method == "HEAD";
        let Some(bytes) = self.with(|state| state.files.get(&path).cloned()) else {
            return reply(stream, "404 Not Found", &["X-Error-Code: EntryNotFound"], b"", is_head);
        };
        let is_large = path.contains(".onnx");
        if is_head {
            return self.head(stream, &path, &bytes, is_large);
        }
        let fault = self.with(|state| state.faults.get_mut(&path).and_then(VecDeque::pop_front));
        body(stream, &bytes, seen.start, fault)
    }

    /// As the hub answers: a large file is elsewhere, and its SHA-256 is told; of a small one only
    /// git's own hash is.
    fn head(&self, stream: &TcpStream, path: &str, bytes: &[u8], is_large: bool) -> Option<()> {
        let commit = format!("X-Repo-Commit: {COMMIT}");
        if !is_large {
            let etag = format!("ETag: \"{:040x}\"", bytes.len());
            return reply(stream, "200 OK", &[&commit, &etag], bytes, true);
        }
        let port = self.with(|state| state.store);
        let location = format!("Location: http://127.0.0.1:{port}/store/{path}");
        let etag = format!("X-Linked-Etag: \"{}\"", pairwright::base::hash::sha256_hex(bytes));
        let size = format!("X-Linked-Size: {}", bytes.len());
        reply(stream, "302 Found", &[&commit, &location, &etag, &size], b"", true)
    }

    fn info(&self) -> Value {
        let files = self.with(|state| state.files.clone());
        let file = |(path, bytes): (&String, &Vec<u8>)| {
            let lfs = path.contains(".onnx").then(
                || json!({ "sha256": pairwright::base::hash::sha256_hex(bytes), "size": bytes.len() }),
            );
            json!({ "rfilename": path, "size": bytes.len(), "lfs": lfs })
        };
        let siblings: Vec<Value> = files.iter().map(file).collect();
        json!({ "sha": COMMIT, "siblings": siblings, "cardData": { "license": "mit" } })
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn read_request(stream: &TcpStream, at_store: bool) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut seen = Seen { method, path, start: None, authorised: false, at_store };
    loop {
        let line = lines.next()?.ok()?.to_lowercase();
        if line.is_empty() {
            return Some(seen);
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            seen.start = range.trim_end_matches('-').parse().ok();
        }
        seen.authorised |= line.starts_with("authorization: bearer ");
    }
}

fn reply(
    mut stream: &TcpStream,
    status: &str,
    headers: &[&str],
    body: &[u8],
    is_head: bool,
) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if is_head { Some(()) } else { stream.write_all(body).ok() }
}

fn body(
    mut stream: &TcpStream,
    bytes: &[u8],
    start: Option<usize>,
    fault: Option<Fault>,
) -> Option<()> {
    let mut bytes = bytes.to_vec();
    let mut start = start.unwrap_or(0);
    match &fault {
        Some(Fault::Status(status, code)) => {
            let (status, code) = (format!("{status} Fault"), format!("X-Error-Code: {code}"));
            return reply(stream, &status, &[&code], b"", false);
        }
        Some(Fault::Html(kind)) => {
            let kind = format!("Content-Type: {kind}");
            let page = format!("<!doctype html><title>log in</title>{:2000}", "");
            return reply(stream, "200 OK", &[&kind], page.as_bytes(), false);
        }
        Some(Fault::Silent(time)) => {
            thread::sleep(*time);
            return None;
        }
        Some(Fault::Wrong) => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
        }
        Some(Fault::NoRanges) => start = 0,
        _ => {}
    }
    if start >= bytes.len() && start > 0 {
        return reply(stream, "416 Range Not Satisfiable", &[], b"", false);
    }
    let rest = &bytes[start..];
    let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    let (status, headers) =
        if start > 0 { ("206 Partial Content", vec![range]) } else { ("200 OK", vec![]) };
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", rest.len());
    headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    match fault {
        Some(Fault::Cut(after)) => {
            stream.write_all(&rest[..after.min(rest.len())]).ok()?;
            None
        }
        Some(Fault::Slow(pause)) => rest.chunks(1024).try_for_each(|piece| {
            thread::sleep(pause);
            stream.write_all(piece).ok()
        }),
        _ => stream.write_all(rest).ok(),
    }
}
