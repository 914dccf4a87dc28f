//! What calls to a language model would take, told before anything is paid for.

use std::fmt;

use serde::Serialize;

use crate::llm::{self, CALL_OVERHEAD, CHARACTERS_PER_TOKEN, ChatRequest, TOKENS_PER_IMAGE};

/// Work ahead. Tokens are estimates; calls are exact as long as every reply can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Calls in all.
    pub calls: u64,
    /// Calls whose replies are kept already.
    pub kept: u64,
    /// Text tokens of the calls still to be made, at about four characters each.
    pub prompt_tokens: u64,
    /// Images attached to them.
    pub images: u64,
    /// The most tokens that their replies can have.
    pub reply_tokens: u64,
}

/// What tokens cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Per million prompt tokens.
    pub prompt: f64,
    /// Per million reply tokens.
    pub reply: f64,
    /// Tokens that one image is charged as.
    pub image_tokens: u64,
}

impl Estimate {
    /// Adds one call.
    pub fn add_request(&mut self, request: &ChatRequest) {
        let characters = request.messages.iter().map(|message| message.text.chars().count()).sum();
        let images = request.messages.iter().map(|message| message.images.len()).sum::<usize>();
        self.add(characters, images > 0, request.settings.max_tokens);
    }

    /// Adds one call with `characters` of text.
    pub fn add(&mut self, characters: usize, image: bool, reply_tokens: u32) {
        self.prompt_tokens += (characters as u64).div_ceil(CHARACTERS_PER_TOKEN) + CALL_OVERHEAD;
        self.images += u64::from(image);
        self.reply_tokens += u64::from(reply_tokens);
    }

    /// As [`Estimate::cost`], by the prices of a configuration; `batched` where calls go by the batch.
    pub fn cost_by(&self, prices: &llm::Prices, batched: bool) -> f64 {
        let factor = if batched { prices.batch_factor } else { 1.0 };
        let (prompt, reply) = (prices.prompt * factor, prices.completion * factor);
        self.cost(&Prices { prompt, reply, image_tokens: TOKENS_PER_IMAGE })
    }

    /// The most that the open calls cost if every reply can be read at its first asking.
    pub fn cost(&self, prices: &Prices) -> f64 {
        let prompt = self.prompt_tokens + self.images * prices.image_tokens;
        (prompt as f64 * prices.prompt + self.reply_tokens as f64 * prices.reply) / 1e6
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, kept, prompt_tokens, images, reply_tokens } = self;
        writeln!(f, "calls           {calls}, of which {kept} are answered already")?;
        writeln!(f, "prompt tokens   about {prompt_tokens}, and {images} images")?;
        writeln!(f, "reply tokens    at most {reply_tokens}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_tokens_times_prices() {
        let mut estimate = Estimate { calls: 2, ..Estimate::default() };
        estimate.add(400, true, 64);
        estimate.add(401, true, 64);
        assert_eq!((estimate.prompt_tokens, estimate.images), (110 + 111, 2));
        let prices = Prices { prompt: 2.0, reply: 10.0, image_tokens: 1000 };
        let expected = ((221.0 + 2000.0) * 2.0 + 128.0 * 10.0) / 1e6;
        assert!((estimate.cost(&prices) - expected).abs() < 1e-12);
        let set = llm::Prices { prompt: 2.0, completion: 10.0, batch_factor: 0.5 };
        assert!((estimate.cost_by(&set, false) - expected).abs() < 1e-12);
        assert!((estimate.cost_by(&set, true) * 2.0 - estimate.cost_by(&set, false)).abs() < 1e-12);
    }
}
