//! Marks in a text that a program downstream would take for its own: control tokens of chat
//! templates, and placeholders where trainers and servers put a photo, a video or a sound.
//!
//! Marks are known by their shape where a family has one (`<|...|>`, `[TOOL_CALLS]`) and by name
//! where it has none (`</s>`, `<think>`). Case does not matter, nor do invisible characters inside
//! a mark or the full-width forms of its characters, since some tokenizers fold both away.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Control tokens, over a text with invisible characters dropped and full-width forms folded.
const CONTROL: [&str; 12] = [
    // ChatML, Llama 3 and 4, Phi, DeepSeek, harmony, Command R, Gemma 4: a bar behind or before
    // the bracket is enough, as in `<|turn>`, `<turn|>` and `<|DSML|`.
    r"<\|[^\s<>|]+(?:\|>?|>)",
    r"<[0-9A-Za-z_/:.-]+\|>",
    // EXAONE's `[|user|]`, Seed's `<[end_of_sentence]>`, MiniMax's `]~b]` and `[e~[`.
    r"\[\|[^\s\[\]|]+\|\]|<\[[^\s<>\[\]]+\]>|\]~!?b[\[\]]|\[e~\[|\]<\][0-9A-Za-z_]+\[>\[",
    // Llama 2 and Mistral.
    r"<</?(?i:sys)>>|\[/?(?i:inst|system_prompt|think|cls|sep|pad|unk|mask|[gs]mask|@bos@|(?:available_)?tools?(?:_[a-z]+)?|unused_?[0-9]+|control_[0-9]+)\]",
    // Bracketed capitals with an underscore (`[TOOL_RESULTS]`), and the single words of Mistral.
    r"\[/?[A-Z]+(?:_[A-Z0-9]+)+\]|\[/?(?:PREFIX|MIDDLE|SUFFIX|ARGS|AUDIO|BOS|EOS)\]",
    // Sentence pieces and their like, bare or as `<BOS_TOKEN>`.
    r"</?(?i:s|bos|eos|unk|pad|mask|cls|sep|sop|eop|eod|eot|eom)(?:(?i:_token|_id))?/?>",
    // Turns of Gemma and its kin.
    r"</?(?i:start|end|begin|beginning)[_-](?i:of|turn|header|role|message)(?:[_-][0-9A-Za-z_]+){0,3}>",
    // Fill in the middle.
    r"<(?i:fim[_-][0-9A-Za-z_]+)>|<(?:PRE|SUF|MID|EOT)>",
    // Repositories and notebooks, as StarCoder and SmolLM have them.
    r"<(?i:repo_?name|file_?sep|file_?name|gh_stars|issue_(?:start|comment|closed)|jupyter_[0-9A-Za-z_]+|commit_(?:before|msg|after)|empty_output|pr_[0-9A-Za-z_]+|code_to_intermediate|intermediate_to_code)>",
    // Reserved places and bytes.
    r"<(?i:unused_?[0-9]+|reserved[0-9A-Za-z_-]*[0-9]+|extra_id_[0-9]+|special_[0-9]+|[0-9]+mass|0x[0-9a-f]{2})>",
    // Reasoning and tools.
    r"</?(?i:(?:seed|minimax|longcat|kimi):)?(?i:think(?:ing)?|thoughts?|reasoning|reflection|tools?|tool[_-](?:calls?|use|results?|responses?|outputs?|list)|functions?|function[_-](?:calls?|responses?|results?|list)|available_tools)/?>",
    // System, user and assistant as tags of their own.
    r"</?(?i:system|assistant|human|bot)>|<(?i:user)>",
];

/// Placeholders of photos, videos, sounds and places in them, over the same form of a text. `GAP`
/// stands for what may come between the bracket and the name.
const PLACEHOLDERS: [&str; 8] = [
    r"<GAP/?GAP(?i:ima?ge?s?|imgs?|im|pictures?|photos?|videos?|vid|audios?|speech|sounds?|music|visuals?|vision|media|multimedia)(?:[\s_-]*[0-9]+)?\s*/?\s*>",
    r"<GAP/?GAP(?i:ima?ge?|im|vid|vi|video|audio|aud|speech|sound|vision|visual|vis|media|patch|frame|slice|tile|point|box|quad|ref)[_-](?i:[0-9A-Za-z_]+[_-])*(?i:placeholder|tokens?|pad|patch|start|end|sep|newline|new_line|col|row|context|content|bos|eos|id|begin|eol|break|here|index|feature|features|embeds?|soft)(?:[\s_-]*[0-9]+)?\s*>",
    r"<GAP(?i:image-?here|video-?here|audio-?here|im_?patch|img_?context|image_?placeholder|boi|eoi|boa|eoa|bov|eov|soi|grounding)\s*>",
    r"<GAP/?GAP(?i:start|end|begin|beginning)[_-](?i:of[_-])?(?i:ima?ge?|video|audio|speech|vision)\s*>",
    r"<GAP(?i:fake_token_around_image|global-img|row_[0-9]+_col_[0-9]+|tile_[0-9A-Za-z_]+|slice_[0-9A-Za-z_]+|loc_?[0-9]+|seg_?[0-9]+|bin_[0-9]+|patch_index_[0-9]+|delimiter_of_multi_objects/?)\s*>",
    r"<GAP/?GAP(?i:points?|box|bbox|ref|quad|poly|region)\s*>",
    r"<GAP__(?i:media|image|video|audio)__\s*>|<\|[^\s<>|]*(?i:ima?ge?|video|audio|vision|visual|speech|media|object_ref|box|quad|point|ground)[^\s<>|]*\|?>",
    r"\[GAP/?(?i:img)(?:[\s_-]*(?i:break|end|start|[0-9]+))?\s*\]|\[GAP/?(?:BEGIN_)?(?:IMAGE|VIDEO|AUDIO)(?:[_ ]?(?:[0-9]+|TOKEN|PAD|BREAK|END|START))?\s*\]",
];

/// A text as a forgiving tokenizer may read it, with the place of each of its bytes in the text.
struct Folded {
    text: String,
    /// For each byte of `text`, the bytes of the original character it came from.
    places: Vec<Range<usize>>,
}

impl Folded {
    /// `None` where the text has nothing that a mark could begin with.
    fn of(text: &str) -> Option<Self> {
        if !text.contains(['<', '[', ']', '＜', '［', '］', '﹤']) {
            return None;
        }
        let mut folded = Self { text: String::with_capacity(text.len()), places: Vec::new() };
        for (at, character) in text.char_indices().filter(|(_, one)| !is_invisible(*one)) {
            let before = folded.text.len();
            folded.text.push(fold(character));
            let place = at..at + character.len_utf8();
            folded.places.extend(std::iter::repeat_n(place, folded.text.len() - before));
        }
        Some(folded)
    }

    /// Where the first mark at or behind `from` (a place in the folded text) stands: in the folded
    /// text and in the original.
    fn find(&self, pattern: &Regex, from: usize) -> Option<(Range<usize>, Range<usize>)> {
        let found = pattern.find_at(&self.text, from)?.range();
        let place = self.places[found.start].start..self.places[found.end - 1].end;
        Some((found, place))
    }
}

fn fold(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        '\u{fe64}' => '<',
        '\u{fe65}' => '>',
        '\u{ffe8}' | '\u{2223}' | '\u{2758}' => '|',
        // What sentence-piece vocabularies write for a space.
        '\u{2581}' => '_',
        _ => character,
    }
}

/// Characters that show nothing and that tokenizers may drop.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

fn compile(patterns: &[&str], gap: &str) -> Regex {
    Regex::new(&patterns.join("|").replace("GAP", gap)).expect("constants that the tests compile")
}

/// The first control token of a chat template in `text`, as it stands there.
pub fn control(text: &str) -> Option<&str> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| compile(&CONTROL, ""));
    first(&PATTERN, text)
}

/// The first placeholder in `text` (`<image>`, `<video>`, `<|image_pad|>`, `[IMG]` and their like),
/// as it stands there. Spaces inside the brackets and any case are taken for it, too.
pub fn placeholder(text: &str) -> Option<&str> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| compile(&PLACEHOLDERS, r"\s*"));
    first(&PATTERN, text)
}

fn first<'a>(pattern: &Regex, text: &'a str) -> Option<&'a str> {
    let (_, place) = Folded::of(text)?.find(pattern, 0)?;
    Some(&text[place])
}

/// `text` with a space behind the first and before the last character of each control token and
/// placeholder (`< |im_start| >`), so that no tokenizer takes it for one token while a reader still
/// sees what it is. Any other text comes back as it is.
pub fn break_up(text: &str) -> Cow<'_, str> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        let all: Vec<&str> = CONTROL.into_iter().chain(PLACEHOLDERS).collect();
        // No space behind the bracket: what is broken up already stays as it is.
        compile(&all, "")
    });
    let mut text = Cow::Borrowed(text);
    // What is broken up may lay a mark open that stood inside it: `<[INST]>`.
    while let Some(broken) = break_once(&PATTERN, &text) {
        text = Cow::Owned(broken);
    }
    text
}

fn break_once(pattern: &Regex, text: &str) -> Option<String> {
    let folded = Folded::of(text)?;
    let (mut broken, mut written, mut from) = (String::new(), 0, 0);
    while let Some((found, place)) = folded.find(pattern, from) {
        let behind_first = folded.places[found.start].end;
        let last = folded.places[found.end - 1].start;
        broken.push_str(&text[written..behind_first]);
        broken.push(' ');
        broken.push_str(&text[behind_first..last]);
        broken.push(' ');
        written = last;
        from = found.end;
        debug_assert!(place.end > written);
    }
    if written == 0 {
        return None;
    }
    broken.push_str(&text[written..]);
    Some(broken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What tokenizers of the common families hold as one token.
    const TOKENS: &str = "<|im_start|> <|im_end|> <|im_sep|> <|endoftext|> <|begin_of_text|> \
        <|start_header_id|> <|eot_id|> <|eom_id|> <|python_tag|> <|reserved_special_token_5|> \
        <|header_start|> <|eot|> [INST] [/INST] <<SYS>> <</SYS>> <s> </s> <bos> <eos> <unk> <pad> \
        <mask> <start_of_turn> <end_of_turn> <unused12> <|user|> <|assistant|> <|system|> <|end|> \
        <｜User｜> <｜Assistant｜> <｜begin▁of▁sentence｜> <｜tool▁calls▁begin｜> <｜fim▁hole｜> \
        [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [SYSTEM_PROMPT] [gMASK] \
        [sMASK] <sop> <eop> <|channel|> <|message|> <|start|> <|return|> <|constrain|> \
        <|START_OF_TURN_TOKEN|> <|CHATBOT_TOKEN|> <BOS_TOKEN> <EOS_TOKEN> <fim_prefix> \
        <fim_middle> <|fim_suffix|> <PRE> <SUF> <MID> [PAD] [CLS] [SEP] [MASK] [UNK] <tool_call> \
        </tool_call> <tool_response> <function_calls> <think> </think> <seed:think> \
        <minimax:tool_call> ]~b] [e~[ [|user|] [|endofturn|] <|turn> <turn|> <extra_id_0> \
        <reserved_106> [UNUSED_TOKEN_145] [unused1] <[PAD▁TOKEN]> <|startoftext|> <repo_name> \
        <file_sep> <gh_stars> <issue_start> <jupyter_code> <empty_output> <0x0A> \
        <|image_pad|> <|vision_start|> <|IM_START|> <S> [inst] <Think> <|eot_id|\u{200b}> \
        <\u{200b}|im_end|> <|im\u{ad}_end|> ＜|im_end|＞ <｜im_end｜> ［INST］ </\u{2060}s>";

    const PLACES: &str = "<image> <video> <audio> <image_1> <im_patch> <im_start> <im_end> \
        <|image_pad|> <|video_pad|> <|vision_start|> <|vision_end|> <IMG_CONTEXT> <img> </img> \
        <Img> <image_placeholder> <|image_1|> <|audio_1|> [IMG] [IMG_BREAK] [IMG_END] [img-1] \
        <image_soft_token> <start_of_image> <end_of_image> <ImageHere> <grounding> <|audio|> \
        <speech> <point> <IMAGE> <Video> <image1> <images> </image> <image/> <vision_start> \
        <video_pad> <boi> <|image|> <|box_start|> <|object_ref_start|> <loc_12> <loc0123> \
        <seg012> <__media__> <fake_token_around_image> <global-img> <row_1_col_2> <image_newline> \
        <im_col> <vi_start> <patch_index_0001> <ref> </ref> <box> <quad> <audio_soft_token> \
        <begin_of_image> <sound> [IMAGE] [AUDIO] [BEGIN_AUDIO] <i\u{200b}mage> ＜image＞ <imag\u{ad}e>";

    const PLAIN: &str = "a < b and b > c|I <3 you|[link](https://example.org/a_b)|- [ ] buy milk|\
        - [x] done|vector<size_t> v;|std::map<int, bool>|x <- y|if (a<b) { c[i] = d[j]; }|<b>bold</b>|\
        <div class=\"x\">|<br/>|a[0] <= b[1]|[1] [2, 3] [sic] [...]|f <| x|x |> f|<https://a.org>|\
        <img src=\"a.jpg\" alt=\"x\">|<video controls>|<p>Hello</p>|</p>|<h1>|1 << 3 >> 2|5 > 3 < 7|\
        [Music] [laughs]|[Your Name]|<your name>|->|=> <=|<>|[]|<|>|[image of a dog]|[Image: a dog]|\
        ¯\\_(ツ)_/¯|《书》【注】|「画像」|<a@b.org>|price < 3 | weight > 2|[TODO]|ﬁne｜bar|<!-- note -->|\
        List<String>|<T>|<imagination>|<imagery>|<pointless>|<references>|<videographer>";

    fn tokens() -> impl Iterator<Item = &'static str> {
        TOKENS.split_whitespace()
    }

    #[test]
    fn tokens_of_every_family_are_broken_up_and_stay_readable() {
        for token in tokens().chain(PLACES.split_whitespace()).chain(["<image 2>", "<tool_call>"]) {
            let text = format!("A bowl of soup.{token}\nGo on");
            let broken = break_up(&text);
            assert_ne!(broken, text, "{token}");
            let without = |text: &str| text.replace(' ', "");
            assert_eq!(without(&broken), without(&text), "only spaces are added");
            assert_eq!(break_up(&broken), broken, "{token}");
            assert_eq!(control(&broken), None, "{broken}");
        }
        assert_eq!(break_up("a<|im_start|>b"), "a< |im_start| >b");
        assert_eq!(break_up("[INST] hi [/INST]</s>"), "[ INST ] hi [ /INST ]< /s >");
        assert_eq!(break_up("<[INST]>"), "< [ INST ] >");
    }

    #[test]
    fn control_tokens_are_named_as_they_stand() {
        for token in tokens().filter(|token| placeholder(token).is_none()) {
            assert_eq!(control(&format!("é {token} .")), Some(token));
        }
    }

    #[test]
    fn placeholders_are_named_as_they_stand() {
        for token in PLACES.split_whitespace().chain(["<image 2>", "< image >", "<Image >"]) {
            assert_eq!(placeholder(&format!("é {token} .")), Some(token));
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in PLAIN.split('|').chain(["f <| x |> g", "a || b", "cat a.txt | sort", "a|b"]) {
            assert_eq!(break_up(text), text);
            assert_eq!((control(text), placeholder(text)), (None, None), "{text}");
        }
        assert!(matches!(break_up("a < b"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_is_broken_up_holds_no_token(
            parts in prop::collection::vec(prop_oneof![
                prop::sample::select(tokens().collect::<Vec<_>>()),
                prop::sample::select(PLACES.split_whitespace().collect::<Vec<_>>()),
                prop::sample::select(vec!["<", "|", ">", "[", "]", "<|", "|>", "/", " ", "\u{200b}", "s", "INST", "_"]),
            ], 0..12),
        ) {
            let text = parts.concat();
            let broken = break_up(&text);
            prop_assert_eq!(control(&broken), None, "{}", broken);
            prop_assert!(break_up(&broken) == broken);
            prop_assert_eq!(broken.replace(' ', ""), text.replace(' ', ""));
        }

        #[test]
        fn any_text_is_taken(text in "(?s).{0,80}") {
            let broken = break_up(&text).into_owned();
            prop_assert_eq!(control(&broken), None);
            placeholder(&text);
        }
    }
}
