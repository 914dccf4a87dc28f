//! Photos inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageError, RgbImage};
use serde::{Serialize, Serializer};

use super::ReportError;

/// JPEG quality of thumbnails, 1 to 100: a 320-pixel photo takes about 15 KB.
const QUALITY: u8 = 78;

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

    /// Shrinks a decoded photo to at most `max_edge` pixels on its longer side (a smaller one
    /// keeps its size) and encodes it as JPEG.
    ///
    /// # Errors
    /// [`ReportError::ThumbnailEncode`] when the encoder refuses the photo, as for an empty one.
    pub fn from_rgb(photo: &RgbImage, max_edge: u32) -> Result<Self, ReportError> {
        let (width, height) = photo.dimensions();
        let mut bytes = Vec::new();
        encode(&shrink(photo, max_edge), &mut bytes)
            .map_err(|source| ReportError::ThumbnailEncode { width, height, source })?;
        Self::from_encoded(&bytes)
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

fn shrink(photo: &RgbImage, max_edge: u32) -> RgbImage {
    let (width, height) = photo.dimensions();
    let longest = width.max(height);
    if longest <= max_edge {
        return photo.clone();
    }
    let scaled =
        |edge: u32| (u64::from(edge) * u64::from(max_edge) / u64::from(longest)).max(1) as u32;
    image::imageops::thumbnail(photo, scaled(width), scaled(height))
}

fn encode(photo: &RgbImage, bytes: &mut Vec<u8>) -> Result<(), ImageError> {
    JpegEncoder::new_with_quality(bytes, QUALITY).encode_image(photo)
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

    #[test]
    fn long_photos_shrink_and_keep_their_shape() {
        let photo = RgbImage::from_pixel(1000, 500, image::Rgb([200, 10, 10]));
        assert_eq!(shrink(&photo, 200).dimensions(), (200, 100));
        assert_eq!(shrink(&photo, 4000).dimensions(), (1000, 500));
        let sliver = RgbImage::new(5000, 1);
        assert_eq!(shrink(&sliver, 100).dimensions(), (100, 1));
    }

    #[test]
    fn a_photo_becomes_a_jpeg_that_decodes() {
        let photo = RgbImage::from_pixel(64, 32, image::Rgb([200, 10, 10]));
        let thumbnail = Thumbnail::from_rgb(&photo, 32).expect("a plain photo encodes");
        let encoded = thumbnail.as_uri().strip_prefix("data:image/jpeg;base64,").expect("JPEG");
        let bytes = STANDARD.decode(encoded).expect("base64");
        let decoded = image::load_from_memory(&bytes).expect("decodes").to_rgb8();
        assert_eq!(decoded.dimensions(), (32, 16));
        assert!(decoded.get_pixel(5, 5)[0] > 180, "still red");
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"<svg onload=alert(1)>", b"%PDF-1.7", b"RIFF0000WAVE"] {
            let error = Thumbnail::from_encoded(bytes).expect_err("not a photo");
            assert_eq!(error.code(), "thumbnail_format");
        }
    }

    #[test]
    fn an_empty_photo_is_an_error_not_a_panic() {
        let error = Thumbnail::from_rgb(&RgbImage::new(0, 0), 100).expect_err("nothing to show");
        assert_eq!(error.code(), "thumbnail_encode");
    }
}
