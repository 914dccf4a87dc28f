//! Datasets of a hub as a storage: `hf://datasets/OWNER/NAME[@REVISION]/path`.
//!
//! Files are listed by the hub's own calls and read by ranges at their plain addresses. The revision
//! becomes a commit when a dataset is first asked for, so that one run reads one state, and a file's
//! tag is the hash of its content.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::http::{HttpBuilder, HttpStore};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error as StoreError, GetOptions, GetResult,
    GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RetryConfig,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::base::hub::{HubOptions, LONGEST_WAIT, causes, is_passing, retry_after};
use crate::base::offline;

/// How often a request is made that fails for now: with the waits between them longer than the five
/// minutes for which the hub refuses who has asked too much.
const TRIES: usize = 13;

/// The longest answer that is read, in bytes: a page of a thousand files takes some 300 kB.
const MAX_ANSWER: usize = 16 << 20;

/// The branch in which the hub keeps every dataset as Parquet, and how its own tools shorten it.
const PARQUET: (&str, &str) = ("~parquet", "refs/convert/parquet");

/// How this storage is named in errors of the library.
const NAME: &str = "hub";

/// Why a hub was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubError {
    #[error("status {}, {code}", .status.as_u16())]
    Refused { status: StatusCode, code: String },
    #[error("{0}")]
    Transport(String),
    #[error("an answer that cannot be read: {0}")]
    Answer(String),
}

impl HubError {
    fn of(self, key: &Key) -> StoreError {
        let path = key.to_string();
        let status = match &self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        };
        let source = Box::new(self);
        match status {
            Some(StatusCode::NOT_FOUND) => StoreError::NotFound { path, source },
            Some(StatusCode::UNAUTHORIZED) => StoreError::Unauthenticated { path, source },
            Some(StatusCode::FORBIDDEN) => StoreError::PermissionDenied { path, source },
            _ => StoreError::Generic { store: NAME, source },
        }
    }
}

/// What the hub tells of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// What the hub tells of a file or folder.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Large>,
}

/// Of a file whose bytes are kept apart: the hash and the length of its content.
#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

impl Entry {
    fn is_file(&self) -> bool {
        self.kind == "file"
    }

    fn meta(self) -> Result<ObjectMeta, StoreError> {
        let location = Key::parse(&self.path)?;
        let (size, tag) = self.lfs.map_or((self.size, self.oid), |large| (large.size, large.oid));
        Ok(ObjectMeta {
            location,
            last_modified: Default::default(),
            size,
            e_tag: Some(tag),
            version: None,
        })
    }
}

/// A dataset at the commit that its revision was when it was first asked for.
#[derive(Debug)]
struct Pinned {
    commit: String,
    files: HttpStore,
}

/// A dataset of a hub, to be read. Clones share the commit.
#[derive(Debug, Clone)]
pub(super) struct HubStore {
    options: HubOptions,
    endpoint: Url,
    client: Client,
    /// `OWNER/NAME`.
    dataset: String,
    revision: String,
    pinned: Arc<OnceCell<Pinned>>,
}

/// Name and revision of `datasets/OWNER/NAME[@REVISION]`, or what is wrong with it.
pub(super) fn dataset(bucket: &str) -> Result<(&str, String), &'static str> {
    const FORM: &str = "a hub's dataset is named hf://datasets/OWNER/NAME, with @REVISION behind it \
                        where another than main is meant";
    let named = bucket.strip_prefix("datasets/").ok_or(FORM)?;
    let (name, revision) = named.split_once('@').unwrap_or((named, "main"));
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_word = |word: &str| {
        word.starts_with(|first| fits(first) && first != '.') && word.chars().all(fits)
    };
    if name.split('/').count() != 2 || !name.split('/').all(is_word) || revision.is_empty() {
        return Err(FORM);
    }
    let revision = if revision == PARQUET.0 { PARQUET.1 } else { revision };
    // Written as the hub's own tools have it, so that a `/` does not end it.
    Ok((name, revision.replace("%2F", "/")))
}

/// A page of a listing.
enum Page {
    First,
    At(Url),
    None,
}

/// Why one request came to nothing, whether the same may pass later, and the wait that is asked for.
struct Failed {
    error: HubError,
    is_passing: bool,
    pause: Option<Duration>,
}

impl HubStore {
    /// The dataset of an address's bucket.
    ///
    /// # Errors
    /// What is wrong with the settings, in words.
    pub fn new(bucket: &str, options: HubOptions) -> Result<Self, String> {
        if offline::is_on() {
            return Err("--offline (or HF_HUB_OFFLINE) is on, so no hub is asked".into());
        }
        let endpoint = options.address().map_err(|problem| format!("HF_ENDPOINT: {problem}"))?;
        let client = Client::builder()
            .connect_timeout(options.timeout)
            .read_timeout(options.timeout)
            .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| causes(&error))?;
        let (name, revision) = dataset(bucket)?;
        let (dataset, pinned) = (name.to_owned(), Arc::default());
        Ok(Self { options, endpoint, client, dataset, revision, pinned })
    }

    /// An address on the hub: each part is a segment, whatever it holds.
    fn url<'a>(&self, start: &[&str], rest: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let dataset = ["datasets"].into_iter().chain(self.dataset.split('/'));
            segments.pop_if_empty().extend(start).extend(dataset).extend(rest);
        }
        url
    }

    /// As often and as long as [`Self::ask`].
    fn retries(&self) -> RetryConfig {
        let backoff = BackoffConfig {
            init_backoff: self.options.first_wait,
            max_backoff: LONGEST_WAIT,
            base: 2.0,
        };
        RetryConfig { backoff, max_retries: TRIES - 1, retry_timeout: LONGEST_WAIT * TRIES as u32 }
    }

    /// The commit of the revision, and the files at it.
    async fn pinned(&self) -> Result<&Pinned, HubError> {
        self.pinned.get_or_try_init(|| self.pin()).await
    }

    async fn pin(&self) -> Result<Pinned, HubError> {
        let mut url = self.url(&["api"], ["revision", &*self.revision]);
        // Without this the answer names every file.
        url.query_pairs_mut().append_pair("expand", "sha");
        let (Revision { sha: commit }, _) = self.ask(&url, None).await?;
        let Self { dataset, revision, .. } = self;
        tracing::info!(%dataset, %revision, %commit, "reads a dataset of the hub");
        let mut client = ClientOptions::new().with_allow_http(self.endpoint.scheme() == "http");
        if let Some(token) = &self.options.token {
            let bad = |_| HubError::Answer("the token has letters that no header takes".into());
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(bad)?;
            value.set_sensitive(true);
            // It is taken off where an answer leads to another server.
            client = client.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let files = HttpBuilder::new()
            .with_url(self.url(&[], ["resolve", &*commit]).to_string())
            .with_client_options(client)
            .with_retry(self.retries())
            .build()
            .map_err(|error| HubError::Answer(error.to_string()))?;
        Ok(Pinned { commit, files })
    }

    /// An answer in JSON, and where its next page is.
    async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<(T, Option<Url>), HubError> {
        let (mut waits, mut left) = (self.options.waits(), TRIES);
        loop {
            let failed = match self.ask_once(url, body).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            left -= 1;
            if left == 0 || !failed.is_passing {
                return Err(failed.error);
            }
            let pause = waits.next(failed.pause);
            tracing::warn!("{self}: {}; asked again in {pause:?}", failed.error);
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_once<T: for<'a> Deserialize<'a>>(
        &self,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<(T, Option<Url>), Failed> {
        let broke = |error: reqwest::Error| Failed {
            error: HubError::Transport(causes(&error)),
            is_passing: true,
            pause: None,
        };
        let request = match body {
            None => self.client.get(url.clone()),
            Some(body) => self.client.post(url.clone()).json(body),
        };
        let request = self.options.authorised(request, url, &self.endpoint);
        let mut response = request.send().await.map_err(broke)?;
        if !response.status().is_success() {
            return Err(self.refused(&response));
        }
        let next = next_page(response.headers(), url);
        let mut bytes = Vec::new();
        let unread =
            |what: String| Failed { error: HubError::Answer(what), is_passing: false, pause: None };
        while let Some(chunk) = response.chunk().await.map_err(broke)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(unread(format!("it is longer than {MAX_ANSWER} bytes")));
            }
        }
        let answer = serde_json::from_slice(&bytes);
        Ok((answer.map_err(|error| unread(error.to_string()))?, next))
    }

    fn refused(&self, response: &Response) -> Failed {
        let status = response.status();
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let letters = code.unwrap_or_default().chars().filter(|one| one.is_ascii_alphanumeric());
        let mut code: String = letters.take(64).collect();
        let wants_token = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if wants_token && self.options.token.is_none() {
            code.push_str(if code.is_empty() {
                "HF_TOKEN is not set"
            } else {
                "; HF_TOKEN is not set"
            });
        }
        Failed {
            error: HubError::Refused { status, code },
            is_passing: is_passing(status),
            pause: retry_after(response.headers()),
        }
    }

    /// What lies in a folder, page after page; with `recursive` in those below it, too.
    fn entries(
        &self,
        folder: Option<&Key>,
        recursive: bool,
    ) -> BoxStream<'static, Result<Entry, StoreError>> {
        let (hub, folder) = (self.clone(), folder.cloned().unwrap_or_default());
        let shown = folder.clone();
        let pages = stream::try_unfold(Page::First, move |page| {
            let (hub, folder) = (hub.clone(), folder.clone());
            async move {
                let url = match page {
                    Page::First => hub.tree(&folder, recursive).await?,
                    Page::At(url) => url,
                    Page::None => return Ok(None),
                };
                let (entries, next): (Vec<Entry>, _) = hub.ask(&url, None).await?;
                let entries = stream::iter(entries.into_iter().map(Ok::<_, HubError>));
                Ok::<_, HubError>(Some((entries, next.map_or(Page::None, Page::At))))
            }
        });
        pages.try_flatten().map_err(move |error| error.of(&shown)).boxed()
    }

    async fn tree(&self, folder: &Key, recursive: bool) -> Result<Url, HubError> {
        let commit = &self.pinned().await?.commit;
        let parts: Vec<_> = folder.parts().collect();
        let parts = parts.iter().map(AsRef::as_ref);
        let mut url = self.url(&["api"], ["tree", commit].into_iter().chain(parts));
        url.query_pairs_mut().append_pair("recursive", if recursive { "true" } else { "false" });
        Ok(url)
    }

    async fn meta(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        let asked = json!({"paths": [key.as_ref()]});
        let found = async {
            let commit = &self.pinned().await?.commit;
            let url = self.url(&["api"], ["paths-info", &**commit]);
            self.ask::<Vec<Entry>>(&url, Some(&asked)).await
        };
        let (found, _) = found.await.map_err(|error| error.of(key))?;
        let (status, code) = (StatusCode::NOT_FOUND, String::new());
        match found.into_iter().find(Entry::is_file) {
            Some(entry) => entry.meta(),
            None => Err(HubError::Refused { status, code }.of(key)),
        }
    }
}

/// The address of the next page, which an answer of several pages tells as `<ADDRESS>; rel="next"`.
fn next_page(headers: &HeaderMap, url: &Url) -> Option<Url> {
    let links = headers.get(LINK)?.to_str().ok()?;
    // An address may hold a comma, which also stands between links.
    let mut links = links.split('<').filter_map(|link| link.split_once('>'));
    let (address, _) = links.find(|(_, told)| told.contains("rel=\"next\""))?;
    url.join(address).ok()
}

fn only_read<T>() -> Result<T, StoreError> {
    Err(StoreError::NotImplemented { operation: "writing".into(), implementer: NAME.into() })
}

impl fmt::Display for HubStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://datasets/{}", self.dataset)
    }
}

#[async_trait]
impl ObjectStore for HubStore {
    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult, StoreError> {
        if options.head {
            let nothing = GetResultPayload::Stream(stream::empty::<Result<Bytes, _>>().boxed());
            return Ok(GetResult {
                payload: nothing,
                meta: self.meta(key).await?,
                range: Range::default(),
                attributes: Default::default(),
                extensions: Default::default(),
            });
        }
        let pinned = self.pinned().await.map_err(|error| error.of(key))?;
        // What lies at a commit never changes, while the servers that the hub leads to have tags of
        // their own.
        let options = GetOptions { if_match: None, ..options };
        let mut found = pinned.files.get_opts(key, options).await?;
        (found.meta.e_tag, found.meta.last_modified) = (None, Default::default());
        Ok(found)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let files = self.entries(prefix, true);
        let metas = files.try_filter(|entry| std::future::ready(entry.is_file()));
        metas.and_then(|entry| std::future::ready(entry.meta())).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult, StoreError> {
        let entries: Vec<Entry> = self.entries(prefix, false).try_collect().await?;
        let (files, folders): (Vec<_>, Vec<_>) = entries.into_iter().partition(Entry::is_file);
        let folders = folders.iter().map(|folder| Key::parse(&folder.path));
        Ok(ListResult {
            objects: files.into_iter().map(Entry::meta).collect::<Result<_, _>>()?,
            common_prefixes: folders.collect::<Result<_, _>>()?,
            extensions: Default::default(),
        })
    }

    async fn put_opts(
        &self,
        _: &Key,
        _: PutPayload,
        _: PutOptions,
    ) -> Result<PutResult, StoreError> {
        only_read()
    }

    async fn put_multipart_opts(
        &self,
        _: &Key,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, StoreError> {
        only_read()
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Key, StoreError>>,
    ) -> BoxStream<'static, Result<Key, StoreError>> {
        stream::once(std::future::ready(only_read())).boxed()
    }

    async fn copy_opts(&self, _: &Key, _: &Key, _: CopyOptions) -> Result<(), StoreError> {
        only_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_named_with_its_owner_and_perhaps_a_revision() {
        let of = |name, revision: &str| Ok((name, revision.to_owned()));
        assert_eq!(dataset("datasets/a/b"), of("a/b", "main"));
        assert_eq!(dataset("datasets/a/b.c-d@v1"), of("a/b.c-d", "v1"));
        assert_eq!(dataset("datasets/a/b@refs%2Fpr%2F1"), of("a/b", "refs/pr/1"));
        assert_eq!(dataset("datasets/a/b@~parquet"), of("a/b", "refs/convert/parquet"));
        for wrong in
            ["a/b", "datasets/a", "datasets/a/b@", "datasets/../b", "datasets/a/b c", "models/a/b"]
        {
            assert!(dataset(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_page_is_the_link_of_that_name() {
        let url = Url::parse("https://h/api/a?x=1").expect("an address");
        let next = |link: &'static str| {
            next_page(&HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]), &url)
        };
        let links = "<https://h/b,c>; rel=\"first\", <https://h/api/a?cursor=2>; rel=\"next\"";
        let found = next(links).expect("there is one");
        assert_eq!(found.as_str(), "https://h/api/a?cursor=2");
        assert_eq!(next("<https://h/api/a>; rel=\"prev\""), None);
    }
}
