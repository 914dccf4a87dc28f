//! Photos inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::ReportError;

/// A small photo as a data URI. It can only be made from image bytes, so the page never carries
/// any other kind of address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail(String);

impl Thumbnail {
    /// Takes an encoded image as it is: JPEG, PNG or WebP, told by its first bytes.
    ///
    /// # Errors
    /// [`ReportError::ThumbnailFormat`] for anything else.
    pub fn from_encoded(bytes: &[u8]) -> Result<Self, ReportError> {
        let media =
            media_type(bytes).ok_or(ReportError::ThumbnailFormat { length: bytes.len() })?;
        Ok(Self(format!("data:{media};base64,{}", STANDARD.encode(bytes))))
    }

    /// The data URI: ASCII letters, digits and `:;,/+=` only.
    pub fn as_uri(&self) -> &str {
        &self.0
    }
}

impl Serialize for Thumbnail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"<svg onload=alert(1)>", b"%PDF-1.7", b"RIFF0000WAVE"] {
            let error = Thumbnail::from_encoded(bytes).expect_err("not a photo");
            assert_eq!(error.code(), "thumbnail_format");
        }
    }
}
