//! The claims of an answer about what can be seen, each with a verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;

use super::loose_json::{objects, plain};
use super::{Reading, Unread, number};
use crate::dataset::record::Measured;
use crate::measure::MeasureName;

/// Raised when the same reply would be read otherwise.
pub(super) const READER: u32 = 1;

pub(super) const MEASURES: [MeasureName; 2] =
    [MeasureName::UnsupportedShare, MeasureName::ContradictedShare];

/// The form of a reply.
pub(super) fn schema() -> Value {
    let text = || json!({"type": "string"});
    let verdicts = Verdict::ALL.map(Verdict::name);
    json!({
        "type": "object",
        "properties": {"claims": {"type": "array", "items": {
            "type": "object",
            "properties": {
                "quote": text(),
                "verdict": {"type": "string", "enum": verdicts},
                "why": text(),
            },
            "required": ["quote", "verdict", "why"],
            "additionalProperties": false,
        }}},
        "required": ["claims"],
        "additionalProperties": false,
    })
}

/// What the judge says of a claim.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    Supported,
    Contradicted,
    NotStated,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Supported, Self::Contradicted, Self::NotStated];

    /// The name in replies and details.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn read(text: &str) -> Option<Self> {
        match &*plain(text) {
            "supported" | "true" | "entailed" => Some(Self::Supported),
            "contradicted" | "false" | "contradiction" => Some(Self::Contradicted),
            "notstated" | "unstated" | "notmentioned" | "unsupported" | "notsupported" => {
                Some(Self::NotStated)
            }
            _ => None,
        }
    }
}

/// A claim of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Where it stands in the answer: bytes from and to.
    pub span: (usize, usize),
    /// The answer's own words there.
    pub quote: String,
    pub verdict: Verdict,
    /// What decides, in the judge's words.
    pub why: String,
}

/// What a reply says of an answer's claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    pub claims: Vec<Claim>,
    /// Claims left out, by the reason: `claim_not_in_answer`, `unknown_verdict`, `repeated`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<&'static str, u64>,
    /// The reply was cut, so that later claims are missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// The claims of a reply about `answer`. Of a reply that is cut, those that are whole count.
///
/// # Errors
/// It holds no list of claims, or none of those in it quotes the answer.
pub fn claims(answer: &str, reply: &str, cut: bool) -> Result<Claims, Unread> {
    let (objects, broken) = objects(reply);
    let (mut said, mut is_list) = (Vec::new(), false);
    for fields in &objects {
        is_list |= gather(fields, &mut said);
    }
    if said.is_empty() && (!is_list || cut) {
        return Err(Unread::new("judge_unreadable", "there is no list of claims in it"));
    }
    let text = Folded::of(answer);
    let mut found = Claims { cut: cut || broken, ..Claims::default() };
    for Said { quote, verdict, why } in &said {
        let drop = |found: &mut Claims, why| *found.dropped.entry(why).or_default() += 1;
        let Some(span) = text.find(quote) else {
            drop(&mut found, "claim_not_in_answer");
            continue;
        };
        let Some(verdict) = Verdict::read(verdict) else {
            drop(&mut found, "unknown_verdict");
            continue;
        };
        if found.claims.iter().any(|claim| (claim.span, claim.verdict) == (span, verdict)) {
            drop(&mut found, "repeated");
            continue;
        }
        let (quote, why) = (answer[span.0..span.1].to_owned(), (*why).to_owned());
        found.claims.push(Claim { span, quote, verdict, why });
    }
    if found.claims.is_empty() && !said.is_empty() {
        let reason = "no claim in it quotes the answer, letter by letter, with one of the verdicts";
        return Err(Unread::new("claim_not_in_answer", reason));
    }
    Ok(found)
}

pub(super) fn read(answer: &str, reply: &str, cut: bool) -> Result<Reading, Unread> {
    let found = claims(answer, reply, cut)?;
    let count = |verdict| found.claims.iter().filter(|one| one.verdict == verdict).count() as f64;
    let contradicted = count(Verdict::Contradicted);
    let unsupported = contradicted + count(Verdict::NotStated);
    let all = found.claims.len() as f64;
    let value = |part: f64, detail| match found.claims.is_empty() {
        true => Measured { value: None, detail },
        false => number(part / all, detail),
    };
    let detail = serde_json::to_value(&found).ok();
    let values = vec![
        (MeasureName::UnsupportedShare, value(unsupported, detail)),
        (MeasureName::ContradictedShare, value(contradicted, None)),
    ];
    Ok(Reading { values, lacks: None })
}

struct Said<'a> {
    quote: &'a str,
    verdict: &'a str,
    why: &'a str,
}

/// The claims inside an object; whether it is or holds a list of them, be that empty.
fn gather<'a>(fields: &'a Map<String, Value>, said: &mut Vec<Said<'a>>) -> bool {
    let named = |wanted: &[&str]| {
        fields.iter().find(|(name, _)| wanted.contains(&&*plain(name))).map(|(_, value)| value)
    };
    let text = |wanted: &[&str]| named(wanted).and_then(Value::as_str);
    if let (Some(quote), Some(verdict)) =
        (text(&["quote", "claim", "text"]), text(&["verdict", "label"]))
    {
        said.push(Said { quote, verdict, why: text(&["why", "reason"]).unwrap_or_default() });
        return true;
    }
    match named(&["claims"]) {
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_object).for_each(|one| _ = gather(one, said));
            true
        }
        _ => false,
    }
}

/// A text without what a quotation may change: case, white space, kinds of quotation marks and
/// dashes; with the place of each character.
struct Folded {
    characters: Vec<char>,
    /// Where each character begins, and where the character it comes from ends.
    places: Vec<(usize, usize)>,
}

impl Folded {
    fn of(text: &str) -> Self {
        let mut folded = Self { characters: Vec::new(), places: Vec::new() };
        for (at, one) in text.char_indices() {
            let place = (at, at + one.len_utf8());
            if one.is_whitespace() {
                if folded.characters.last().is_some_and(|last| *last != ' ') {
                    folded.push(' ', place);
                }
                continue;
            }
            match one {
                '"' | '“' | '”' | '„' | '«' | '»' | '\'' | '‘' | '’' | '*' | '`' => {}
                '–' | '—' | '‑' | '‐' => folded.push('-', place),
                other => other.to_lowercase().for_each(|one| folded.push(one, place)),
            }
        }
        folded
    }

    fn push(&mut self, one: char, place: (usize, usize)) {
        self.characters.push(one);
        self.places.push(place);
    }

    /// Where a quotation stands: bytes of the text, from and to. "…" leaves something out.
    fn find(&self, quote: &str) -> Option<(usize, usize)> {
        let (mut from, mut span) = (0, None::<(usize, usize)>);
        for part in quote.replace("...", "…").split('…') {
            let part = Self::of(part.trim_matches(|one: char| !one.is_alphanumeric()));
            if part.characters.is_empty() {
                continue;
            }
            let (start, end) = self.find_part(&part.characters, from)?;
            let begin = span.map_or(self.places[start].0, |(begin, _)| begin);
            span = Some((begin, self.places[end - 1].1));
            from = end;
        }
        span
    }

    /// The first place of `part` from `from` on where it neither begins nor ends inside a word.
    fn find_part(&self, part: &[char], from: usize) -> Option<(usize, usize)> {
        let text = &self.characters;
        let splits = |at: usize| {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            // Scripts without spaces have no ends of words to keep to.
            let word = |one: Option<&char>| {
                one.is_some_and(|one| one.is_alphanumeric() && *one < '\u{2e80}')
            };
            word(before) && word(text.get(at))
        };
        let last = text.len().checked_sub(part.len())?;
        let fits = |at: &usize| {
            text[*at..*at + part.len()] == *part && !splits(*at) && !splits(*at + part.len())
        };
        (from..=last).find(fits).map(|at| (at, at + part.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::MeasureValue;

    const ANSWER: &str = "Two dogs run on the sand. A “red\n  kite” flies — high up. It’s warm.";

    fn quotes(reply: &str) -> Vec<(String, Verdict)> {
        let found = claims(ANSWER, reply, false).unwrap_or_else(|error| panic!("{reply}: {error}"));
        found.claims.into_iter().map(|claim| (claim.quote, claim.verdict)).collect()
    }

    #[test]
    fn quotes_are_found_whatever_space_case_and_marks() {
        let reply = r#"Here: {"claims": [
            {"quote": "two dogs", "verdict": "supported", "why": "said"},
            {"quote": "\"Red kite\"", "verdict": "Not stated", "why": ""},
            {"quote": "a red kite flies - high", "verdict": "CONTRADICTED"},
            {"quote": "Two dogs ... the sand.", "verdict": "supported"}]}"#;
        let expected = [
            ("Two dogs", Verdict::Supported),
            ("red\n  kite", Verdict::NotStated),
            ("A “red\n  kite” flies — high", Verdict::Contradicted),
            ("Two dogs run on the sand", Verdict::Supported),
        ];
        assert_eq!(quotes(reply), expected.map(|(quote, verdict)| (quote.to_owned(), verdict)));
        let reading = read(ANSWER, reply, false).expect("read");
        assert_eq!(reading.values[0].1.value, Some(MeasureValue::Number(0.5)));
        assert_eq!(reading.values[1].1.value, Some(MeasureValue::Number(0.25)));
    }

    #[test]
    fn what_the_answer_does_not_say_is_dropped_and_counted() {
        let reply = r#"{"claims": [
            {"quote": "three dogs", "verdict": "contradicted", "why": ""},
            {"quote": "wo dog", "verdict": "contradicted", "why": ""},
            {"quote": "", "verdict": "contradicted", "why": ""},
            {"quote": "the sand", "verdict": "maybe", "why": ""},
            {"quote": "the sand", "verdict": "supported", "why": ""},
            {"quote": "The sand!", "verdict": "supported", "why": ""}]}"#;
        let found = claims(ANSWER, reply, false).expect("read");
        assert_eq!(found.claims.len(), 1);
        let dropped = [("claim_not_in_answer", 3), ("repeated", 1), ("unknown_verdict", 1)];
        assert_eq!(found.dropped, BTreeMap::from(dropped));
        let none = r#"{"claims": [{"quote": "a cat", "verdict": "supported", "why": ""}]}"#;
        assert_eq!(claims(ANSWER, none, false).expect_err("none").code, "claim_not_in_answer");
    }

    #[test]
    fn of_a_reply_that_is_cut_the_whole_claims_count() {
        let reply = r#"{"claims": [{"quote": "Two dogs", "verdict": "supported", "why": "a"},
            {"quote": "the sand", "verdict": "contra"#;
        let found = claims(ANSWER, reply, true).expect("one");
        assert_eq!((found.claims.len(), found.cut), (1, true));
        for reply in [r#"{"claims": ["#, r#"{"claims": [{"quote": "Two"#, "", "All is well."] {
            assert_eq!(claims(ANSWER, reply, true).expect_err(reply).code, "judge_unreadable");
        }
    }

    #[test]
    fn an_answer_without_claims_has_no_share() {
        let reading = read(ANSWER, r#"{"claims": []}"#, false).expect("an empty list");
        assert!(reading.values.iter().all(|(_, measured)| measured.value.is_none()));
        assert_eq!(reading.lacks, None);
        for reply in ["{}", "[]", "There are none.", r#"{"verdict": "supported"}"#] {
            assert_eq!(claims(ANSWER, reply, false).expect_err(reply).code, "judge_unreadable");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_quotation_of_an_answer_is_found(answer in "[a-zA-ZäßİǅΣ猫 .“’—\\n]{1,60}", from in 0..60_usize, length in 1..20_usize) {
            let words: Vec<&str> = answer.split_whitespace().collect();
            let from = from.min(words.len());
            let quote = words[from..words.len().min(from + length)].join(" ");
            if quote.chars().any(char::is_alphanumeric) {
                let span = Folded::of(&answer).find(&quote);
                let (start, end) = span.expect("it is there");
                proptest::prop_assert!(answer.get(start..end).is_some());
            }
        }

        #[test]
        fn no_reply_is_too_strange(reply in "(\\PC|[{}\\[\":,]|claims|quote|verdict){0,80}", cut: bool) {
            let _ = claims(ANSWER, &reply, cut);
        }
    }
}
