//! What the model sees of a question: its image, or the caption in its place.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::error::EvaluationError;
use super::question::Question;
use crate::base::hash;
use crate::dataset::{ImageRef, PhotoViewer, Photos, ShowError};
use crate::image::{DecodeOptions, Format, ImageLimits};
use crate::llm::{ChatRequest, ImageAttachment, LlmConfig, LlmError};
use crate::sandbox::FileAccess;

/// Images found wrong before the rest is only counted.
const LISTED: usize = 20;

/// How a model gets to know the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Sight {
    /// The image is attached as a data URL.
    Image,
    /// The question's caption stands in the prompt: for models that only read text.
    Caption,
}

impl Sight {
    /// The name on command lines and in results.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for Sight {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::Image, Self::Caption].into_iter().find(|sight| sight.name() == name);
        found.ok_or_else(|| format!("unknown sight `{name}`: use image or caption"))
    }
}

/// How the questions of an evaluation are shown, checked for every one of them.
#[derive(Debug, Clone)]
pub struct ImageView {
    sight: Sight,
    images: PathBuf,
    access: FileAccess,
    viewer: Arc<PhotoViewer>,
    hashes: Vec<String>,
}

impl ImageView {
    /// Chooses how questions are shown and checks that each can be: every image is there, within
    /// the limits and of a known format, or every caption is there. `sight` unset means images
    /// where a folder of them is given, captions otherwise; they are read where `access` allows, and
    /// sent as large as `llm` says.
    ///
    /// # Errors
    /// [`EvaluationError::Images`] with each question that cannot be shown.
    pub fn check(
        questions: &[Question],
        images: Option<&Path>,
        sight: Option<Sight>,
        access: &FileAccess,
        llm: &LlmConfig,
    ) -> Result<Self, EvaluationError> {
        let sight = sight.unwrap_or(if images.is_some() { Sight::Image } else { Sight::Caption });
        if sight == Sight::Image && images.is_none() {
            let problems = vec!["--see image needs --images with their folder".to_owned()];
            return Err(EvaluationError::Images { problems });
        }
        let images = images.map(Path::to_owned).unwrap_or_default();
        let photos = Arc::new(access.clone());
        let viewer = PhotoViewer::new(photos, DecodeOptions::default(), llm);
        let (access, viewer) = (access.clone(), viewer.into());
        let mut view = Self { sight, images, access, viewer, hashes: Vec::new() };
        view.hashes = view.hash_all(questions)?;
        Ok(view)
    }

    /// How the questions are shown.
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// Key of what question number `index` shows: changed images or captions are asked again.
    pub(super) fn hash(&self, index: usize) -> &str {
        &self.hashes[index]
    }

    /// The words that stand for the image in a prompt.
    pub(super) fn words<'a>(&self, question: &'a Question) -> &'a str {
        match self.sight {
            Sight::Image => "It is attached.",
            Sight::Caption => &question.caption,
        }
    }

    /// The image of question number `index` to attach, read now: only those in flight are held.
    ///
    /// # Errors
    /// The file is gone, has changed since it was checked, or cannot be decoded.
    pub(super) fn attachments(
        &self,
        question: &Question,
        index: usize,
    ) -> Result<Vec<ImageAttachment>, ShowError> {
        if self.sight == Sight::Caption {
            return Ok(Vec::new());
        }
        let photo = ImageRef::file(self.images.join(&question.image));
        Ok(vec![self.viewer.show(&photo, Some(self.hash(index)))?])
    }

    /// See [`PhotoViewer::shrinks_after`].
    pub(super) fn shrinks_after(&self, request: &ChatRequest, error: &LlmError) -> bool {
        self.viewer.shrinks_after(request, error)
    }

    fn hash_all(&self, questions: &[Question]) -> Result<Vec<String>, EvaluationError> {
        let (mut hashes, mut problems) = (Vec::with_capacity(questions.len()), Vec::new());
        for question in questions {
            match self.hash_one(question) {
                Ok(hash) => hashes.push(hash),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(hashes);
        }
        let more = problems.len().saturating_sub(LISTED);
        if more > 0 {
            problems.truncate(LISTED);
            problems.push(format!("and {more} more"));
        }
        Err(EvaluationError::Images { problems })
    }

    fn hash_one(&self, question: &Question) -> Result<String, String> {
        match self.sight {
            Sight::Image => Ok(hash::sha256_hex(&self.image(question)?)),
            Sight::Caption if question.caption.trim().is_empty() => {
                Err(format!("question {} has no caption to show instead", question.question_id))
            }
            Sight::Caption => Ok(hash::key(&["caption", &question.caption])),
        }
    }

    /// The bytes of a question's image, which is of a known format.
    fn image(&self, question: &Question) -> Result<Vec<u8>, String> {
        let refuse = |what: String| format!("question {}: {what}", question.question_id);
        let name = Path::new(&question.image);
        let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || question.image.is_empty() {
            return Err(refuse(format!("{:?} is no path below the folder", question.image)));
        }
        let path = self.images.join(name);
        let said = |error: &dyn std::fmt::Display| refuse(format!("{}: {error}", path.display()));
        let photo = ImageRef::file(&*path);
        let bytes =
            self.access.read(&photo, &ImageLimits::default()).map_err(|error| said(&error))?;
        Format::sniff(&bytes).map_err(|error| said(&error))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::QuestionId;
    use super::*;

    fn question(id: i64, image: &str, caption: &str) -> Question {
        Question {
            question_id: QuestionId::Number(id),
            image: image.into(),
            text: "Describe it.".into(),
            caption: caption.into(),
            category: String::new(),
        }
    }

    fn check(questions: &[Question], images: Option<&Path>) -> Result<ImageView, EvaluationError> {
        ImageView::check(questions, images, None, &FileAccess::Anywhere, &LlmConfig::default())
    }

    fn problems(questions: &[Question], images: Option<&Path>, sight: Option<Sight>) -> String {
        let access = FileAccess::Anywhere;
        match ImageView::check(questions, images, sight, &access, &LlmConfig::default()) {
            Ok(_) => panic!("not refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_image_that_is_missing_or_no_image_is_named() {
        let folder = tempfile::tempdir().expect("temp dir");
        image::RgbImage::new(30, 20).save(folder.path().join("a.png")).expect("write");
        fs_err::write(folder.path().join("text.jpg"), "hello").expect("write");
        let questions = [
            question(1, "a.png", ""),
            question(2, "gone.png", ""),
            question(3, "text.jpg", ""),
            question(4, "../a.png", ""),
            question(5, "", ""),
        ];
        let said = problems(&questions, Some(folder.path()), None);
        for wanted in
            ["question 2:", "gone.png", "question 3:", "question 4: \"../a.png\"", "question 5:"]
        {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains("question 1"), "{said}");
        let view = check(&questions[..1], Some(folder.path())).expect("fine");
        let images = view.attachments(&questions[0], 0).expect("readable");
        assert_eq!((view.sight(), images[0].mime.as_str()), (Sight::Image, "image/jpeg"));
        assert_eq!(crate::image::longer_side(&images[0].bytes), Some(30));
        image::RgbImage::new(31, 20).save(folder.path().join("a.png")).expect("write");
        let changed = view.attachments(&questions[0], 0).expect_err("another image");
        assert_eq!(crate::base::failure::Failure::code(&changed), "photo_changed");
    }

    #[test]
    fn captions_stand_in_where_no_image_is_given() {
        let questions = [question(1, "a.png", "A cat."), question(2, "a.png", " ")];
        let said = problems(&questions, None, None);
        assert!(said.contains("question 2 has no caption"), "{said}");
        let view = check(&questions[..1], None).expect("fine");
        assert_eq!((view.sight(), view.words(&questions[0])), (Sight::Caption, "A cat."));
        assert!(view.attachments(&questions[0], 0).expect("none").is_empty());
        let said = problems(&questions[..1], None, Some(Sight::Image));
        assert!(said.contains("needs --images"), "{said}");
    }
}
