//! What language models cost: the tokens that a folder of work has spent, and the caps that end the
//! work before it spends more.

mod account;
mod ledger;
mod metered;
mod tally;

use super::chat::{ChatReply, ChatRequest};
use super::spent::{Spent, Usage};

pub use account::Account;
pub(in crate::llm) use account::Place;
pub use ledger::{Ledger, SpentBefore};
pub use metered::tallied;
pub(in crate::llm) use metered::{Metered, Payer};
pub use tally::{ROLES, RoleTally, tallies};

/// Characters of English text per token: a rule of thumb, said as such.
pub const CHARACTERS_PER_TOKEN: u64 = 4;

/// Tokens of roles and separators in each call.
pub const CALL_OVERHEAD: u64 = 10;

/// Tokens that a picture is taken for before a server has counted it.
pub const TOKENS_PER_IMAGE: u64 = 1000;

/// The tokens of a request's prompt, from its characters and pictures.
pub(in crate::llm) fn prompt_estimate(request: &ChatRequest) -> u64 {
    let characters: usize = request.messages.iter().map(|one| one.text.chars().count()).sum();
    let images: usize = request.messages.iter().map(|one| one.images.len()).sum();
    text_estimate(characters) + CALL_OVERHEAD + images as u64 * TOKENS_PER_IMAGE
}

/// The tokens of so many characters.
pub(in crate::llm) fn text_estimate(characters: usize) -> u64 {
    (characters as u64).div_ceil(CHARACTERS_PER_TOKEN)
}

/// What a call may spend at most, as far as can be told before it is made.
pub(in crate::llm) fn expected(request: &ChatRequest, by_batch: bool) -> Spent {
    let prompt_tokens = prompt_estimate(request);
    let completion_tokens = u64::from(request.settings.max_tokens);
    Spent::call(prompt_tokens, completion_tokens, by_batch)
}

/// What a call has spent: as the server tells, else estimated.
fn spent(request: &ChatRequest, reply: &ChatReply) -> Spent {
    if reply.usage != Usage::default() {
        let Usage { prompt_tokens, completion_tokens } = reply.usage;
        return Spent::call(prompt_tokens, completion_tokens, false);
    }
    let reasoning = reply.reasoning.as_deref().unwrap_or_default();
    let written = reply.text.chars().count() + reasoning.chars().count();
    let (prompt_tokens, completion_tokens) = (prompt_estimate(request), text_estimate(written));
    Spent { estimated_calls: 1, ..Spent::call(prompt_tokens, completion_tokens, false) }
}

#[cfg(test)]
mod tests;
