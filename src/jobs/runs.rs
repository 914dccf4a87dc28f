//! Reading a run, perhaps while a job writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{JobManager, ManagerError};
use crate::dataset::record::Measured;
use crate::dataset::store::{AnsweredPair, Store};
use crate::matching::{PhotoQuery, PhotoSearch, PhotosFound, PhotosStamp};
use crate::run::{Settings, store_path};

/// What measures say of an answer, by their names.
pub type Measures = BTreeMap<String, Measured>;

/// One page of a run's pairs, in source order.
#[derive(Debug, Clone, PartialEq)]
pub struct PairPage {
    /// Each with what measures say of its answer.
    pub pairs: Vec<(AnsweredPair, Measures)>,
    /// Gives the next page; `None` on the last of now.
    pub next_token: Option<String>,
}

impl JobManager {
    /// The folder of a run, whether it is there or not.
    ///
    /// # Errors
    /// `InvalidRunId`.
    pub fn run_folder(&self, run_id: &str) -> Result<PathBuf, ManagerError> {
        check_run_id(run_id)?;
        Ok(self.inner.run_folder(run_id))
    }

    /// The photos of a job's run nearest to a vector; none before anything is embedded.
    ///
    /// # Errors
    /// `NoJob`, the store's, or another encoder embedded the run.
    pub async fn search_photos(
        &self,
        job: &str,
        search: Arc<PhotoSearch>,
        query: PhotoQuery,
    ) -> Result<PhotosFound, ManagerError> {
        let run = self.get(job).await?.run_id;
        let id = run.clone();
        let work = move |store: &Store, encoder: &str, _: &Settings| {
            let pass = store.pass()?;
            let (_, count, _) = store.item_states(pass)?;
            let stamp = PhotosStamp { pass, count, encoder: encoder.to_owned() };
            let rows = |after, limit| Ok(store.image_rows(pass, encoder, after, limit)?);
            search.search(&id, &stamp, rows, &query)
        };
        match self.read_run(&run, work).await {
            Err(ManagerError::NoRun { .. }) => Ok(PhotosFound::default()),
            found => found,
        }
    }

    /// A page of at most `page_size` pairs of a run with their answers; `token` is empty for the
    /// first.
    ///
    /// # Errors
    /// `InvalidToken`, `NoRun` where nothing is embedded yet, or the store's.
    pub async fn pairs(
        &self,
        run_id: &str,
        page_size: usize,
        token: &str,
    ) -> Result<PairPage, ManagerError> {
        let after = parse_token(token)?;
        let page_size = page_size.max(1);
        let mut pairs: Vec<_> = self
            .read_run(run_id, move |store, _, settings| {
                let (matching, answering) = (settings.match_conf(), settings.answer_conf());
                let pairs = store.answered_pairs(matching, answering, after, page_size + 1)?;
                let measured = |pair: AnsweredPair| {
                    let measures = match &pair.1 {
                        Some(answer) => store.measures_of(&answer.answer_key)?,
                        None => Measures::new(),
                    };
                    Ok((pair, measures))
                };
                pairs.into_iter().map(measured).collect()
            })
            .await?;
        let more = pairs.len() > page_size;
        pairs.truncate(page_size);
        let next = pairs
            .last()
            .filter(|_| more)
            .map(|((pair, _), _)| format!("{}.{}", pair.seq, pair.rank));
        Ok(PairPage { pairs, next_token: next })
    }

    /// Reads the store of a run; `read` also gets the encoder's hash.
    async fn read_run<T: Send + 'static>(
        &self,
        run_id: &str,
        read: impl FnOnce(&Store, &str, &Settings) -> Result<T, ManagerError> + Send + 'static,
    ) -> Result<T, ManagerError> {
        let path = store_path(&self.run_folder(run_id)?);
        let run_id = run_id.to_owned();
        let work = move || {
            let open = Store::open_to_read(&path);
            let store = open.map_err(|error| match error {
                absent if absent.is_absent() => ManagerError::NoRun { run_id: run_id.clone() },
                other => other.into(),
            })?;
            let settings = Settings::read(&store)?;
            let Some(matching) = &settings.matching else {
                return Err(ManagerError::NoRun { run_id });
            };
            read(&store, &matching.encoder.hash, &settings)
        };
        super::blocking(work).await?
    }
}

/// `[a-z0-9][a-z0-9-]{0,62}`: fit for a folder's name on every system.
pub(super) fn check_run_id(run_id: &str) -> Result<(), ManagerError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&run_id.len()) && run_id.bytes().all(allowed) && !run_id.starts_with('-') {
        return Ok(());
    }
    Err(ManagerError::InvalidRunId { run_id: run_id.chars().take(100).collect() })
}

/// The (`seq`, `rank`) a page begins after.
fn parse_token(token: &str) -> Result<(i64, u32), ManagerError> {
    if token.is_empty() {
        return Ok((-1, 0));
    }
    let parts = token.split_once('.');
    let place = parts.and_then(|(seq, rank)| Some((seq.parse().ok()?, rank.parse().ok()?)));
    place.ok_or_else(|| ManagerError::InvalidToken { token: token.chars().take(100).collect() })
}
