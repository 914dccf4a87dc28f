//! An image of a request becomes bytes: sent along, read below an image root, or fetched.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use super::convert::size;
use super::fault::Fault;
use super::fetch::{Fetcher, GRAIN};
use super::pb;
use crate::sandbox::ImageRoots;

/// Images of one call that are read and fetched at once.
const SIDE_BY_SIDE: usize = 8;

/// Reads and fetches images, within a bound on the bytes held at once.
#[derive(Clone)]
pub struct ImageLoader {
    roots: Option<Arc<ImageRoots>>,
    fetcher: Option<Fetcher>,
    max_file_bytes: u64,
    budget: Arc<Semaphore>,
    budget_bytes: u64,
}

/// The images of a request, each on its own, and the memory reserved for them.
pub struct Loaded {
    images: Vec<Result<Bytes, Fault>>,
    // Given back when the images have been embedded.
    _memory: Vec<OwnedSemaphorePermit>,
}

impl Loaded {
    /// The images in the order of the request, once. Their memory stays reserved until `self` goes.
    pub fn take_images(&mut self) -> Vec<Result<Bytes, Fault>> {
        std::mem::take(&mut self.images)
    }
}

impl ImageLoader {
    /// A loader; `budget_bytes` bounds files held in memory over all calls.
    pub fn new(
        roots: Option<Arc<ImageRoots>>,
        fetcher: Option<Fetcher>,
        max_file_bytes: u64,
        budget_bytes: u64,
    ) -> Self {
        let grains = size(budget_bytes / GRAIN);
        let budget = Arc::new(Semaphore::new(grains.min(Semaphore::MAX_PERMITS)));
        Self { roots, fetcher, max_file_bytes, budget, budget_bytes }
    }

    /// Where paths are read, if anywhere.
    pub fn roots(&self) -> Option<&ImageRoots> {
        self.roots.as_deref()
    }

    /// Whether addresses can be fetched.
    pub fn fetches(&self) -> bool {
        self.fetcher.is_some()
    }

    /// Loads the images of one request, some of them side by side.
    ///
    /// # Errors
    /// The files together are more than the server ever holds. What concerns one image is its own
    /// result.
    pub async fn load(&self, images: Vec<pb::Image>, field: &str) -> Result<Loaded, Fault> {
        let wanted: u64 = images.iter().map(|image| self.file_bytes(image)).sum();
        let mut memory = Vec::from_iter(self.reserve(wanted).await?);
        let loading = images.into_iter().enumerate().map(|(position, image)| {
            let field = format!("{field}[{position}]");
            async move { self.one(image, &field).await }
        });
        let loaded: Vec<_> = futures::stream::iter(loading).buffered(SIDE_BY_SIDE).collect().await;
        let mut take = |(bytes, more)| {
            memory.extend(more);
            bytes
        };
        let images = loaded.into_iter().map(|one| one.map(&mut take)).collect();
        Ok(Loaded { images, _memory: memory })
    }

    /// Bytes of a file below an image root. What an address gives is reserved when it comes.
    fn file_bytes(&self, image: &pb::Image) -> u64 {
        match &image.source {
            Some(pb::image::Source::Path(path)) => self.roots.as_ref().map_or(0, |roots| {
                // What cannot be read costs nothing; the reading says why.
                let file = roots.open_file(path.as_ref()).ok();
                let length = file.and_then(|file| Some(file.metadata().ok()?.len()));
                length.unwrap_or(0).min(self.max_file_bytes)
            }),
            Some(pb::image::Source::Uri(_) | pb::image::Source::Content(_)) | None => 0,
        }
    }

    /// All files of the request at once: two that each hold a part and wait for more would wait for
    /// ever.
    async fn reserve(&self, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        if bytes == 0 {
            return Ok(None);
        }
        let grains = bytes.div_ceil(GRAIN);
        let Some(grains) = u32::try_from(grains).ok().filter(|_| bytes <= self.budget_bytes) else {
            let message = format!(
                "the files of this request are {bytes} bytes, at most {} are held at once; send \
                 fewer in one request",
                self.budget_bytes
            );
            return Err(Fault::new(Code::InvalidArgument, "REQUEST_TOO_LARGE", message).limited(
                "max_queue_bytes",
                self.budget_bytes,
                bytes,
            ));
        };
        let permit = Arc::clone(&self.budget).acquire_many_owned(grains).await;
        permit.map(Some).map_err(|_| Fault::shutting_down())
    }

    /// An image, and the memory reserved for it alone.
    async fn one(
        &self,
        image: pb::Image,
        field: &str,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Fault> {
        match image.source {
            None => Err(Fault::required(field)),
            Some(pb::image::Source::Content(bytes)) => Ok((bytes, None)),
            Some(pb::image::Source::Path(path)) => {
                self.read(path, field).await.map(|bytes| (bytes, None))
            }
            Some(pb::image::Source::Uri(uri)) => match &self.fetcher {
                None => Err(Fault::new(
                    Code::InvalidArgument,
                    "URI_DISABLED",
                    "this server does not fetch addresses (serve.urls.enabled)",
                )
                .at(field)),
                Some(fetcher) => {
                    let fetched = fetcher.fetch(&uri, &self.budget).await;
                    let (bytes, memory) = fetched.map_err(|fault| fault.at(field))?;
                    Ok((bytes, Some(memory)))
                }
            },
        }
    }

    async fn read(&self, path: String, field: &str) -> Result<Bytes, Fault> {
        let Some(roots) = self.roots.clone() else {
            return Err(Fault::no_image_root().at(field));
        };
        let limit = self.max_file_bytes;
        let reading = tokio::task::spawn_blocking(move || roots.read(path.as_ref(), limit)).await;
        match reading {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) => Err(Fault::from(error).at(field)),
            Err(_) => Err(Fault::internal("reading the file ended unexpectedly").at(field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;

    use super::*;
    use crate::config::UrlsConfig;
    use crate::server::fetch::Lookup;

    /// Photos at addresses of this machine, a thousand bytes each, and how many were asked for at
    /// once.
    async fn photos() -> (String, Arc<AtomicUsize>) {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let answer = move || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                vec![7u8; 1000]
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let router = Router::new().fallback(get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}"), seen)
    }

    fn loader(budget: u64) -> ImageLoader {
        let config = UrlsConfig { enabled: true, ..UrlsConfig::default() };
        let names: Lookup =
            Arc::new(|_| Box::pin(std::future::ready(Ok(vec![IpAddr::from([127, 0, 0, 1])]))));
        let fetcher = Fetcher::with_policy(&config, 32 << 20, |_| true, names).expect("client");
        ImageLoader::new(None, Some(fetcher), 32 << 20, budget)
    }

    #[tokio::test]
    async fn many_small_photos_of_one_call_are_fetched_side_by_side() {
        let (base, most) = photos().await;
        let loader = loader(512 << 20);
        let image = |at: usize| {
            let uri = format!("{base}/{at}.jpg");
            pb::Image { source: Some(pb::image::Source::Uri(uri)) }
        };
        let mut loaded = loader.load((0..64).map(image).collect(), "images").await.expect("loaded");
        let images = loaded.take_images();
        assert_eq!(images.len(), 64);
        assert!(images.iter().all(|one| one.as_ref().is_ok_and(|bytes| bytes.len() == 1000)));
        assert!((2..=SIDE_BY_SIDE).contains(&most.load(Ordering::SeqCst)));
        let all = loader.budget.available_permits();
        drop(loaded);
        assert_eq!(loader.budget.available_permits(), all + 64, "a grain for each");
    }
}
