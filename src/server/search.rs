//! Searching the photos of a job's run: their embeddings are read from the run's store into an
//! index, which is kept until the run has grown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::app::App;
use super::fault::Fault;
use super::pb;
use crate::index::{self, IndexConfig, VectorIndex};
use crate::pipeline::manager::{JobManager, RunImage};

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
    /// Photos in the run when this was built.
    count: u64,
    model_hash: String,
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
    /// There is no such job, or its run cannot be read.
    pub fn search_images(
        &self,
        job: &str,
        vector: &[f32],
        top_k: usize,
        floor: f32,
    ) -> Result<(Vec<pb::ScoredImage>, usize), Fault> {
        let record = self.jobs.get(job).map_err(|error| Fault::from(&error))?;
        let set = self.image_set(&record.run_id)?;
        if set.photos.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let hits = set.index.search(vector, top_k).map_err(|error| Fault::from(&error))?;
        let found = hits.into_iter().filter(|hit| hit.similarity >= floor).filter_map(|hit| {
            // Keys are positions in `photos`.
            let photo = set.photos.get(hit.id.parse::<usize>().ok()?)?;
            Some(pb::ScoredImage {
                image_id: photo.id.clone(),
                path: photo.path.clone(),
                caption: photo.caption.clone(),
                similarity: hit.similarity,
            })
        });
        Ok((found.collect(), set.photos.len()))
    }

    fn image_set(&self, run_id: &str) -> Result<Arc<ImageSet>, Fault> {
        let hash = self.encoder().hash();
        let count = self.jobs.image_count(run_id, hash).map_err(|error| Fault::from(&error))?;
        let mut sets = self.image_sets.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(run_id).filter(|set| set.count == count && set.model_hash == hash) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(build(&self.jobs, run_id, hash, &self.config.index, self.dim(), count)?);
        if sets.len() >= MOST_SETS && !sets.contains_key(run_id) {
            sets.clear();
        }
        sets.insert(run_id.to_owned(), Arc::clone(&set));
        Ok(set)
    }
}

fn build(
    jobs: &JobManager,
    run_id: &str,
    model_hash: &str,
    config: &IndexConfig,
    dim: usize,
    count: u64,
) -> Result<ImageSet, Fault> {
    let failed = |error| Fault::from(&error);
    let expected = usize::try_from(count).unwrap_or(usize::MAX);
    let mut index = index::build(config, dim, expected).map_err(failed)?;
    let mut photos: Vec<Photo> = Vec::with_capacity(expected.min(1 << 20));
    let mut after = 0;
    loop {
        let page = jobs.run_images(run_id, model_hash, after, PAGE);
        let page: Vec<RunImage> = page.map_err(|error| Fault::from(&error))?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for image in page {
            index.add(&photos.len().to_string(), &image.vector).map_err(failed)?;
            photos.push(Photo { id: image.id, path: image.path, caption: image.description });
        }
    }
    Ok(ImageSet { index, photos, count, model_hash: model_hash.to_owned() })
}
