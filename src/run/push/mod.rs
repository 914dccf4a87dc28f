//! `push`: an export to a dataset on the hub, as one commit.
//!
//! As the hub's own client speaks: `preupload` tells which files are large, Git LFS takes those
//! (basic and multipart transfers) and says which it has already, and one commit names everything.
//! Nothing of the dataset changes before that commit, so that a push that breaks off is gone on with
//! by the same command and never leaves a half revision.

mod error;
mod plan;
mod remote;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt, TryStreamExt};
use indicatif::HumanBytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::base::hub::HubOptions;
use crate::base::json as lines;
use crate::dataset::sink::{ExportFormat, MANIFEST, Manifest};
use crate::dataset::store::ExportRow;
use plan::{File, Plan};
use remote::{Part, Payload, Remote, excerpt, parse};

pub use error::PushError;

/// Files that are asked about at once.
const AT_ONCE: usize = 256;
/// Uploads under way at once.
const UPLOADS: usize = 4;
/// What the hub looks at of a file, in bytes.
const SAMPLE: u64 = 512;

/// What is pushed, and where.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// `OWNER/NAME`.
    pub repo: String,
    /// None: the only one that is a folder.
    pub format: Option<ExportFormat>,
    /// A branch; made where it is not there.
    pub revision: String,
    /// Of a dataset that is made.
    pub private: bool,
    /// The commit's first line.
    pub message: Option<String>,
    /// Only tells what would be sent.
    pub dry_run: bool,
}

/// What a push did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub repo: String,
    pub revision: String,
    pub format: ExportFormat,
    pub files: usize,
    pub bytes: u64,
    /// Large files that were sent now; the hub had the others.
    pub sent: usize,
    pub deleted: Vec<String>,
    /// None where nothing was committed.
    pub commit: Option<String>,
    pub dry_run: bool,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repo, revision, format, files, bytes, sent, .. } = self;
        let name = format.name();
        let what = format!("{files} files of `{name}`, {}", HumanBytes(*bytes));
        match (&self.commit, self.dry_run) {
            (_, true) => writeln!(f, "would push {what} to {repo}@{revision}; nothing was sent")?,
            (None, _) => writeln!(f, "{repo}@{revision} has these {what} already")?,
            (Some(commit), _) => {
                writeln!(f, "pushed    {what} to {repo}@{revision}, commit {commit}")?;
                writeln!(f, "sent      {sent} large files; the hub had the others")?;
            }
        }
        self.deleted.iter().try_for_each(|path| writeln!(f, "removed   {path}"))
    }
}

/// Pushes an export. Nothing is sent that is not, byte for byte, what the run exported.
///
/// # Errors
/// [`PushError`]: the dataset on the hub is as it was before, unless it is
/// [`PushError::Unclear`]: then that is not known.
pub async fn push(
    exports: &[ExportRow],
    options: &PushOptions,
    hub: HubOptions,
) -> Result<Pushed, PushError> {
    check_names(options)?;
    let plan = Plan::read(exports, options.format)?;
    let mut pushed = Pushed {
        repo: options.repo.clone(),
        revision: options.revision.clone(),
        format: plan.format,
        files: plan.files.len(),
        bytes: plan.bytes(),
        sent: 0,
        deleted: Vec::new(),
        commit: None,
        dry_run: options.dry_run,
    };
    if options.dry_run {
        return Ok(pushed);
    }
    let remote = Remote::new(hub)?;
    if !remote.has_token() {
        return Err(PushError::NoToken { repo: options.repo.clone() });
    }
    let push = Push { remote, options, plan: &plan };
    push.make_repository().await?;
    let earlier = push.earlier().await?;
    if earlier.as_ref() == Some(&plan.manifest) {
        return Ok(pushed);
    }
    let large = push.large_files().await?;
    pushed.sent = push.send(&large).await?;
    pushed.deleted = plan.gone(earlier.as_ref());
    match push.commit(&large, &pushed.deleted).await {
        Ok(commit) => pushed.commit = Some(commit),
        Err(error) => push.settle(error).await?,
    }
    Ok(pushed)
}

/// Names go into addresses: they are what the hub itself takes.
fn check_names(options: &PushOptions) -> Result<(), PushError> {
    let plain = |text: &str| {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        !text.is_empty() && text.len() <= 96 && text.bytes().all(fits) && !text.starts_with('.')
    };
    let name =
        |field, value: &str, expected| PushError::Name { field, value: value.to_owned(), expected };
    let parts: Vec<&str> = options.repo.split('/').collect();
    if parts.len() != 2 || !parts.into_iter().all(plain) {
        let expected = "OWNER/NAME of letters, digits, `-`, `_` and `.`";
        return Err(name("the dataset", &options.repo, expected));
    }
    if !plain(&options.revision) {
        let expected = "a branch's name of letters, digits, `-`, `_` and `.`";
        return Err(name("the revision", &options.revision, expected));
    }
    Ok(())
}

struct Push<'a> {
    remote: Remote,
    options: &'a PushOptions,
    plan: &'a Plan,
}

/// Files by name that the hub wants by Git LFS.
type Large<'a> = BTreeMap<&'a str, &'a File>;

impl Push<'_> {
    /// Makes dataset and branch, where they are not there.
    async fn make_repository(&self) -> Result<(), PushError> {
        let PushOptions { repo, revision, private, .. } = self.options;
        let (owner, name) = repo.split_once('/').unwrap_or_default();
        let url = self.remote.url(&format!("api/datasets/{repo}"))?;
        let what = format!("looking for {repo}");
        let missing = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
        let found = self.remote.ask(&what, Method::GET, &url, &Payload::Nothing, &missing).await?;
        if found.is_none() {
            let visibility = if *private { "private" } else { "public" };
            let body = json!({"type": "dataset", "name": name, "organization": owner,
                "private": private, "visibility": visibility});
            self.post(&format!("making {repo}"), "api/repos/create", body).await?;
        }
        if revision != "main" {
            let path = format!("api/datasets/{repo}/branch/{revision}");
            self.post(&format!("making the branch {revision}"), &path, json!({})).await?;
        }
        Ok(())
    }

    /// Asks for what may be there already.
    async fn post(&self, what: &str, path: &str, body: Value) -> Result<(), PushError> {
        let url = self.remote.url(path)?;
        let exists = [StatusCode::CONFLICT];
        self.remote.ask(what, Method::POST, &url, &Payload::Json(body), &exists).await.map(drop)
    }

    /// The manifest of an earlier push.
    async fn earlier(&self) -> Result<Option<Manifest>, PushError> {
        let PushOptions { repo, revision, .. } = self.options;
        let url = self.remote.url(&format!("datasets/{repo}/raw/{revision}/{MANIFEST}"))?;
        let what = format!("reading {MANIFEST} of {repo}@{revision}");
        let missing = [StatusCode::NOT_FOUND];
        let found = self.remote.ask(&what, Method::GET, &url, &Payload::Nothing, &missing).await;
        match found {
            // A file of that name that is not ours says nothing of what we pushed.
            Err(PushError::Answer { .. }) => Ok(None),
            found => Ok(found?.and_then(|value| serde_json::from_value(value).ok())),
        }
    }

    /// Which files the hub wants by Git LFS.
    async fn large_files(&self) -> Result<Large<'_>, PushError> {
        let PushOptions { repo, revision, .. } = self.options;
        let url = self.remote.url(&format!("api/datasets/{repo}/preupload/{revision}"))?;
        let mut large = Large::new();
        for files in self.plan.files.chunks(AT_ONCE) {
            let entry = |file: &File| {
                let sample = BASE64.encode(head(file, SAMPLE)?);
                Ok::<_, PushError>(json!({"path": file.name, "sample": sample, "size": file.bytes}))
            };
            let entries = files.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            let body = Payload::Json(json!({"files": entries}));
            let what = "asking which files are large";
            let answer = self.remote.ask(what, Method::POST, &url, &body, &[]).await?;
            let modes = answer.unwrap_or_default();
            for file in files {
                let mut told = modes["files"].as_array().into_iter().flatten();
                let mode = told.find(|one| one["path"] == file.name.as_str());
                let mode = mode.and_then(|one| one["uploadMode"].as_str());
                match mode {
                    // Stores of objects take no empty ones.
                    Some("lfs") if file.bytes > 0 => _ = large.insert(&file.name, file),
                    Some("lfs" | "regular") => {}
                    _ => {
                        let detail = format!("{} is not in it", file.name);
                        return Err(PushError::Answer { what: what.into(), detail });
                    }
                }
            }
        }
        Ok(large)
    }

    /// Sends the large files that the hub has not; tells how many those were.
    async fn send(&self, large: &Large<'_>) -> Result<usize, PushError> {
        let PushOptions { repo, revision, .. } = self.options;
        let url = self.remote.url(&format!("datasets/{repo}.git/info/lfs/objects/batch"))?;
        // Equal files are one object.
        let objects: BTreeMap<&str, &File> =
            large.values().map(|file| (&*file.sha256, *file)).collect();
        let files: Vec<&File> = objects.values().copied().collect();
        let mut sent = 0;
        for files in files.chunks(AT_ONCE) {
            let object = |file: &&File| json!({"oid": file.sha256, "size": file.bytes});
            let body = Payload::Lfs(json!({
                "operation": "upload",
                "transfers": ["basic", "multipart"],
                "objects": files.iter().map(object).collect::<Vec<_>>(),
                "hash_algo": "sha256",
                "ref": {"name": revision},
            }));
            let what = "asking which files the hub has";
            let answer = self.remote.ask(what, Method::POST, &url, &body, &[]).await?;
            let answer = answer.unwrap_or_default();
            let told = answer["objects"].as_array().cloned().unwrap_or_default();
            let mut uploads = Vec::new();
            for file in files {
                let found = told.iter().find(|one| one["oid"] == file.sha256.as_str());
                let Some(found) = found else {
                    let detail = format!("{} is not in it", file.name);
                    return Err(PushError::Answer { what: what.into(), detail });
                };
                if let Some(error) = found.get("error") {
                    return Err(refused(&file.name, error));
                }
                if found["actions"].get("upload").is_some() {
                    uploads.push((*file, found["actions"].clone()));
                }
            }
            sent += uploads.len();
            let uploads = uploads.into_iter().map(|(file, actions)| self.upload(file, actions));
            let mut uploads = futures::stream::iter(uploads).buffer_unordered(UPLOADS);
            while uploads.try_next().await?.is_some() {}
        }
        Ok(sent)
    }

    async fn upload(&self, file: &File, actions: Value) -> Result<(), PushError> {
        let what = format!("sending {}", file.name);
        let upload = &actions["upload"];
        let href = parse(upload["href"].as_str().unwrap_or_default())?;
        let header = upload["header"].as_object().cloned().unwrap_or_default();
        let size = header.get("chunk_size").and_then(|size| match size {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        match size.filter(|size| *size > 0) {
            Some(size) => {
                let parts = self.send_parts(&what, file, &header, size).await?;
                let body = Payload::Lfs(json!({"oid": file.sha256, "parts": parts}));
                self.remote.ask(&what, Method::POST, &href, &body, &[]).await?;
            }
            None => {
                let headers = headers(&header);
                let part = Part { path: file.path.clone(), start: 0, bytes: file.bytes };
                self.remote.put(&what, &href, &headers, &part).await?;
            }
        }
        if let Some(verify) = actions["verify"]["href"].as_str() {
            let body = Payload::Lfs(json!({"oid": file.sha256, "size": file.bytes}));
            let what = format!("checking {}", file.name);
            self.remote.ask(&what, Method::POST, &parse(verify)?, &body, &[]).await?;
        }
        tracing::info!(file = %file.name, bytes = file.bytes, "sent");
        Ok(())
    }

    /// Sends a file in parts of `size` bytes to the addresses that stand in `header` by number.
    async fn send_parts(
        &self,
        what: &str,
        file: &File,
        header: &serde_json::Map<String, Value>,
        size: u64,
    ) -> Result<Vec<Value>, PushError> {
        let number = |name: &String| name.parse::<u64>().ok();
        let urls: BTreeMap<u64, &str> =
            header.iter().filter_map(|(name, url)| Some((number(name)?, url.as_str()?))).collect();
        if urls.len() as u64 != file.bytes.div_ceil(size) {
            let detail = format!("{} parts for {} bytes", urls.len(), file.bytes);
            return Err(PushError::Answer { what: what.to_owned(), detail });
        }
        let mut parts = Vec::new();
        for ((start, url), number) in (0..).step_by(size as usize).zip(urls.values()).zip(1..) {
            let bytes = size.min(file.bytes - start);
            let part = Part { path: file.path.clone(), start, bytes };
            let etag = self.remote.put(what, &parse(url)?, &HeaderMap::new(), &part).await?;
            let etag = etag.ok_or_else(|| PushError::Answer {
                what: what.to_owned(),
                detail: format!("part {number} has no ETag"),
            })?;
            parts.push(json!({"partNumber": number, "etag": etag}));
        }
        Ok(parts)
    }

    /// Nothing where the commit stands although there was no good answer to it: a try whose answer
    /// was lost may have been applied, and the next one then finds nothing to commit.
    async fn settle(&self, error: PushError) -> Result<(), PushError> {
        let sent = matches!(
            error,
            PushError::Broken { .. } | PushError::Answer { .. } | PushError::Refused { .. }
        );
        if !sent {
            return Err(error);
        }
        if self.earlier().await.is_ok_and(|there| there.as_ref() == Some(&self.plan.manifest)) {
            tracing::warn!("{error}; but the dataset there has what was pushed");
            return Ok(());
        }
        Err(match error {
            PushError::Broken { what, cause, tries } => {
                PushError::Unclear { what, cause: format!("{cause}, {tries} times") }
            }
            PushError::Answer { what, detail } => {
                let cause = format!("the hub's answer cannot be read: {detail}");
                PushError::Unclear { what, cause }
            }
            error => error,
        })
    }

    /// Everything at once; gives the commit's name.
    async fn commit(&self, large: &Large<'_>, deleted: &[String]) -> Result<String, PushError> {
        let PushOptions { repo, revision, message, .. } = self.options;
        let usual = format!(
            "Pairwright: {} samples as {}",
            self.plan.manifest.samples(),
            self.plan.format.name()
        );
        let summary = message.as_ref().unwrap_or(&usual);
        let mut values =
            vec![json!({"key": "header", "value": {"summary": summary, "description": ""}})];
        for file in &self.plan.files {
            values.push(match large.contains_key(&*file.name) {
                true => json!({"key": "lfsFile", "value": {"path": file.name, "algo": "sha256",
                    "oid": file.sha256, "size": file.bytes}}),
                false => {
                    let content = BASE64.encode(head(file, u64::MAX)?);
                    json!({"key": "file", "value": {"path": file.name, "encoding": "base64",
                        "content": content}})
                }
            });
        }
        let delete = |path: &String| json!({"key": "deletedFile", "value": {"path": path}});
        values.extend(deleted.iter().map(delete));
        let mut body = Vec::new();
        for value in &values {
            // JSON values are written as JSON whatever they hold.
            lines::append(&mut body, value).expect("a JSON value");
            body.push(b'\n');
        }
        let url = self.remote.url(&format!("api/datasets/{repo}/commit/{revision}"))?;
        let what = format!("the commit to {repo}@{revision}");
        let body = Payload::Lines(body.into());
        let answer = self.remote.ask(&what, Method::POST, &url, &body, &[]).await?;
        let commit = answer.and_then(|answer| Some(answer["commitOid"].as_str()?.to_owned()));
        commit.ok_or_else(|| PushError::Answer { what, detail: "it names no commit".into() })
    }
}

/// The first `most` bytes of a file.
fn head(file: &File, most: u64) -> Result<Vec<u8>, PushError> {
    let mut bytes = Vec::new();
    let read =
        fs_err::File::open(&file.path).and_then(|open| open.take(most).read_to_end(&mut bytes));
    read.map_err(|source| PushError::Io { path: file.path.clone(), source })?;
    Ok(bytes)
}

fn refused(name: &str, error: &Value) -> PushError {
    let said = error["message"].as_str().unwrap_or_default();
    PushError::Refused {
        what: format!("sending {name}"),
        status: error["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or(0),
        said: excerpt(said),
    }
}

fn headers(header: &serde_json::Map<String, Value>) -> HeaderMap {
    let one = |(name, value): (&String, &Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    };
    header.iter().filter_map(one).collect()
}
