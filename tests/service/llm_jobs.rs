//! Jobs of the service that live on the language model: `Generate` and `Judge`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pairwright::server::pb;
use pairwright::server::pb::job_service_client::JobServiceClient;
use tonic::transport::Channel;

mod generate;
mod judge;
mod money;
mod stop;
mod thresholds;

use crate::support::serve::Server;

/// Quick retries, so that a model that is away is found out soon.
const QUICK: &str = "llm.backoff_base_s = 0.01\nllm.backoff_cap_s = 0.05\nllm.deadline_s = 4\n\
    llm.max_attempts = 2\n";

/// A server over `folder` with this language model and quick retries.
fn server(folder: &Path, llm: &str, flags: &[&str]) -> Server {
    let config: PathBuf = folder.join("config.toml");
    fs_err::create_dir_all(folder).expect("create");
    fs_err::write(&config, QUICK).expect("write");
    let config = config.to_str().expect("a path").to_owned();
    let mut all = vec!["--llm", llm, "--config", &config];
    all.extend(flags);
    Server::over(folder, &all)
}

fn jobs(channel: Channel) -> JobServiceClient<Channel> {
    JobServiceClient::new(channel).max_decoding_message_size(64 << 20)
}

async fn job(channel: &Channel, name: &str) -> pb::Job {
    let request = pb::GetJobRequest { name: name.to_owned() };
    jobs(channel.clone()).get_job(request).await.expect("the job").into_inner()
}

/// The job once `holds`.
async fn until(channel: &Channel, name: &str, holds: impl Fn(&pb::Job) -> bool) -> pb::Job {
    for _ in 0..1200 {
        let job = job(channel, name).await;
        if holds(&job) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within a minute: {:?}", job(channel, name).await);
}

async fn ended(channel: &Channel, name: &str) -> pb::Job {
    let open = [pb::JobState::Queued, pb::JobState::Running];
    until(channel, name, |job| !open.contains(&job.state())).await
}
