use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, GetOptions, GetRange, ObjectMeta,
    ObjectStore, RetryConfig,
};
use tokio::runtime::Runtime;

use super::address::{Address, Scheme};
use super::blame::{self, chain, network};
use super::error::RemoteError;
use super::hub::HubStore;
use crate::base::hub::HubOptions;

/// The variable of the environment that holds what stands behind `?` in requests to web servers.
const HTTP_QUERY: &str = "PAIRWRIGHT_HTTP_QUERY";

/// How often a request is tried again that a server or the network failed, and for how long.
const RETRIES: usize = 6;
const RETRY_FOR: Duration = Duration::from_secs(60);

/// How often in a row an answer may break off without a single byte.
const BARREN: usize = 4;

/// How often it may break off at all: each time it goes on at the byte where it stopped.
const BROKEN: usize = 64;

/// Objects of which is kept how long they are; all are forgotten when there are more.
const MAX_HEADS: usize = 1 << 16;

/// What is known of an object. As long as it is remembered, whatever is read of the object must be
/// of the same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Head {
    pub len: u64,
    /// Without quotes; of a weak one the whole text.
    pub tag: Option<String>,
    pub modified: Option<SystemTime>,
}

impl Head {
    fn of(meta: &ObjectMeta) -> Self {
        let tag = meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        // Servers that tell no time are given the beginning of all times by the library.
        let seconds = u64::try_from(meta.last_modified.timestamp()).ok().filter(|time| *time > 0);
        let modified = seconds.map(|s| UNIX_EPOCH + Duration::from_secs(s));
        Self { len: meta.size, tag: tag.filter(|tag| !tag.is_empty()), modified }
    }

    /// Whether an object is still the one that was looked at.
    fn fits(&self, now: &Self) -> bool {
        match (&self.tag, &now.tag) {
            (Some(then), Some(now)) => then == now,
            _ => self.len == now.len && self.modified == now.modified,
        }
    }
}

/// A bucket, a container or a web server.
pub(super) struct Store {
    client: Arc<dyn ObjectStore>,
    heads: Mutex<HashMap<String, Head>>,
}

/// By kind and bucket.
type Stores = HashMap<(Scheme, String), Arc<Store>>;

static STORES: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);

/// Requests are made in here, so that whoever reads a file waits for them as for a disk, in a
/// runtime of its own or in none.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("remote").enable_all().build()
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<T: Send + 'static>(
    address: &Address,
    work: impl Future<Output = Result<T, RemoteError>> + Send + 'static,
) -> Result<T, RemoteError> {
    let failed = |said: String| RemoteError::Unavailable { address: address.shown.clone(), said };
    let runtime = RUNTIME.as_ref().map_err(|error| failed(error.to_string()))?;
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody waits any more only where the program ends.
        let _ = send.send(work.await);
    });
    receive.recv().map_err(|_| failed("the request was given up".into()))?
}

/// The store of an address, which is set up once.
pub(super) fn of(address: &Address) -> Result<Arc<Store>, RemoteError> {
    let key = (address.scheme, address.bucket.clone());
    if let Some(store) = lock(&STORES).get(&key) {
        return Ok(Arc::clone(store));
    }
    check_endpoint(address)?;
    let client = client(address)?;
    let store = Arc::new(Store { client, heads: Mutex::default() });
    Ok(Arc::clone(lock(&STORES).entry(key).or_insert(store)))
}

/// Whether an endpoint of plain HTTP was allowed by name, of which the library would only say that
/// there is no connection.
fn check_endpoint(address: &Address) -> Result<(), RemoteError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let plain = endpoints.iter().filter_map(|name| set(name)).any(|url| url.starts_with("http://"));
    if address.scheme != Scheme::S3 || !plain || set("AWS_ALLOW_HTTP").is_some() {
        return Ok(());
    }
    let reason =
        "its endpoint is plain http, which is used only where AWS_ALLOW_HTTP=true allows it";
    Err(RemoteError::Setting { address: address.shown.clone(), reason: reason.into() })
}

fn client(address: &Address) -> Result<Arc<dyn ObjectStore>, RemoteError> {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(10),
        base: 2.0,
    };
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_FOR };
    let refused = |error: StoreError| blame::setup(address, &error);
    let bucket = &address.bucket;
    Ok(match address.scheme {
        Scheme::S3 => {
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(refused)?)
        }
        Scheme::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(refused)?)
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(refused)?)
        }
        Scheme::Hub => {
            let hub = HubStore::new(bucket, HubOptions::from_environment());
            let shown = || address.shown.clone();
            Arc::new(hub.map_err(|reason| RemoteError::Setting { address: shown(), reason })?)
        }
        Scheme::Http | Scheme::Https => {
            let query = std::env::var(HTTP_QUERY).unwrap_or_default();
            let query = query.trim_start_matches('?');
            let query = if query.is_empty() { String::new() } else { format!("?{query}") };
            let options = ClientOptions::new().with_allow_http(address.scheme == Scheme::Http);
            let url = format!("{}{bucket}/{query}", address.scheme.prefix());
            let builder = HttpBuilder::new().with_url(url).with_client_options(options);
            Arc::new(builder.with_retry(retry).build().map_err(refused)?)
        }
    })
}

impl Store {
    fn remember(&self, key: String, head: Head) {
        let mut heads = lock(&self.heads);
        if heads.len() >= MAX_HEADS {
            heads.clear();
        }
        heads.insert(key, head);
    }

    fn forget(&self, address: &Address) {
        lock(&self.heads).remove(address.key.as_ref());
    }

    /// Length and state of an object, which are asked for once.
    pub fn head(&self, address: &Address) -> Result<Head, RemoteError> {
        if let Some(head) = lock(&self.heads).get(address.key.as_ref()) {
            return Ok(head.clone());
        }
        let (client, asked) = (Arc::clone(&self.client), address.clone());
        let meta = wait(address, async move {
            let options = GetOptions { head: true, ..GetOptions::default() };
            let refused = match client.get_opts(&asked.key, options).await {
                Ok(found) => return Ok(found.meta),
                Err(error) => error,
            };
            // Some web servers, and addresses that are signed for reading alone, answer no HEAD.
            if asked.scheme.is_http() {
                let range = Some(GetRange::Bounded(0..1));
                let options = GetOptions { range, ..GetOptions::default() };
                return match client.get_opts(&asked.key, options).await {
                    Ok(found) => Ok(found.meta),
                    Err(error) => Err(blame::error(&asked, &error)),
                };
            }
            Err(blame::error(&asked, &refused))
        })?;
        let head = Head::of(&meta);
        self.remember(address.key.to_string(), head.clone());
        Ok(head)
    }

    /// What is known of an object; `None` for a folder.
    pub fn look(&self, address: &Address) -> Result<Option<Head>, RemoteError> {
        let is_http = address.scheme.is_http();
        if address.is_folder && is_http {
            return Ok(None);
        }
        if !address.is_folder {
            match self.head(address) {
                Err(RemoteError::NotFound { .. }) if !is_http => {}
                found => return found.map(Some),
            }
        }
        // A bucket has no folders: one is there where an object lies below.
        let (client, asked) = (Arc::clone(&self.client), address.clone());
        let first = wait(address, async move {
            let first = client.list(asked.prefix()).next().await.transpose();
            first.map_err(|error| blame::error(&asked, &error))
        })?;
        match first {
            Some(_) => Ok(None),
            None => Err(RemoteError::NotFound { address: address.shown.clone() }),
        }
    }

    /// The names in a folder in their order, and which are folders.
    pub fn list(&self, address: &Address) -> Result<BTreeMap<String, bool>, RemoteError> {
        if address.scheme.is_http() {
            return Err(RemoteError::NoListing { address: address.shown.clone() });
        }
        let (client, asked) = (Arc::clone(&self.client), address.clone());
        let listed = wait(address, async move {
            let listed = client.list_with_delimiter(asked.prefix()).await;
            listed.map_err(|error| blame::error(&asked, &error))
        })?;
        // A bucket may hold an object and others below the same name: they are a folder.
        let mut entries = BTreeMap::new();
        for meta in &listed.objects {
            self.remember(meta.location.to_string(), Head::of(meta));
            entries.extend(meta.location.filename().map(|name| (name.to_owned(), false)));
        }
        for folder in &listed.common_prefixes {
            entries.extend(folder.filename().map(|name| (name.to_owned(), true)));
        }
        Ok(entries)
    }

    /// Bytes of an object, all of them: an answer that breaks off is gone on with.
    pub fn range(
        &self,
        address: &Address,
        head: &Head,
        range: Range<u64>,
    ) -> Result<Bytes, RemoteError> {
        let (client, asked, then) = (Arc::clone(&self.client), address.clone(), head.clone());
        let read = wait(address, async move { whole(&*client, &asked, &then, range).await });
        if matches!(read, Err(RemoteError::Changed { .. })) {
            self.forget(address);
        }
        read
    }
}

async fn whole(
    client: &dyn ObjectStore,
    address: &Address,
    then: &Head,
    range: Range<u64>,
) -> Result<Bytes, RemoteError> {
    let wanted = (range.end - range.start) as usize;
    let mut bytes = BytesMut::with_capacity(wanted);
    let (mut broken, mut barren) = (0, 0);
    loop {
        let from = range.start + bytes.len() as u64;
        // A weak tag fits no condition: it is compared with the answer's instead.
        let strong = then.tag.as_deref().filter(|tag| !tag.starts_with("W/"));
        let options = GetOptions {
            range: Some(GetRange::Bounded(from..range.end)),
            if_match: strong.map(|tag| format!("\"{tag}\"")),
            ..GetOptions::default()
        };
        let got = client.get_opts(&address.key, options).await;
        let got = got.map_err(|error| blame::error(address, &error))?;
        if !then.fits(&Head::of(&got.meta)) || got.meta.size != then.len {
            return Err(RemoteError::Changed { address: address.shown.clone() });
        }
        let before = bytes.len();
        let mut said = "fewer bytes than were asked for".to_owned();
        let mut stream = got.into_stream();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => {
                    let room = wanted - bytes.len();
                    bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                Err(error) => {
                    said = words(&error);
                    break;
                }
            }
        }
        if bytes.len() == wanted {
            return Ok(bytes.freeze());
        }
        broken += 1;
        barren = if bytes.len() > before { 0 } else { barren + 1 };
        let at = range.start + bytes.len() as u64;
        if broken > BROKEN || barren > BARREN {
            return Err(RemoteError::CutShort { address: address.shown.clone(), at, said });
        }
        tracing::debug!(object = %address.shown, at, "an answer broke off; going on from there");
        tokio::time::sleep(Duration::from_millis(100 << barren.min(5))).await;
    }
}

fn words(error: &StoreError) -> String {
    let http = chain(error).find_map(|error| error.downcast_ref());
    http.map_or_else(|| "the connection broke off".into(), network)
}
