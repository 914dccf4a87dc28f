//! What a search begins at, brought to a vector.

use tonic::Code;

use super::app::App;
use super::fault::Fault;
use super::pb::{self, search_images_request, search_instructions_request};
use super::{convert, validate};
use crate::encoder::queue::{CallContext, Timings};
use crate::index::Modality;

/// What to be near to.
pub enum Probe {
    Text(String),
    Image(pb::Image),
    Embedding(pb::Embedding),
    /// A resource name.
    Instruction(String),
}

/// A probe's vector.
pub struct Probed {
    /// What it was embedded from; a photo where that is not known.
    pub of: Modality,
    /// As wide as the model's embeddings, of any length but zero.
    pub vector: Vec<f32>,
    /// The id of the instruction that the search begins at.
    pub instruction: Option<String>,
    pub timings: Timings,
}

impl From<search_instructions_request::Query> for Probe {
    fn from(query: search_instructions_request::Query) -> Self {
        use search_instructions_request::Query;
        match query {
            Query::Text(text) => Self::Text(text),
            Query::Image(image) => Self::Image(image),
            Query::Embedding(embedding) => Self::Embedding(embedding),
            Query::Instruction(name) => Self::Instruction(name),
        }
    }
}

impl From<search_images_request::Query> for Probe {
    fn from(query: search_images_request::Query) -> Self {
        use search_images_request::Query;
        match query {
            Query::Text(text) => Self::Text(text),
            Query::Image(image) => Self::Image(image),
            Query::Embedding(embedding) => Self::Embedding(embedding),
            Query::Instruction(name) => Self::Instruction(name),
        }
    }
}

impl App {
    /// The vector of a search's query.
    ///
    /// # Errors
    /// There is no query, or it cannot be embedded or found.
    pub async fn probe(
        &self,
        query: Option<impl Into<Probe>>,
        context: &CallContext,
    ) -> Result<Probed, Fault> {
        let query = query.map(Into::into);
        let of = match &query {
            Some(Probe::Text(_) | Probe::Instruction(_)) => Modality::Text,
            Some(Probe::Image(_) | Probe::Embedding(_)) | None => Modality::Image,
        };
        let (vector, instruction, timings) = match query {
            None => return Err(Fault::required("query")),
            Some(Probe::Text(text)) => {
                let (text, spent) = self.embed_text(text, "text", context).await?;
                (text.vector, None, spent)
            }
            Some(Probe::Image(image)) => {
                let (image, spent) = self.embed_image(image, "image", context).await?;
                (image.vector, None, spent)
            }
            Some(Probe::Embedding(given)) => {
                validate::embedding("embedding", &given, self.dim())?;
                (given.values, None, Timings::default())
            }
            Some(Probe::Instruction(name)) => {
                let id = validate::instruction_id("instruction", &name)?;
                let vector =
                    self.instruction_vector(id).ok_or_else(|| instruction_not_found(id))?;
                (vector, Some(id.to_owned()), Timings::default())
            }
        };
        Ok(Probed { of, vector, instruction, timings })
    }
}

/// There is no such instruction.
pub fn instruction_not_found(id: &str) -> Fault {
    let message = format!("there is no instruction {:?}", convert::instruction_name(id));
    Fault::new(Code::NotFound, "INSTRUCTION_NOT_FOUND", message)
}
