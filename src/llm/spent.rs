//! What calls of language models have spent, in tokens and money.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

/// Tokens counted by the server; zero when the server does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation sent.
    pub prompt_tokens: u64,
    /// Tokens of the reply.
    pub completion_tokens: u64,
}

/// Tokens of some calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Calls that were answered.
    pub calls: u64,
    /// Of them, those whose server told no usage: their tokens are estimated from characters.
    pub estimated_calls: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of replies, reasoning included.
    pub completion_tokens: u64,
    /// Of the tokens of prompts, those of calls made by the batch.
    pub batch_prompt_tokens: u64,
    /// Of the tokens of replies, those of calls made by the batch.
    pub batch_completion_tokens: u64,
}

/// What tokens cost, in any currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Per million prompt tokens.
    pub prompt: f64,
    /// Per million tokens of replies.
    pub completion: f64,
    /// What a token costs by the batch, as a part of its price.
    pub batch_factor: f64,
}

impl Spent {
    /// One call with these tokens.
    pub(in crate::llm) fn call(prompt_tokens: u64, completion_tokens: u64, by_batch: bool) -> Self {
        let batched = |tokens| if by_batch { tokens } else { 0 };
        Self {
            calls: 1,
            estimated_calls: 0,
            prompt_tokens,
            completion_tokens,
            batch_prompt_tokens: batched(prompt_tokens),
            batch_completion_tokens: batched(completion_tokens),
        }
    }

    /// Tokens of prompts and replies.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// What they cost.
    pub fn cost(&self, prices: &Prices) -> f64 {
        let off = 1.0 - prices.batch_factor;
        let prompt = self.prompt_tokens as f64 - self.batch_prompt_tokens as f64 * off;
        let completion = self.completion_tokens as f64 - self.batch_completion_tokens as f64 * off;
        (prompt * prices.prompt + completion * prices.completion) / 1e6
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.estimated_calls += other.estimated_calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.batch_prompt_tokens += other.batch_prompt_tokens;
        self.batch_completion_tokens += other.batch_completion_tokens;
    }
}

impl SubAssign for Spent {
    fn sub_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.estimated_calls = self.estimated_calls.saturating_sub(other.estimated_calls);
        self.prompt_tokens = self.prompt_tokens.saturating_sub(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_sub(other.completion_tokens);
        self.batch_prompt_tokens =
            self.batch_prompt_tokens.saturating_sub(other.batch_prompt_tokens);
        self.batch_completion_tokens =
            self.batch_completion_tokens.saturating_sub(other.batch_completion_tokens);
    }
}

/// What one role has spent with one model, by the settings of one section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleSpent {
    /// The table of the configuration: `llm`, `generate.llm`.
    pub section: String,
    /// `answer`, `augment`.
    pub role: String,
    /// The model's name.
    pub model: String,
    /// Its tokens.
    pub spent: Spent,
    /// What they cost by the prices that the section named last; none where it named none.
    pub cost: Option<f64>,
}

/// What a folder of work has spent, by role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// In the order of section, role and model.
    pub roles: Vec<RoleSpent>,
}

impl Spending {
    /// The sum of all roles.
    pub fn total(&self) -> Spent {
        self.roles.iter().fold(Spent::default(), |mut sum, role| {
            sum += role.spent;
            sum
        })
    }

    /// What all roles that have prices cost; none where no role has.
    pub fn cost(&self) -> Option<f64> {
        self.roles.iter().filter_map(|role| role.cost).reduce(|sum, cost| sum + cost)
    }
}

/// `1200 tokens, cost 0.0315`
impl fmt::Display for Spending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let about = if total.estimated_calls > 0 { "about " } else { "" };
        write!(out, "{about}{} tokens", total.tokens())?;
        self.cost().map_or(Ok(()), |cost| write!(out, ", cost {}", money(cost)))
    }
}

/// A cost with four significant places after the point at least.
pub(crate) fn money(cost: f64) -> String {
    let text = format!("{cost:.6}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{:0<4}", part.trim_end_matches('0'))
}
