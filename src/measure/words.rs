//! What is told from the answer's words alone: how many, and in which language.

use super::Measure;
use super::language;
use crate::Error;
use crate::base::{hash, words};
use crate::dataset::record::{MeasureValue, Measured, SampleView};

/// Words of the answer, as the filter of lengths counts them.
pub(super) struct LengthWords;

impl Measure for LengthWords {
    fn version(&self) -> String {
        hash::key(&["length_words", "1"])
    }

    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error> {
        let count = |one: &SampleView<'_>| Measured::number(Some(words::count(one.text) as f64));
        Ok(samples.iter().map(count).collect())
    }
}

/// Language of the answer.
pub(super) struct Language;

impl Measure for Language {
    fn version(&self) -> String {
        hash::key(&["language", "1"])
    }

    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error> {
        let value = |one: &SampleView<'_>| {
            let code = language::detect(one.text).map(|code| MeasureValue::Text(code.to_owned()));
            Measured { value: code, detail: None }
        };
        Ok(samples.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_in_any_script() {
        let view = |text| SampleView { text, ..SampleView::default() };
        let texts = [view("Two words."), view("一只猫坐在窗边，看着外面下雨。"), view("")];
        let values = LengthWords.values(&texts).expect("counted");
        assert_eq!(values, [2.0, 8.0, 0.0].map(|count| Measured::number(Some(count))));
        let spoken = Language.values(&texts[1..]).expect("told");
        assert_eq!(spoken[0].value, Some(MeasureValue::Text("cmn".into())));
        assert_eq!(spoken[1], Measured::default());
    }
}
