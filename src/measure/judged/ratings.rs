//! Four ratings of a sample, and whether its instruction's premise holds.
//!
//! The four are those of FineVision (Wiedmann and others, 2025): relevance, image correspondence,
//! visual dependency and formatting, each from 1 to 5.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::loose_json::{objects, plain};
use super::{Reading, Unread, number, unsaid};
use crate::dataset::record::Measured;
use crate::measure::MeasureName;

/// Raised when the same reply would be read otherwise.
pub(super) const READER: u32 = 1;

/// The ratings in the order in which they are asked for, then the premise.
pub(super) const MEASURES: [MeasureName; 5] = [
    MeasureName::Relevance,
    MeasureName::ImageCorrespondence,
    MeasureName::VisualDependency,
    MeasureName::Formatting,
    MeasureName::Inapplicable,
];

/// How many of [`MEASURES`] are ratings.
pub(super) const RATINGS: usize = 4;

/// The best rating; the least is 1.
const BEST: f64 = 5.0;

/// Names of each rating without case and marks.
const NAMES: [&[&str]; RATINGS] = [
    &["relevance", "answerrelevance"],
    &["imagecorrespondence", "correspondence"],
    &["visualdependency", "visualdependence", "dependency"],
    &["formatting", "format"],
];

const PREMISE: [&str; 2] = ["premise", "premiseholds"];

/// How models name what holds one rating inside an object or a list.
const VALUES: [&str; 3] = ["score", "rating", "value"];
const LABELS: [&str; 4] = ["name", "criterion", "measure", "rating"];

/// The form of a reply.
pub(super) fn schema() -> Value {
    let rating = json!({"type": "integer", "enum": [1, 2, 3, 4, 5]});
    let names = MEASURES[..RATINGS].iter().map(|name| name.name());
    let mut fields: Map<String, Value> =
        names.map(|name| (name.to_owned(), rating.clone())).collect();
    fields.insert(PREMISE[0].to_owned(), json!({"type": "boolean"}));
    let required: Vec<String> = fields.keys().cloned().collect();
    json!({
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": false,
    })
}

/// A number with what it is out of, where the reply says so.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rating {
    value: f64,
    of: Option<f64>,
}

/// What was found of the ratings, by their places.
#[derive(Debug, Default)]
struct Found {
    ratings: [Option<Rating>; RATINGS],
    premise: Option<bool>,
    /// A rating was given twice, and differently.
    unclear: Option<&'static str>,
    /// The scale that the reply says it uses, where that is not 1 to 5.
    scale: Option<String>,
}

/// The ratings of a reply. Takes the schema's form and what models make of it: prose around it, half
/// of it, other case, numbers as texts, "4/5", an object for each rating, lines in place of JSON, and
/// four labelled numbers in another language, which stand in the order that was asked for.
///
/// # Errors
/// There are no ratings, they are on another scale, or one is given twice with two values.
pub(super) fn read(reply: &str, cut: bool) -> Result<Reading, Unread> {
    let (objects, broken) = objects(reply);
    let mut found = Found::default();
    for fields in &objects {
        found.take_object(fields);
    }
    // A number at the very end of what is cut may be half a number.
    let lines = labelled(reply, cut || broken);
    if found.is_empty() {
        for line in &lines {
            found.take(line.label, line.rating);
        }
        found.premise = found.premise.or_else(|| premise_line(reply));
    }
    if found.is_empty() {
        found.take_in_order(reply, &lines);
    }
    found.scale = found.scale.or_else(|| other_scale(reply));
    found.reading()
}

impl Found {
    fn is_empty(&self) -> bool {
        self.ratings.iter().all(Option::is_none)
    }

    fn take(&mut self, label: &str, rating: Rating) {
        let label = plain(label);
        let Some(place) = NAMES.iter().position(|names| names.contains(&&*label)) else { return };
        match self.ratings[place] {
            Some(earlier) if (earlier.value - rating.value).abs() > f64::EPSILON => {
                self.unclear = Some(MEASURES[place].name());
            }
            _ => self.ratings[place] = Some(rating),
        }
    }

    fn take_object(&mut self, fields: &Map<String, Value>) {
        let label = LABELS.iter().find_map(|name| fields.get(*name)?.as_str());
        let valued = VALUES.iter().find_map(|name| rating_of(fields.get(*name)?));
        if let (Some(label), Some(rating)) = (label, valued) {
            self.take(label, rating);
        }
        for (name, value) in fields {
            let known = plain(name);
            match value {
                Value::Object(inner) => {
                    match VALUES.iter().find_map(|name| rating_of(inner.get(*name)?)) {
                        Some(rating) => self.take(name, rating),
                        None => self.take_object(inner),
                    }
                }
                Value::Array(items) => {
                    items.iter().filter_map(Value::as_object).for_each(|one| self.take_object(one));
                }
                _ if PREMISE.contains(&&*known) => self.premise = self.premise.or(yes(value)),
                _ if ["scale", "outof", "maximum"].contains(&&*known) => self.take_scale(value),
                _ => {
                    if let Some(rating) = rating_of(value) {
                        self.take(name, rating);
                    }
                }
            }
        }
    }

    fn take_scale(&mut self, value: &Value) {
        let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let best = said.rsplit(|one: char| !one.is_ascii_digit()).find(|part| !part.is_empty());
        if best.is_some_and(|best| best.parse() != Ok(BEST)) {
            self.scale = Some(said);
        }
    }

    /// Ratings under names that are not known: where the reply holds four numbers and no more, each
    /// with a label of its own, they are in the order that was asked for.
    fn take_in_order(&mut self, reply: &str, lines: &[Labelled<'_>]) {
        static NUMBER: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"(?:/\s*)?\d+(?:[.,]\d+)?").expect("a constant"));
        let numbers = NUMBER.find_iter(reply).filter(|one| !one.as_str().starts_with('/')).count();
        let mut labels: Vec<String> = lines.iter().map(|line| plain(line.label)).collect();
        labels.sort_unstable();
        labels.dedup();
        if [lines.len(), labels.len(), numbers] == [RATINGS; 3] {
            lines.iter().enumerate().for_each(|(place, line)| {
                self.ratings[place] = Some(line.rating);
            });
        }
    }

    fn reading(self) -> Result<Reading, Unread> {
        let Self { ratings, premise, unclear, scale } = self;
        if ratings.iter().all(Option::is_none) {
            return Err(Unread::new("judge_unreadable", "there are no ratings in it"));
        }
        let other = |rating: &&Rating| {
            rating.of.is_some_and(|of| (of - BEST).abs() > f64::EPSILON)
                || !(1.0..=BEST).contains(&rating.value)
        };
        let other = ratings.iter().flatten().find(other);
        let other = other.map(|Rating { value, of }| match of {
            Some(of) => format!("{value} of {of}"),
            None => value.to_string(),
        });
        if let Some(said) = scale.or(other) {
            let reason = format!("it rates on another scale than 1 to 5 ({said})");
            return Err(Unread::new("judge_scale", reason));
        }
        if let Some(name) = unclear {
            let reason = format!("it gives two different ratings of {name}");
            return Err(Unread::new("judge_unclear", reason));
        }
        let missing = ratings.iter().zip(MEASURES).find(|(rating, _)| rating.is_none());
        let lacks = missing.map(|(_, name)| {
            Unread::new("judge_incomplete", format!("the rating of {} is missing", name.name()))
        });
        let rated = ratings.iter().zip(MEASURES).map(|(rating, name)| {
            let missing = || unsaid("judge_incomplete");
            (name, rating.map_or_else(missing, |rating| number(rating.value, None)))
        });
        let inapplicable = premise.map(|holds| if holds { 0.0 } else { 1.0 });
        let premise = (MeasureName::Inapplicable, Measured::number(inapplicable));
        Ok(Reading { values: rated.chain([premise]).collect(), lacks })
    }
}

/// A number that a line or field names.
#[derive(Debug, Clone, Copy)]
struct Labelled<'a> {
    label: &'a str,
    rating: Rating,
}

/// Numbers behind a label, in their order: `Relevance: 4/5`, `"formatting": "4"`, `**Format** = 4`.
fn labelled(text: &str, cut: bool) -> Vec<Labelled<'_>> {
    static LABEL: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(\p{L}[\p{L}\p{M} _-]{0,40}?)["'*_`\s]*(?:[:=：]|–|—)"#;
        Regex::new(pattern).expect("a constant")
    });
    let labelled = |captures: regex::Captures<'_>| {
        let label = captures.get(1)?;
        let (rating, rest) = rating_at(&text[captures.get(0)?.end()..])?;
        let half = cut && rest.trim().is_empty();
        let label = &text[label.range()];
        (!half).then_some(Labelled { label, rating })
    };
    LABEL.captures_iter(text).filter_map(labelled).collect()
}

/// The number that a text begins with, and what follows it. "1 to 5" is a range and no number.
fn rating_at(text: &str) -> Option<(Rating, &str)> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"^["'*_`\s]*(-?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of|of|von|sur|de)\s*(\d+))?"#;
        Regex::new(pattern).expect("a constant")
    });
    let captures = NUMBER.captures(text)?;
    let number = |group: usize| captures.get(group)?.as_str().replace(',', ".").parse().ok();
    let (value, of) = (number(1)?, number(2));
    let rest = &text[captures.get(0)?.end()..];
    let begins = |text: &str| text.trim_start().starts_with(|one: char| one.is_ascii_digit());
    let ranges = ["-", "–", "—", "to ", "bis "];
    let range = ranges.iter().any(|mark| rest.trim_start().strip_prefix(mark).is_some_and(begins));
    (!range).then_some((Rating { value, of }, rest))
}

fn rating_of(value: &Value) -> Option<Rating> {
    match value {
        Value::Number(number) => Some(Rating { value: number.as_f64()?, of: None }),
        Value::String(text) => rating_at(text).map(|(rating, _)| rating),
        _ => None,
    }
}

fn yes(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(said) => Some(*said),
        Value::String(text) => match &*plain(text) {
            "true" | "yes" | "holds" | "ok" => Some(true),
            "false" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn premise_line(text: &str) -> Option<bool> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?i)premise(?:[ _]holds)?["'*_`\s]*[:=]["'*_`\s]*(true|yes|false|no)\b"#;
        Regex::new(pattern).expect("a constant")
    });
    let said = LINE.captures(text)?.get(1)?.as_str().to_lowercase();
    Some(["true", "yes"].contains(&said.as_str()))
}

/// A scale that the text names, where it is not 1 to 5.
fn other_scale(text: &str) -> Option<String> {
    static SCALE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?i)\bscale\b[^.\n]{0,30}?\b(\d+)\s*(?:to|-|–)\s*(\d+)";
        Regex::new(pattern).expect("a constant")
    });
    let found = SCALE.captures(text)?;
    ((&found[1], &found[2]) != ("1", "5")).then(|| format!("{} to {}", &found[1], &found[2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::MeasureValue;

    /// The values in their order, `None` where one is missing.
    fn values(reply: &str) -> Vec<Option<f64>> {
        let reading = read(reply, false).unwrap_or_else(|error| panic!("{reply}: {error}"));
        let value = |(_, measured): &(MeasureName, Measured)| match measured.value {
            Some(MeasureValue::Number(value)) => Some(value),
            _ => None,
        };
        reading.values.iter().map(value).collect()
    }

    fn code(reply: &str) -> &'static str {
        read(reply, false).expect_err(reply).code
    }

    #[test]
    fn ratings_are_read_in_the_forms_that_judges_write() {
        let expected = [Some(4.0), Some(3.0), Some(5.0), Some(2.0), Some(0.0)];
        for reply in [
            r#"{"relevance": 4, "image_correspondence": 3, "visual_dependency": 5, "formatting": 2, "premise": true}"#,
            "Let me see {this}.\n```json\n{\"Relevance\": \"4\", \"Image Correspondence\": \"3/5\", \"visualDependency\": 5.0, \"FORMATTING\": \"2 (poor)\", \"premise\": \"yes\"}\n```\nDone.",
            r#"{"ratings": {"relevance": {"score": 4, "why": "5 things"}, "image_correspondence": {"score": 3}, "visual_dependency": {"rating": 5}, "formatting": {"value": 2}}, "premise": true}"#,
            r#"{"ratings": [{"name": "relevance", "score": 4}, {"name": "image correspondence", "score": 3}, {"criterion": "visual dependency", "score": "5"}, {"name": "formatting", "score": 2}], "premise_holds": true}"#,
            "**Relevance**: 4/5\n- Image correspondence: 3 out of 5\n- Visual_dependency = 5\nFormatting: 2\nPremise: yes",
            "{\"relevance\": 4, \"image_correspondence\": 3, \"visual_dependency\": 5, \"formatting\": 2, \"premise\": true, \"comm",
        ] {
            assert_eq!(values(reply), expected, "{reply}");
        }
    }

    #[test]
    fn another_language_is_read_by_order_where_that_is_plain() {
        let expected = [Some(4.0), Some(3.0), Some(5.0), Some(2.0), None];
        for reply in [
            "Relevanz: 4\nBildentsprechung: 3\nVisuelle Abhängigkeit: 5\nFormat des Textes: 2",
            "相关性：4\n图像对应：3\n视觉依赖：5\n排版：2",
            r#"{"pertinence": "4/5", "correspondance": 3, "dépendance visuelle": 5, "mise en page": 2}"#,
        ] {
            // A name that is known is no other language: what is left is missing, not guessed.
            let known = reply.contains("correspondance");
            assert!(known || values(reply) == expected, "{reply}");
        }
        for reply in [
            "Relevanz: 4\nEntsprechung: 3\nAufmachung: 2",
            "Relevanz: 4\nEntsprechung: 3\nAbhängigkeit: 5\nAufmachung: 2\nGesamt: 3",
            "Im Jahr 2020. Relevanz: 4\nEntsprechung: 3\nAbhängigkeit: 5\nAufmachung: 2",
            "Relevanz: 4\nRelevanz: 3\nAbhängigkeit: 5\nAufmachung: 2",
        ] {
            assert_eq!(code(reply), "judge_unreadable", "{reply}");
        }
    }

    #[test]
    fn other_scales_are_refused_and_never_converted() {
        for reply in [
            r#"{"relevance": 8, "image_correspondence": 3, "visual_dependency": 5, "formatting": 2}"#,
            r#"{"relevance": "4/10", "image_correspondence": 3, "visual_dependency": 5, "formatting": 2}"#,
            r#"{"scale": "1-7", "relevance": 4, "image_correspondence": 3, "visual_dependency": 5, "formatting": 2}"#,
            r#"{"relevance": 0, "image_correspondence": 1, "visual_dependency": 1, "formatting": 1}"#,
            "On a scale from 0 to 10:\nRelevance: 4\nImage correspondence: 3",
            "Relevance: 80\nImage correspondence: 70\nVisual dependency: 65\nFormatting: 90",
            "Relevanz: 8\nEntsprechung: 3\nAbhängigkeit: 5\nAufmachung: 2",
        ] {
            assert_eq!(code(reply), "judge_scale", "{reply}");
        }
        let told = "On a scale from 1 to 5:\nRelevance: 4";
        assert_eq!(values(told)[0], Some(4.0));
    }

    #[test]
    fn what_is_not_said_stays_unsaid() {
        for reply in ["", "A fine sample!", "5", "[]", "{}", "relevance: 1 to 5", "Cats: 4"] {
            assert_eq!(code(reply), "judge_unreadable", "{reply}");
        }
        assert_eq!(code("Relevance: 4\nRelevance: 2"), "judge_unclear");
        assert_eq!(values("Relevance: 4\nRelevance: 4")[0], Some(4.0));
        let half = r#"{"relevance": 4, "image_correspondence": 1"#;
        let reading = read(half, true).expect("one is there");
        assert_eq!(reading.lacks.expect("the others").code, "judge_incomplete");
        assert_eq!(values(half)[..2], [Some(4.0), None], "the last may be half a number");
    }

    #[test]
    fn the_schema_asks_for_everything() {
        let schema = schema();
        assert_eq!(schema["required"].as_array().map(Vec::len), Some(5));
    }

    proptest::proptest! {
        #[test]
        fn no_reply_is_too_strange(reply in "(\\PC|[{}\\[\":,/0-9\\n]|relevance|scale){0,80}", cut: bool) {
            if let Ok(reading) = read(&reply, cut) {
                for (_, measured) in reading.values {
                    if let Some(MeasureValue::Number(value)) = measured.value {
                        proptest::prop_assert!((0.0..=5.0).contains(&value));
                    }
                }
            }
        }
    }
}
