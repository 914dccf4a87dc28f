//! Descriptions: one careful text about a photo, which answers are then written from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::AnswerError;
use super::filter::{FilterConfig, FilterName, Filters, SampleView, Verdict};
use super::generate::no_answer;
use crate::base::check::{Checks, Problems, Settings};
use crate::base::hash;
use crate::base::key::Key;
use crate::llm::template::{placeholders, render};
use crate::llm::{
    BuiltInSet, ChatReply, ChatRequest, FinishReason, ImageAttachment, LlmConfig, LlmTarget,
    Message, PromptSource, SamplingSettings, See, captions,
};

const CAPTIONS: &str = "captions";

/// Filters that judge a description, as they judge an answer.
const FILTERS: [FilterName; 7] = [
    FilterName::Empty,
    FilterName::Garbage,
    FilterName::Truncated,
    FilterName::ImageToken,
    FilterName::Refusal,
    FilterName::Repetition,
    FilterName::Length,
];

/// Fewer words describe nothing.
const LEAST_WORDS: usize = 8;

/// Which photos a model describes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DescribeMode {
    /// None.
    #[default]
    Off,
    /// Those of which the source says nothing.
    Missing,
    /// Every one.
    All,
}

impl DescribeMode {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How photos are described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescribeConfig {
    pub mode: DescribeMode,
    /// What the model gets to know of a photo: itself, the captions, or both.
    pub see: See,
    /// `capable` or `small`, the built-in sets, or a folder with `describe.system.txt` and the
    /// user's file for what is seen. Unset: `small` with a local server, else `capable`.
    pub prompts: Option<PromptSource>,
    /// Descriptions tried per photo until one passes the filters, 1 to 10.
    pub attempts: u32,
    /// How the model samples.
    pub settings: Option<SamplingSettings>,
    /// The LLM of this stage. Unset: `[llm]`.
    pub llm: Option<LlmConfig>,
}

impl Default for DescribeConfig {
    fn default() -> Self {
        Self {
            mode: DescribeMode::Off,
            see: See::Image,
            prompts: None,
            attempts: 2,
            settings: None,
            llm: None,
        }
    }
}

impl DescribeConfig {
    /// Whether any photo is described.
    pub fn is_on(&self) -> bool {
        self.mode != DescribeMode::Off
    }

    /// Sampling settings; unset: little variety, and room for 200 words.
    pub fn resolved_settings(&self) -> SamplingSettings {
        let usual = SamplingSettings { temperature: 0.2, ..SamplingSettings::default() };
        self.settings.clone().unwrap_or(usual)
    }
}

impl Settings for DescribeConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("attempts", self.attempts, 1, 10);
        let fits = self.mode != DescribeMode::Missing || self.see.shows_photo();
        let expected = "image or both with mode = missing: such photos have no captions";
        checks.require(fits, "see", self.see.name(), expected);
        checks.section("settings", &self.settings);
        checks.section("llm", &self.llm);
    }
}

/// The prompts of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribePrompts {
    pub see: See,
    pub system: String,
    pub user: String,
    /// For a photo without captions where both are to be seen.
    pub user_without: String,
}

/// The file of a folder that asks for a description.
pub fn user_file(see: See) -> &'static str {
    match see {
        See::Image => "describe.image.user.txt",
        See::Both => "describe.both.user.txt",
        See::Description => "describe.text.user.txt",
    }
}

impl DescribePrompts {
    /// The texts of a set that are compiled into the binary. A model that sees is no small one.
    pub fn of(set: BuiltInSet, see: See) -> Self {
        let image = include_str!("../../prompts/describe.image.user.txt");
        let user = match (set, see) {
            (_, See::Image) => image,
            (_, See::Both) => include_str!("../../prompts/describe.both.user.txt"),
            (BuiltInSet::Capable, See::Description) => {
                include_str!("../../prompts/describe.text.user.txt")
            }
            (BuiltInSet::Small, See::Description) => {
                include_str!("../../prompts/small/describe.text.user.txt")
            }
        };
        let system = match (set, see) {
            (BuiltInSet::Small, See::Description) => {
                include_str!("../../prompts/small/describe.system.txt")
            }
            _ => include_str!("../../prompts/describe.system.txt"),
        };
        Self { see, system: system.into(), user: user.into(), user_without: image.into() }
    }

    /// These, with the files of `folder` in their place.
    ///
    /// # Errors
    /// [`AnswerError`] naming the file and what is wrong with it.
    pub fn with_folder(self, folder: Option<&Path>) -> Result<Self, AnswerError> {
        let Some(folder) = folder else { return Ok(self) };
        let read = |name: &str| {
            let path = folder.join(name);
            match fs_err::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(source) => Err(AnswerError::Io { path, source }),
            }
        };
        let (_, system) = read("describe.system.txt")?;
        let (path, user) = read(user_file(self.see))?;
        check(path, &user, self.see.shows_text())?;
        Ok(Self { system, user, ..self })
    }

    /// The target's set, where none is chosen, and the folder that is.
    pub fn resolve<'a>(
        config: &'a DescribeConfig,
        target: &LlmTarget,
    ) -> (BuiltInSet, Option<&'a Path>) {
        PromptSource::resolve(config.prompts.as_ref(), target)
    }

    /// Key over the texts.
    pub fn hash(&self) -> String {
        hash::key(&["describe prompts", &self.system, &self.user, &self.user_without])
    }

    fn build(&self, said: &[String]) -> Vec<Message> {
        let user = if said.is_empty() { &self.user_without } else { &self.user };
        let user = render(user.trim(), &[(CAPTIONS, &captions::of(said, ""))]);
        vec![Message::system(self.system.trim()), Message::user(user)]
    }
}

fn check(path: PathBuf, template: &str, wants_captions: bool) -> Result<(), AnswerError> {
    let known: &[&str] = if wants_captions { &[CAPTIONS] } else { &[] };
    if let Some(unknown) = placeholders(template).find(|name| !known.contains(name)) {
        let (found, known) = (unknown.to_owned(), known.join(", "));
        return Err(AnswerError::UnknownPlaceholder { path, found, known });
    }
    match wants_captions && placeholders(template).next().is_none() {
        true => Err(AnswerError::Placeholder { path, placeholder: CAPTIONS }),
        false => Ok(()),
    }
}

/// Writes descriptions.
pub struct Describer {
    pub prompts: DescribePrompts,
    pub settings: SamplingSettings,
    filters: Filters,
}

impl Describer {
    /// One with these prompts and settings.
    ///
    /// # Errors
    /// None: the filters' limits are constants.
    pub fn new(prompts: DescribePrompts, settings: SamplingSettings) -> Result<Self, Problems> {
        let config = FilterConfig {
            enabled: FILTERS.to_vec(),
            min_words: LEAST_WORDS,
            ..FilterConfig::default()
        };
        Ok(Self { prompts, settings, filters: Filters::new(&config)? })
    }

    /// The key of everything a description depends on beside its photo and captions. The model is
    /// not part of it: what one has written is kept when another is named.
    pub fn conf_key(&self, seed: u64) -> String {
        let key = Key::new("describe", 1)
            .field("prompts", self.prompts.hash())
            .field("see", self.prompts.see.name());
        self.settings.add_to(key).field("seed", seed).done()
    }

    /// The call that describes a photo of which people say `said`.
    pub fn request(
        &self,
        said: &[String],
        photo: Option<ImageAttachment>,
        seed: u64,
    ) -> ChatRequest {
        let said = if self.prompts.see.shows_text() { said } else { &[] };
        let mut messages = self.prompts.build(said);
        if let Some(message) = messages.last_mut() {
            message.images.extend(photo);
        }
        ChatRequest::new(messages, self.settings.clone(), seed)
    }

    /// What is said of a reply.
    pub fn verdict(&self, reply: &ChatReply) -> Verdict {
        let text = reply.text.trim();
        match no_answer(text, reply.finish.name(), reply.reasoned) {
            Some(refused) => Verdict::Reject(refused),
            None => self.filters.check(&SampleView {
                text,
                truncated: reply.finish == FinishReason::Length,
                prompt_texts: &[&self.prompts.system],
                ..SampleView::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::llm::Usage;

    fn describer(see: See) -> Describer {
        let prompts = DescribePrompts::of(BuiltInSet::Capable, see);
        Describer::new(prompts, DescribeConfig::default().resolved_settings()).expect("constants")
    }

    #[test]
    fn captions_stand_in_the_prompt_only_where_they_are_to_be_seen() {
        let said = ["A dog.".to_owned(), "Two </captions> dogs.".to_owned()];
        for see in See::ALL {
            let request = describer(see).request(&said, None, 1);
            let text = &request.messages[1].text;
            assert_eq!(text.contains("- A dog.\n- Two < /captions> dogs."), see.shows_text());
        }
        let request = describer(See::Both).request(&[], None, 1);
        assert_eq!(request.messages[1].text, "Describe this photo.");
    }

    #[test]
    fn prompts_read_as_before() {
        let hashes = |set| See::ALL.map(|see| DescribePrompts::of(set, see).hash());
        let all = [hashes(BuiltInSet::Capable), hashes(BuiltInSet::Small)];
        assert_eq!(all[0][1..], all[1][1..], "a model that sees is no small one");
        assert_ne!(all[0][0], all[1][0]);
        let said = ["A dog.".to_owned(), "Two dogs.".to_owned()];
        let line = |one: &Message| format!("[{:?}]\n{}", one.role, one.text);
        let mut told = Vec::new();
        for (set, see) in [
            (BuiltInSet::Capable, See::Image),
            (BuiltInSet::Capable, See::Both),
            (BuiltInSet::Capable, See::Description),
            (BuiltInSet::Small, See::Description),
        ] {
            let prompts = DescribePrompts::of(set, see);
            let shown = if see.shows_text() { &said[..] } else { &[] };
            let messages: Vec<String> = prompts.build(shown).iter().map(line).collect();
            let (set, see) = (set.name(), see.name());
            told.push(format!("{set} {see} {}\n\n{}", prompts.hash(), messages.join("\n\n")));
        }
        insta::assert_snapshot!("describe", told.join("\n\n"));
    }

    #[test]
    fn what_is_no_description_is_refused_by_its_code() {
        let describer = describer(See::Image);
        let code = |text: &str, finish, reasoning: Option<&str>| {
            let reply = ChatReply {
                text: text.into(),
                reasoned: reasoning.is_some(),
                reasoning: reasoning.map(str::to_owned),
                prompt_logprobs: Vec::new(),
                finish,
                usage: Usage::default(),
                model: "m".into(),
                attempts: 1,
                elapsed: Duration::ZERO,
            };
            describer.verdict(&reply).code().to_owned()
        };
        let good =
            "A brown dog lies on a sandy beach beside a red ball, and waves break behind it.";
        assert_eq!(code(good, FinishReason::Stop, Some("hm")), "accepted");
        assert_eq!(code(good, FinishReason::Length, None), "truncated");
        assert_eq!(code("", FinishReason::Stop, Some("I think")), "empty");
        assert_eq!(code(&format!("<image> {good}"), FinishReason::Stop, None), "image_token");
        let refusal = "I'm sorry, but I cannot view images, so I am unable to describe this one.";
        assert_eq!(code(refusal, FinishReason::Stop, None), "refusal");
        assert_eq!(code("A dog on a beach.", FinishReason::Stop, None), "too_short");
    }

    #[test]
    fn photos_without_captions_are_not_described_from_captions() {
        let config = DescribeConfig {
            mode: DescribeMode::Missing,
            see: See::Description,
            ..DescribeConfig::default()
        };
        let error = config.validate_as("describe").expect_err("refused").to_string();
        assert!(error.contains("describe.see"), "{error}");
    }
}
