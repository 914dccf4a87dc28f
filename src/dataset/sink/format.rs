use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::parquet::{Layout, ParquetRows};
use super::rows::{JsonRows, Rows, whole};
use super::tar::TarRows;
use super::{Conversations, PhotoPlaces, RATINGS, SinkError, SinkOptions, chat};

/// The formats of an export.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ExportFormat {
    /// LLaVA's conversation JSON, for trainers.
    Llava,
    /// Every field of every sample, one JSON object per line.
    Jsonl,
    /// Every field of every sample, as columns.
    Parquet,
    /// As [`ExportFormat::Parquet`], with the photos' bytes: `datasets` shows pictures.
    ParquetImages,
    /// The layout of FineVision, with four ratings: nanoVLM reads it.
    #[serde(rename = "finevision")]
    #[strum(serialize = "finevision")]
    FineVision,
    /// Tars of photos and JSON.
    #[serde(rename = "webdataset")]
    #[strum(serialize = "webdataset")]
    WebDataset,
    /// A folder with `dataset_info.json` that LLaMA-Factory takes as `dataset_dir`.
    #[serde(rename = "llamafactory")]
    #[strum(serialize = "llamafactory")]
    LlamaFactory,
    /// JSON lines of messages and photos, for ms-swift.
    Swift,
    /// Conversations with photos as TRL wants them, in Parquet.
    Trl,
}

impl ExportFormat {
    /// Every format, in the order in which they are written.
    pub const ALL: [Self; 9] = [
        Self::Llava,
        Self::Jsonl,
        Self::Parquet,
        Self::ParquetImages,
        Self::FineVision,
        Self::WebDataset,
        Self::LlamaFactory,
        Self::Swift,
        Self::Trl,
    ];

    /// Those that are written unless others are asked for: one file each.
    pub const USUAL: [Self; 3] = [Self::Llava, Self::Jsonl, Self::Parquet];

    /// The format's name on command lines and in configuration, and of its folder.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The name of its file in a dataset folder, where it can be a file alone.
    pub fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Llava => Some("llava.json"),
            Self::Jsonl => Some("samples.jsonl"),
            Self::Parquet => Some("samples.parquet"),
            _ => None,
        }
    }

    /// Whether its rows are conversations, which may have several turns; else each is a sample.
    pub fn is_conversations(self) -> bool {
        !matches!(self, Self::Jsonl | Self::Parquet | Self::ParquetImages)
    }

    /// Whether the data files hold the photos' bytes.
    fn embeds(self) -> bool {
        matches!(self, Self::ParquetImages | Self::FineVision | Self::WebDataset | Self::Trl)
    }

    /// Where the photos are that its rows name; none where the rows hold them.
    pub(super) fn places(self, options: &SinkOptions) -> Option<PhotoPlaces> {
        let usual = match self {
            Self::LlamaFactory | Self::Swift => PhotoPlaces::Copy,
            _ => PhotoPlaces::Name,
        };
        (!self.embeds()).then(|| options.photos.unwrap_or(usual))
    }

    /// Whether records must come with their photos.
    pub fn wants_photos(self, options: &SinkOptions) -> bool {
        self.places(options) != Some(PhotoPlaces::Name)
    }

    /// The name of the file it is written to, where it is no folder.
    pub(super) fn as_file(self, options: &SinkOptions) -> Option<&'static str> {
        let alone = !self.wants_photos(options) && options.splits.is_empty();
        self.file_name().filter(|_| alone)
    }

    /// Whether a data file is followed by another when it is large enough.
    pub(super) fn is_sharded(self) -> bool {
        self.embeds() || self == Self::Parquet
    }

    /// The ratings that its rows have, by the measures that give them.
    pub(super) fn ratings(self) -> &'static [&'static str] {
        if self == Self::FineVision { &RATINGS } else { &[] }
    }

    /// The path of a data file in a folder; `number` counts the split's files from 0.
    pub(super) fn data_file(self, split: &str, number: usize) -> String {
        let ending = match self {
            Self::Llava | Self::LlamaFactory => "json",
            Self::Jsonl | Self::Swift => "jsonl",
            Self::WebDataset => "tar",
            Self::Parquet | Self::ParquetImages | Self::FineVision | Self::Trl => "parquet",
        };
        match self.is_sharded() {
            true => format!("data/{split}-{number:05}.{ending}"),
            false => format!("{split}.{ending}"),
        }
    }

    /// Starts a data file.
    pub(super) fn open(
        self,
        path: &Path,
        options: &SinkOptions,
    ) -> Result<Box<dyn Rows>, SinkError> {
        let lineage =
            |carries_photo| Layout::Lineage { extra: options.extra.clone(), carries_photo };
        let is_multi = options.conversations == Conversations::Multi;
        Ok(match self {
            Self::Llava => Box::new(JsonRows::array(path, chat::llava)?),
            Self::LlamaFactory => Box::new(JsonRows::array(path, chat::factory)?),
            Self::Jsonl => Box::new(JsonRows::lines(path, whole)?),
            Self::Swift => Box::new(JsonRows::lines(path, chat::swift)?),
            Self::WebDataset => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                Box::new(TarRows::create(path, &stem)?)
            }
            Self::Parquet => Box::new(ParquetRows::create(path, lineage(false))?),
            Self::ParquetImages => Box::new(ParquetRows::create(path, lineage(true))?),
            Self::FineVision => Box::new(ParquetRows::create(path, Layout::FineVision)?),
            Self::Trl => Box::new(ParquetRows::create(path, Layout::Trl { is_multi })?),
        })
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown export format `{name}`: use one of {names}")
        })
    }
}
