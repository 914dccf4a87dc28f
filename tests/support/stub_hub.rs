//! A server that plays a hub to which datasets are pushed and from which they are read: repositories
//! with branches, Git LFS with basic and multipart transfers, commits, listings of a few files a page,
//! large files at another server. Faults are played on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pairwright::base::hash::sha256_hex;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// The token that may write.
pub const TOKEN: &str = "hf_a-secret-that-nobody-prints";

/// Files of a branch by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the hub has and has seen.
#[derive(Default)]
pub struct Hub {
    pub branches: BTreeMap<String, Files>,
    pub objects: HashMap<String, Vec<u8>>,
    pub commits: Vec<Value>,
    /// `METHOD PATH` of every request.
    pub seen: Vec<String>,
    /// Uploads that are taken before every further one is answered with 500.
    pub uploads_left: Option<usize>,
    /// Uploads that begin with a 503 and pass when they are tried again.
    pub hiccups: usize,
    /// Commits are answered with 500, and made (true) or not.
    pub commit_fault: Option<bool>,
    /// Large files go in parts of this size.
    pub part_size: Option<usize>,
    parts: BTreeMap<(String, usize), Vec<u8>>,
    /// Answers of a listing that begin with a 503 and pass when they are asked for again.
    pub listing_hiccups: usize,
}

impl Hub {
    fn at(&self, commit: &str) -> &Files {
        let mut branches = self.branches.iter();
        branches.find(|(name, _)| commit_of(name) == commit).expect("a commit that was told").1
    }

    /// Uploads of large files, or of their parts.
    pub fn puts(&self) -> usize {
        self.seen.iter().filter(|one| one.starts_with("PUT ")).count()
    }
}

/// The server; it ends with the runtime that it was started in.
pub struct StubHub {
    pub url: String,
    pub hub: Arc<Mutex<Hub>>,
}

impl StubHub {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let hub = Arc::<Mutex<Hub>>::default();
        let state = (Arc::clone(&hub), url.clone());
        let app = Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { url, hub }
    }

    pub fn hub(&self) -> std::sync::MutexGuard<'_, Hub> {
        self.hub.lock().expect("no panic")
    }
}

type Shared = (Arc<Mutex<Hub>>, String);

async fn answer(
    State((hub, url)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut hub = hub.lock().expect("no panic");
    hub.seen.push(format!("{method} {}", uri.path()));
    let told = headers.get("authorization").and_then(|value| value.to_str().ok());
    let is_store = ["/store/", "/content/"].iter().any(|start| uri.path().starts_with(start));
    if is_store && told.is_some() {
        return (StatusCode::BAD_REQUEST, "a store wants no token").into_response();
    }
    if !is_store && told != Some(format!("Bearer {TOKEN}").as_str()) {
        let said = json!({"error": "Invalid username or password."});
        return (StatusCode::UNAUTHORIZED, said.to_string()).into_response();
    }
    let decoded = |part| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let parts: Vec<String> = uri.path().trim_matches('/').split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let json = || serde_json::from_slice::<Value>(&body).expect("JSON");
    match (method.as_str(), &parts[..]) {
        ("GET", ["api", "datasets", ..]) if hub.branches.is_empty() => missing(),
        ("GET", ["api", "datasets", owner, name]) => {
            answered(&json!({"id": format!("{owner}/{name}")}))
        }
        ("POST", ["api", "repos", "create"]) => {
            hub.branches.insert("main".into(), Files::new());
            answered(&json!({"url": "made"}))
        }
        ("POST", ["api", "datasets", _, _, "branch", branch]) => {
            if hub.branches.contains_key(*branch) {
                return StatusCode::CONFLICT.into_response();
            }
            let main = hub.branches["main"].clone();
            hub.branches.insert((*branch).to_owned(), main);
            StatusCode::OK.into_response()
        }
        ("GET", ["datasets", _, _, "raw", branch, rest @ ..]) => {
            match hub.branches.get(*branch).and_then(|files| files.get(&rest.join("/"))) {
                Some(bytes) => bytes.clone().into_response(),
                None => missing(),
            }
        }
        ("POST", ["api", "datasets", _, _, "preupload", _]) => preupload(&json()),
        ("POST", ["datasets", _, _, "info", "lfs", "objects", "batch"]) => {
            batch(&hub, &url, &json())
        }
        ("PUT", ["store", oid, part]) => put(&mut hub, oid, part, &body),
        ("POST", ["complete", oid]) => complete(&mut hub, oid, &json()),
        ("POST", ["verify", oid]) => match hub.objects.contains_key(*oid) {
            true => StatusCode::OK.into_response(),
            false => missing(),
        },
        ("POST", ["api", "datasets", _, _, "commit", branch]) => match hub.commit_fault {
            None => commit(&mut hub, branch, &body),
            Some(made) => {
                if made {
                    _ = commit(&mut hub, branch, &body);
                }
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        },
        ("GET", ["api", "datasets", _, _, "revision", revision]) => {
            match hub.branches.contains_key(*revision) {
                true => answered(&json!({"sha": commit_of(revision)})),
                false => missing(),
            }
        }
        ("GET", ["api", "datasets", _, _, "tree", ..]) if hub.listing_hiccups > 0 => {
            hub.listing_hiccups -= 1;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        ("GET", ["api", "datasets", _, _, "tree", commit, rest @ ..]) => {
            tree(hub.at(commit), &rest.join("/"), &url, &uri)
        }
        ("POST", ["api", "datasets", _, _, "paths-info", commit]) => {
            let files = hub.at(commit);
            let paths = json()["paths"].as_array().expect("paths").clone();
            let told = paths.iter().filter_map(|path| {
                let path = path.as_str().expect("a path");
                Some(entry(path, files.get(path)?))
            });
            answered(&told.collect())
        }
        ("GET", ["datasets", _, _, "resolve", commit, rest @ ..]) => {
            let path = rest.join("/");
            let Some(bytes) = hub.at(commit).get(&path) else { return missing() };
            if !is_large(&path) {
                return ranged(bytes, &headers);
            }
            // The same server under a name to which no token may go.
            let elsewhere = url.replace("127.0.0.1", "localhost");
            let content = format!("{elsewhere}/content/{}", sha256_hex(bytes));
            (StatusCode::FOUND, [("location", content)]).into_response()
        }
        ("GET", ["content", hash]) => {
            let mut files = hub.branches.values().flat_map(Files::values);
            files
                .find(|bytes| sha256_hex(bytes) == *hash)
                .map_or_else(missing, |bytes| ranged(bytes, &headers))
        }
        _ => missing(),
    }
}

/// The commit that a branch stands at.
fn commit_of(branch: &str) -> String {
    sha256_hex(branch.as_bytes())[..40].to_owned()
}

fn is_large(path: &str) -> bool {
    [".parquet", ".tar", ".jpg"].iter().any(|end| path.ends_with(end))
}

fn entry(path: &str, bytes: &[u8]) -> Value {
    let (oid, size) = (sha256_hex(bytes), bytes.len());
    let mut entry = json!({"type": "file", "path": path, "oid": oid[..40], "size": size});
    if is_large(path) {
        // The pointer's own length stands beside it.
        entry["lfs"] = json!({"oid": oid, "size": size, "pointerSize": 134});
    }
    entry
}

/// Files and folders in a folder, two a page.
fn tree(files: &Files, folder: &str, url: &str, uri: &Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut entries = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with(&start)) {
        match path[start.len()..].split_once('/') {
            Some((below, _)) if query.contains("recursive=false") => {
                let path = format!("{start}{below}");
                let folder = json!({"type": "directory", "path": path, "oid": "0", "size": 0});
                entries.insert(path, folder);
            }
            _ => _ = entries.insert(path.clone(), entry(path, bytes)),
        }
    }
    if entries.is_empty() {
        return missing();
    }
    let from: usize = query.split("cursor=").nth(1).map_or(0, |at| at.parse().expect("a number"));
    let page: Value = entries.values().skip(from).take(2).cloned().collect();
    if from + 2 >= entries.len() {
        return answered(&page);
    }
    let recursive = query.split('&').next().expect("the first");
    let next = format!("<{url}{}?{recursive}&cursor={}>; rel=\"next\"", uri.path(), from + 2);
    ([("link", next)], page.to_string()).into_response()
}

fn ranged(bytes: &[u8], headers: &HeaderMap) -> Response {
    let range = headers.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        return bytes.to_vec().into_response();
    };
    let (from, to): (usize, usize) = (from.parse().expect("from"), to.parse().expect("to"));
    let to = to.min(bytes.len() - 1);
    let told = format!("bytes {from}-{to}/{}", bytes.len());
    (StatusCode::PARTIAL_CONTENT, [("content-range", told)], bytes[from..=to].to_vec())
        .into_response()
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, json!({"error": "Entry not found"}).to_string()).into_response()
}

fn answered(value: &Value) -> Response {
    value.to_string().into_response()
}

/// Large is what the hub's own attributes send to Git LFS.
fn preupload(body: &Value) -> Response {
    let mode = |file: &Value| {
        let path = file["path"].as_str().expect("a path");
        let mode = if is_large(path) { "lfs" } else { "regular" };
        json!({"path": path, "uploadMode": mode, "shouldIgnore": false})
    };
    let files = body["files"].as_array().expect("files");
    answered(&json!({"files": files.iter().map(mode).collect::<Vec<_>>()}))
}

fn batch(hub: &Hub, url: &str, body: &Value) -> Response {
    let object = |one: &Value| {
        let (oid, size) = (one["oid"].as_str().expect("oid"), one["size"].as_u64().expect("size"));
        if hub.objects.contains_key(oid) {
            return json!({"oid": oid, "size": size});
        }
        let verify = json!({"href": format!("{url}/verify/{oid}")});
        let upload = match hub.part_size {
            None => json!({"href": format!("{url}/store/{oid}/0")}),
            Some(part) => {
                let count = (size as usize).div_ceil(part);
                let mut header = serde_json::Map::new();
                header.insert("chunk_size".into(), part.to_string().into());
                for number in 1..=count {
                    let href = format!("{url}/store/{oid}/{number}");
                    header.insert(format!("{number:05}"), href.into());
                }
                json!({"href": format!("{url}/complete/{oid}"), "header": header})
            }
        };
        json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    };
    let objects = body["objects"].as_array().expect("objects");
    answered(&json!({"objects": objects.iter().map(object).collect::<Vec<_>>()}))
}

fn put(hub: &mut Hub, oid: &str, part: &str, body: &Bytes) -> Response {
    if hub.hiccups > 0 {
        hub.hiccups -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match &mut hub.uploads_left {
        Some(0) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(left) => *left -= 1,
        None => {}
    }
    let number: usize = part.parse().expect("a number");
    if number > 0 {
        hub.parts.insert((oid.to_owned(), number), body.to_vec());
        return [("etag", format!("\"{number}\""))].into_response();
    }
    store(hub, oid, body.to_vec())
}

fn complete(hub: &mut Hub, oid: &str, body: &Value) -> Response {
    let parts = body["parts"].as_array().expect("parts");
    let mut whole = Vec::new();
    for (number, part) in (1..).zip(parts) {
        assert_eq!(
            (&part["partNumber"], &part["etag"]),
            (&json!(number), &json!(format!("\"{number}\"")))
        );
        whole.extend(&hub.parts[&(oid.to_owned(), number)]);
    }
    store(hub, oid, whole)
}

/// A store takes what has the hash it was announced under.
fn store(hub: &mut Hub, oid: &str, bytes: Vec<u8>) -> Response {
    if sha256_hex(&bytes) != oid {
        return (StatusCode::BAD_REQUEST, "another hash").into_response();
    }
    hub.objects.insert(oid.to_owned(), bytes);
    StatusCode::OK.into_response()
}

fn commit(hub: &mut Hub, branch: &str, body: &Bytes) -> Response {
    let lines = std::str::from_utf8(body).expect("text").lines();
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut files = hub.branches[branch].clone();
    for line in &lines {
        let value = &line["value"];
        let path = || value["path"].as_str().expect("a path").to_owned();
        match line["key"].as_str().expect("a key") {
            "file" => {
                let content = value["content"].as_str().expect("content");
                files.insert(path(), BASE64.decode(content).expect("base64"));
            }
            "lfsFile" => {
                let Some(bytes) = hub.objects.get(value["oid"].as_str().expect("oid")) else {
                    let said = json!({"error": "an LFS pointer without its object"});
                    return (StatusCode::BAD_REQUEST, said.to_string()).into_response();
                };
                files.insert(path(), bytes.clone());
            }
            "deletedFile" => {
                files.remove(&path()).expect("a file to delete");
            }
            _ => {}
        }
    }
    hub.branches.insert(branch.to_owned(), files);
    hub.commits.push(lines[0].clone());
    answered(&json!({"commitOid": format!("c{}", hub.commits.len()), "success": true}))
}
