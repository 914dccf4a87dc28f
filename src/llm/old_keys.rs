//! How keys of release 0.1.0 spelt sampling settings. Frozen: it finds what that release stored.

use super::SamplingSettings;

/// The settings as that release put them into keys. Settings that came later had no part in them.
pub fn sampling(settings: &SamplingSettings) -> String {
    let SamplingSettings { temperature, top_p, max_tokens, stop, repeat_penalty, .. } = settings;
    let SamplingSettings { frequency_penalty, presence_penalty, .. } = settings;
    format!(
        "SamplingSettings {{ temperature: {temperature:?}, top_p: {top_p:?}, \
         max_tokens: {max_tokens}, stop: {stop:?}, repeat_penalty: {repeat_penalty:?}, \
         frequency_penalty: {frequency_penalty:?}, presence_penalty: {presence_penalty:?} }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_spelt_as_0_1_0_spelt_them() {
        let settings = SamplingSettings {
            stop: vec!["\n\n".into(), "\"".into()],
            repeat_penalty: Some(1.12),
            ..SamplingSettings::default()
        };
        assert_eq!(
            sampling(&settings),
            r#"SamplingSettings { temperature: 0.7, top_p: 0.9, max_tokens: 512, stop: ["\n\n", "\""], repeat_penalty: Some(1.12), frequency_penalty: None, presence_penalty: None }"#
        );
    }
}
