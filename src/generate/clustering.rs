//! The cluster stage: accepted instructions to clusters, with sizes, inertia and nearest members.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::base::Stopped;
use crate::base::db::DbError;
use crate::base::key::Key;
use crate::encoder::Embedding;
use crate::instruction::GenerateError;
use crate::instruction::cluster::{ClusterConfig, ClusterError, Partition, Tried, choose};
use crate::instruction::lineage::{
    ACCEPTED, ClusterRow, GenerationStore, MemberRow, RawRow, count,
};

use super::old_keys;
use super::vectors::Vectors;
use crate::work::{Phase, Progress, Stop};

const FACTS: &str = "cluster";

/// How the present clusters were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Key over the instructions, their embeddings' model, the settings and the seed.
    pub conf: String,
    /// The embedder in words.
    pub embedder: String,
    /// Instructions clustered.
    pub points: usize,
    pub k: usize,
    /// What was tried when k was not given.
    pub tried: Vec<Tried>,
    /// Sum of the squared distances to the centres.
    pub inertia: f64,
    /// Iterations of the start that counts.
    pub iterations: usize,
    pub restarts: usize,
}

impl ClusterFacts {
    /// Those of the last clustering.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(store: &GenerationStore) -> Result<Option<Self>, Error> {
        Ok(store.database().meta_json(FACTS)?)
    }
}

/// What the cluster stage works with.
pub struct ClusterStage<'a> {
    pub config: &'a ClusterConfig,
    /// Seed of the generation.
    pub seed: u64,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
}

impl ClusterStage<'_> {
    /// Clusters the accepted instructions, unless just these were clustered just so before.
    ///
    /// # Errors
    /// Fewer than two are left, k is above their number, the store or the embedder failed, or the
    /// user stopped.
    pub fn run(&self, vectors: &mut Vectors<'_>) -> Result<ClusterFacts, Error> {
        let store = vectors.store;
        let raws: Vec<RawRow> =
            store.raws()?.into_iter().filter(|row| row.verdict == ACCEPTED).collect();
        self.progress.expect(Phase::Cluster, raws.len() as u64);
        let conf = self.conf(&raws, &vectors.embedder.hash);
        let facts = match self.earlier(store, &raws, &vectors.embedder.hash, &conf)? {
            Some(facts) => facts,
            None => self.cluster(&raws, conf, vectors)?,
        };
        self.progress.advance(Phase::Cluster, raws.len() as u64);
        self.progress.finish(Phase::Cluster);
        Ok(facts)
    }

    fn conf(&self, raws: &[RawRow], encoder: &str) -> String {
        // Threads are left out: no result depends on them.
        let ClusterConfig { k, k_min, k_max, restarts, max_iterations, tolerance, .. } =
            self.config;
        let ClusterConfig { silhouette_sample, choose_sample, .. } = self.config;
        Key::new("cluster", 2)
            .optional("k", *k)
            .optional("k_min", *k_min)
            .optional("k_max", *k_max)
            .field("restarts", *restarts)
            .field("max_iterations", *max_iterations)
            .field("tolerance", *tolerance)
            .field("silhouette_sample", *silhouette_sample)
            .field("choose_sample", *choose_sample)
            .field("seed", self.seed)
            .field("encoder", encoder)
            .list("points", raws.iter().map(|row| format!("{} {}", row.place, row.key)))
            .done()
    }

    /// The facts of the last clustering, with today's key in place of one of release 0.1.0.
    fn earlier(
        &self,
        store: &GenerationStore,
        raws: &[RawRow],
        encoder: &str,
        conf: &str,
    ) -> Result<Option<ClusterFacts>, Error> {
        let Some(mut facts) = ClusterFacts::read(store)? else { return Ok(None) };
        let points = raws.iter().map(|row| (row.place, row.key.as_str()));
        if facts.conf == old_keys::clusters(self.config, self.seed, encoder, points) {
            facts.conf = conf.to_owned();
            store.database().set_meta_json(FACTS, &facts)?;
        }
        Ok((facts.conf == conf).then_some(facts))
    }

    fn cluster(
        &self,
        raws: &[RawRow],
        conf: String,
        vectors: &mut Vectors<'_>,
    ) -> Result<ClusterFacts, Error> {
        // What is there belongs to other instructions, whatever comes now.
        vectors.store.clear_clusters()?;
        let texts: Vec<&str> = raws.iter().map(|row| row.text.as_str()).collect();
        let points = matrix(&vectors.of(&texts)?);
        let found = self.partition(&points);
        let (partition, tried) = found.map_err(|error| lost(vectors.store, error))?;
        let (clusters, members) = rows(raws, &partition);
        let facts = ClusterFacts {
            conf,
            embedder: vectors.embedder.name.clone(),
            points: raws.len(),
            k: clusters.len(),
            tried,
            inertia: partition.inertia,
            iterations: partition.iterations,
            restarts: self.config.restarts,
        };
        vectors.store.put_clusters(&clusters, &members)?;
        vectors.store.database().set_meta_json(FACTS, &facts)?;
        Ok(facts)
    }

    fn partition(&self, points: &Array2<f32>) -> Result<(Partition, Vec<Tried>), ClusterError> {
        let found = points.nrows();
        if found < 2 {
            return Err(ClusterError::TooFew { found });
        }
        let (points, stopped) = (points.view(), || self.stop.is_asked());
        let (k, tried) = match self.config.k {
            Some(k) => (k, Vec::new()),
            None => choose(points, self.config, self.seed, &stopped)?,
        };
        Ok((self.config.kmeans(k, self.seed).fit(points, &stopped)?, tried))
    }
}

/// Rows of equal length as a matrix.
pub fn matrix(vectors: &[Embedding]) -> Array2<f32> {
    let columns = vectors.first().map_or(0, Vec::len);
    Array2::from_shape_fn((vectors.len(), columns), |(row, column)| vectors[row][column])
}

/// The error with what became of the instructions that are missing. Where calls failed that the next
/// start makes again, that is what ended it.
fn lost(store: &GenerationStore, error: ClusterError) -> Error {
    if error == ClusterError::Stopped {
        return Stopped.into();
    }
    let read = || Ok::<_, DbError>((store.counts()?, store.failures()?));
    let (counts, failures) = match read() {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let open: Vec<_> = failures.iter().filter(|failure| !failure.refused).collect();
    if let (ClusterError::TooFew { found }, Some(first)) = (&error, open.first()) {
        let reason = format!("{}: {}", first.subject, first.reason);
        return GenerateError::Unanswered { found: *found, failed: open.len(), reason }.into();
    }
    let of = |what: &str| {
        let counts = counts.iter().filter(|count| count.of == what);
        counts.map(|count| format!("{} {}", count.code, count.count)).collect::<Vec<_>>()
    };
    let all = count(&counts, "raw", None);
    let (what, kind) = if all == 0 { ("replies", "reply") } else { ("instructions", "raw") };
    let refused: Vec<_> = failures.iter().filter(|failure| failure.refused).collect();
    let said = refused.first().map(|one| format!("refused {} ({})", refused.len(), one.reason));
    let why: Vec<String> = of(kind).into_iter().chain(said).collect();
    let why = if why.is_empty() { "none came".to_owned() } else { why.join(", ") };
    GenerateError::Cluster {
        error,
        lost: format!("of {all} instructions the LLM wrote, {what}: {why}"),
    }
    .into()
}

/// Clusters from the largest on, equals by their first member; empty ones, which equal embeddings
/// can leave, are dropped.
fn rows(raws: &[RawRow], partition: &Partition) -> (Vec<ClusterRow>, Vec<MemberRow>) {
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); partition.centres.nrows()];
    for (at, label) in partition.labels.iter().enumerate() {
        groups[*label as usize].push(at);
    }
    groups.retain(|group| !group.is_empty());
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then(a[0].cmp(&b[0])));
    let (mut clusters, mut members) = (Vec::new(), Vec::new());
    for (cluster, mut group) in groups.into_iter().enumerate() {
        let distance = |at: usize| f64::from(partition.distances[at]);
        group.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)).then(a.cmp(b)));
        let inertia = group.iter().map(|at| distance(*at)).sum();
        clusters.push(ClusterRow { cluster, size: group.len(), inertia });
        members.extend(group.iter().enumerate().map(|(rank, at)| MemberRow {
            raw: raws[*at].place,
            cluster,
            rank,
            distance: distance(*at).sqrt(),
        }));
    }
    (clusters, members)
}
