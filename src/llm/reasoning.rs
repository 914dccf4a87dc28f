//! Reasoning that a model writes before its answer, told from the answer.
//!
//! Servers that know a model's marks send its reasoning in a field of its own; the others leave it
//! in the text, in one of the forms of [`MARK`]. [`Splitter`] takes such text piece by piece, so
//! that a stream shows none of it; [`split`] does the same with a finished text.

use std::sync::LazyLock;

use regex::Regex;
use strum::IntoStaticStr;

/// The marks of reasoning, of the text that follows it, and of harmony's channels:
/// `<think>`, `<thinking>`, `<thought>`, `<reasoning>`, with a name space or an addition
/// (`<seed:think>`, `<think_fast>`) or attributes; `[THINK]`; `◁think▷`; `<|begin_of_thought|>`,
/// `<|START_THINKING|>`; `<unused94>thought` to `<unused95>`. In any case and with white space.
static MARK: LazyLock<Regex> = LazyLock::new(|| {
    const NAME: &str = r"(?:\w{1,16}[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?)(?:_\w{1,40})?";
    const STEP: &str = r"[_▁\s]?(?:of[_▁\s])?(?:thoughts?|think(?:ing)?|reasoning)";
    const AFTER: &str = r"[_▁\s]?(?:of[_▁\s])?(?:solution|response|answer)";
    let pattern = [
        format!(r"(?P<empty><\s*{NAME}\s*/\s*>)"),
        format!(
            r"(?P<open><\s*{NAME}(?:\s+\w{{1,20}}\s*=[^<>]{{0,60}})?\s*>|\[\s*think(?:ing)?\s*\]|◁\s*think(?:ing)?\s*▷|<[|｜]\s*(?:(?:begin|start){STEP}|think(?:ing)?)\s*[|｜]>|<unused94>\s*thought)"
        ),
        format!(
            r"(?P<close><\s*/\s*{NAME}\s*>|\[\s*/\s*think(?:ing)?\s*\]|◁\s*/\s*think(?:ing)?\s*▷|<[|｜]\s*(?:end{STEP}|/\s*think(?:ing)?)\s*[|｜]>|<unused95>)"
        ),
        format!(r"(?P<shell><\s*/?\s*answer\s*>|<[|｜]\s*(?:begin|start|end){AFTER}\s*[|｜]>)"),
        r"(?P<header><\|start\|>)".to_owned(),
        r"(?P<channel><\|channel\|>)".to_owned(),
        r"(?P<message><\|message\|>)".to_owned(),
        r"(?P<end><\|(?:end|return|call)\|>)".to_owned(),
    ];
    let pattern = format!("(?i){}", pattern.join("|"));
    // The pattern is a constant, and a test compiles it.
    #[expect(clippy::expect_used, reason = "a constant that a test compiles")]
    Regex::new(&pattern).expect("a valid pattern")
});

/// What harmony's marks leave of themselves where a server drops control tokens.
static BARE_FINAL: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant that a test compiles")]
    Regex::new(r"assistant\s{0,2}final").expect("a valid pattern")
});

/// The channel whose name begins a text where a server drops control tokens.
const BARE_CHANNEL: &str = "analysis";

/// Bytes of a mark at most; text this far back is decided.
const LONGEST: usize = 160;

/// Splits a finished text into its reasoning, where there is any, and the answer. A text whose
/// reasoning has no end holds no answer.
pub fn split(text: &str) -> (Option<String>, String) {
    Splitter::of(text).into_parts()
}

/// Whether a text holds reasoning or its marks, which nobody wants to train on.
pub fn contains(text: &str) -> bool {
    Splitter::of(text).marked
}

/// `reasoning` without white space around it; none when nothing is left.
pub(super) fn thought(reasoning: String) -> Option<String> {
    let trimmed = reasoning.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Where the text goes that comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Answer,
    Reasoning,
    /// As `Reasoning`, up to the bare name of harmony's last channel.
    BareChannel,
    /// The name of a channel.
    Channel,
    /// Between harmony's messages: who speaks, which is of no use.
    Between,
}

/// Takes a text in pieces and gives back what of it belongs to the answer.
#[derive(Debug, Default)]
pub struct Splitter {
    /// What is not decided yet.
    pending: String,
    /// The last character since the last mark.
    before: Option<char>,
    place: Place,
    answer: String,
    reasoning: String,
    channel: String,
    /// A mark was met.
    marked: bool,
    /// The text is in harmony's format.
    harmony: bool,
    /// A mark of the answer itself is open.
    shell: bool,
    /// An end without a beginning was met.
    lone: bool,
    /// Bytes that were searched for marks, each as often as it was.
    #[cfg(test)]
    searched: std::cell::Cell<usize>,
}

impl Splitter {
    /// One that has taken a finished text.
    pub fn of(text: &str) -> Self {
        let mut splitter = Self::default();
        splitter.push(text);
        splitter.finish();
        splitter
    }

    /// Adds a piece; returns the text of the answer that is decided now.
    pub fn push(&mut self, piece: &str) -> String {
        self.pending.push_str(piece);
        self.advance(false)
    }

    /// There is no more; returns the rest of the answer.
    pub fn finish(&mut self) -> String {
        let rest = self.advance(true);
        match self.place {
            Place::Answer => rest,
            Place::Between if !self.answer.trim().is_empty() => rest,
            _ => {
                // Cut off in the reasoning: what stands before it is no answer.
                self.answer.clear();
                String::new()
            }
        }
    }

    /// Whether text that was given back turned out to be reasoning, by an end without a beginning:
    /// the prompt opens the reasoning of such a model.
    pub fn is_lone(&self) -> bool {
        self.lone
    }

    /// The reasoning and the answer so far.
    pub fn into_parts(self) -> (Option<String>, String) {
        (thought(self.reasoning), self.answer)
    }

    fn advance(&mut self, last: bool) -> String {
        // Taken out, and not drained mark by mark: a hostile text has many.
        let text = std::mem::take(&mut self.pending);
        let mut shown = String::new();
        if self.awaits_bare_channel(&text, last) {
            self.pending = text;
            return shown;
        }
        let mut at = self.enter_bare_channel(&text);
        while let Some((kind, start, end)) = self.next_mark(&text, at, last) {
            shown.push_str(self.add(&text[at..start]));
            if kind == Kind::Close && self.place == Place::Answer {
                // All of it was reasoning.
                shown.clear();
            }
            self.meet(kind);
            at = end;
        }
        let decided = if last { text.len() } else { self.undecided(&text, at) };
        shown.push_str(self.add(&text[at..decided]));
        text[decided..].clone_into(&mut self.pending);
        shown
    }

    fn is_head(&self) -> bool {
        !self.marked && self.place == Place::Answer && self.answer.trim().is_empty()
    }

    /// Whether the text so far may still turn out to begin with a channel's bare name.
    fn awaits_bare_channel(&self, text: &str, last: bool) -> bool {
        let head = text.trim_start();
        !last && self.is_head() && BARE_CHANNEL.starts_with(head)
    }

    /// Enters the bare channel where one begins: `analysisWe need to ...`. Returns where its text
    /// begins.
    fn enter_bare_channel(&mut self, text: &str) -> usize {
        let rest = text.trim_start().strip_prefix(BARE_CHANNEL).filter(|_| self.is_head());
        match rest.filter(|rest| rest.starts_with(char::is_uppercase)) {
            Some(rest) => {
                self.place = Place::BareChannel;
                self.marked = true;
                text.len() - rest.len()
            }
            None => 0,
        }
    }

    /// The first mark from `from` on that is not quoted: its kind, where it begins and where it
    /// ends.
    fn next_mark(&self, text: &str, mut from: usize, last: bool) -> Option<(Kind, usize, usize)> {
        if self.place == Place::BareChannel {
            let found = BARE_FINAL.find_at(text, from)?;
            return Some((Kind::Close, found.start(), found.end()));
        }
        let begin = from;
        while let Some(found) = MARK.captures_at(text, from) {
            let all = found.get(0)?;
            #[cfg(test)]
            self.searched.update(|bytes| bytes + all.end() - from);
            let kind = Kind::ALL.into_iter().find(|kind| found.name(kind.name()).is_some())?;
            let between = &text[begin..all.start()];
            let before = between.chars().next_back().or(self.before);
            let after = text[all.end()..].chars().next();
            if let Some(closing) = before.and_then(closing_quote) {
                if after.is_none() && !last {
                    // The next character tells.
                    return None;
                }
                if after == Some(closing) {
                    from = all.end();
                    continue;
                }
            }
            if self.counts(kind, between) {
                return Some((kind, all.start(), all.end()));
            }
            from = all.end();
        }
        None
    }

    /// Whether a mark of this kind means anything here, after the text `between`.
    fn counts(&self, kind: Kind, between: &str) -> bool {
        let silent = self.place != Place::Answer || between.trim().is_empty();
        let before_answer = silent && self.answer.trim().is_empty();
        match kind {
            Kind::Message | Kind::End => self.harmony,
            Kind::Header | Kind::Channel => self.harmony || before_answer,
            Kind::Shell => self.marked && (self.shell || before_answer),
            Kind::Empty | Kind::Open => self.place != Place::Reasoning,
            Kind::Close => true,
        }
    }

    /// Up to where the text from `at` on cannot be the beginning of a mark.
    fn undecided(&self, text: &str, at: usize) -> usize {
        let far = text.floor_char_boundary(text.len().saturating_sub(LONGEST)).max(at);
        if self.place == Place::BareChannel {
            return far;
        }
        let tail = &text[far..];
        let open = tail.rfind(['<', '[', '◁']).filter(|open| !is_closed(&tail[*open..]));
        open.map_or(text.len(), |open| far + open)
    }

    /// Puts text where it belongs; returns what of it is shown.
    fn add<'a>(&mut self, text: &'a str) -> &'a str {
        self.before = text.chars().next_back().or(self.before);
        match self.place {
            Place::Answer => {
                let fresh = self.marked && self.answer.trim().is_empty();
                let text = if fresh { text.trim_start() } else { text };
                self.answer.push_str(text);
                return text;
            }
            Place::Reasoning | Place::BareChannel => self.reasoning.push_str(text),
            Place::Channel => self.channel.push_str(text),
            Place::Between => {}
        }
        ""
    }

    fn meet(&mut self, kind: Kind) {
        self.marked = true;
        self.before = None;
        match kind {
            Kind::Empty => {}
            Kind::Open => self.place = Place::Reasoning,
            Kind::Close if self.place == Place::Answer => {
                self.lone = true;
                let before = std::mem::take(&mut self.answer);
                self.reasoning.push_str(&before);
            }
            Kind::Close => {
                self.place = Place::Answer;
                self.reasoning.push('\n');
            }
            Kind::Shell => self.shell = !self.shell,
            Kind::Header => (self.harmony, self.place) = (true, Place::Between),
            Kind::Channel => {
                (self.harmony, self.place) = (true, Place::Channel);
                self.channel.clear();
            }
            Kind::Message => {
                let name = self.channel.trim().to_lowercase();
                let hidden = name.starts_with("analysis") || name.starts_with("commentary");
                self.place = if hidden { Place::Reasoning } else { Place::Answer };
                self.channel.clear();
            }
            Kind::End => self.place = Place::Between,
        }
    }
}

/// What a mark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum Kind {
    Empty,
    Open,
    Close,
    /// Frames the answer after reasoning.
    Shell,
    Header,
    Channel,
    Message,
    End,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Open,
        Self::Close,
        Self::Shell,
        Self::Header,
        Self::Channel,
        Self::Message,
        Self::End,
    ];

    /// The name of its group in [`MARK`].
    fn name(self) -> &'static str {
        self.into()
    }
}

/// The quote that ends what `opening` begins: text that speaks of a mark puts it in quotes.
fn closing_quote(opening: char) -> Option<char> {
    match opening {
        '`' | '"' | '\'' => Some(opening),
        '“' => Some('”'),
        '‘' => Some('’'),
        '«' => Some('»'),
        '「' => Some('」'),
        _ => None,
    }
}

/// Whether what may be a mark has its last character, and a character after it that tells whether
/// it is quoted.
fn is_closed(text: &str) -> bool {
    const LONG: &str = "<unused94>thought";
    let may_go_on = text.len() < LONG.len() && text.starts_with("<unused94>");
    !may_go_on && text.find(['>', ']', '▷']).is_some_and(|at| text[at..].chars().nth(1).is_some())
}

#[cfg(test)]
#[path = "reasoning_tests.rs"]
mod tests;
