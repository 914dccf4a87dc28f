//! One expression: reading it, printing it, and holding a sample against it.
//!
//! ```text
//! expression = name operator value [ "or" "missing" | "and" "present" ]
//! operator   = "<=" | "<" | ">=" | ">" | "==" | "!="
//! value      = a number, a word, or any text in double quotes with \" and \\ inside
//! ```
//!
//! Words are compared by `==` and `!=` only, letter by letter. Where a sample has no value the
//! expression lets it pass, which `or missing` says aloud; `and present` demands a value.

use std::fmt;
use std::str::FromStr;

use super::error::KeepError;
use super::subject::{Subject, Value};
use crate::dataset::record::Sample;

/// A comparison that a sample must pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub subject: Subject,
    pub operator: Operator,
    /// A number where the subject is one, else a word.
    pub literal: Literal,
    /// Whether a sample without a value is left out.
    pub demands_value: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    NotEqual,
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Finite.
    Number(f64),
    /// Without control characters.
    Word(String),
}

/// What an expression says of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Holds,
    /// There is no value.
    Missing,
    Fails,
}

impl Operator {
    const ALL: [Self; 6] =
        [Self::AtMost, Self::Below, Self::AtLeast, Self::Above, Self::Equal, Self::NotEqual];

    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    fn holds<T: PartialOrd + ?Sized>(self, value: &T, literal: &T) -> bool {
        match self {
            Self::AtMost => value <= literal,
            Self::Below => value < literal,
            Self::AtLeast => value >= literal,
            Self::Above => value > literal,
            Self::Equal => value == literal,
            Self::NotEqual => value != literal,
        }
    }

    /// Whether it needs an order, which words have not.
    fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

impl Expression {
    /// What it says of a sample.
    pub fn look(&self, sample: &Sample) -> Outcome {
        let holds = match (self.subject.value(sample), &self.literal) {
            (None, _) => return Outcome::Missing,
            (Some(Value::Number(value)), Literal::Number(literal)) => {
                self.operator.holds(&value, literal)
            }
            (Some(Value::Word(value)), Literal::Word(literal)) => {
                self.operator.holds(value, literal.as_str())
            }
            // The parser gives each subject a literal of its type.
            (Some(_), _) => false,
        };
        if holds { Outcome::Holds } else { Outcome::Fails }
    }

    /// Whether a sample of which it says `outcome` is kept.
    pub fn passes(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Holds => true,
            Outcome::Missing => !self.demands_value,
            Outcome::Fails => false,
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.subject.name(), self.operator.sign())?;
        match &self.literal {
            Literal::Number(number) => write!(f, "{number}")?,
            Literal::Word(word) if is_bare(word) => f.write_str(word)?,
            Literal::Word(word) => {
                write!(f, "\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
        }
        f.write_str(if self.demands_value { " and present" } else { "" })
    }
}

/// Whether a word needs no quotes.
fn is_bare(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "_-.:/+".contains(c))
}

impl FromStr for Expression {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let mut reader = Reader { text, at: 0 };
        let subject = reader.subject()?;
        let operator = reader.operator(subject)?;
        let literal = reader.literal(subject)?;
        let demands_value = reader.demands_value()?;
        Ok(Self { subject, operator, literal, demands_value })
    }
}

/// A text that is read from the left.
struct Reader<'a> {
    text: &'a str,
    /// The byte that comes next.
    at: usize,
}

impl<'a> Reader<'a> {
    fn subject(&mut self) -> Result<Subject, KeepError> {
        let (start, name) = self.word();
        if name.is_empty() {
            return Err(self.syntax(start, "the name of a measure or field"));
        }
        Subject::named(name).ok_or_else(|| KeepError::UnknownName {
            expression: self.text.to_owned(),
            column: self.column(start),
            name: name.to_owned(),
            hint: hint(name),
        })
    }

    fn operator(&mut self, subject: Subject) -> Result<Operator, KeepError> {
        let start = self.skip_spaces();
        let rest = &self.text[start..];
        let found = Operator::ALL.into_iter().find(|one| rest.starts_with(one.sign()));
        let Some(operator) = found else {
            return Err(self.syntax(start, "one of <= < >= > == !="));
        };
        self.at += operator.sign().len();
        if subject.is_word() && operator.orders() {
            return Err(self.wrong_type(start, subject, operator.sign()));
        }
        Ok(operator)
    }

    fn literal(&mut self, subject: Subject) -> Result<Literal, KeepError> {
        let start = self.skip_spaces();
        if self.text[start..].starts_with('"') {
            let word = self.quoted(start)?;
            if subject.is_word() {
                return Ok(Literal::Word(word));
            }
            return Err(self.wrong_type(start, subject, &self.text[start..self.at]));
        }
        let (start, word) = self.word();
        if word.is_empty() {
            let expected = if subject.is_word() { "a word" } else { "a number" };
            return Err(self.syntax(start, expected));
        }
        if subject.is_word() {
            return Ok(Literal::Word(word.to_owned()));
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Literal::Number(number)),
            _ => Err(self.wrong_type(start, subject, word)),
        }
    }

    fn demands_value(&mut self) -> Result<bool, KeepError> {
        let expected = "the end, `or missing` or `and present`";
        let (start, first) = self.word();
        let (second_start, second) = self.word();
        let demands = match (first, second) {
            ("", "") => false,
            ("or", "missing") => false,
            ("and", "present") => true,
            ("or", _) => return Err(self.syntax(second_start, "`missing`")),
            ("and", _) => return Err(self.syntax(second_start, "`present`")),
            _ => return Err(self.syntax(start, expected)),
        };
        let end = self.skip_spaces();
        if end < self.text.len() {
            return Err(self.syntax(end, "the end"));
        }
        Ok(demands)
    }

    /// The next characters that are neither white space nor part of an operator or a quote, and
    /// where they begin.
    fn word(&mut self) -> (usize, &'a str) {
        let start = self.skip_spaces();
        let rest = &self.text[start..];
        let ends = |c: char| c.is_whitespace() || c.is_control() || "<>=!\"".contains(c);
        self.at = start + rest.find(ends).unwrap_or(rest.len());
        (start, &self.text[start..self.at])
    }

    /// The text of a quote that begins at `start`, without its marks.
    fn quoted(&mut self, start: usize) -> Result<String, KeepError> {
        let mut word = String::new();
        let mut escaped = false;
        for (place, character) in self.text[start + 1..].char_indices() {
            let here = start + 1 + place;
            match character {
                _ if character.is_control() => {
                    return Err(self.syntax(here, "no control character"));
                }
                '"' | '\\' if escaped => word.push(character),
                _ if escaped => return Err(self.syntax(here, "\" or \\ behind a \\")),
                '\\' => {}
                '"' => {
                    self.at = here + 1;
                    return Ok(word);
                }
                _ => word.push(character),
            }
            escaped = character == '\\' && !escaped;
        }
        Err(self.syntax(self.text.len(), "a closing \""))
    }

    fn skip_spaces(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    /// Columns are counted in characters from 1.
    fn column(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    fn syntax(&self, at: usize, expected: &'static str) -> KeepError {
        let found = match self.text[at..].chars().next() {
            Some(character) => format!("`{}`", character.escape_debug()),
            None => "the end".to_owned(),
        };
        let (expression, column) = (self.text.to_owned(), self.column(at));
        KeepError::Syntax { expression, column, found, expected }
    }

    fn wrong_type(&self, at: usize, subject: Subject, found: &str) -> KeepError {
        KeepError::WrongType {
            expression: self.text.to_owned(),
            column: self.column(at),
            name: subject.name(),
            kind: if subject.is_word() { "a word" } else { "a number" },
            found: format!("`{found}`"),
        }
    }
}

/// The nearest name, as half a sentence.
fn hint(name: &str) -> String {
    let scored = Subject::all().map(|one| (strsim::jaro_winkler(name, one.name()), one.name()));
    match scored.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((score, near)) if score > 0.8 => format!("; did you mean `{near}`?"),
        _ => String::new(),
    }
}
