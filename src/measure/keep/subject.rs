//! What an expression can look at: measures, and what every sample has.

use strum::IntoStaticStr;

use crate::dataset::record::Sample;
use crate::measure::MeasureName;

/// What an expression looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Measure(MeasureName),
    Field(Field),
}

/// A field that every sample has, by its name in the exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Field {
    Similarity,
    Score,
    Probability,
    Rank,
    Category,
    InstructionId,
    Width,
    Height,
    PromptTokens,
    CompletionTokens,
}

/// A value as an expression compares it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Number(f64),
    Word(&'a str),
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 10] = [
        Self::Similarity,
        Self::Score,
        Self::Probability,
        Self::Rank,
        Self::Category,
        Self::InstructionId,
        Self::Width,
        Self::Height,
        Self::PromptTokens,
        Self::CompletionTokens,
    ];

    /// The name in expressions, which is that of the field in the exports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Subject {
    /// The measure or field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|one| one.name() == name)
    }

    /// Every measure and field.
    pub fn all() -> impl Iterator<Item = Self> {
        let measures = MeasureName::ALL.into_iter().map(Self::Measure);
        measures.chain(Field::ALL.into_iter().map(Self::Field))
    }

    /// What a measure's values say, in a few words; empty for a field, whose name says it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Measure(measure) => measure.about().meaning,
            Self::Field(_) => "",
        }
    }

    /// The name in expressions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measure(measure) => measure.name(),
            Self::Field(field) => field.name(),
        }
    }

    /// Whether its values are words, not numbers.
    pub fn is_word(self) -> bool {
        match self {
            Self::Measure(measure) => measure.is_word(),
            Self::Field(field) => matches!(field, Field::Category | Field::InstructionId),
        }
    }

    /// Its value in a sample; `None` where there is none, or one of the other type.
    pub fn value(self, sample: &Sample) -> Option<Value<'_>> {
        let lineage = &sample.lineage;
        let field = match self {
            Self::Measure(measure) => {
                let value = sample.measures.get(measure.name())?;
                return match self.is_word() {
                    true => value.word().map(Value::Word),
                    false => value.number().map(Value::Number),
                };
            }
            Self::Field(field) => field,
        };
        Some(match field {
            Field::Similarity => Value::Number(lineage.similarity),
            Field::Score => Value::Number(lineage.score),
            Field::Probability => Value::Number(lineage.probability?),
            Field::Rank => Value::Number(f64::from(lineage.rank)),
            Field::Category => Value::Word(lineage.category.as_deref()?),
            Field::InstructionId => Value::Word(&lineage.instruction_id),
            Field::Width => Value::Number(f64::from(lineage.width)),
            Field::Height => Value::Number(f64::from(lineage.height)),
            Field::PromptTokens => Value::Number(lineage.prompt_tokens as f64),
            Field::CompletionTokens => Value::Number(lineage.completion_tokens as f64),
        })
    }
}
