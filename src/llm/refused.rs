//! Telling the model why its last reply was refused.

use super::Message;
use super::template::render;
use crate::base::tokens::break_up;

/// Most characters of a refused reply that are shown again.
const MOST_SHOWN: usize = 1000;

/// The turns that follow a refused `reply`: what the model said, and the template `retry` with its
/// `{reason}`.
pub(crate) fn turns(retry: &str, reply: &str, reason: &str) -> Vec<Message> {
    let shown: String = reply.trim().chars().take(MOST_SHOWN).collect();
    // Servers refuse a turn that is empty.
    let shown = if shown.is_empty() { "(nothing)" } else { &shown };
    vec![
        Message::assistant(break_up(shown.trim())),
        Message::user(render(retry.trim(), &[("reason", reason)])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_shown_in_part_and_never_empty() {
        let told = turns("Not so: {reason}", &"ä{reason}".repeat(500), "the {reply} is long");
        assert_eq!(told[0].text.chars().count(), MOST_SHOWN);
        assert_eq!(told[1], Message::user("Not so: the {reply} is long"));
        assert_eq!(turns("{reason}", " \n", "")[0], Message::assistant("(nothing)"));
    }
}
