//! Photos as models that see get them: one mechanism for every role.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{ImageRef, Photos};
use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::image::{DecodeOptions, ImageError, jpeg_within, longer_side};
use crate::llm::{ChatRequest, ImageAttachment, LlmConfig, LlmError, LlmFault};

/// What a photo that a server found too large may come down to, in pixels of its longer side.
const LEAST_SIDE: u32 = 256;

/// Makes attachments of photos: read, decoded within limits, turned upright, made no larger than
/// `llm.photo_max_side` and `llm.photo_max_bytes`, without their metadata.
pub struct PhotoViewer {
    photos: Arc<dyn Photos>,
    decode: DecodeOptions,
    max_bytes: usize,
    /// Longer side in pixels; comes down where the server finds photos too large.
    max_side: AtomicU32,
}

impl std::fmt::Debug for PhotoViewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhotoViewer").field("max_side", &self.max_side).finish_non_exhaustive()
    }
}

/// Why a photo cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error("{photo}: {source}")]
    Image {
        photo: String,
        #[source]
        source: ImageError,
    },
    /// It is not the photo that the work is about: the next reading of the source finds it anew.
    #[error("{photo}: the photo has changed since it was read; run again")]
    Changed { photo: String },
}

impl Failure for ShowError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Image { source, .. } => source.kind(),
            Self::Changed { .. } => ErrorKind::FailedPrecondition,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Image { source, .. } => source.code(),
            Self::Changed { .. } => "photo_changed",
        }
    }
}

impl PhotoViewer {
    /// Of photos that are read through `photos` and decoded by `decode`, as large as `llm` says.
    pub fn new(photos: Arc<dyn Photos>, decode: DecodeOptions, llm: &LlmConfig) -> Self {
        let (max_bytes, max_side) = (llm.photo_max_bytes, AtomicU32::new(llm.photo_max_side));
        Self { photos, decode, max_bytes, max_side }
    }

    /// The photo as it is attached to a call. With the SHA-256 of the bytes that the work is about,
    /// a photo of other bytes is refused. Reads a file, and takes some 20 ms for a photo of a camera.
    ///
    /// # Errors
    /// It cannot be read or decoded, or has changed.
    pub fn show(
        &self,
        photo: &ImageRef,
        sha256: Option<&str>,
    ) -> Result<ImageAttachment, ShowError> {
        let refused = |source| ShowError::Image { photo: photo.to_string(), source };
        let bytes = self.photos.read(photo, &self.decode.limits).map_err(refused)?;
        if sha256.is_some_and(|known| known != hash::sha256_hex(&bytes)) {
            return Err(ShowError::Changed { photo: photo.to_string() });
        }
        self.attach(&bytes).map_err(refused)
    }

    /// The SHA-256 of a photo's bytes, by which a later [`PhotoViewer::show`] knows it again. Reads
    /// the file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sha256(&self, photo: &ImageRef) -> Result<String, ShowError> {
        let refused = |source| ShowError::Image { photo: photo.to_string(), source };
        let bytes = self.photos.read(photo, &self.decode.limits).map_err(refused)?;
        Ok(hash::sha256_hex(&bytes))
    }

    /// As [`PhotoViewer::show`], of bytes that are there.
    ///
    /// # Errors
    /// They cannot be decoded.
    pub fn attach(&self, bytes: &[u8]) -> Result<ImageAttachment, ImageError> {
        let side = self.max_side.load(Ordering::Relaxed);
        let bytes = jpeg_within(bytes, &self.decode, side, self.max_bytes)?;
        Ok(ImageAttachment { mime: "image/jpeg".into(), bytes })
    }

    /// Whether a call that failed so is worth making again at once with a smaller photo: the server
    /// found it too large, and it can still be made smaller. All later photos are as small then.
    pub fn shrinks_after(&self, request: &ChatRequest, error: &LlmError) -> bool {
        let images = request.messages.iter().flat_map(|message| &message.images);
        images.max_by_key(|image| longer_side(&image.bytes)).is_some_and(|largest| {
            // The largest is what the server may have meant.
            self.shrinks(largest, error)
        })
    }

    /// As [`PhotoViewer::shrinks_after`], of the photo that was sent.
    pub fn shrinks(&self, sent: &ImageAttachment, error: &LlmError) -> bool {
        let LlmFault::PhotoTooLarge { .. } = error.fault else { return false };
        let sent = longer_side(&sent.bytes).unwrap_or(0);
        if sent <= LEAST_SIDE {
            return false;
        }
        let side = (sent / 2).max(LEAST_SIDE);
        if self.max_side.fetch_min(side, Ordering::Relaxed) > side {
            tracing::warn!(side, "the LLM server finds photos too large; they are made smaller");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Message, SamplingSettings};
    use crate::sandbox::FileAccess;

    #[test]
    fn photos_get_smaller_until_the_server_takes_them_or_the_least_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        image::RgbImage::new(1500, 900).save(&path).expect("written");
        let viewer = PhotoViewer::new(
            Arc::new(FileAccess::Anywhere),
            DecodeOptions::default(),
            &LlmConfig::default(),
        );
        let photo = ImageRef::file(&path);
        let large = LlmError::from(LlmFault::PhotoTooLarge { excerpt: "413".into() });
        let mut sides = Vec::new();
        loop {
            let shown = viewer.show(&photo, None).expect("shown");
            sides.extend(longer_side(&shown.bytes));
            let message = Message { images: vec![shown], ..Message::user("?") };
            let request = ChatRequest::new(vec![message], SamplingSettings::default(), 1);
            assert!(!viewer.shrinks_after(&request, &LlmFault::Cancelled.into()));
            if !viewer.shrinks_after(&request, &large) {
                break;
            }
        }
        assert_eq!(sides, [1024, 512, 256]);
        let bytes = fs_err::read(&path).expect("read");
        viewer.show(&photo, Some(&hash::sha256_hex(&bytes))).expect("the same");
        let error = viewer.show(&photo, Some("other")).expect_err("another photo");
        assert_eq!(error.code(), "photo_changed");
        fs_err::write(&path, "no image").expect("written");
        let error = viewer.show(&photo, None).expect_err("no image");
        assert_eq!(error.code(), "image_unknown_format");
        assert!(error.to_string().contains("a.png"), "{error}");
    }
}
