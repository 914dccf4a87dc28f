//! Searching the photos of runs, also while they grow: the embeddings of each run searched lately
//! lie in an index in memory, to which a search first adds what the run has got since.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::MatchError;
use crate::dataset::ImageRef;
use crate::dataset::store::ImageRow;
use crate::index::{self, IndexConfig, IndexError, LocalIndex};

/// Runs whose photos are kept in memory.
const MOST_RUNS: usize = 4;

/// Photos up to which each is compared with the query, where the settings leave the choice. A graph
/// finds texts by texts well and photos by texts badly: over 12,000 crops of 80 photos the ten
/// nearest of a text were found at 0.93 with 512 candidates, in the time that comparing all took.
/// And a graph of 100,000 takes half a minute to build, which the first search would wait for, to
/// save 3 ms of each.
const EXACT_UP_TO: usize = 100_000;

/// Photos read from a run at once.
const PAGE: usize = 1024;

/// What of a run's embedded photos tells whether there are others than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotosStamp {
    /// Readings of the source so far.
    pub pass: i64,
    /// Photos embedded.
    pub count: u64,
    /// Hash of the encoder.
    pub encoder: String,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoQuery {
    /// As wide as the encoder's embeddings, of any length but zero.
    pub vector: Vec<f32>,
    /// At least 1.
    pub k: usize,
    /// Less similar photos are left out.
    pub min_similarity: f32,
}

/// A photo found.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoHit {
    /// The user's own id.
    pub id: String,
    pub image: ImageRef,
    pub description: String,
    /// Cosine, in [-1, 1].
    pub similarity: f32,
}

/// The photos found, most similar first, and how many were searched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PhotosFound {
    pub photos: Vec<PhotoHit>,
    pub searched: usize,
}

/// The photos of the runs searched lately. Each run has a lock of its own: while one is read, the
/// others are searched.
pub struct PhotoSearch {
    config: IndexConfig,
    encoder: String,
    dim: usize,
    /// Those searched last stand in front.
    runs: Mutex<Vec<(String, Arc<RwLock<RunPhotos>>)>>,
    added: AtomicU64,
}

impl PhotoSearch {
    /// Nothing is read before it is searched. `encoder` is the hash of the encoder that queries
    /// come from, `dim` its width. Of the settings, `exact_up_to` is 100,000 at least.
    pub fn new(config: &IndexConfig, encoder: &str, dim: usize) -> Self {
        let exact_up_to = config.exact_up_to.max(EXACT_UP_TO);
        let config = IndexConfig { exact_up_to, ..config.clone() };
        let (encoder, runs) = (encoder.to_owned(), Mutex::default());
        Self { config, encoder, dim, runs, added: AtomicU64::new(0) }
    }

    /// The photos of a run nearest to the query's vector.
    ///
    /// `stamp` is what the run holds now, and `rows` reads a page of its embedded photos in source
    /// order: after a place in the source, so many. What the last search of this run read is not
    /// read again, unless the source was.
    ///
    /// # Errors
    /// Another encoder embedded the run, a page cannot be read, or the index refused a vector.
    pub fn search<E: From<MatchError>>(
        &self,
        run: &str,
        stamp: &PhotosStamp,
        mut rows: impl FnMut(i64, usize) -> Result<Vec<ImageRow>, E>,
        query: &PhotoQuery,
    ) -> Result<PhotosFound, E> {
        if stamp.encoder != self.encoder {
            return Err(MatchError::OtherEncoder { run: run.to_owned() }.into());
        }
        let photos = self.run(run)?;
        {
            let photos = photos.read().unwrap_or_else(PoisonError::into_inner);
            if photos.stamp.as_ref() == Some(stamp) {
                return Ok(photos.search(query)?);
            }
        }
        let mut photos = photos.write().unwrap_or_else(PoisonError::into_inner);
        // Another search may have read it meanwhile.
        if photos.stamp.as_ref() != Some(stamp) {
            let added = photos.refresh(stamp, &mut rows, &self.config)?;
            self.added.fetch_add(added, Ordering::Relaxed);
        }
        Ok(photos.search(query)?)
    }

    /// Photos that were added to an index so far, over all runs.
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    fn run(&self, run: &str) -> Result<Arc<RwLock<RunPhotos>>, MatchError> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = runs.iter().position(|(id, _)| id == run);
        let (id, photos) = match known {
            Some(at) => runs.remove(at),
            None => {
                let index = index::build(&self.config, self.dim, 0)?;
                let photos = RunPhotos { index, photos: BTreeMap::new(), stamp: None };
                (run.to_owned(), Arc::new(RwLock::new(photos)))
            }
        };
        runs.insert(0, (id, Arc::clone(&photos)));
        runs.truncate(MOST_RUNS);
        Ok(photos)
    }
}

/// The embedded photos of one run.
struct RunPhotos {
    /// Ids are places in the source.
    index: Box<dyn LocalIndex>,
    /// By place in the source.
    photos: BTreeMap<i64, Photo>,
    /// What the run held when this was read; `None` before.
    stamp: Option<PhotosStamp>,
}

struct Photo {
    id: String,
    image: ImageRef,
    description: String,
    /// Stands for the vector.
    print: u64,
}

impl RunPhotos {
    /// Brings this up to the run. How many vectors were added.
    fn refresh<E: From<MatchError>>(
        &mut self,
        stamp: &PhotosStamp,
        rows: &mut impl FnMut(i64, usize) -> Result<Vec<ImageRow>, E>,
        config: &IndexConfig,
    ) -> Result<u64, E> {
        let same_pass = self.stamp.as_ref().is_some_and(|old| old.pass == stamp.pass);
        let mut added = 0;
        if same_pass {
            let last = self.photos.last_key_value().map_or(-1, |(place, _)| *place);
            added += self.read(last, rows)?.0;
        }
        // After another reading of the source any photo may be another one. Within one, photos
        // are embedded in its order, but for some that were put back.
        if !same_pass || (self.photos.len() as u64) < stamp.count {
            let (more, seen) = self.read(-1, rows)?;
            added += more;
            let gone: Vec<i64> =
                self.photos.keys().copied().filter(|place| !seen.contains(place)).collect();
            gone.into_iter().try_for_each(|place| self.remove(place)).map_err(MatchError::from)?;
        }
        self.settle_kind(config).map_err(MatchError::from)?;
        self.stamp = Some(stamp.clone());
        Ok(added)
    }

    /// Takes all photos after `after`: how many vectors that added, and the places seen.
    fn read<E: From<MatchError>>(
        &mut self,
        mut after: i64,
        rows: &mut impl FnMut(i64, usize) -> Result<Vec<ImageRow>, E>,
    ) -> Result<(u64, HashSet<i64>), E> {
        let (mut added, mut seen) = (0, HashSet::new());
        loop {
            let page = rows(after, PAGE)?;
            let Some(last) = page.last() else { return Ok((added, seen)) };
            after = last.seq;
            for row in page {
                seen.insert(row.seq);
                added += u64::from(self.take(row).map_err(MatchError::from)?);
            }
        }
    }

    /// Takes one photo; whether its vector is a new one.
    fn take(&mut self, row: ImageRow) -> Result<bool, IndexError> {
        let ImageRow { seq, id, image, description, vector, .. } = row;
        let print = print(&vector);
        let known = self.photos.get(&seq).is_some_and(|photo| photo.print == print);
        if !known {
            self.remove(seq)?;
            self.index.add(&seq.to_string(), &vector)?;
        }
        self.photos.insert(seq, Photo { id, image, description, print });
        Ok(!known)
    }

    fn remove(&mut self, place: i64) -> Result<(), IndexError> {
        self.photos.remove(&place);
        self.index.remove(&place.to_string()).map(drop)
    }

    /// Moves the vectors into the kind of index that fits their number.
    fn settle_kind(&mut self, config: &IndexConfig) -> Result<(), IndexError> {
        let len = self.index.len();
        if config.kind_for(self.index.kind(), len) == self.index.kind() {
            return Ok(());
        }
        let mut index = index::build(config, self.index.dim(), len)?;
        for part in self.index.ids().chunks(PAGE) {
            let vectors = part.iter().filter_map(|id| Some((id.clone(), self.index.vector(id)?)));
            index.add_many(&vectors.collect::<Vec<_>>())?;
        }
        self.index = index;
        Ok(())
    }

    fn search(&self, query: &PhotoQuery) -> Result<PhotosFound, MatchError> {
        let hits = self.index.search(&query.vector, query.k)?;
        let near = hits.into_iter().filter(|hit| hit.similarity >= query.min_similarity);
        let photos = near.filter_map(|hit| {
            let photo = self.photos.get(&hit.id.parse().ok()?)?;
            Some(PhotoHit {
                id: photo.id.clone(),
                image: photo.image.clone(),
                description: photo.description.clone(),
                similarity: hit.similarity,
            })
        });
        Ok(PhotosFound { photos: photos.collect(), searched: self.photos.len() })
    }
}

fn print(vector: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    vector.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const DIM: usize = 3;
    const MINUTE: Duration = Duration::from_secs(60);

    fn search() -> PhotoSearch {
        let config = IndexConfig { exact_up_to: 20, ..IndexConfig::default() };
        PhotoSearch { config, ..PhotoSearch::new(&IndexConfig::default(), "e", DIM) }
    }

    /// A run's photos, the one at each place turned by so much.
    struct Run {
        pass: i64,
        angles: BTreeMap<i64, f32>,
        read: u64,
    }

    impl Run {
        fn of(count: i64) -> Self {
            let angles = (0..count).map(|place| (place, place as f32 * 0.01)).collect();
            Self { pass: 1, angles, read: 0 }
        }

        fn stamp(&self) -> PhotosStamp {
            let count = self.angles.len() as u64;
            PhotosStamp { pass: self.pass, count, encoder: "e".to_owned() }
        }

        fn rows(&mut self, after: i64, limit: usize) -> Result<Vec<ImageRow>, MatchError> {
            let row = |(&seq, angle): (&i64, &f32)| ImageRow {
                seq,
                id: format!("photo {seq}"),
                image: ImageRef::file("photo.jpg"),
                description: String::new(),
                vector: vec![angle.cos(), angle.sin(), 0.0],
            };
            let page: Vec<_> = self.angles.range(after + 1..).take(limit).map(row).collect();
            self.read += page.len() as u64;
            Ok(page)
        }

        /// The ids of the `k` photos nearest to an angle.
        fn nearest(&mut self, search: &PhotoSearch, angle: f32, k: usize) -> Vec<String> {
            let stamp = self.stamp();
            let query =
                PhotoQuery { vector: vec![angle.cos(), angle.sin(), 0.0], k, min_similarity: -1.0 };
            let rows = |after, limit| self.rows(after, limit);
            let found = search.search("run", &stamp, rows, &query).expect("found");
            assert_eq!(found.searched, self.angles.len());
            found.photos.into_iter().map(|photo| photo.id).collect()
        }
    }

    #[test]
    fn a_run_that_grows_is_read_from_where_it_was() {
        let (search, mut run) = (search(), Run::of(10));
        assert_eq!(run.nearest(&search, 0.031, 2), ["photo 3", "photo 4"]);
        assert_eq!(run.nearest(&search, 0.0, 1), ["photo 0"]);
        assert_eq!((search.added(), run.read), (10, 10));
        // Past the limit of the exact index, too.
        for count in [15, 40] {
            run.angles = Run::of(count).angles;
            assert_eq!(run.nearest(&search, 0.1401, 1), ["photo 14"]);
            assert_eq!((search.added(), run.read), (count as u64, count as u64));
        }
    }

    #[test]
    fn photos_put_back_are_found_and_photos_that_went_are_not() {
        let (search, mut run) = (search(), Run::of(10));
        run.angles.remove(&4);
        assert_eq!(run.nearest(&search, 0.0401, 1), ["photo 5"]);
        run.angles = Run::of(11).angles;
        assert_eq!(run.nearest(&search, 0.0401, 1), ["photo 4"]);
        assert_eq!(search.added(), 11);
        // The source is read again: photo 2 went, photo 3 is another one.
        run.pass = 2;
        run.angles.remove(&2);
        run.angles.insert(3, 1.5);
        assert_eq!(run.nearest(&search, 1.5, 1), ["photo 3"]);
        assert_eq!(run.nearest(&search, 0.021, 1), ["photo 1"]);
        assert_eq!(search.added(), 12);
    }

    /// One lock over all runs would keep the second search waiting for the first.
    #[test]
    fn a_run_that_is_slow_to_read_holds_no_other() {
        let search = search();
        let query = PhotoQuery { vector: vec![1.0, 0.0, 0.0], k: 1, min_similarity: -1.0 };
        let (mut slow, stamp) = (Run::of(5), Run::of(5).stamp());
        let (began, beginning) = mpsc::channel();
        let (goes_on, going_on) = mpsc::channel();
        let (done, other) = mpsc::channel();
        std::thread::scope(|scope| {
            let rows = move |after, limit| {
                let _ = began.send(());
                going_on.recv_timeout(MINUTE).map(|()| slow.rows(after, limit)).expect("released")
            };
            let waiting = scope.spawn(|| search.search("slow", &stamp, rows, &query));
            beginning.recv_timeout(MINUTE).expect("the slow run is being read");
            scope.spawn(|| {
                let quick = |after, limit| Run::of(5).rows(after, limit);
                done.send(search.search("quick", &stamp, quick, &query))
            });
            let found = other.recv_timeout(MINUTE).expect("the quick run was searched meanwhile");
            assert_eq!(found.expect("found").searched, 5);
            (0..2).for_each(|_| goes_on.send(()).expect("the slow search waits"));
            assert_eq!(waiting.join().expect("no panic").expect("found").searched, 5);
        });
    }

    #[test]
    fn another_encoders_run_is_refused() {
        use crate::base::failure::Failure;
        let stamp = PhotosStamp { encoder: "f".to_owned(), ..Run::of(1).stamp() };
        let query = PhotoQuery { vector: vec![1.0, 0.0, 0.0], k: 1, min_similarity: -1.0 };
        let rows = |_, _| -> Result<Vec<ImageRow>, MatchError> { unreachable!("not read") };
        let refused = search().search("run", &stamp, rows, &query).expect_err("another encoder");
        assert_eq!(refused.code(), "other_model");
    }
}
