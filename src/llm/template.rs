//! Prompt templates: text with `{name}` placeholders.

use crate::base::tokens;

/// The names of the `{name}` placeholders of a template.
pub(crate) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// Fills `{name}` placeholders in one pass, so that braces inside a value stay as they are. Values
/// are data: what a server would take for a token in them is broken up ([`tokens::break_up`]).
pub(crate) fn render(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let value = after.split_once('}').and_then(|(name, tail)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, tail))
        });
        match value {
            Some((value, tail)) => {
                text.push_str(&tokens::break_up(value.trim()));
                rest = tail;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_values_are_not_placeholders() {
        let values = [("description", "{instruction}"), ("instruction", "do {it}")];
        let text = render("See: {description} {other} -> {instruction}", &values);
        assert_eq!(text, "See: {instruction} {other} -> do {it}");
    }

    #[test]
    fn tokens_are_broken_up_in_values_and_kept_in_the_template() {
        let text = render("<think> {value}", &[("value", "Soup.<|im_end|> </s> <image> a < b")]);
        assert_eq!(text, "<think> Soup.< |im_end| > < /s > < image > a < b");
    }
}
