//! `pairwright.v1.JobService`.

use std::sync::Arc;

use futures::StreamExt;
use tonic::{Request, Response, Status};

use super::super::app::App;
use super::super::call::Call;
use super::super::fault::Fault;
use super::super::jobs::{job, pair};
use super::super::pages::List;
use super::super::pb;
use super::super::pb::job_service_server::JobService;
use super::super::streams::{Replies, forward};
use super::super::{generate, judge, validate};
use crate::jobs::{JobKind, JobRecord, JobState, ManagerError};

/// Jobs of the server.
pub struct Jobs(pub Arc<App>);

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = Replies<pb::WatchJobResponse>;

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let name = request.into_inner().name;
        let id = validate::job_id("name", &name)?;
        self.shown(self.0.jobs.get(id).await)
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let pb::ListJobsRequest { page_size, page_token, state } = request.into_inner();
        let size = validate::page_size(page_size, &self.0.limits)?;
        let filter = state.to_string();
        let list = List { name: "ListJobs", filter: &filter };
        let place = list.place(&page_token)?;
        let page = self.0.jobs.list(size, &place, wanted(state)?).await.map_err(Fault::from)?;
        Ok(Response::new(pb::ListJobsResponse {
            jobs: page.jobs.iter().map(|record| job(&self.0, record)).collect(),
            next_page_token: list.token(page.next_token),
        }))
    }

    async fn watch_job(
        &self,
        request: Request<pb::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let name = request.into_inner().name;
        let id = validate::job_id("name", &name)?;
        let records = self.0.jobs.watch(id).await.map_err(Fault::from)?;
        let app = Arc::clone(&self.0);
        let shown =
            move |record: JobRecord| Ok(pb::WatchJobResponse { job: Some(job(&app, &record)) });
        Ok(Response::new(forward(records.map(shown), self.0.idle())))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let name = request.into_inner().name;
        let id = validate::job_id("name", &name)?;
        self.shown(self.0.jobs.cancel(id).await)
    }

    async fn resume_job(
        &self,
        request: Request<pb::ResumeJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let call = Call::of(&request);
        let name = request.into_inner().name;
        let id = validate::job_id("name", &name)?;
        let resumed = self.0.jobs.resume(id, call.owner()).await;
        let record = resumed.map_err(|error| call.job_refused(error))?;
        Ok(Response::new(job(&self.0, &record)))
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteJobRequest { name, allow_missing } = request.into_inner();
        let id = validate::job_id("name", &name)?;
        match self.0.jobs.delete(id).await {
            Err(ManagerError::NoJob { .. }) if allow_missing => {}
            deleted => deleted.map_err(Fault::from)?,
        }
        Ok(Response::new(()))
    }

    async fn list_job_pairs(
        &self,
        request: Request<pb::ListJobPairsRequest>,
    ) -> Result<Response<pb::ListJobPairsResponse>, Status> {
        let pb::ListJobPairsRequest { name, page_size, page_token } = request.into_inner();
        let id = validate::job_id("name", &name)?;
        let list = List { name: "ListJobPairs", filter: id };
        let place = list.place(&page_token)?;
        let size = validate::page_size(page_size, &self.0.limits)?;
        let record = self.0.jobs.get_kind(id, JobKind::Match).await.map_err(Fault::from)?;
        let page = self.0.jobs.pairs(&record.run_id, size, &place).await;
        let page = match page {
            // The job has not begun: it has no pairs yet.
            Err(ManagerError::NoRun { .. }) => {
                return Ok(Response::new(pb::ListJobPairsResponse::default()));
            }
            page => page.map_err(Fault::from)?,
        };
        Ok(Response::new(pb::ListJobPairsResponse {
            pairs: page.pairs.into_iter().map(pair).collect(),
            next_page_token: list.token(page.next_token),
        }))
    }

    async fn list_job_instructions(
        &self,
        request: Request<pb::ListJobInstructionsRequest>,
    ) -> Result<Response<pb::ListJobInstructionsResponse>, Status> {
        let pb::ListJobInstructionsRequest { name, page_size, page_token } = request.into_inner();
        let id = validate::job_id("name", &name)?;
        let list = List { name: "ListJobInstructions", filter: id };
        let place = list.place(&page_token)?;
        let size = validate::page_size(page_size, &self.0.limits)?;
        let page = self.0.jobs.generated(id, size, &place).await.map_err(Fault::from)?;
        Ok(Response::new(pb::ListJobInstructionsResponse {
            instructions: page.rows.into_iter().map(generate::generated).collect(),
            next_page_token: list.token(page.next_token),
        }))
    }

    async fn list_job_verdicts(
        &self,
        request: Request<pb::ListJobVerdictsRequest>,
    ) -> Result<Response<pb::ListJobVerdictsResponse>, Status> {
        let pb::ListJobVerdictsRequest { name, page_size, page_token } = request.into_inner();
        let id = validate::job_id("name", &name)?;
        let list = List { name: "ListJobVerdicts", filter: id };
        let place = list.place(&page_token)?;
        let size = validate::page_size(page_size, &self.0.limits)?;
        let page = self.0.jobs.verdicts(id, size, &place).await.map_err(Fault::from)?;
        Ok(Response::new(pb::ListJobVerdictsResponse {
            verdicts: page.rows.into_iter().map(judge::verdict).collect(),
            next_page_token: list.token(page.next_token),
        }))
    }
}

impl Jobs {
    fn shown(&self, record: Result<JobRecord, ManagerError>) -> Result<Response<pb::Job>, Status> {
        Ok(Response::new(job(&self.0, &record.map_err(Fault::from)?)))
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
