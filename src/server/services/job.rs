//! `pairwright.v1.JobService`.

use std::sync::Arc;

use futures::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::super::app::App;
use super::super::fault::Fault;
use super::super::jobs::{job, pair};
use super::super::pb;
use super::super::pb::job_service_server::JobService;
use super::super::streams::{Replies, forward};
use super::super::validate;
use crate::pipeline::manager::{JobManager, JobRecord, JobState, ManagerError};

/// Jobs of the server.
pub struct Jobs(pub Arc<App>);

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = Replies<pb::WatchJobResponse>;

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        self.about(&request.into_inner().name, JobManager::get).await
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let pb::ListJobsRequest { page_size, page_token, state } = request.into_inner();
        let size = validate::page_size(page_size, &self.0.limits)?;
        let state = wanted(state)?;
        let listing = move |app: &App| {
            app.jobs.list(size, &page_token, state).map_err(|error| Fault::from(&error))
        };
        let page = self.0.blocking(listing).await?;
        Ok(Response::new(pb::ListJobsResponse {
            jobs: page.jobs.iter().map(job).collect(),
            next_page_token: page.next_token.unwrap_or_default(),
        }))
    }

    async fn watch_job(
        &self,
        request: Request<pb::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let id = validate::job_id("name", &request.into_inner().name)?.to_owned();
        let watching = move |app: &App| app.jobs.watch(&id).map_err(|error| Fault::from(&error));
        let records = self.0.blocking(watching).await?;
        let records = records.map(|record| Ok(pb::WatchJobResponse { job: Some(job(&record)) }));
        Ok(Response::new(forward(records, self.0.idle())))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        self.about(&request.into_inner().name, JobManager::cancel).await
    }

    async fn resume_job(
        &self,
        request: Request<pb::ResumeJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        self.about(&request.into_inner().name, JobManager::resume).await
    }

    async fn list_job_pairs(
        &self,
        request: Request<pb::ListJobPairsRequest>,
    ) -> Result<Response<pb::ListJobPairsResponse>, Status> {
        let pb::ListJobPairsRequest { name, page_size, page_token } = request.into_inner();
        let id = validate::job_id("name", &name)?.to_owned();
        let size = validate::page_size(page_size, &self.0.limits)?;
        let reading = move |app: &App| {
            let failed = |error: ManagerError| Fault::from(&error);
            let record = app.jobs.get(&id).map_err(failed)?;
            app.jobs.pairs(&record.run_id, &page_token, size).map_err(failed)
        };
        let page = self.0.blocking(reading).await?;
        Ok(Response::new(pb::ListJobPairsResponse {
            pairs: page.pairs.into_iter().map(pair).collect(),
            next_page_token: page.next_token.unwrap_or_default(),
        }))
    }
}

impl Jobs {
    /// Does something with one job and shows it.
    async fn about(
        &self,
        name: &str,
        action: fn(&JobManager, &str) -> Result<JobRecord, ManagerError>,
    ) -> Result<Response<pb::Job>, Status> {
        let id = validate::job_id("name", name)?.to_owned();
        let acting = move |app: &App| action(&app.jobs, &id).map_err(|error| Fault::from(&error));
        let record = self.0.blocking(acting).await?;
        Ok(Response::new(job(&record)))
    }
}

fn wanted(number: i32) -> Result<Option<JobState>, Fault> {
    match pb::JobState::try_from(number) {
        Ok(pb::JobState::Unspecified) => Ok(None),
        Ok(pb::JobState::Queued) => Ok(Some(JobState::Queued)),
        Ok(pb::JobState::Running) => Ok(Some(JobState::Running)),
        Ok(pb::JobState::Succeeded) => Ok(Some(JobState::Succeeded)),
        Ok(pb::JobState::Failed) => Ok(Some(JobState::Failed)),
        Ok(pb::JobState::Cancelled) => Ok(Some(JobState::Cancelled)),
        Err(_) => Err(Fault::unknown_enum("state", number)),
    }
}
