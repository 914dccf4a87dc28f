//! The language of a text.

use std::sync::LazyLock;

use whatlang::{Detector, Lang};

/// Languages that are told apart: those most spoken and written, so that a short text is not taken
/// for a rare one that shares its script.
const LANGUAGES: &[Lang] = &[
    Lang::Ara,
    Lang::Ben,
    Lang::Bul,
    Lang::Ces,
    Lang::Cmn,
    Lang::Dan,
    Lang::Deu,
    Lang::Ell,
    Lang::Eng,
    Lang::Fin,
    Lang::Fra,
    Lang::Heb,
    Lang::Hin,
    Lang::Hun,
    Lang::Ind,
    Lang::Ita,
    Lang::Jpn,
    Lang::Kor,
    Lang::Nld,
    Lang::Pes,
    Lang::Pol,
    Lang::Por,
    Lang::Ron,
    Lang::Rus,
    Lang::Spa,
    Lang::Swe,
    Lang::Tam,
    Lang::Tel,
    Lang::Tha,
    Lang::Tur,
    Lang::Ukr,
    Lang::Urd,
    Lang::Vie,
];

static DETECTOR: LazyLock<Detector> =
    LazyLock::new(|| Detector::with_allowlist(LANGUAGES.to_vec()));

/// Letters below which a text in a script of many languages is too short to tell.
const TELLING: usize = 12;

/// The likeliest language of a text as its ISO 639-3 code (`eng`, `cmn`); `None` of a text without
/// letters, or too short to tell.
pub(super) fn detect(text: &str) -> Option<&'static str> {
    let found = DETECTOR.detect(text)?;
    let letters = text.chars().filter(|one| one.is_alphabetic()).take(TELLING).count();
    let alone = found.script().langs().iter().filter(|one| LANGUAGES.contains(one)).count() == 1;
    (letters == TELLING || alone).then(|| found.lang().code())
}

/// Whether a text is surely in another language than English. Of a short one nothing is sure.
pub(super) fn is_surely_foreign(text: &str) -> bool {
    DETECTOR.detect(text).is_some_and(|found| found.lang() != Lang::Eng && found.is_reliable())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short answers, four to twelve words each, in the languages that the filters have words for.
    const ANSWERS: &[(&str, &[&str])] = &[
        (
            "eng",
            &[
                "Two dogs play on the beach.",
                "A quiet kitchen in the morning light.",
                "Fresh bread, still warm from the oven.",
                "Rent this boat for a weekend on the lake!",
                "The train leaves in ten minutes.",
            ],
        ),
        (
            "deu",
            &[
                "Zwei Hunde spielen am Strand.",
                "Eine ruhige Küche im Morgenlicht.",
                "Frisches Brot, noch warm aus dem Ofen.",
                "Miete dieses Boot für ein Wochenende am See!",
                "Der Zug fährt in zehn Minuten.",
            ],
        ),
        (
            "fra",
            &[
                "Deux chiens jouent sur la plage.",
                "Une cuisine calme dans la lumière du matin.",
                "Du pain frais, encore chaud du four.",
                "Louez ce bateau pour un week-end sur le lac !",
                "Le train part dans dix minutes.",
            ],
        ),
        (
            "spa",
            &[
                "Dos perros juegan en la playa.",
                "Una cocina tranquila a la luz de la mañana.",
                "Pan fresco, todavía caliente del horno.",
                "¡Alquila este barco para un fin de semana en el lago!",
                "El tren sale en diez minutos.",
            ],
        ),
        (
            "por",
            &[
                "Dois cães brincam na praia.",
                "Uma cozinha tranquila à luz da manhã.",
                "Pão fresco, ainda quente do forno.",
                "Alugue este barco para um fim de semana no lago!",
                "O comboio parte dentro de dez minutos.",
            ],
        ),
        (
            "rus",
            &[
                "Две собаки играют на пляже.",
                "Тихая кухня в утреннем свете.",
                "Свежий хлеб, ещё тёплый из печи.",
                "Арендуйте эту лодку на выходные на озере!",
                "Поезд отходит через десять минут.",
            ],
        ),
        (
            "ara",
            &[
                "كلبان يلعبان على الشاطئ.",
                "مطبخ هادئ في ضوء الصباح.",
                "خبز طازج لا يزال دافئًا من الفرن.",
                "استأجر هذا القارب لعطلة نهاية الأسبوع على البحيرة!",
                "يغادر القطار بعد عشر دقائق.",
            ],
        ),
        (
            "cmn",
            &[
                "两只狗在海滩上玩耍。",
                "晨光中安静的厨房。",
                "新鲜的面包，刚出炉还热着。",
                "周末来湖上租这条船吧！",
                "火车十分钟后出发。",
            ],
        ),
        (
            "jpn",
            &[
                "二匹の犬が浜辺で遊んでいます。",
                "朝の光に包まれた静かな台所。",
                "焼きたてのパンはまだ温かい。",
                "週末は湖でこの船を借りましょう！",
                "電車は十分後に出発します。",
            ],
        ),
        (
            "kor",
            &[
                "두 마리의 개가 해변에서 놀고 있다.",
                "아침 햇살 속의 조용한 부엌.",
                "오븐에서 갓 나온 따뜻한 빵.",
                "주말에 호수에서 이 배를 빌려 보세요!",
                "기차는 십 분 뒤에 출발합니다.",
            ],
        ),
    ];

    #[test]
    fn short_answers_are_told_apart() {
        let told = ANSWERS
            .iter()
            .flat_map(|(code, texts)| texts.iter().map(move |text| (*text, *code, detect(text))));
        let wrong: Vec<_> = told.filter(|(_, code, told)| *told != Some(*code)).collect();
        assert!(wrong.len() <= 2, "{} of 50: {wrong:?}", wrong.len());
    }

    #[test]
    fn what_says_too_little_has_no_language() {
        for text in ["", "42", "OK.", "Nice one"] {
            assert_eq!(detect(text), None, "{text}");
        }
        assert_eq!(detect("猫"), Some("cmn"));
    }
}
