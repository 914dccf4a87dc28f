//! What is checked before an instruction is stored.

use super::error::CreateError;
use crate::base::hash;
use crate::index::unit;
use crate::instruction::text;

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Longest category in bytes.
pub const MAX_CATEGORY_BYTES: usize = 128;

/// An instruction to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstruction {
    /// 1 to [`MAX_ID_BYTES`] of `A-Z a-z 0-9 . _ ~ -`; `None` makes one from the text, always the
    /// same for the same text.
    pub id: Option<String>,
    /// White space around it is not kept.
    pub text: String,
    /// 1 to [`MAX_CATEGORY_BYTES`] bytes without control characters.
    pub category: Option<String>,
    /// The text's embedding by the library's model, of any length but zero.
    pub vector: Vec<f32>,
}

/// A [`NewInstruction`] that may be stored if its id and text are free.
#[derive(Debug)]
pub(super) struct Checked {
    pub id: String,
    pub text: String,
    pub category: Option<String>,
    /// Length 1.
    pub vector: Vec<f32>,
}

impl Checked {
    pub fn new(new: NewInstruction, dim: usize) -> Result<Self, CreateError> {
        let text = text::check(&new.text)?.to_owned();
        let id = new.id.unwrap_or_else(|| generated_id(&text));
        if !is_id(&id) {
            return Err(CreateError::BadId { id });
        }
        if !new.category.as_deref().is_none_or(is_category) {
            return Err(CreateError::BadCategory);
        }
        let (vector, _) = unit(&new.vector, dim, || "the vector".to_owned())?;
        Ok(Self { id, text, category: new.category, vector })
    }
}

fn generated_id(text: &str) -> String {
    let key = hash::key(&["instruction", text]);
    format!("i-{}", &key[..16])
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed)
}

fn is_category(category: &str) -> bool {
    (1..=MAX_CATEGORY_BYTES).contains(&category.len()) && !category.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    fn new(id: Option<&str>, text: &str, category: Option<&str>) -> NewInstruction {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let vector = vec![3.0, 4.0];
        NewInstruction { id: owned(id), text: text.to_owned(), category: owned(category), vector }
    }

    fn code(new: NewInstruction) -> &'static str {
        Checked::new(new, 2).expect_err("refused").code()
    }

    #[test]
    fn a_sound_instruction_is_trimmed_scaled_and_named() {
        let checked = Checked::new(new(None, " Tell it. \n", Some("a b")), 2).expect("sound");
        assert_eq!((checked.text.as_str(), checked.vector), ("Tell it.", vec![0.6, 0.8]));
        let again = Checked::new(new(None, "Tell it.", None), 2).expect("sound");
        assert_eq!(checked.id, again.id);
        assert!(checked.id.starts_with("i-") && checked.id.len() == 18, "{}", checked.id);
        let longest = "x".repeat(MAX_ID_BYTES);
        assert_eq!(Checked::new(new(Some(&longest), "t", None), 2).expect("sound").id, longest);
    }

    #[test]
    fn unsound_instructions_are_refused_with_their_reason() {
        for id in ["", "a b", "a/b", "ä", "a\0", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert_eq!(code(new(Some(id), "t", None)), "bad_instruction_id", "{id:?}");
        }
        for category in ["", "a\nb", &"x".repeat(MAX_CATEGORY_BYTES + 1)] {
            assert_eq!(code(new(None, "t", Some(category))), "bad_instruction_category");
        }
        assert_eq!(code(new(None, " \n", None)), "instruction_text_empty");
        assert_eq!(code(new(None, &"x".repeat(5000), None)), "instruction_text_too_long");
        assert_eq!(code(new(None, "see <image>", None)), "instruction_text_image_token");
        for (vector, reason) in [
            (vec![1.0], "vector_wrong_width"),
            (vec![1.0, f32::NAN], "vector_not_finite"),
            (vec![0.0, 0.0], "vector_zero"),
        ] {
            assert_eq!(code(NewInstruction { vector, ..new(None, "t", None) }), reason);
        }
    }
}
