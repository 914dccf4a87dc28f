//! Words of a text, by Unicode's rules, and how many words of a language with spaces they stand for.
//!
//! Scripts that put no spaces between words are taken apart into characters, so that a text of any
//! script has a sequence to compare. Limits are in words all the same: a Chinese character counts
//! as 0.6 of a word and a hiragana as 0.4, since a text translated from English to Chinese or
//! Japanese has about that share of characters for a word; a letter of Thai, Lao, Khmer or Burmese
//! counts as 0.3.

use unicode_segmentation::UnicodeSegmentation;

/// The words of a text in lower case with straight apostrophes: `can't` is one word, and an
/// ideograph is one of its own.
pub fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(|word| straight(word).to_lowercase()).collect()
}

/// How many words a text has, rounded up; characters of scripts without spaces count as shares.
pub fn count(text: &str) -> usize {
    tenths(text).div_ceil(10)
}

/// How many of [`words`] a word that [`count`] counts is made of: 1 where words stand between
/// spaces, more where a character is an entry of its own.
pub fn per_word(text: &str) -> f64 {
    let tenths = tenths(text);
    if tenths == 0 { 1.0 } else { 10.0 * text.unicode_words().count() as f64 / tenths as f64 }
}

fn tenths(text: &str) -> usize {
    text.unicode_words().map(tenths_of).sum()
}

fn tenths_of(word: &str) -> usize {
    match word.chars().next() {
        Some('\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}') => 6,
        Some('\u{3040}'..='\u{309f}' | '\u{3100}'..='\u{312f}') => 4,
        Some('\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}') => 3,
        _ => 10,
    }
}

/// A text with straight quotes.
pub fn straight(text: &str) -> String {
    text.replace(['’', '‘', 'ʼ', '`'], "'").replace(['“', '”', '„'], "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_between_spaces_count_one_each() {
        for (text, wanted) in [
            ("", 0),
            ("Don’t stop", 2),
            ("a b-c d", 4),
            ("Ein Haus, zwei Häuser.", 4),
            ("고양이가 창가에 앉아 있다.", 4),
            ("قطة على النافذة", 3),
            ("Кот сидит у окна", 4),
        ] {
            assert_eq!(count(text), wanted, "{text}");
            assert_eq!(per_word(text), 1.0, "{text}");
        }
    }

    #[test]
    fn characters_without_spaces_count_as_shares_of_a_word() {
        // "A cat sits by the window and looks at the rain outside": 12 words.
        assert_eq!(count("一只猫坐在窗边，看着外面下雨。"), 8);
        assert_eq!(count("猫が窓辺に座って、外の雨を眺めている。"), 9);
        assert_eq!(count("カメラ"), 1);
        assert!((4..9).contains(&count("แมวนั่งอยู่ข้างหน้าต่าง")), "{}", count("แมวนั่งอยู่ข้างหน้าต่าง"));
        assert!((1.6..1.7).contains(&per_word("一只猫坐在窗边")));
        let mixed = per_word("The sign says 北京 in red letters");
        assert!(mixed > 1.0 && mixed < 1.2, "{mixed}");
    }

    #[test]
    fn words_are_in_lower_case_with_straight_apostrophes() {
        assert_eq!(words("Can’t STOP, 北京"), ["can't", "stop", "北", "京"]);
    }
}
