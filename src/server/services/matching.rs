//! `pairwright.v1.MatchingService`.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::super::app::App;
use super::super::call::Call;
use super::super::fault::Fault;
use super::super::options::{self, Draw};
use super::super::pb;
use super::super::pb::matching_service_server::MatchingService;
use super::super::probe::Probed;
use super::super::streams::{Replies, answer_in_order};
use super::super::{batch, convert, validate};
use crate::encoder::queue::Lane;
use crate::matching::check::CheckKind;
use crate::matching::{PhotoHit, PhotoQuery};

/// Results when `top_k` is not set.
const TOP_K: usize = 10;

/// Matches images with instructions.
pub struct Matching(pub Arc<App>);

#[tonic::async_trait]
impl MatchingService for Matching {
    type MatchStreamStream = Replies<pb::MatchStreamResponse>;

    async fn r#match(
        &self,
        request: Request<pb::MatchRequest>,
    ) -> Result<Response<pb::MatchResponse>, Status> {
        let call = Call::of(&request);
        let pb::MatchRequest { queries, options, lane } = request.into_inner();
        validate::items("queries", queries.len(), &self.0.limits)?;
        call.items(queries.len())?;
        let draw = draw(&self.0, &call, options.as_ref())?;
        let context = call.unary(validate::lane(lane, Lane::Interactive)?);
        let queries = queries.into_iter().zip(0u64..).map(named).collect::<Result<_, _>>()?;
        let matched = self.0.match_queries(queries, draw, &context).await?;
        Ok(Response::new(pb::MatchResponse {
            results: matched.results,
            model: Some(convert::model_ref(self.0.encoder())),
            timings: Some(convert::timings(matched.timings, call.began)),
            library_revision: matched.revision,
        }))
    }

    async fn match_stream(
        &self,
        request: Request<Streaming<pb::MatchStreamRequest>>,
    ) -> Result<Response<Self::MatchStreamStream>, Status> {
        let call = Call::of(&request);
        let app = Arc::clone(&self.0);
        let (ahead, idle) = (app.read_ahead(), app.idle());
        let bytes = call.bytes();
        let mut draw = None;
        let work = move |position, message: pb::MatchStreamRequest| {
            let settled = settle(&mut draw, &app, &call, position, message.options.as_ref());
            let (app, call) = (Arc::clone(&app), call.clone());
            async move { match_message(&app, &call, position, message, settled?).await }
        };
        Ok(Response::new(answer_in_order(request.into_inner(), ahead, idle, bytes, work)))
    }

    async fn search_images(
        &self,
        request: Request<pb::SearchImagesRequest>,
    ) -> Result<Response<pb::SearchImagesResponse>, Status> {
        let call = Call::of(&request);
        let request = request.into_inner();
        let job = validate::job_id("job", &request.job)?.to_owned();
        let top_k = validate::top_k(request.top_k, TOP_K, &self.0.limits)?;
        let floor = validate::min_similarity(request.min_similarity)?;
        call.items(1)?;
        let context = call.unary(Lane::Interactive);
        let Probed { vector, timings, .. } = self.0.probe(request.query, &context).await?;
        let query = PhotoQuery { vector, k: top_k, min_similarity: floor };
        let found = self.0.jobs.search_photos(&job, Arc::clone(&self.0.photos), query).await;
        let found = found.map_err(Fault::from)?;
        Ok(Response::new(pb::SearchImagesResponse {
            results: found.photos.into_iter().map(photo).collect(),
            searched_count: convert::count(found.searched),
            model: Some(convert::model_ref(self.0.encoder())),
            timings: Some(convert::timings(timings, call.began)),
        }))
    }

    async fn batch_match(
        &self,
        request: Request<pb::BatchMatchRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(batch::submit(&self.0, &call, request.into_inner()).await?))
    }
}

fn draw(app: &App, call: &Call, options: Option<&pb::MatchOptions>) -> Result<Draw, Fault> {
    let defaults = app.encoder().manifest().defaults;
    let draw = options::draw(options, &app.config.matching, defaults, &app.limits)?;
    if draw.rules.checks().contains(&CheckKind::Llm) {
        call.may_spend("a check by the language model")?;
    }
    Ok(draw)
}

/// The stream's settings: those of its first message, which no later one may change.
fn settle(
    settled: &mut Option<Draw>,
    app: &App,
    call: &Call,
    position: u64,
    options: Option<&pb::MatchOptions>,
) -> Result<Draw, Fault> {
    if position > 0 && options.is_some() {
        return Err(Fault::invalid("options", "only the first message of a stream may set them"));
    }
    match settled {
        Some(draw) => Ok(draw.clone()),
        None => Ok(settled.insert(draw(app, call, options)?).clone()),
    }
}

async fn match_message(
    app: &Arc<App>,
    call: &Call,
    position: u64,
    message: pb::MatchStreamRequest,
    draw: Draw,
) -> Result<Option<pb::MatchStreamResponse>, Fault> {
    let began = Instant::now();
    let Some(query) = message.query else {
        // The first message may carry options alone.
        let options_only = position == 0 && message.options.is_some();
        return if options_only { Ok(None) } else { Err(Fault::required("query")) };
    };
    let context = call.stream(validate::lane(message.lane, Lane::Bulk)?);
    call.stream_item().await;
    let named = named((query, position))?;
    let matched = app.match_queries(vec![named], draw, &context).await?;
    let result = matched.results.into_iter().next();
    let timings = Some(convert::timings(matched.timings, began));
    Ok(Some(pb::MatchStreamResponse { result, timings }))
}

fn photo(found: PhotoHit) -> pb::ScoredImage {
    let PhotoHit { id, image, description, similarity } = found;
    pb::ScoredImage { image_id: id, path: image.to_string(), caption: description, similarity }
}

/// A query with its id; its position where it has none.
fn named((query, position): (pb::MatchQuery, u64)) -> Result<(String, pb::MatchQuery), Fault> {
    validate::echo_id("id", &query.id)?;
    let id = if query.id.is_empty() { position.to_string() } else { query.id.clone() };
    Ok((id, query))
}
