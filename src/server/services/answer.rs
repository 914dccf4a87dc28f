//! `pairwright.v1.AnswerService`.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use super::super::app::App;
use super::super::call::{Call, within};
use super::super::fault::Fault;
use super::super::pb::answer_service_server::AnswerService;
use super::super::pb::generate_answer_response::Event;
use super::super::pb::{self, answer_pairs_response, pair::Task};
use super::super::probe::instruction_not_found;
use super::super::streams::{Replies, answer_as_ready, forward};
use super::super::validate;
use crate::answer::filter::Verdict;
use crate::answer::{AnswerEvent, AnswerTask};
use crate::dataset::record::AnswerRow;
use crate::llm::See;

/// The most attempts a request may ask for.
const MAX_ATTEMPTS: i32 = 10;

/// The request's field with the photo.
const PHOTO: &str = "pair.image";

/// Events that wait for a slow client.
const EVENTS: usize = 16;

/// Writes answers.
pub struct Answers(pub Arc<App>);

/// A request, checked.
struct Order {
    /// May be empty where there is a photo.
    description: String,
    instruction: String,
    photo: Option<pb::Image>,
    attempts: u32,
    seed: u64,
}

#[tonic::async_trait]
impl AnswerService for Answers {
    type GenerateAnswerStream = Replies<pb::GenerateAnswerResponse>;
    type AnswerPairsStream = Replies<pb::AnswerPairsResponse>;

    async fn generate_answer(
        &self,
        request: Request<pb::GenerateAnswerRequest>,
    ) -> Result<Response<Self::GenerateAnswerStream>, Status> {
        let call = Call::of(&request);
        let pb::GenerateAnswerRequest { pair, options } = request.into_inner();
        call.items(1)?;
        let order = order(&self.0, pair, options)?;
        // Without a photo, little of the message is left; a photo is held until it is answered.
        let message = call.bytes().map(|bytes| bytes.of_message(0));
        let message = message.filter(|_| order.photo.is_some());
        let (events, heard) = mpsc::channel(EVENTS);
        let app = Arc::clone(&self.0);
        let writing = async move {
            let (told, mut pieces) = mpsc::channel(EVENTS);
            let passing_on = async {
                while let Some(event) = pieces.recv().await {
                    if events.send(Ok(response(shown_event(event)))).await.is_err() {
                        return;
                    }
                }
            };
            let writing = async {
                // Dropped at the end of this block, which ends the passing on.
                let (told, _message) = (told, message);
                write(&app, &call, order, Some(&told)).await
            };
            let (answer, ()) = tokio::join!(writing, passing_on);
            let end = answer.map(|answer| response(Event::Answer(answer))).map_err(Status::from);
            // The client is gone: nobody wants the answer.
            let _ = events.send(end).await;
        };
        tokio::spawn(writing.in_current_span());
        Ok(Response::new(forward(ReceiverStream::new(heard), self.0.idle())))
    }

    async fn answer_pairs(
        &self,
        request: Request<Streaming<pb::AnswerPairsRequest>>,
    ) -> Result<Response<Self::AnswerPairsStream>, Status> {
        let call = Call::of(&request);
        let app = Arc::clone(&self.0);
        let (ahead, idle) = (app.answers.backend.in_flight(), app.idle());
        let bytes = call.bytes();
        let work = move |_, message| answer_pair(Arc::clone(&app), call.clone(), message);
        Ok(Response::new(answer_as_ready(request.into_inner(), ahead, idle, bytes, work)))
    }
}

async fn answer_pair(
    app: Arc<App>,
    call: Call,
    message: pb::AnswerPairsRequest,
) -> Result<Option<pb::AnswerPairsResponse>, Fault> {
    let pb::AnswerPairsRequest { correlation_id, pair, options } = message;
    validate::echo_id("correlation_id", &correlation_id)?;
    call.stream_item().await;
    let answer = match order(&app, pair, options) {
        Ok(order) => write(&app, &call, order, None).await,
        Err(fault) => Err(fault),
    };
    let result = match answer {
        Ok(answer) => answer_pairs_response::Result::Answer(answer),
        Err(fault) if fault.ends_stream() => return Err(fault),
        Err(fault) => answer_pairs_response::Result::Error(fault.into_item()),
    };
    Ok(Some(pb::AnswerPairsResponse { correlation_id, result: Some(result) }))
}

fn order(
    app: &App,
    pair: Option<pb::Pair>,
    options: Option<pb::AnswerOptions>,
) -> Result<Order, Fault> {
    let pb::Pair { description, task, image: photo } =
        pair.ok_or_else(|| Fault::required("pair"))?;
    if photo.is_none() || !description.trim().is_empty() {
        validate::shown_text("pair.description", &description, &app.limits)?;
    }
    let instruction = match task {
        None => return Err(Fault::required("pair.task")),
        Some(Task::InstructionText(text)) => {
            validate::shown_text("pair.instruction_text", &text, &app.limits)?;
            text
        }
        Some(Task::Instruction(name)) => {
            let id = validate::instruction_id("pair.instruction", &name)?;
            let stored = app.library.get(id).ok_or_else(|| instruction_not_found(id))?;
            stored.text.to_string()
        }
    };
    let pb::AnswerOptions { max_attempts, seed } = options.unwrap_or_default();
    let attempts = match max_attempts {
        None => app.config.answer.attempts,
        Some(attempts @ 1..=MAX_ATTEMPTS) => attempts.unsigned_abs(),
        Some(other) => return Err(Fault::range("options.max_attempts", other, 1, MAX_ATTEMPTS)),
    };
    let seed = validate::seed("options.seed", seed.or(Some(app.config.seed)))?;
    Ok(Order { description, instruction, photo, attempts, seed })
}

async fn write(
    app: &App,
    call: &Call,
    order: Order,
    events: Option<&mpsc::Sender<AnswerEvent>>,
) -> Result<pb::Answer, Fault> {
    within(call.deadline(), "the answer was written", write_now(app, order, events)).await
}

async fn write_now(
    app: &App,
    order: Order,
    events: Option<&mpsc::Sender<AnswerEvent>>,
) -> Result<pb::Answer, Fault> {
    let Order { description, instruction, photo, attempts, seed } = order;
    // Holds the memory of the photo until the answer is there.
    let mut loaded = app.images.load(photo.into_iter().collect(), PHOTO).await?;
    let photo = loaded.take_images().pop().transpose().map_err(|fault| fault.at(PHOTO))?;
    let see = match (&photo, description.trim().is_empty()) {
        (None, _) => See::Description,
        (Some(_), true) => See::Image,
        (Some(_), false) => See::Both,
    };
    let generator = app.answers.generator(seed, see).await?;
    // Dropped with this future when the client goes away, which gives the call up.
    let cancel = CancellationToken::new();
    let _gone = cancel.clone().drop_guard();
    let mut task = AnswerTask { description, instruction, photo: None };
    loop {
        if let Some(photo) = &photo {
            task.photo = Some(app.answers.attach(photo).await.map_err(|fault| fault.at(PHOTO))?);
        }
        let written = generator.write(&task, attempts, &cancel, events).await;
        if let (Err(error), Some(sent)) = (&written, &task.photo)
            && app.answers.viewer.shrinks(sent, error)
        {
            continue;
        }
        app.answers.note(&written);
        return Ok(shown(written?, &generator.prompts.hash));
    }
}

fn shown(row: AnswerRow, prompt_hash: &str) -> pb::Answer {
    let (accepted, refused) = match row.verdict {
        Verdict::Pass => (true, None),
        Verdict::Reject(refused) => (false, Some(refused)),
    };
    let (reason, message) = refused.map(|one| (one.code, one.reason)).unwrap_or_default();
    pb::Answer {
        text: row.text,
        accepted,
        rejection_reason: reason,
        rejection_message: message,
        attempt: i32::try_from(row.attempt).unwrap_or(i32::MAX),
        finish_reason: row.finish,
        model: row.llm,
        prompt_hash: prompt_hash.to_owned(),
        prompt_tokens: i64::try_from(row.prompt_tokens).unwrap_or(i64::MAX),
        completion_tokens: i64::try_from(row.completion_tokens).unwrap_or(i64::MAX),
        seed: row.seed,
        example_ids: row.examples,
        reasoning: row.reasoning,
    }
}

fn shown_event(event: AnswerEvent) -> Event {
    match event {
        AnswerEvent::Delta(text) => Event::Delta(text),
        AnswerEvent::Retry { attempt, refused } => Event::Retry(pb::AnswerRetry {
            attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
            reason: refused.code,
            message: refused.reason,
        }),
    }
}

fn response(event: Event) -> pb::GenerateAnswerResponse {
    pb::GenerateAnswerResponse { event: Some(event) }
}
