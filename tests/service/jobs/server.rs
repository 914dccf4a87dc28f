//! A job manager over a source, and what the tests ask of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use pairwright::config::Config;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::jobs::{JobManager, JobRecord, JobSpec, JobState, JobTask, ManagerOptions};
use pairwright::run::Resources;
use pairwright::work::Throttle;
use pairwright::work::{Backend, ProbePolicy};
use tokio::runtime::Runtime;

use crate::support::run::{World, query, root};

/// Everything that matching decided.
const PAIRS: &str = "SELECT i.id, p.rank, n.id, p.similarity, p.score, p.probability FROM pairs p
    JOIN items i ON i.seq = p.seq JOIN instructions n ON n.key = p.instruction_key ORDER BY 1, 2";

/// Decodes photos slowly, so that there is time to disturb.
pub struct Slow(pub Duration);

impl Throttle for Slow {
    fn with(&self, work: &mut dyn FnMut()) {
        std::thread::sleep(self.0);
        work();
    }
}

/// The bundled encoder, loaded once for all tests of this program.
pub fn encoder() -> Arc<dyn Encoder> {
    static ENCODER: OnceLock<Arc<dyn Encoder>> = OnceLock::new();
    let open = || -> Arc<dyn Encoder> {
        let options = EncoderOptions::default();
        let path = root().join("models/mini");
        Arc::new(OnnxEncoder::open(&path, &options, DecodeOptions::default()).expect("bundled"))
    };
    ENCODER.get_or_init(open).clone()
}

pub fn shared() -> Resources {
    Resources { encoder: Some(encoder()), ..Resources::default() }
}

pub fn slow(milliseconds: u64) -> Resources {
    let throttle: Arc<dyn Throttle> = Arc::new(Slow(Duration::from_millis(milliseconds)));
    Resources { throttle: Some(throttle), ..shared() }
}

/// A backend that is asked again soon.
pub fn backend(config: &Config) -> Backend {
    let policy = ProbePolicy { first: Duration::from_millis(200), cap: Duration::from_millis(400) };
    Backend::new(config.llm.clone(), policy)
}

/// A source, a data folder, and the runtime that managers live in.
pub struct Server {
    pub world: World,
    runtime: Runtime,
}

impl Server {
    pub fn new(photos: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self { world: World::with_photos(photos), runtime }
    }

    pub fn data(&self) -> PathBuf {
        self.world.path("data")
    }

    pub fn open(&self, resources: Resources, options: ManagerOptions) -> JobManager {
        let _inside = self.runtime.enter();
        JobManager::open(&self.data(), resources, options).expect("the data folder is free")
    }

    pub fn block<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A configuration over the photos, with what `more` (TOML) says.
    pub fn config(&self, more: &str) -> Config {
        config(&self.world.source(), more)
    }

    /// Waits for a job's last record.
    #[track_caller]
    pub fn end(&self, manager: &JobManager, id: &str) -> JobRecord {
        self.until(manager, id, "it has ended", |record| record.state.is_final())
    }

    /// Watches a job until its record is as wanted.
    #[track_caller]
    pub fn until(
        &self,
        manager: &JobManager,
        id: &str,
        what: &str,
        wanted: impl Fn(&JobRecord) -> bool,
    ) -> JobRecord {
        self.block(async {
            let watch = async {
                let mut last = None;
                let mut news = manager.watch(id).await.expect("a job");
                while let Some(record) = news.next().await {
                    if wanted(&record) {
                        return Ok(record);
                    }
                    last = Some(record);
                }
                Err(last)
            };
            let seen = tokio::time::timeout(Duration::from_secs(120), watch).await;
            let Ok(seen) = seen else { panic!("still waiting until {what}") };
            seen.unwrap_or_else(|last| panic!("it ended before {what}: {last:?}"))
        })
    }

    /// Runs a job to its good end.
    #[track_caller]
    pub fn succeed(&self, manager: &JobManager, spec: JobSpec) -> JobRecord {
        let job = self.block(manager.submit(spec, None)).expect("submitted");
        let end = self.end(manager, &job.id);
        assert_eq!(end.state, JobState::Succeeded, "{:?}", end.failure);
        end
    }

    #[track_caller]
    pub fn close(&self, manager: JobManager) {
        assert!(self.block(manager.shutdown(Duration::from_secs(30))), "it stopped in time");
    }

    /// What a run's store says.
    pub fn query(&self, run: &str, sql: &str) -> Vec<String> {
        query(&self.data().join("runs").join(run), sql)
    }

    pub fn pairs(&self, run: &str) -> Vec<String> {
        self.query(run, PAIRS)
    }
}

/// A configuration over `source`.
pub fn config(source: &Path, more: &str) -> Config {
    let mut config: Config = toml::from_str(more).expect("a configuration");
    config.source.path = Some(source.to_owned());
    config
}

/// A job that ends with the pairs.
pub fn matching(run: &str, config: Config) -> JobSpec {
    JobSpec {
        run_id: Some(run.to_owned()),
        task: JobTask::Match { config: Box::new(config), answers: false },
        request_id: None,
        spec_json: "{}".into(),
    }
}

/// A job with answers.
pub fn answering(run: &str, config: Config) -> JobSpec {
    let task = JobTask::Match { config: Box::new(config), answers: true };
    JobSpec { run_id: Some(run.to_owned()), task, request_id: None, spec_json: "{}".into() }
}
