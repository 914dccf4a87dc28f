//! What an instruction's text must be, wherever it comes from.

/// Longest instruction in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Why a text cannot be an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("text must not be empty")]
    Empty,
    #[error("text is {seen} bytes long, the limit is {MAX_TEXT_BYTES}")]
    TooLong { seen: usize },
    #[error("text must not contain <image>: the export places it")]
    ImageToken,
}

impl BadText {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "instruction_text_empty",
            Self::TooLong { .. } => "instruction_text_too_long",
            Self::ImageToken => "instruction_text_image_token",
        }
    }
}

/// The text without white space around it, if it can be an instruction.
pub(super) fn check(text: &str) -> Result<&str, BadText> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadText::Empty);
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(BadText::TooLong { seen: text.len() });
    }
    if text.contains("<image>") {
        return Err(BadText::ImageToken);
    }
    Ok(text)
}
