//! `model.toml`: what a model folder holds and how its inputs are prepared.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::image::PreprocessConfig;

/// The SPDX expression of a model whose licence nobody stated.
pub const UNKNOWN_LICENSE: &str = "NOASSERTION";

/// The manifest of a dual-encoder folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelManifest {
    pub name: String,
    pub revision: String,
    /// True for the bundled encoder, which stands in for CLIP where no network is.
    #[serde(default)]
    pub stand_in: bool,
    /// One sentence users must see wherever the model is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// SPDX expression; [`UNKNOWN_LICENSE`] where nobody stated one.
    #[serde(default = "unknown_license")]
    pub license: String,
    /// Width of both towers' embeddings.
    pub embedding_dim: usize,
    /// Whether a row's embedding does not depend on what else is in its batch. Where it does, each
    /// row is run alone.
    pub batch_independent: bool,
    pub files: Vec<ModelFile>,
    pub vision: VisionSpec,
    pub text: TextSpec,
    /// Turns a cosine into the model's own score, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit: Option<Logit>,
    /// What the encoder must answer when it is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// Matching defaults that suit this model's scale of cosines.
    #[serde(default)]
    pub defaults: ModelDefaults,
    /// Measured quality, free keys, shown as they are.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub quality: toml::Table,
}

fn unknown_license() -> String {
    UNKNOWN_LICENSE.to_owned()
}

/// A file of the folder, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Path below the folder, with `/` between its parts.
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

/// The vision graph: `input` float [N, 3, crop, crop] to `output` float, f32 or f16 as the graph
/// says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionSpec {
    /// The graph; the same file as the text graph's where one graph holds both towers.
    pub file: String,
    pub input: String,
    pub output: String,
    #[serde(default, skip_serializing_if = "Pooling::is_none")]
    pub pooling: Pooling,
    pub preprocess: PreprocessConfig,
}

/// The text graph: ids, and a mask where the graph has one, as integers [N, L] to `output` float,
/// f32 or f16 as the graph says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSpec {
    /// The graph; the same file as the vision graph's where one graph holds both towers.
    pub file: String,
    pub tokenizer: TokenizerSpec,
    pub input_ids: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_mask: Option<String>,
    /// The input that tells a first text from a second one, as BERT has it: it gets zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type_ids: Option<String>,
    pub output: String,
    #[serde(default, skip_serializing_if = "Pooling::is_none")]
    pub pooling: Pooling,
    /// Longest sequence in tokens; longer texts are cut and reported as truncated.
    pub context_length: usize,
    /// How far shorter texts are padded.
    #[serde(default, skip_serializing_if = "Padding::is_longest")]
    pub padding: Padding,
    /// The token that fills the padding.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pad_id: u32,
    /// What is put around each text before it is tokenised: `{}` stands for the text. None changes
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The vector of D floats (f32, little-endian) that the graph subtracts before its last
    /// normalisation, where it does: with it the text embeddings can be brought back to how they
    /// were before (the encoder's `TextMean`). Not part of the model's hash, which
    /// covers what the graphs read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<ModelFile>,
}

/// What a model's catalog entry says for settings of the matching that are unset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelDefaults {
    /// The lowest similarity that is eligible, in [-1, 1].
    pub min_similarity: f64,
    /// Share of the caption in the similarity, in [0, 1].
    pub caption_weight: f64,
}

impl Default for ModelDefaults {
    /// For a model that nobody measured: no floor, and the photo alone decides.
    fn default() -> Self {
        Self { min_similarity: -1.0, caption_weight: 0.0 }
    }
}

/// How a graph's output becomes one vector per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Pooling {
    /// The output is [N, D] already: `image_embeds`, `text_embeds`, `pooler_output`.
    #[default]
    None,
    /// The first of [N, L, D]: a vision transformer's class token.
    First,
    /// The place of [N, L, D] at which the text ends: the last token that is not padding.
    End,
    /// The last of [N, L, D], padding or not, as SigLIP takes it.
    Last,
    /// The mean of [N, L, D], of a text's over the tokens that are not padding.
    Mean,
}

impl Pooling {
    /// The name in manifests and in the hash of a model's folder.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// How far texts are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// To the longest text of the batch.
    #[default]
    Longest,
    /// To the context length, as the model was trained or the graph's fixed size demands.
    Context,
    /// Not at all: only texts of one length share a call. For a graph that looks both ways and is
    /// told nowhere what is padding.
    Never,
}

impl Padding {
    fn is_longest(&self) -> bool {
        *self == Self::Longest
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Where token ids come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenizerSpec {
    /// A `tokenizer.json` of the `tokenizers` library, by its name in the folder.
    File(String),
    /// CLIP's byte-pair encoding over the folder's own vocabulary.
    ClipFiles {
        /// JSON: token to id.
        vocab: String,
        /// One merge a line.
        merges: String,
    },
    /// One that is built in.
    Builtin { builtin: BuiltinTokenizer },
}

/// Tokenizers that need no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltinTokenizer {
    /// OpenAI CLIP's byte-pair encoding, 49,408 tokens.
    ClipBpe,
}

/// The model's score of a pair: `scale * cosine + bias`, a logit. CLIP compares logits by softmax
/// over the candidates, SigLIP takes each one's sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logit {
    /// Greater than 0.
    pub scale: f64,
    #[serde(default)]
    pub bias: f64,
}

/// Vectors that the encoder must give again when it is opened, within a cosine of 0.999 (0.98 for
/// quantised graphs): a runtime or a device that computes wrongly is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    pub text: String,
    /// The unit vector of `text`, or its first values: at least 8.
    pub text_vector: Vec<f32>,
    /// The unit vector of the photo that is [`Pixels::test_card`](crate::image::Pixels::test_card), or its first
    /// values; none are asked for when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_vector: Vec<f32>,
}
