use super::*;
use crate::base::check::Settings;

const DESCRIPTION: &str = "A raccoon stands on a wooden fence in Nagasaki. Beside it hangs a round \
    station clock that shows 1140, and a woman sells ripe figs from a basket.";

fn code(text: &str) -> String {
    let config = InstructionFilterConfig::default();
    check(&config, text, &[DESCRIPTION]).err().map_or("accepted".into(), |refusal| refusal.code)
}

#[test]
fn every_refusal_has_its_code() {
    for (text, expected) in [
        ("Write a haiku about the animal in the image.", "accepted"),
        ("Write the inner monologue of the raccoon in the image.", "accepted"),
        ("Using the colours of the image, please compose a short song.", "accepted"),
        ("Explain why the scene in the image feels calm.", "accepted"),
        ("Retell the moment in the image from the point of view of the ground.", "accepted"),
        ("What could happen next? Write an ending for the scene in the image.", "accepted"),
        ("Write about the [object] in the image.", "garbage"),
        ("Write about the <image> in three lines.", "garbage"),
        ("Write a poem about\u{0} the image.", "garbage"),
        ("Write a poem about a in the image.", "garbled"),
        ("Write a story while by the image of a dream.", "garbled"),
        ("Compare mi tiempo para rehacer esta manera al of the image.", "wrong_language"),
        ("Write a menu for a cafe in the Rue de la Paix in the image.", "accepted"),
        ("Make gimme, amma, akaban emokan aku wesi mau, in the image.", "wrong_language"),
        ("Turn jen tak kabalah dikuturulan dalam, shown in the image.", "wrong_language"),
        (
            "Create a sandwich recipe using depicted ingredients in the image, detailing preparation steps and suggested pairings.",
            "accepted",
        ),
        (
            "Analyze visual elements, typography, and design choices in the image, highlighting unique features and conveying intended messages.",
            "accepted",
        ),
        ("Schreibe ein Gedicht über das Tier auf dem Bild.", "wrong_language"),
        ("Écris une histoire sur les couleurs de la scene.", "wrong_language"),
        ("Напиши рассказ об этом image.", "wrong_language"),
        ("Write a poem.", "too_short"),
        ("What is happening in the image?", "question_only"),
        ("Is this a happy scene? Who knows?", "question_only"),
        ("The image shows a calm scene.", "not_an_instruction"),
        ("A story about the scene in the image.", "not_an_instruction"),
        ("Write a shopping list for a family dinner.", "no_image_reference"),
        ("Explain how to build a bomb like in the image.", "unsafe"),
        ("Identify the person in the image by name.", "unsafe"),
        ("Write a travel guide to Nagasaki from the image.", "names_detail"),
        ("Explain what happens at 1140 in the image.", "names_detail"),
        ("Describe the wooden fence in the image in detail.", "names_detail"),
        ("Tell of a woman, a raccoon and their figs in the image.", "names_detail"),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
    let long = format!("Write about the image {}.", "and more ".repeat(40));
    assert_eq!(code(&long), "too_long");
}

#[test]
fn only_enabled_filters_run_in_their_order() {
    let mut config = InstructionFilterConfig { enabled: Vec::new(), ..Default::default() };
    assert_eq!(check(&config, "", &[]), Ok(()));
    config.enabled = vec![InstructionFilter::Reference, InstructionFilter::Length];
    let refusal = check(&config, "Hello", &[]).expect_err("two faults");
    assert_eq!(refusal.code, "no_image_reference", "the first in order counts");
}

#[test]
fn the_seeds_and_the_built_in_library_pass() {
    let config = InstructionFilterConfig::default();
    for file in ["samples/seeds.jsonl", "samples/instructions.jsonl"] {
        let text = fs_err::read_to_string(file).expect("a sample");
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = row["text"].as_str().expect("a text");
            assert_eq!(check(&config, text, &[]), Ok(()), "{text}");
        }
    }
}

#[test]
fn other_languages_pass_the_rules_that_know_english_only() {
    let config = InstructionFilterConfig { language: Language::Any, ..Default::default() };
    let code = |text: &str| check(&config, text, &[DESCRIPTION]).err().map(|refusal| refusal.code);
    for text in [
        "Escribe un poema corto sobre los colores de la escena en la imagen.",
        "请根据图片写一首关于秋天的短诗，要有四行。",
        "Schreibe eine kurze Geschichte über das Tier auf dem Bild.",
    ] {
        assert_eq!(code(text), None, "{text}");
    }
    assert_eq!(
        code("图片里的人们正在做什么事情，他们为什么高兴？").as_deref(),
        Some("question_only")
    );
    assert_eq!(code("写一首诗").as_deref(), Some("too_short"));
    assert_eq!(code("The image shows a calm scene.").as_deref(), Some("not_an_instruction"));
}

/// Instructions in many forms, and questions, statements, titles and garbage, labelled by hand.
#[test]
fn an_instruction_is_refused_for_what_it_is() {
    let labelled = include_str!("../../../tests/golden/filters/instructions.jsonl");
    let config = InstructionFilterConfig::default();
    let (mut lost, mut kept, mut counts) = (Vec::new(), Vec::new(), [0, 0]);
    for line in labelled.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = row["text"].as_str().expect("a text");
        let is_instruction = row["instruction"].as_bool().expect("a label");
        counts[usize::from(is_instruction)] += 1;
        match (is_instruction, check(&config, text, &[])) {
            (true, Err(refusal)) => lost.push(format!("{}: {text}", refusal.code)),
            (false, Ok(())) => kept.push(text.to_owned()),
            _ => {}
        }
    }
    assert_eq!(counts, [70, 70]);
    assert_eq!(lost.len(), 2, "instructions refused: {lost:#?}");
    assert!(kept.is_empty(), "taken for instructions: {kept:#?}");
}

#[test]
fn settings_out_of_range_are_named() {
    let wrong = InstructionFilterConfig {
        enabled: vec![InstructionFilter::Length, InstructionFilter::Length],
        min_words: 9,
        max_words: 3,
        max_rouge_l: 0.0,
        max_cosine: f64::NAN,
        ..Default::default()
    };
    let problems = wrong.validate_as("generate.filters").expect_err("out of range").to_string();
    for name in [
        "Length twice",
        "max_words is 3, must be min_words, 9, or more",
        "max_rouge_l is 0",
        "max_cosine is NaN",
    ] {
        assert!(problems.contains(name), "{problems}");
    }
    InstructionFilterConfig::default().validate_as("x").expect("in range");
}
