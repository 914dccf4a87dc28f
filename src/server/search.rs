//! Searching the photos of a job's run: their embeddings are read from the run's store into an
//! index, which is kept until the run has grown.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::app::App;
use super::fault::Fault;
use super::pb;
use crate::dataset::store::ImageRow;
use crate::index::{self, VectorIndex};
use crate::jobs::{ImagesStamp, ManagerError};

/// Runs whose photos are kept in memory.
const MOST_SETS: usize = 4;

/// Photos read from a store at once.
const PAGE: usize = 1024;

/// The photos of the runs that were searched last.
#[derive(Default)]
pub struct ImageSets {
    // One lock over building: two searches of one new run must not build it twice.
    sets: Mutex<HashMap<String, Arc<ImageSet>>>,
}

/// The embedded photos of one run.
struct ImageSet {
    index: Box<dyn VectorIndex>,
    /// What is told of a photo, by its key in the index.
    photos: Vec<Photo>,
    /// What the run held when this was built.
    stamp: ImagesStamp,
}

struct Photo {
    id: String,
    path: String,
    caption: String,
}

impl App {
    /// The photos of a job's run nearest to `vector`, and how many were searched.
    ///
    /// # Errors
    /// There is no such job, its run cannot be read, or another model embedded it.
    pub async fn search_images(
        self: &Arc<Self>,
        job: &str,
        vector: Vec<f32>,
        top_k: usize,
        floor: f32,
    ) -> Result<(Vec<pb::ScoredImage>, usize), Fault> {
        let record = self.jobs.get(job).await.map_err(|error| Fault::from(&error))?;
        let stamp = match self.jobs.run_images_stamp(&record.run_id).await {
            // The job has not begun: there is nothing to search yet.
            Err(ManagerError::NoRun { .. }) => return Ok((Vec::new(), 0)),
            stamp => stamp.map_err(|error| Fault::from(&error))?,
        };
        if stamp.encoder != self.encoder.hash() {
            return Err(Fault::other_model(job));
        }
        let set = self.image_set(record.run_id, stamp).await?;
        self.blocking(move |_| set.search(&vector, top_k, floor)).await
    }

    async fn image_set(
        self: &Arc<Self>,
        run_id: String,
        stamp: ImagesStamp,
    ) -> Result<Arc<ImageSet>, Fault> {
        let mut sets = self.image_sets.sets.lock().await;
        if let Some(set) = sets.get(&run_id).filter(|set| set.stamp == stamp) {
            return Ok(Arc::clone(set));
        }
        let (run, runtime) = (run_id.clone(), Handle::current());
        let set = self.blocking(move |app| build(app, &run, stamp, &runtime)).await?;
        let set = Arc::new(set);
        if sets.len() >= MOST_SETS && !sets.contains_key(&run_id) {
            sets.clear();
        }
        sets.insert(run_id, Arc::clone(&set));
        Ok(set)
    }
}

impl ImageSet {
    fn search(
        &self,
        vector: &[f32],
        top_k: usize,
        floor: f32,
    ) -> Result<(Vec<pb::ScoredImage>, usize), Fault> {
        if self.photos.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let hits = self.index.search(vector, top_k).map_err(|error| Fault::from(&error))?;
        let found = hits.into_iter().filter(|hit| hit.similarity >= floor).filter_map(|hit| {
            // Keys are positions in `photos`.
            let photo = self.photos.get(hit.id.parse::<usize>().ok()?)?;
            Some(pb::ScoredImage {
                image_id: photo.id.clone(),
                path: photo.path.clone(),
                caption: photo.caption.clone(),
                similarity: hit.similarity,
            })
        });
        Ok((found.collect(), self.photos.len()))
    }
}

fn build(app: &App, run_id: &str, stamp: ImagesStamp, runtime: &Handle) -> Result<ImageSet, Fault> {
    let expected = usize::try_from(stamp.count).unwrap_or(usize::MAX);
    let index = index::build(&app.config.index, app.dim(), expected);
    let mut set =
        ImageSet { index: index.map_err(|error| Fault::from(&error))?, photos: Vec::new(), stamp };
    // The source's first photo has place 0.
    let mut after = -1;
    loop {
        let page: Vec<ImageRow> = runtime
            .block_on(app.jobs.run_images(run_id, after, PAGE))
            .map_err(|error| Fault::from(&error))?;
        let Some(last) = page.last() else { return Ok(set) };
        after = last.seq;
        for ImageRow { id, image, description, vector, .. } in page {
            let key = set.photos.len().to_string();
            set.index.add(&key, &vector).map_err(|error| Fault::from(&error))?;
            set.photos.push(Photo { id, path: image.to_string(), caption: description });
        }
    }
}
