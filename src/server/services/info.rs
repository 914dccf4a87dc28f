//! `pairwright.v1.InfoService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::super::app::App;
use super::super::call::Call;
use super::super::convert;
use super::super::pb;
use super::super::pb::answer_backend_info::State;
use super::super::pb::info_service_server::InfoService;
use crate::config::QuotaConfig;
use crate::encoder::queue::Lane;
use crate::index::{RecallFacts, SearchFacts};
use crate::work::BackendState;

/// What the server is.
pub struct Info(pub Arc<App>);

#[tonic::async_trait]
impl InfoService for Info {
    async fn get_server_info(
        &self,
        request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::ServerInfo>, Status> {
        let app = &self.0;
        Ok(Response::new(pb::ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: Some(model(app)),
            limits: Some(limits(app)),
            answer_backend: Some(answer_backend(app)),
            library: Some(pb::LibraryInfo {
                instruction_count: convert::count(app.library.len()),
                revision: convert::whole(app.library.revision()),
                search: Some(search(&app.library.search_facts())),
            }),
            queues: app.queue.snapshot().iter().map(queue).collect(),
            features: Some(features(app)),
            start_time: Some(convert::timestamp(app.started)),
            quotas: Some(quotas(Call::of(&request).quotas())),
        }))
    }
}

fn search(facts: &SearchFacts) -> pb::SearchInfo {
    let recall = |one: &RecallFacts| pb::RecallInfo {
        modality: one.of.name().to_owned(),
        width: convert::count(one.width),
        recall: one.recall,
        query_count: convert::count(one.queries),
        vector_count: convert::count(one.vectors),
    };
    let recall = facts.recall.iter().map(recall).collect();
    pb::SearchInfo { kind: facts.kind.name().to_owned(), recall }
}

fn model(app: &App) -> pb::ModelInfo {
    let encoder = app.encoder();
    let manifest = encoder.manifest();
    pb::ModelInfo {
        r#ref: Some(convert::model_ref(encoder)),
        embedding_dim: convert::count(manifest.embedding_dim),
        image_size: i32::try_from(manifest.vision.preprocess.crop).unwrap_or(i32::MAX),
        context_length: convert::count(manifest.text.context_length),
        device: encoder.device().to_string(),
        runtime: ort::info().to_owned(),
        license: manifest.license.clone(),
        notice: manifest.notice.clone().unwrap_or_default(),
        default_min_similarity: manifest.defaults.min_similarity,
        default_caption_weight: manifest.defaults.caption_weight,
        logit: manifest.logit.map(|logit| pb::LogitInfo { scale: logit.scale, bias: logit.bias }),
    }
}

fn limits(app: &App) -> pb::Limits {
    let (limits, image) = (&app.limits, &app.config.image.limits);
    let serve = &app.config.serve;
    let (count, bytes) = (convert::count, |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX));
    let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    pb::Limits {
        max_message_bytes: bytes(limits.max_message_bytes as u64),
        max_items: count(limits.max_items),
        max_image_bytes: bytes(image.max_file_bytes),
        max_image_pixels: bytes(image.max_pixels),
        max_image_side: i32::try_from(image.max_side).unwrap_or(i32::MAX),
        max_text_bytes: count(limits.max_text_bytes),
        max_streams: i32::try_from(limits.max_streams).unwrap_or(i32::MAX),
        max_connections: count(limits.max_connections),
        max_requests: count(limits.max_requests),
        max_queue_items: count(serve.queue.max_queue_items),
        max_queue_bytes: bytes(serve.queue.max_queue_bytes as u64),
        max_top_k: count(limits.max_top_k),
        max_page_size: count(limits.max_page_size),
        max_running_jobs: small(serve.jobs.max_running),
        max_queued_jobs: small(serve.jobs.max_queued),
        stream_idle_seconds: small(limits.stream_idle_seconds),
        max_request_seconds: small(limits.request_timeout_seconds),
        interactive_weight: count(serve.queue.interactive_weight),
        bulk_weight: count(serve.queue.bulk_weight),
        max_batch_items: count(serve.queue.with(app.encoder().manifest()).batch_size),
        max_watches: count(limits.max_watches),
        max_messages_bytes: bytes(serve.limits.max_messages_bytes),
    }
}

fn quotas(quotas: QuotaConfig) -> pb::Quotas {
    let QuotaConfig {
        calls_per_second,
        items_per_second,
        bytes_per_second,
        open_streams,
        queued_jobs,
    } = quotas;
    pb::Quotas {
        calls_per_second: convert::whole(calls_per_second),
        items_per_second: convert::whole(items_per_second),
        bytes_per_second: convert::whole(bytes_per_second),
        open_streams: convert::whole(open_streams),
        queued_jobs: convert::whole(queued_jobs),
    }
}

fn answer_backend(app: &App) -> pb::AnswerBackendInfo {
    let (state, reason) = match app.answers.backend.state() {
        BackendState::Up => (State::Up, String::new()),
        BackendState::Untried => (State::Idle, String::new()),
        BackendState::Down { reason, .. } => (State::Down, reason.to_string()),
    };
    pb::AnswerBackendInfo {
        state: state.into(),
        target: app.config.llm.target.to_string(),
        model: app.answers.backend.model_name().unwrap_or_default(),
        reason,
    }
}

fn queue(lane: &crate::encoder::queue::LaneSnapshot) -> pb::QueueInfo {
    let name = match lane.lane {
        Lane::Interactive => pb::Lane::Interactive,
        Lane::Bulk => pb::Lane::Bulk,
    };
    pb::QueueInfo {
        tower: lane.tower.name().to_owned(),
        lane: name.into(),
        waiting_count: convert::count(lane.waiting + lane.ready),
    }
}

fn features(app: &App) -> pb::Features {
    let serve = &app.config.serve;
    pb::Features {
        uris: app.images.fetches(),
        paths: app.images.roots().is_some(),
        api_keys: serve.auth.keys_file.is_some(),
        tls: serve.tls.cert.is_some(),
    }
}
