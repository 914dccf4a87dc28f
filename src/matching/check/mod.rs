//! Whether an instruction applies to a photo: what it presupposes ("the boat in the image") is
//! held against the photo's descriptions and against the photo.
//!
//! What an instruction presupposes is its list of requirements, each a short noun phrase; all of
//! them must be there, and inside one "or" names alternatives. A library may give the list; where
//! it gives none, [`Requirements::of_text`] finds it in the instruction's words. A [`Checker`]
//! holds the kinds of check that are named, and an instruction passes when each of them passes it.
//! A check that has nothing to go by (a photo without descriptions, a text in the place of a
//! photo, a requirement in words that it does not know) abstains, and that is no refusal.

pub mod llm;
mod requirement;
mod requirements;
mod sight;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::encoder::{Encoder, EncoderError};
use requirement::Requirement;
use sight::Sight;
use text::Seen;

pub use requirement::is_any;
pub use requirements::Requirements;

/// A way to find out whether what an instruction presupposes is there.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CheckKind {
    /// Requirements against the nouns of the descriptions. Asks no model.
    Text,
    /// Requirements against the photo's embedding, by the encoder's text tower.
    Encoder,
    /// A language model is asked once for all candidates of a photo.
    Llm,
}

impl CheckKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Text, Self::Encoder, Self::Llm];

    /// The name used in settings, in stores and in the contract.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What is known of a photo when its candidates are checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct PhotoView<'a> {
    /// What people say is in the photo; empty where nobody said anything.
    pub descriptions: &'a [String],
    /// The photo's embedding, of length 1; `None` where a text stands in the place of a photo.
    pub image: Option<&'a [f32]>,
}

/// An instruction that is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub text: &'a str,
    /// What must be in the photo; `None` where nobody said, so that the words of `text` tell.
    pub requires: Option<&'a [String]>,
}

/// What the checks say of one instruction and one photo.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckVerdict {
    /// What each check found, in the order of the checker's kinds; none for an instruction that
    /// requires nothing.
    pub findings: Vec<Finding>,
}

impl CheckVerdict {
    /// Whether every check passed it.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.missing.is_empty())
    }

    /// Whether the instruction requires nothing, or each check found all that it requires: no
    /// check abstained.
    pub fn is_founded(&self) -> bool {
        self.passed() && self.findings.iter().all(|finding| finding.score.is_some())
    }

    /// The first finding that refused it.
    pub fn refusal(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| !finding.missing.is_empty())
    }
}

/// What one check found of one instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: CheckKind,
    /// How well the least well founded requirement is founded, on the check's own scale; `None`
    /// where the check abstained.
    pub score: Option<f64>,
    /// The requirements that were not found; empty where the instruction passed.
    pub missing: Vec<String>,
}

impl Finding {
    /// A check had nothing to go by.
    pub fn abstained(kind: CheckKind) -> Self {
        Self { kind, score: None, missing: Vec::new() }
    }

    /// What it found in words, for instance `text: no "boat"`.
    pub fn words(&self) -> String {
        let Self { kind, missing, .. } = self;
        let missing: Vec<String> = missing.iter().map(|phrase| format!("{phrase:?}")).collect();
        match missing.as_slice() {
            [] => format!("{}: passed", kind.name()),
            missing => format!("{}: no {}", kind.name(), missing.join(", ")),
        }
    }

    /// Whether this kind of check found all that is required, rather than abstaining.
    fn is(&self, kind: CheckKind) -> bool {
        self.kind == kind && self.score.is_some() && self.missing.is_empty()
    }
}

/// Checks instructions against photos by some kinds of check. Clones share what was computed.
#[derive(Clone)]
pub struct Checker {
    kinds: Vec<CheckKind>,
    sight: Option<Arc<Sight>>,
    read: Arc<Mutex<Readings>>,
}

/// What was read from the words of instructions, and from a library's lists.
#[derive(Default)]
struct Readings {
    words: HashMap<String, Arc<[Requirement]>>,
    lists: HashMap<Vec<String>, Arc<[Requirement]>>,
}

/// Readings that are remembered; beyond, all are forgotten.
const REMEMBERED: usize = 65_536;

impl Readings {
    fn known(&self, asked: &Asked<'_>) -> Option<Arc<[Requirement]>> {
        let known = match asked.requires {
            None => self.words.get(asked.text),
            Some(list) => self.lists.get(list),
        };
        known.cloned()
    }

    fn keep(&mut self, asked: &Asked<'_>, read: Arc<[Requirement]>) {
        if self.words.len() + self.lists.len() >= REMEMBERED {
            *self = Self::default();
        }
        match asked.requires {
            None => self.words.insert(asked.text.to_owned(), read),
            Some(list) => self.lists.insert(list.to_owned(), read),
        };
    }
}

impl Checker {
    /// A checker of these kinds, each of which must pass an instruction. Without an encoder the
    /// encoder's check abstains. [`CheckKind::Llm`] asks a server and is not done here: see [`llm`].
    pub fn new(kinds: &[CheckKind], encoder: Option<Arc<dyn Encoder>>) -> Self {
        let sight = encoder.map(|encoder| Arc::new(Sight::new(encoder)));
        Self { kinds: in_order(kinds), sight, read: Arc::default() }
    }

    /// What each instruction requires.
    fn required(&self, instructions: &[Asked<'_>]) -> Vec<Arc<[Requirement]>> {
        let readings = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<_> = {
            let readings = readings();
            instructions.iter().map(|asked| readings.known(asked)).collect()
        };
        let read = |asked: &Asked<'_>| -> Arc<[Requirement]> {
            let required = Requirements::of(asked);
            let read: Arc<_> = required.iter().map(|phrase| Requirement::read(phrase)).collect();
            readings().keep(asked, Arc::clone(&read));
            read
        };
        let all = instructions.iter().zip(known);
        all.map(|(asked, known)| known.unwrap_or_else(|| read(asked))).collect()
    }

    /// A checker of other kinds that shares what was computed.
    #[must_use]
    pub fn with_kinds(&self, kinds: &[CheckKind]) -> Self {
        Self { kinds: in_order(kinds), ..self.clone() }
    }

    /// The kinds, in the order of [`CheckKind::ALL`].
    pub fn kinds(&self) -> &[CheckKind] {
        &self.kinds
    }

    /// What the checks say of each instruction, in order. The first call embeds some hundred
    /// prompts, and requirements that were not met before are embedded, so a call may take the
    /// time of some texts.
    ///
    /// # Errors
    /// The encoder could not embed a requirement.
    pub fn verdicts(
        &self,
        photo: &PhotoView<'_>,
        instructions: &[Asked<'_>],
    ) -> Result<Vec<CheckVerdict>, EncoderError> {
        let requirements = self.required(instructions);
        let mut verdicts = vec![CheckVerdict::default(); instructions.len()];
        let asking = |verdicts: &mut Vec<CheckVerdict>, finding: &dyn Fn(usize) -> Finding| {
            for (at, verdict) in verdicts.iter_mut().enumerate() {
                if !requirements[at].is_empty() {
                    verdict.findings.push(finding(at));
                }
            }
        };
        for kind in &self.kinds {
            match (kind, &self.sight, photo.image) {
                (CheckKind::Text, ..) => {
                    let seen = Seen::of(photo.descriptions);
                    asking(&mut verdicts, &|at| seen.finding(&requirements[at]));
                }
                (CheckKind::Encoder, Some(sight), Some(image)) => {
                    let described = verdicts
                        .iter()
                        .map(|verdict| verdict.findings.iter().any(|one| one.is(CheckKind::Text)));
                    let asked: Vec<_> = requirements.iter().cloned().zip(described).collect();
                    let findings = sight.findings(image, &asked)?;
                    asking(&mut verdicts, &|at| findings[at].clone());
                }
                (CheckKind::Encoder, ..) => {
                    asking(&mut verdicts, &|_| Finding::abstained(*kind));
                }
                (CheckKind::Llm, ..) => {}
            }
        }
        Ok(verdicts)
    }
}

/// The encoder doubts less what the descriptions have, so they are looked at first.
fn in_order(kinds: &[CheckKind]) -> Vec<CheckKind> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds
}
