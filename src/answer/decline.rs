//! Declining: what the LLM says where the photo lacks what its instruction is about.

use std::sync::LazyLock;

use regex::Regex;

/// What a prompt offers the LLM to decline with. A prompt offers it by holding it.
pub const WORD: &str = "NOT_APPLICABLE";

/// Most words of a reason that comes before the word, or after one that is written as two.
const MOST_WORDS: usize = 60;

/// Most characters of a reason that are kept.
const MOST_CHARS: usize = 300;

/// The word at the start: behind marks and a label, in any case, its parts joined by anything short.
static START: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?is)^(?<marks>[\W_]*)(?:(?:final )?(?:answer|reply|response|output|result)[\W_]+)?not(?<joint>[\W_]{0,2})applicable(?<rest>[\W_].*)?$",
    )
    .expect("a constant the tests compile")
});

/// The word as a sentence or line of its own at the end.
static END: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?is)^(?<reason>.*(?:[.!?][\W_]*\s|\n))[\W_]*not_applicable[\W_]*$")
        .expect("a constant the tests compile")
});

/// The reason that a reply which declines gives (a few words of our own where it gives none);
/// `None` where it does not decline. A reply that goes on as a text that only begins with the word,
/// or holds it elsewhere, does not decline.
pub fn read(reply: &str) -> Option<String> {
    let reason = at_start(reply).or_else(|| at_end(reply))?;
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let edge = |c: char| !c.is_alphanumeric() && !['(', ')', '"', '”', '’'].contains(&c);
    let reason: String = reason.trim_matches(edge).chars().take(MOST_CHARS).collect();
    Some(if reason.is_empty() { "no reason given".into() } else { reason })
}

fn at_start(reply: &str) -> Option<&str> {
    let found = START.captures(reply)?;
    let rest = found.name("rest").map_or("", |rest| rest.as_str());
    let closing = |c: char| "*_`\"'”’»)]}>".contains(c);
    let after = rest.trim_start_matches(closing);
    if !after.chars().any(char::is_alphanumeric) {
        return Some(after);
    }
    // Two common words are more often a text's own than the one that was offered.
    let is_word = found.name("joint").is_some_and(|joint| joint.as_str() == "_");
    let opened = found.name("marks").is_some_and(|marks| marks.as_str().contains(['"', '“', '”']));
    if !is_word && (words(after) > MOST_WORDS || (opened && is_speech(after))) {
        return None;
    }
    let first = after.chars().next()?;
    let is_reason = if first.is_whitespace() {
        first == '\n' || begins_a_reason(after.trim_start())
    } else {
        ".:;,!?—–-(…|/：，。、；".contains(first)
    };
    is_reason.then_some(after)
}

/// Whether what stands behind the word alone is a reason, not the rest of a sentence about it.
fn begins_a_reason(text: &str) -> bool {
    const LINKS: [&str; 7] = ["because", "since", "as", "due", "there", "—", "–"];
    let first = text.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
    text.starts_with(|c: char| !c.is_lowercase() && !c.is_ascii_digit()) || LINKS.contains(&first)
}

/// Whether `after` ends a quotation and goes on with its speaker (`," said the clerk`).
fn is_speech(after: &str) -> bool {
    let quote = after.find(['"', '”', '“']);
    let behind = quote.map(|at| after[at..].trim_start_matches(|c: char| !c.is_alphanumeric()));
    behind.is_some_and(|text| text.starts_with(char::is_lowercase))
}

fn at_end(reply: &str) -> Option<&str> {
    let reason = END.captures(reply)?.name("reason")?.as_str();
    (words(reason) <= MOST_WORDS).then_some(reason)
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_that_decline_are_read_with_their_reason() {
        for (reply, reason) in [
            ("NOT_APPLICABLE", "no reason given"),
            ("not_applicable.", "no reason given"),
            ("\"NOT_APPLICABLE\"", "no reason given"),
            ("**Not Applicable**", "no reason given"),
            ("`NOT-APPLICABLE`", "no reason given"),
            ("_NOT_APPLICABLE_", "no reason given"),
            ("> NOT APPLICABLE!", "no reason given"),
            ("```\nNOT_APPLICABLE\n```", "no reason given"),
            ("Answer: NOT_APPLICABLE", "no reason given"),
            ("{\"answer\": \"NOT_APPLICABLE\"}", "no reason given"),
            ("NOT_APPLICABLE: there is no boat.", "there is no boat"),
            ("**NOT_APPLICABLE** – the photo shows a kitchen", "the photo shows a kitchen"),
            ("NOT_APPLICABLE (no animal is visible)", "(no animal is visible)"),
            ("NOT_APPLICABLE because no meal is shown", "because no meal is shown"),
            ("NOT_APPLICABLE The photo shows no boat.", "The photo shows no boat"),
            ("NOT_APPLICABLE\n\nThere is no text in it.", "There is no text in it"),
            ("Not applicable, as there is no food.", "as there is no food"),
            ("\"NOT_APPLICABLE\": \"no boat\"", "\"no boat\""),
            ("NOT_APPLICABLE：写真に船はありません。", "写真に船はありません"),
            ("The photo shows no boat. NOT_APPLICABLE", "The photo shows no boat"),
            ("There is nothing to eat here.\n**NOT_APPLICABLE**", "There is nothing to eat here"),
        ] {
            assert_eq!(read(reply).as_deref(), Some(reason), "{reply}");
        }
    }

    #[test]
    fn answers_that_hold_the_word_are_none_that_decline() {
        for reply in [
            "",
            "The form reads: name, date, and NOT_APPLICABLE where nothing fits.",
            "NOT_APPLICABLE is what the clerk stamped on it.",
            "Not applicable to beginners, this route climbs steeply behind the hut.",
            "\"Not applicable,\" said the clerk, and stamped the third copy as well.",
            "The sign on the door says NOT_APPLICABLE.",
            "1. Write NOT_APPLICABLE in the second field.\n2. Sign the form.",
            "Not a cloud in the sky, and applicable sun cream for all.",
            "NOT_APPLICABLES are what we call them.",
            "The dog does not care. Not applicable rules are its favourites, and it sleeps.",
        ] {
            assert_eq!(read(reply), None, "{reply}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics(reply in r#"[not_NOT applicableAPPLICABLE."“”*\n(:é—]{0,60}"#) {
            let _ = read(&reply);
        }

        #[test]
        fn whatever_reason_follows_the_word_is_read(reason in "[A-Z][a-z ]{1,60}[a-z]\\.") {
            for between in [": ", "\n"] {
                let reply = format!("{WORD}{between}{reason}");
                prop_assert!(read(&reply).is_some(), "{}", reply);
            }
        }
    }
}
