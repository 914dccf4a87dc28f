//! What an export is given: samples of one photo, and the photo where it is carried.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Sample;
use crate::image::Format;

/// One row to be: accepted samples of one photo in the order of their ranks, one or, where they
/// make a conversation of several turns, all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Never empty; several only where the format's rows are conversations.
    pub samples: &'a [Sample],
    /// The photo, where the export carries it.
    pub photo: Option<&'a Photo>,
    /// The part of the dataset that it belongs to.
    pub split: &'a str,
}

impl<'a> Record<'a> {
    /// The sample that tells of the photo.
    pub fn first(&self) -> &'a Sample {
        &self.samples[0]
    }

    pub(super) fn id(&self) -> &'a str {
        id(self.samples)
    }

    /// The photo's bytes, none where it is not carried.
    pub(super) fn bytes(&self) -> Bytes {
        self.photo.map(|photo| photo.bytes.clone()).unwrap_or_default()
    }
}

/// What a row of these samples is called: the sample's id, or the photo's where there are several.
pub(super) fn id(samples: &[Sample]) -> &str {
    match samples {
        [sample] => &sample.id,
        samples => &samples[0].lineage.item_id,
    }
}

/// A photo as an export carries it.
#[derive(Debug, Clone)]
pub struct Photo {
    /// As they were when the photo was embedded.
    pub bytes: Bytes,
    pub format: Format,
    /// Where it lies, if that is a file of its own.
    pub file: Option<PathBuf>,
}

/// The split of what no other split takes.
pub const TRAIN: &str = "train";

/// How the exports that name photos come by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoPlaces {
    /// They name the source's own files.
    Name,
    /// Copies lie in a folder of the export.
    Copy,
    /// Symbolic links to the source's files lie in a folder of the export.
    Link,
}

/// Whether samples of one photo are rows of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversations {
    /// One instruction and its answer are one conversation.
    #[default]
    Single,
    /// All instructions of a photo are the turns of one conversation.
    Multi,
}
