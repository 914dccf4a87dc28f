//! The services as routes, with the one message size.

use std::sync::Arc;

use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::health_server::{Health, HealthServer};

use super::app::App;
use super::pb;
use super::pb::answer_service_server::AnswerServiceServer;
use super::pb::embedding_service_server::EmbeddingServiceServer;
use super::pb::evaluation_service_server::EvaluationServiceServer;
use super::pb::info_service_server::InfoServiceServer;
use super::pb::instruction_service_server::InstructionServiceServer;
use super::pb::job_service_server::JobServiceServer;
use super::pb::matching_service_server::MatchingServiceServer;
use super::services;

/// The largest question to reflection.
const QUESTION_BYTES: usize = 16 << 10;

/// The largest question to health, the name of a service. It takes no place of a call; each
/// connection may have a few.
pub const HEALTH_BYTES: usize = 1 << 10;

/// Health and reflection: what answers from the first moment on.
///
/// # Errors
/// The descriptors compiled into the binary cannot be read.
pub fn early<H: Health>(
    health: HealthServer<H>,
) -> Result<Routes, tonic_reflection::server::Error> {
    Ok(standard(health)?.routes())
}

/// Every service.
///
/// # Errors
/// As [`early`].
pub fn full<H: Health>(
    app: &Arc<App>,
    health: HealthServer<H>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let size = app.limits.max_message_bytes;
    let app = || Arc::clone(app);
    let mut routes = standard(health)?;
    macro_rules! add {
        ($($server:ident($service:ident)),+ $(,)?) => {$(
            routes.add_service(
                $server::new(services::$service(app()))
                    .max_decoding_message_size(size)
                    .max_encoding_message_size(size),
            );
        )+};
    }
    add!(
        AnswerServiceServer(Answers),
        EmbeddingServiceServer(Embedding),
        EvaluationServiceServer(Evaluation),
        InfoServiceServer(Info),
        InstructionServiceServer(Instructions),
        JobServiceServer(Jobs),
        MatchingServiceServer(Matching),
    );
    Ok(routes.routes())
}

fn standard<H: Health>(
    health: HealthServer<H>,
) -> Result<RoutesBuilder, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    routes.add_service(health.max_decoding_message_size(HEALTH_BYTES));
    routes.add_service(reflection().build_v1()?.max_decoding_message_size(QUESTION_BYTES));
    routes.add_service(reflection().build_v1alpha()?.max_decoding_message_size(QUESTION_BYTES));
    Ok(routes)
}
