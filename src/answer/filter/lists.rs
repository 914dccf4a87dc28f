//! Phrases that filters look for, by language: files of `words/`. Those of all languages are tried
//! on every answer, since a phrase is evidence whatever language the rest is in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use whatlang::Script;

const FILES: [&str; 10] = [
    include_str!("words/en.toml"),
    include_str!("words/zh.toml"),
    include_str!("words/ja.toml"),
    include_str!("words/ko.toml"),
    include_str!("words/es.toml"),
    include_str!("words/fr.toml"),
    include_str!("words/de.toml"),
    include_str!("words/pt.toml"),
    include_str!("words/ru.toml"),
    include_str!("words/ar.toml"),
];

/// The scripts of the listed languages.
const SCRIPTS: [Script; 7] = [
    Script::Latin,
    Script::Mandarin,
    Script::Hiragana,
    Script::Katakana,
    Script::Hangul,
    Script::Cyrillic,
    Script::Arabic,
];

/// How many letters a text must have for its language to be told.
const TELLING: usize = 24;

/// A file of `words/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Its code in ISO 639-3.
    language: String,
    /// Whether spaces stand between words, so that a phrase begins where a word does.
    spaced: bool,
    /// Patterns that others name as `<name>`.
    #[serde(default)]
    parts: BTreeMap<String, String>,
    refusal: Phrases,
    meta_talk: Phrases,
}

/// Regular expressions, without regard to case.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Phrases {
    /// Looked for where the answer begins, behind marks of Markdown.
    opening: Vec<String>,
    anywhere: Vec<String>,
}

/// The phrases of every language for one filter.
pub(super) struct Patterns(Vec<Regex>);

static LISTS: LazyLock<Vec<List>> = LazyLock::new(|| {
    let read = |text: &&str| toml::from_str(text).expect("a file that the tests read");
    FILES.iter().map(read).collect()
});

/// What a model says that declines.
pub(super) static REFUSAL: LazyLock<Patterns> =
    LazyLock::new(|| Patterns::of(|list| &list.refusal));

/// What a model says of its source or of itself.
pub(super) static META_TALK: LazyLock<Patterns> =
    LazyLock::new(|| Patterns::of(|list| &list.meta_talk));

impl Patterns {
    fn of(phrases: fn(&List) -> &Phrases) -> Self {
        let patterns = LISTS.iter().flat_map(|list| {
            let Phrases { opening, anywhere } = phrases(list);
            let start = if list.spaced { r"\b" } else { "" };
            [list.compile(r"^[\s*_#>¡-]*", opening), list.compile(start, anywhere)]
        });
        Self(patterns.flatten().collect())
    }

    /// The first phrase in a text with straight quotes and single spaces.
    pub(super) fn find<'a>(&self, plain: &'a str) -> Option<&'a str> {
        self.0.iter().find_map(|pattern| pattern.find(plain)).map(|found| found.as_str())
    }
}

impl List {
    fn compile(&self, start: &str, phrases: &[String]) -> Option<Regex> {
        let mut pattern = phrases.join("|");
        for (name, part) in &self.parts {
            pattern = pattern.replace(&format!("<{name}>"), part);
        }
        let pattern = format!("(?i){start}(?:{pattern})");
        let regex = || Regex::new(&pattern).expect("a pattern that the tests compile");
        (!phrases.is_empty()).then(regex)
    }
}

/// Whether there is a list for the language of a text. One that is too short or too mixed to tell
/// counts as known, unless no listed language is written in its script.
pub(super) fn know(text: &str) -> bool {
    if text.chars().filter(|one| one.is_alphabetic()).take(TELLING).count() < TELLING {
        return true;
    }
    match whatlang::detect(text) {
        Some(found) if found.is_reliable() => {
            LISTS.iter().any(|list| list.language == found.lang().code())
        }
        Some(found) => SCRIPTS.contains(&found.script()),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_of_a_language_of_its_own_that_can_be_told() {
        let mut languages: Vec<&str> = LISTS.iter().map(|list| list.language.as_str()).collect();
        assert!(languages.iter().all(|code| whatlang::Lang::from_code(*code).is_some()));
        languages.sort_unstable();
        languages.dedup();
        assert_eq!(languages.len(), FILES.len());
        for list in LISTS.iter() {
            let phrases = [&list.refusal.anywhere, &list.meta_talk.anywhere];
            assert!(phrases.iter().all(|some| !some.is_empty()), "{}", list.language);
        }
    }

    #[test]
    fn languages_without_a_list_are_told() {
        for text in [
            "Kissa istuu ikkunalla ja katselee sadetta, joka valuu ikkunaa pitkin hiljaa alas.",
            "Một con mèo ngồi bên cửa sổ và nhìn mưa rơi ngoài trời suốt cả buổi chiều.",
            "แมวนั่งอยู่ข้างหน้าต่างและมองดูสายฝนที่ตกอยู่ข้างนอก",
            "חתול יושב ליד החלון ומביט בגשם שיורד בחוץ כל היום.",
        ] {
            assert!(!know(text), "{text}");
        }
        for text in [
            "A cat sits by the window and looks at the rain that has been falling all day.",
            "Eine Katze sitzt am Fenster und sieht dem Regen zu, der den ganzen Tag fällt.",
            "一只猫坐在窗边，看着外面下雨。它的尾巴轻轻地摆动，窗户上有许多雨滴在往下流。",
            "猫が窓辺に座って、外の雨を眺めている。しっぽがゆっくりと揺れている。",
            "고양이가 창가에 앉아 하루 종일 내리는 비를 바라보고 있습니다.",
            "قطة تجلس بجانب النافذة وتنظر إلى المطر الذي يهطل طوال اليوم.",
            "Green kettle, grey dawn",
            "12 345 ...",
        ] {
            assert!(know(text), "{text}");
        }
    }
}
