//! `pairwright.v1.EvaluationService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::super::app::App;
use super::super::call::Call;
use super::super::fault::Fault;
use super::super::pb;
use super::super::pb::evaluation_service_server::EvaluationService;
use super::super::{judge, validate};

/// Judges models against each other.
pub struct Evaluation(pub Arc<App>);

#[tonic::async_trait]
impl EvaluationService for Evaluation {
    async fn judge(&self, request: Request<pb::JudgeRequest>) -> Result<Response<pb::Job>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(judge::submit(&self.0, &call, request.into_inner()).await?))
    }

    async fn get_evaluation(
        &self,
        request: Request<pb::GetEvaluationRequest>,
    ) -> Result<Response<pb::Evaluation>, Status> {
        let name = request.into_inner().job;
        let id = validate::job_id("job", &name)?;
        let (folder, results) = self.0.jobs.evaluated(id).await.map_err(Fault::from)?;
        Ok(Response::new(judge::evaluation(id, &folder, &results)))
    }

    async fn compare(
        &self,
        request: Request<pb::CompareRequest>,
    ) -> Result<Response<pb::CompareResponse>, Status> {
        let pb::CompareRequest { job, other_job, rule } = request.into_inner();
        let one = validate::job_id("job", &job)?;
        let other = validate::job_id("other_job", &other_job)?;
        let rule = judge::rule(rule)?;
        let found = self.0.jobs.agreement(one, other, rule).await.map_err(Fault::from)?;
        Ok(Response::new(judge::agreement(found)))
    }
}
