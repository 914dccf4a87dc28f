//! What a model writes that has not seen the photo, and how far the answer is from it.

use serde_json::{Value, json};

use super::{Reading, Unread, number, unsaid};
use crate::Error;
use crate::dataset::record::Measured;
use crate::encoder::{Encoder, cosine};
use crate::llm::TokenLogprob;
use crate::measure::MeasureName;
use crate::measure::similarity::sentences;

/// Raised when the same reply would give another value.
pub(super) const READER: u32 = 1;

pub(super) const MEASURES: [MeasureName; 1] = [MeasureName::BlindGap];

/// The blind answer, which [`gap`] makes a value of.
pub(super) fn read(reply: &str) -> Result<Reading, Unread> {
    let blind = reply.trim();
    if blind.is_empty() {
        return Err(Unread::new("judge_unreadable", "it is empty"));
    }
    let measured = Measured { value: None, detail: Some(json!({ "blind": blind })) };
    Ok(Reading { values: vec![(MEASURES[0], measured)], lacks: None })
}

/// How much of `answer` a model does not write that has not seen the photo, from what [`read`] found:
/// 1 less the mean, over the answer's sentences, of the cosine with the nearest sentence of the blind
/// answer. 0: nothing. What has no blind answer stays as it is.
///
/// # Errors
/// The encoder's.
pub fn gap(encoder: &dyn Encoder, answer: &str, measured: Measured) -> Result<Measured, Error> {
    let blind = measured.detail.as_ref().and_then(|detail| detail["blind"].as_str());
    let Some(blind) = blind else { return Ok(measured) };
    let (own, blind) = (sentences(answer), sentences(blind));
    if own.is_empty() || blind.is_empty() {
        return Ok(measured);
    }
    let texts: Vec<&str> = own.iter().chain(&blind).copied().collect();
    let embedded = encoder.embed_texts(&texts)?;
    let (own, blind) = embedded.split_at(own.len());
    let nearest = own.iter().filter_map(|one| {
        blind.iter().map(|other| cosine(&one.vector, &other.vector)).max_by(f64::total_cmp)
    });
    let gap = 1.0 - nearest.sum::<f64>() / own.len() as f64;
    let detail = measured.detail.map(|mut detail| {
        detail["by"] = Value::from("similarity");
        detail
    });
    Ok(number(gap, detail))
}

/// What is kept of a reply that tells how likely the conversation is: the mean over the tokens of
/// `answer`, the last message, and their number; null where that cannot be told.
pub fn likelihood(answer: &str, tokens: &[TokenLogprob]) -> String {
    let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
    let Some(start) = text.rfind(answer.trim()) else { return Value::Null.to_string() };
    let end = start + answer.trim().len();
    let mut at = 0;
    let inside = tokens.iter().filter(|token| {
        let begins = at;
        at += token.text.len();
        begins < end && start < at
    });
    let inside: Vec<f64> = inside.map(|token| token.logprob).collect();
    if inside.is_empty() {
        return Value::Null.to_string();
    }
    let mean = inside.iter().sum::<f64>() / inside.len() as f64;
    json!({ "mean_logprob": mean, "tokens": inside.len() }).to_string()
}

/// How much likelier, by the mean logarithm over its tokens, the answer is with the photo than
/// without it, of the two replies that [`likelihood`] made; `None` as long as one is missing.
pub(super) fn likelihoods(replies: &[(String, String)]) -> Option<Vec<(MeasureName, Measured)>> {
    let [(with, _), (without, _), ..] = replies else { return None };
    let mean = |text: &str| serde_json::from_str::<Value>(text).ok()?["mean_logprob"].as_f64();
    let measured = match (mean(with), mean(without)) {
        (Some(with), Some(without)) => {
            let by = json!({"by": "log_probabilities", "with": with, "without": without});
            number(with - without, Some(by))
        }
        _ => unsaid("no_log_probabilities"),
    };
    Some(vec![(MEASURES[0], measured)])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dataset::record::MeasureValue;
    use crate::encoder::{EncoderOptions, OnnxEncoder};
    use crate::image::DecodeOptions;

    #[test]
    fn the_tokens_of_the_answer_alone_count() {
        let token = |text: &str, logprob| TokenLogprob { text: text.to_owned(), logprob };
        let tokens = [
            token("A cat. Say", -9.0),
            token(" it:", -8.0),
            token(" A", -1.0),
            token(" cat.", -3.0),
        ];
        let kept = likelihood("A cat. ", &tokens);
        assert_eq!(kept, r#"{"mean_logprob":-2.0,"tokens":2}"#);
        let reply = |text: &str| (text.to_owned(), "length".to_owned());
        let other = r#"{"mean_logprob":-3.5,"tokens":2}"#;
        assert_eq!(likelihoods(&[reply(&kept)]), None);
        let values = likelihoods(&[reply(&kept), reply(other)]).expect("both");
        assert_eq!(values[0].1.value, Some(MeasureValue::Number(1.5)));
        assert_eq!(likelihood("A dog.", &tokens), "null");
        let values = likelihoods(&[reply(&kept), reply("null")]).expect("both");
        assert_eq!(values[0].1, unsaid("no_log_probabilities"));
    }

    #[test]
    fn what_anybody_writes_without_the_photo_has_no_gap() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        let encoder =
            OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default())
                .expect("the bundled model");
        let value = |answer: &str, blind: &str| {
            let (_, measured) = read(blind).expect("not empty").values.remove(0);
            match gap(&encoder, answer, measured).expect("embedded").value {
                Some(MeasureValue::Number(value)) => value,
                other => panic!("{other:?}"),
            }
        };
        let blind = "Two dogs play on the beach. It is a sunny day.";
        let same = value("It is a sunny day.", blind);
        let other = value("A locomotive stands under a bridge of steel.", blind);
        assert!(same.abs() < 1e-4, "{same}");
        assert!(other > same + 0.1, "{other}");
        assert!(read(" \n").is_err());
    }
}
