//! `pairwright.v1.InstructionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::super::app::{App, merge, split};
use super::super::call::Call;
use super::super::fault::Fault;
use super::super::pb;
use super::super::pb::instruction_service_server::InstructionService;
use super::super::probe::{Probed, instruction_not_found};
use super::super::{Limits, convert, generate, validate};
use crate::encoder::queue::{CallContext, Lane};
use crate::instruction::store::{NewInstruction, StoredInstruction};

/// Results when `top_k` is not set.
const TOP_K: usize = 10;

/// The instruction library.
pub struct Instructions(pub Arc<App>);

#[tonic::async_trait]
impl InstructionService for Instructions {
    async fn create_instruction(
        &self,
        request: Request<pb::CreateInstructionRequest>,
    ) -> Result<Response<pb::Instruction>, Status> {
        let call = Call::of(&request);
        call.items(1)?;
        let context = call.unary(Lane::Interactive);
        let created = self.create(vec![request.into_inner()], &context, single_field).await?;
        let one = created.into_iter().next();
        let instruction = one.unwrap_or_else(|| Err(Fault::internal("no result")))?;
        Ok(Response::new(instruction))
    }

    async fn batch_create_instructions(
        &self,
        request: Request<pb::BatchCreateInstructionsRequest>,
    ) -> Result<Response<pb::BatchCreateInstructionsResponse>, Status> {
        use pb::create_instruction_result::Result as Outcome;
        let call = Call::of(&request);
        let requests = request.into_inner().requests;
        validate::items("requests", requests.len(), &self.0.limits)?;
        call.items(requests.len())?;
        // Nobody waits for a vector of an import.
        let context = call.unary(Lane::Bulk);
        let created = self.create(requests, &context, batch_field).await?;
        let results = created.into_iter().map(|one| pb::CreateInstructionResult {
            result: Some(match one {
                Ok(instruction) => Outcome::Instruction(instruction),
                Err(fault) => Outcome::Error(fault.into_item()),
            }),
        });
        Ok(Response::new(pb::BatchCreateInstructionsResponse { results: results.collect() }))
    }

    async fn generate(
        &self,
        request: Request<pb::GenerateRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(generate::submit(&self.0, &call, request.into_inner()).await?))
    }

    async fn get_instruction(
        &self,
        request: Request<pb::GetInstructionRequest>,
    ) -> Result<Response<pb::Instruction>, Status> {
        let pb::GetInstructionRequest { name, include_embedding } = request.into_inner();
        let id = validate::instruction_id("name", &name)?.to_owned();
        let found = self.0.library.get(&id).ok_or_else(|| instruction_not_found(&id))?;
        Ok(Response::new(self.shown(&found, include_embedding)))
    }

    async fn list_instructions(
        &self,
        request: Request<pb::ListInstructionsRequest>,
    ) -> Result<Response<pb::ListInstructionsResponse>, Status> {
        let pb::ListInstructionsRequest { page_size, page_token, category, include_embedding } =
            request.into_inner();
        let size = validate::page_size(page_size, &self.0.limits)?;
        let listing = move |app: &App| {
            let given = |text: &'_ str| !text.is_empty();
            let category = Some(category.as_str()).filter(|one| given(one));
            let token = Some(page_token.as_str()).filter(|one| given(one));
            app.library.list(size, token, category).map_err(Fault::from)
        };
        let page = self.0.blocking(listing).await?;
        let shown = page.instructions.iter().map(|one| self.shown(one, include_embedding));
        Ok(Response::new(pb::ListInstructionsResponse {
            instructions: shown.collect(),
            next_page_token: page.next_token.unwrap_or_default(),
            total_size: convert::count(page.total),
        }))
    }

    async fn delete_instruction(
        &self,
        request: Request<pb::DeleteInstructionRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteInstructionRequest { name, allow_missing } = request.into_inner();
        let id = validate::instruction_id("name", &name)?.to_owned();
        let deleting = move |app: &App| {
            let deleted = app.library.delete(&[id.as_str()]).map_err(Fault::from)?;
            let found = deleted.first().is_some_and(Result::is_ok);
            if found || allow_missing { Ok(()) } else { Err(instruction_not_found(&id)) }
        };
        self.0.blocking(deleting).await?;
        Ok(Response::new(()))
    }

    async fn search_instructions(
        &self,
        request: Request<pb::SearchInstructionsRequest>,
    ) -> Result<Response<pb::SearchInstructionsResponse>, Status> {
        let call = Call::of(&request);
        let request = request.into_inner();
        let top_k = validate::top_k(request.top_k, TOP_K, &self.0.limits)?;
        let floor = validate::min_similarity(request.min_similarity)?;
        call.items(1)?;
        let context = call.unary(Lane::Interactive);
        let Probed { of, vector, instruction: itself, timings } =
            self.0.probe(request.query, &context).await?;
        let searching = move |app: &App| {
            let category = Some(request.category.as_str()).filter(|one| !one.is_empty());
            // One more, in place of the instruction that the search begins at.
            let wanted = top_k + usize::from(itself.is_some());
            let found = app.library.search_by(of, &vector, wanted, category);
            let mut found = found.map_err(Fault::from)?;
            found.retain(|(one, similarity)| {
                *similarity >= floor && itself.as_deref() != Some(&*one.id)
            });
            found.truncate(top_k);
            Ok(found)
        };
        let found = self.0.blocking(searching).await?;
        let results = found.iter().map(|(one, similarity)| pb::ScoredInstruction {
            instruction: Some(convert::instruction(one)),
            similarity: *similarity,
        });
        Ok(Response::new(pb::SearchInstructionsResponse {
            results: results.collect(),
            model: Some(convert::model_ref(self.0.encoder())),
            timings: Some(convert::timings(timings, call.began)),
        }))
    }
}

impl Instructions {
    /// Embeds what has no embedding and adds all; the results stand in the order of the requests.
    async fn create(
        &self,
        requests: Vec<pb::CreateInstructionRequest>,
        context: &CallContext,
        field: fn(usize) -> String,
    ) -> Result<Vec<Result<pb::Instruction, Fault>>, Fault> {
        let dim = self.0.dim();
        let limits = &self.0.limits;
        let checked = requests.into_iter().enumerate().map(|(at, one)| {
            let instruction = one.instruction.ok_or_else(|| Fault::required(field(at)))?;
            stored_texts(&field(at), &instruction, limits)?;
            if let Some(given) = &instruction.embedding {
                validate::embedding(&format!("{}.embedding", field(at)), given, dim)?;
            }
            Ok((one.instruction_id, instruction))
        });
        let (sound, gaps) = split(checked);
        let new = self.with_vectors(sound, context).await?;
        let stored = self.0.blocking(move |app| app.library.create(new).map_err(Fault::from));
        let stored = stored.await?.into_iter().map(|one| match one {
            Ok(stored) => Ok(convert::instruction(&stored)),
            Err(error) => Err(Fault::from(error)),
        });
        Ok(merge(stored.collect(), gaps))
    }

    async fn with_vectors(
        &self,
        sound: Vec<(String, pb::Instruction)>,
        context: &CallContext,
    ) -> Result<Vec<NewInstruction>, Fault> {
        let without = sound.iter().filter(|(_, one)| one.embedding.is_none());
        let texts: Vec<String> = without.map(|(_, one)| one.text.trim().to_owned()).collect();
        let mut vectors = Vec::new();
        if !texts.is_empty() {
            let (embedded, _) = self.0.embed_texts(texts, "instruction.text", context).await?;
            vectors = embedded.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        let mut vectors = vectors.into_iter().map(|text| text.vector);
        Ok(sound
            .into_iter()
            .map(|(id, one)| NewInstruction {
                id: Some(id).filter(|id| !id.is_empty()),
                text: one.text,
                category: Some(one.category).filter(|category| !category.is_empty()),
                requires: one.requires.map(|requires| requires.phrases),
                tags: one.tags,
                given: one.embedding.is_some(),
                // One was embedded for each that came without.
                vector: one
                    .embedding
                    .map_or_else(|| vectors.next().unwrap_or_default(), |given| given.values),
            })
            .collect())
    }

    fn shown(&self, stored: &StoredInstruction, with_embedding: bool) -> pb::Instruction {
        let mut shown = convert::instruction(stored);
        if with_embedding {
            shown.embedding = self.0.instruction_vector(&stored.id).map(convert::embedding);
        }
        shown
    }
}

/// Everything that is kept and shown again is text and nothing else.
fn stored_texts(field: &str, new: &pb::Instruction, limits: &Limits) -> Result<(), Fault> {
    validate::shown_text(&format!("{field}.text"), &new.text, limits)?;
    validate::plain(&format!("{field}.category"), &new.category)?;
    for (at, tag) in new.tags.iter().enumerate() {
        validate::plain(&format!("{field}.tags[{at}]"), tag)?;
    }
    let phrases = new.requires.iter().flat_map(|requires| &requires.phrases);
    for (at, phrase) in phrases.enumerate() {
        validate::plain(&format!("{field}.requires.phrases[{at}]"), phrase)?;
    }
    Ok(())
}

fn single_field(_: usize) -> String {
    "instruction".to_owned()
}

fn batch_field(at: usize) -> String {
    format!("requests[{at}].instruction")
}
