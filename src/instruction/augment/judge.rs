//! What stands around the calls that augment: the seeds drawn for each, the form of the reply, and
//! the judging of what came.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::super::diversity::RougeIndex;
use super::super::filter::{self, InstructionFilterConfig, Refusal};
use super::super::requires::MAX_PHRASE_BYTES;
use super::super::seeds::Seeds;
use super::super::wording::{normal_form, words};
use super::Structured;
use crate::encoder::Embedding;

/// An instruction that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEntry {
    /// A seed's id, or `raw:KEY` of an accepted instruction.
    pub id: String,
    pub text: String,
}

/// What prompts draw from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedPool {
    entries: Vec<PoolEntry>,
}

impl SeedPool {
    /// The seeds.
    pub fn new(seeds: &Seeds) -> Self {
        let entry = |id: &str, text: &str| PoolEntry { id: id.into(), text: text.into() };
        Self { entries: seeds.seeds.iter().map(|seed| entry(&seed.id, &seed.text)).collect() }
    }

    /// Adds an accepted instruction.
    pub fn add(&mut self, entry: PoolEntry) {
        self.entries.push(entry);
    }

    /// `count` different entries in drawn order; equal seeds over equal pools draw alike.
    pub fn draw(&self, count: usize, seed: u64) -> Vec<&PoolEntry> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        self.entries.sample(&mut random, count).collect()
    }
}

/// Verbs that a small model may begin with.
const VERBS: &str = "Write|Describe|Explain|Suggest|Plan|Invent|Imagine|Compare|List|Create|Design|\
    Draft|Tell|Give|Propose|Compose|Turn|Make";

/// Most phrases that a reply may require of a photo.
const MAX_ASKED: usize = 3;

/// Longest instruction a schema allows, in characters.
const MAX_CHARS: usize = 240;

fn instruction(structured: Structured) -> Value {
    match structured {
        Structured::Verbs => {
            let ends = "in|from|about|of|for|inspired by|based on|shown in";
            // Word by word, so that none is cut and none goes on for ever.
            let pattern =
                format!("^({VERBS})( [A-Za-z'-]{{1,14}},?){{2,12}} ({ends}) the image\\.$");
            json!({"type": "string", "pattern": pattern})
        }
        Structured::Schema | Structured::Off => {
            json!({"type": "string", "minLength": 10, "maxLength": MAX_CHARS})
        }
    }
}

fn object(fields: &[(&str, Value)]) -> Value {
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

/// `{"instructions": [...]}` with exactly `count` of them; `None` when no schema is wanted.
pub fn list_schema(structured: Structured, count: usize) -> Option<Value> {
    let list = json!({
        "type": "array",
        "items": instruction(structured),
        "minItems": count,
        "maxItems": count,
    });
    (structured != Structured::Off).then(|| object(&[("instructions", list)]))
}

/// `{"instruction": "..."}`, with `coherent` and `requires` where those are asked for, too; `None`
/// when no schema is wanted.
pub fn one_schema(structured: Structured, with_requires: bool) -> Option<Value> {
    let one = ("instruction", instruction(structured));
    let phrase = json!({"type": "string", "minLength": 2, "maxLength": MAX_PHRASE_BYTES});
    let phrases = json!({"type": "array", "items": phrase, "maxItems": MAX_ASKED});
    let schema = if with_requires {
        object(&[("coherent", json!({"type": "boolean"})), one, ("requires", phrases)])
    } else {
        object(&[one])
    };
    (structured != Structured::Off).then_some(schema)
}

/// A new instruction with what it was written for.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub text: &'a str,
    /// Of the images it was written for.
    pub descriptions: &'a [&'a str],
}

/// What the judge says: accepted, or refused with a code.
pub type Judged = Result<(), Refusal>;

/// Remembers what it accepted, so the order of questions matters.
pub struct Judge {
    config: InstructionFilterConfig,
    /// Normal form to what it is: a seed's id or an instruction's number.
    forms: HashMap<String, Known>,
    rouge: RougeIndex,
    known: Vec<Known>,
    vectors: Vec<(Known, Embedding)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Seed(String),
    Earlier(String),
}

impl Known {
    fn told(&self) -> String {
        match self {
            Self::Seed(id) => format!("seed {id}"),
            Self::Earlier(text) => format!("\"{text}\""),
        }
    }
}

impl Judge {
    /// A judge that knows nothing yet.
    pub fn new(config: InstructionFilterConfig) -> Self {
        let (forms, rouge) = (HashMap::new(), RougeIndex::default());
        Self { config, forms, rouge, known: Vec::new(), vectors: Vec::new() }
    }

    /// Makes a seed known, with its embedding where cosines are compared.
    pub fn add_seed(&mut self, id: &str, text: &str, vector: Option<Embedding>) {
        self.remember(Known::Seed(id.to_owned()), text, vector);
    }

    /// Makes an accepted instruction known.
    pub fn add(&mut self, text: &str, vector: Option<Embedding>) {
        self.remember(Known::Earlier(text.to_owned()), text, vector);
    }

    fn remember(&mut self, known: Known, text: &str, vector: Option<Embedding>) {
        self.forms.entry(normal_form(text)).or_insert_with(|| known.clone());
        self.rouge.add(&words(text));
        self.vectors.extend(vector.map(|vector| (known.clone(), vector)));
        self.known.push(known);
    }

    /// Whether cosines are compared, so that [`Judge::near_duplicate`] needs embeddings.
    pub fn compares_vectors(&self) -> bool {
        self.config.max_cosine <= 1.0
    }

    /// The instruction by itself, and whether it is a known one word for word.
    ///
    /// # Errors
    /// The refusal: a filter's, `seed_copy` or `duplicate`.
    pub fn alone(&self, candidate: Candidate<'_>) -> Judged {
        filter::check(&self.config, candidate.text, candidate.descriptions)?;
        match self.forms.get(&normal_form(candidate.text)) {
            Some(Known::Seed(id)) => {
                Err(Refusal::new("seed_copy", format!("seed {id} word for word")))
            }
            Some(Known::Earlier(_)) => Err(Refusal::new("duplicate", "there already")),
            None => Ok(()),
        }
    }

    /// Whether it is too near to a seed or to something accepted.
    ///
    /// # Errors
    /// The refusal, `near_duplicate_words` or `near_duplicate_meaning`.
    pub fn near_duplicate(&self, text: &str, vector: Option<&[f32]>) -> Judged {
        let nearest = self.rouge.nearest(&words(text), self.config.max_rouge_l);
        if let Some((place, score)) = nearest {
            let told = self.known.get(place).map(Known::told).unwrap_or_default();
            return Err(Refusal::new(
                "near_duplicate_words",
                format!("ROUGE-L {score:.2} with {told}"),
            ));
        }
        let Some(vector) = vector.filter(|_| self.compares_vectors()) else { return Ok(()) };
        let near = |(known, other): &(Known, Embedding)| (cosine(vector, other), known.told());
        let nearest = self.vectors.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((cosine, told)) if cosine >= self.config.max_cosine => Err(Refusal::new(
                "near_duplicate_meaning",
                format!("cosine {cosine:.3} with {told}"),
            )),
            _ => Ok(()),
        }
    }
}

/// Cosine of two unit vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_seed_and_hold_no_entry_twice() {
        let pool = SeedPool::new(&Seeds::read(None).expect("built in"));
        let ids =
            |seed| -> Vec<&str> { pool.draw(5, seed).iter().map(|one| one.id.as_str()).collect() };
        assert_eq!(ids(3), ids(3));
        let draws: std::collections::HashSet<_> = (0..20).map(ids).collect();
        assert!(draws.len() > 15);
        let one: std::collections::HashSet<_> = ids(3).into_iter().collect();
        assert_eq!(one.len(), 5);
    }

    fn judge() -> Judge {
        let mut judge = Judge::new(InstructionFilterConfig::default());
        judge.add_seed(
            "s1",
            "Write a limerick about what is happening in the image.",
            Some(vec![1.0, 0.0]),
        );
        judge
    }

    fn code(judge: &Judge, text: &str, vector: &[f32]) -> String {
        let candidate = Candidate { text, descriptions: &["A cat on a mat."] };
        let judged = judge.alone(candidate).and_then(|()| judge.near_duplicate(text, Some(vector)));
        judged.err().map_or("accepted".into(), |refusal| refusal.code)
    }

    #[test]
    fn copies_and_near_copies_are_refused_by_their_own_codes() {
        let mut judge = judge();
        let far = &[0.0, 1.0];
        let seed = "write a LIMERICK about what is happening in the image";
        assert_eq!(code(&judge, seed, far), "seed_copy");
        let near = "Write a short limerick about what is happening in the image.";
        assert_eq!(code(&judge, near, far), "near_duplicate_words");
        let same_meaning = "Compose five rhyming lines on the scene.";
        assert_eq!(code(&judge, same_meaning, &[0.99, 0.14]), "near_duplicate_meaning");
        assert_eq!(code(&judge, same_meaning, far), "accepted");
        judge.add(same_meaning, Some(far.to_vec()));
        assert_eq!(code(&judge, same_meaning, far), "duplicate");
        assert_eq!(code(&judge, "The scene is calm and bright.", far), "not_an_instruction");
    }

    #[test]
    fn rules_can_be_switched_off() {
        let config =
            InstructionFilterConfig { max_rouge_l: 1.5, max_cosine: 1.5, ..Default::default() };
        let mut judge = Judge::new(config);
        judge.add("Plan a picnic at the place in the image.", Some(vec![1.0]));
        assert!(!judge.compares_vectors());
        let near = "Plan one picnic at the place in the image.";
        assert_eq!(judge.near_duplicate(near, Some(&[1.0])), Ok(()));
    }
}
