//! Words of instructions, for comparing them, and the little grammar that instructions need: does
//! one begin with a verb, and with what object. Lists and rules of thumb, not a parser: counts made
//! with them are close, not exact.

pub use crate::base::words::words;

/// Words that carry no content, in English.
const FUNCTION_WORDS: &str = "a about above after again all also although am an and any are around as \
    at be because been before being below between both but by can could did do does doing down \
    during each either else ever every few for from further had has have having he her here hers \
    him his how i if in inside into is it its just like many may me might more most much must my \
    near no nor not now of off on once one only onto or other others our out outside over own per \
    please she should so some still such than that the their them then there these they this those \
    three through to too toward towards two under until up upon us very was we were what when \
    where whether which while who whom whose why will with within without would yet you your";

/// Words that suit any image and so name none.
const GENERAL_WORDS: &str = "image photo photograph picture scene view object item thing subject \
    person people animal place setting location moment detail element background foreground \
    colour color light shape mood atmosphere style story poem main central visible shown seen \
    short new write describe explain create imagine plan suggest food dish drink meal plant \
    flower vehicle building landscape structure activity action event landmark material \
    surface texture composition character idea something someone";

/// The words joined by single spaces: equal for texts that differ in case, spacing and
/// punctuation only.
pub fn normal_form(text: &str) -> String {
    words(text).join(" ")
}

/// Whether `word` (lower case) carries no content.
pub fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.split_whitespace().any(|known| known == word)
}

/// A word without its plural ending, roughly: `boxes` and `box` must meet, no more.
pub fn stem(word: &str) -> &str {
    let word = word.strip_suffix("'s").unwrap_or(word);
    match word.strip_suffix("es") {
        Some(stem) if stem.ends_with(['x', 's', 'h']) && stem.len() > 2 => stem,
        _ => word
            .strip_suffix('s')
            .filter(|stem| stem.len() > 2 && !stem.ends_with('s'))
            .unwrap_or(word),
    }
}

/// Whether a word tells something about one image: neither a function word nor one that suits any.
pub fn is_particular(word: &str) -> bool {
    let general =
        || GENERAL_WORDS.split_whitespace().any(|known| known == word || known == stem(word));
    word.chars().any(char::is_alphabetic) && !is_function_word(word) && !general()
}

/// Verbs in the imperative that instructions often begin with. A verb that is not here is known by
/// what stands behind it: see [`opening`].
const VERBS: &str = "act adapt add advertise advise amuse analyse analyze announce answer anthropomorphise \
    anticipate apologise apologize argue arrange articulate ask assemble assess assign assume \
    author bake become begin blend borrow brainstorm break brew brief bring build calculate \
    caption capture catalogue categorise categorize caution celebrate chant characterise \
    characterize choose choreograph chronicle cite clarify classify coach collect combine come \
    comfort comment commentate compare compile complete compose conceive condense conduct \
    confess congratulate connect consider console construct consult contemplate continue \
    contrast convert convince count craft create critique dance debate decide declare decode \
    deconstruct decorate deduce defend define deliver delve depict derive describe design detail \
    determine develop devise diagnose dictate discuss dissect dive draft dramatise dramatize \
    draw dream dwell edit educate elaborate emphasise encourage enter entertain enumerate \
    envisage envision estimate eulogise evaluate examine expand explain explore express extend \
    extract fashion feel figure fill find finish flip focus follow forecast foresee forget \
    formulate furnish gamify gather generate give greet guess guide haggle hear help highlight \
    hope hum hunt hypothesise hypothesize identify illustrate imagine improve improvise infer \
    inspire instruct interpret interrogate interview introduce invent inventory investigate \
    invite itemise itemize join jot judge justify juxtapose keep knit label lay lengthen let \
    link list listen localise locate look make map mark match measure meditate meet mend mention \
    mentor merge mime mimic model motivate muse name narrate navigate negotiate nominate note \
    notice observe offer optimise optimize orchestrate organise organize outline pack paint pair \
    paraphrase parody pen perform personify persuade pick picture pitch plan play point ponder \
    portray pose praise predict prepare present pretend proclaim produce promote prompt \
    pronounce propose prove provide put quiz quote rank rap rate react read reassure rebuild \
    rebut recall recast recite recommend reconstruct recount recreate redesign refer reflect \
    reframe refute rehearse reimagine relate remember remove renovate repair rephrase replace \
    reply report research respond restore restyle retell reverse review revise reword rewrite \
    rhyme riff roleplay satirise say schedule scribble script sculpt search see seek select sell \
    send serenade set sew share shorten show simplify simulate sing sketch smell solve sort \
    speak speculate spell spin spoof spot start state step storify storyboard study suggest \
    summarise summarize suppose swap tabulate take talk taste teach tell thank think title touch \
    trace track train transcribe transform translate turn unpack upgrade use validate visualise \
    visualize voice vote walk wander warn watch weave weigh welcome whisper wish wonder work \
    write zoom";

/// Of these, words that name a text as often as they ask for one: `Caption for the photo`.
const TEXTS: &str = "answer brief caption design detail draft guide label map model note offer \
    outline picture pitch plan quote report review script sketch study title voice work";

/// The verbs that `of` may follow; any other word before it is a noun.
const BEFORE_OF: [&str; 10] =
    ["conceive", "dream", "hear", "make", "sing", "speak", "talk", "tell", "think", "write"];

/// What may stand before the verb without changing what is asked.
const POLITE: [&str; 13] = [
    "please", "now", "then", "first", "next", "kindly", "finally", "also", "let's", "don't",
    "never", "always", "just",
];

/// Words, beside [`FUNCTION_WORDS`], that begin a clause and are no verbs.
const NO_VERBS: &str = "across against along alongside amid amidst among amongst anybody anyone \
    anything apart atop aside behind beneath beside besides beyond children concerning considering \
    despite enough except everybody everyone everything everywhere following four five six seven \
    eight nine ten given hence hello however including indeed instead inside last later less like \
    maybe meanwhile men minus nobody none nothing nowhere otherwise outside past people per perhaps \
    plus quite rather regarding respectively since sometimes somewhere soon still suddenly therefore \
    though throughout thus together today tomorrow tonight underneath unless unlike versus via \
    whatever whenever wherever whoever women worth yesterday ever even almost already another \
    certainly hi hey oh well yes ok okay thanks sorry welcome i'm it's there's that's what's here's \
    he's she's they're we're you're isn't aren't wasn't doesn't can't";

/// What follows a verb and hardly ever a noun: `Retell the moment`, `Storyboard what comes next`.
const BEHIND_VERBS: &str = "a all an any away both each every everything five four her him his how \
    into it its me my off one our out six some something ten that's the their them these this those \
    three two up us what whatever whether why your yourself";

/// What may follow a verb or a noun.
const PREPOSITIONS: &str = "about around as at for from in on over through to with";

/// What follows a noun that says something: `Work is done`.
const FINITE: &str = "is are was were has had will would can could should may might does did shows";

/// What ends the verb's object.
const OBJECT_ENDS: &str = "about after as at before by during for from in inspired into of on \
    starting that to using where which while who with without based written and or set shown titled";

fn among(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|known| known == word)
}

fn is_verb(word: &str) -> bool {
    among(VERBS, word)
}

/// The verb an instruction begins with, at its start or at the start of a later clause (`Using the
/// colours in the image, write a poem.`), and the words after it. `None` where it does not ask for
/// anything.
///
/// A listed verb opens an instruction unless it is a noun there (`List of boats`, `Work is done`).
/// Any other word does where only a verb can stand (`Retell the moment`): it is followed by what
/// hardly ever follows a bare noun, or made like a verb (`Re-enact`, `Gamify`).
pub fn opening(text: &str) -> Option<(String, Vec<String>)> {
    const ENDS: [char; 8] = [',', ':', ';', '.', '?', '!', '\n', '—'];
    let mut opens = true;
    for clause in text.split_inclusive(ENDS).take(3) {
        let asks = clause.ends_with('?');
        let found = words(clause);
        let start = addressed(&found).unwrap_or_else(|| lead(&found));
        let rest = &found[start.min(found.len())..];
        if let Some(verb) = rest.first() {
            let behind = rest.get(1).map_or("", String::as_str);
            let is_noun = || noun_before(verb, behind);
            let shaped = || opens && !asks && verb_by_shape(rest, clause);
            if (is_verb(verb) && !is_noun()) || shaped() {
                return Some((verb.clone(), rest[1..].to_vec()));
            }
        }
        // Behind a statement's comma stands more of it; behind `Using the colours,` the task.
        opens = !clause.ends_with(',') || found.first().is_some_and(|word| leads_in(word));
    }
    None
}

/// How many words stand before the verb without changing what is asked.
fn lead(clause: &[String]) -> usize {
    if clause.len() > 2 && clause[0] == "do" && clause[1] == "not" {
        return 2;
    }
    let adverb = |word: &str| word.len() > 4 && word.ends_with("ly") && !is_verb(word);
    clause.iter().take_while(|word| POLITE.contains(&word.as_str()) || adverb(word)).count()
}

/// Where the verb stands in a task that is told to somebody: `I want you to write`, `Your task is
/// to write`, `Could you write`, `You must write`.
fn addressed(clause: &[String]) -> Option<usize> {
    let words: Vec<&str> = clause.iter().take(12).map(String::as_str).collect();
    let asked = |before: &[&str]| match before {
        [.., "you" | "is", "to"] => before.iter().any(|word| {
            matches!(
                *word,
                "want"
                    | "like"
                    | "need"
                    | "ask"
                    | "asked"
                    | "task"
                    | "job"
                    | "goal"
                    | "mission"
                    | "challenge"
                    | "assignment"
                    | "aim"
            )
        }),
        ["can" | "could" | "would" | "will", "you"] => true,
        ["can" | "could" | "would" | "will", "you", "please"] => true,
        ["you", "must" | "should"] | ["you", "need" | "have" | "are", "to"] => true,
        _ => false,
    };
    (2..words.len()).find(|at| asked(&words[..*at]) && is_verb(words[*at]))
}

/// Whether a word is a noun before `behind`, though a verb is written so.
fn noun_before(word: &str, behind: &str) -> bool {
    match behind {
        "of" => !BEFORE_OF.contains(&word),
        "for" | "by" | "from" | "with" => among(TEXTS, word),
        _ => among(FINITE, behind),
    }
}

/// Whether the words of a clause begin with an unlisted verb in the imperative, as far as its form
/// and the words behind it tell.
fn verb_by_shape(words: &[String], clause: &str) -> bool {
    let [word, rest @ ..] = words else { return false };
    // `Fast-forward the scene`: two words are one verb.
    let hyphenated =
        rest.first().filter(|second| clause.to_lowercase().contains(&format!("{word}-{second}")));
    let rest = if hyphenated.is_some() { &rest[1..] } else { rest };
    let behind = rest.first().map_or("", String::as_str);
    if matches!(word.as_str(), "have" | "be") {
        return among(BEHIND_VERBS, behind);
    }
    let plain = word.len() > 1 && word.chars().all(|one| one.is_ascii_lowercase());
    let inflected = word.ends_with("ing")
        || (word.ends_with("ed") && !word.ends_with("eed"))
        || (word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us"))
        || word.ends_with("ly");
    if !plain || inflected || is_function_word(word) || among(NO_VERBS, word) {
        return false;
    }
    among(BEHIND_VERBS, behind)
        || made_like_a_verb(word)
        || (among(PREPOSITIONS, behind) && goes_on(rest))
}

/// Whether a second imperative follows: `Eavesdrop on the people and write down what they say`.
fn goes_on(rest: &[String]) -> bool {
    let joins = |pair: &&[String]| matches!(pair[0].as_str(), "and" | "then") && is_verb(&pair[1]);
    rest.windows(2).any(|pair| joins(&pair))
}

/// `re` and the like before a verb, or an ending that only verbs have.
fn made_like_a_verb(word: &str) -> bool {
    let prefixed = ["re", "co", "pre", "un", "out", "over", "mis"]
        .iter()
        .filter_map(|prefix| word.strip_prefix(prefix))
        .any(|rest| rest.len() > 3 && is_verb(rest));
    prefixed || (word.len() > 5 && (word.ends_with("ify") || word.ends_with("ize")))
}

/// Whether a clause that begins so only leads in: `Using the colours`, `As a chef`, `If it rained`.
fn leads_in(word: &str) -> bool {
    word.ends_with("ing")
        || word.ends_with("ed")
        || among(
            "after as at before by during for from given if in on once since to through under until \
             upon when where while with without",
            word,
        )
}

/// The root verb and its object, as Self-Instruct counts them (arXiv 2212.10560, figure 3). The
/// object is the last content word before the first preposition.
pub fn verb_and_object(text: &str) -> Option<(String, Option<String>)> {
    let (verb, rest) = opening(text)?;
    let ends = |word: &&String| OBJECT_ENDS.split_whitespace().any(|end| end == word.as_str());
    let phrase = rest.iter().take_while(|word| !ends(word));
    let object = phrase.filter(|word| !is_function_word(word)).last().cloned();
    Some((verb, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spacing_and_punctuation_do_not_matter() {
        assert_eq!(normal_form("  Write a Poem,\n please!"), normal_form("write a poem please."));
        assert_ne!(normal_form("Write a poem."), normal_form("Write a play."));
    }

    #[test]
    fn plurals_meet_their_singulars() {
        for (plural, singular) in [("boxes", "box"), ("dogs", "dog"), ("dishes", "dish")] {
            assert_eq!(stem(plural), stem(singular));
        }
        assert_eq!(stem("glass"), "glass");
        assert_eq!(stem("gas"), "gas");
    }

    #[test]
    fn general_words_are_not_particular() {
        let particular = |text: &str| -> Vec<String> {
            words(text).into_iter().filter(|word| is_particular(word)).collect()
        };
        assert_eq!(particular("Write about the images of a raccoon"), ["raccoon"]);
    }

    #[test]
    fn verbs_and_objects_are_found() {
        for (text, verb, object) in [
            ("Write a short story about the image.", "write", Some("story")),
            ("Please design a poster for an event.", "design", Some("poster")),
            ("Using the colours in the image, compose a haiku.", "compose", Some("haiku")),
            ("Explain how the machine moves.", "explain", Some("moves")),
            ("Imagine that you live there.", "imagine", None),
        ] {
            let expected = (verb.to_owned(), object.map(str::to_owned));
            assert_eq!(verb_and_object(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn statements_have_no_opening_verb() {
        for text in
            ["The cup is red.", "A story, a poem", "I would like tea", "", "Schreibe etwas."]
        {
            assert_eq!(opening(text), None, "{text}");
        }
    }

    /// What a list of verbs cannot foresee.
    #[test]
    fn verbs_are_known_by_their_shape() {
        for (text, verb) in [
            ("Retell the moment in the image from the point of view of the ground.", "retell"),
            ("Haggle over the fruit in the image.", "haggle"),
            ("Eavesdrop on the people in the image and write down what they say.", "eavesdrop"),
            ("Livestream the scene in the image for your followers.", "livestream"),
            ("Boldly overstate the drama of the image.", "overstate"),
            ("Zombify the characters in the image.", "zombify"),
            ("Telegraph what happens in the image in ten words.", "telegraph"),
            ("As a chef, plate the meal in the image anew.", "plate"),
            ("The scene is calm. Disrupt it with a storm.", "disrupt"),
            ("I want you to write a poem about the image.", "write"),
            ("Your task is to describe the image.", "describe"),
            ("Could you please sketch the scene in words?", "sketch"),
            ("Don't explain the image, sing it.", "explain"),
            ("Re-enact the scene in the image as a puppet show.", "re"),
        ] {
            assert_eq!(opening(text).map(|found| found.0).as_deref(), Some(verb), "{text}");
        }
    }

    #[test]
    fn statements_and_titles_have_no_opening_verb() {
        for text in [
            "People walk along the beach in the image.",
            "Sunlight fills the room in the picture.",
            "List of the boats in the image.",
            "Caption for the photo of a dog.",
            "Beautiful sunset over the ocean.",
            "Dogs run, cats sleep, birds sing.",
            "In the image, people gather around a table.",
            "Behind the house a man works.",
            "Nothing the photographer did was planned.",
            "Everyone in the image looks happy.",
            "Work is done in the image.",
            "Ever seen the dog?",
            "Is the dog a husky?",
            "Children that play in the snow.",
            "Running a marathon in the rain.",
            "Today the market is closed.",
            "This image shows a harbour, the sea and a boat.",
        ] {
            assert_eq!(opening(text), None, "{text}");
        }
    }

    #[test]
    fn every_verb_is_listed_once() {
        let verbs: Vec<&str> = VERBS.split_whitespace().collect();
        let distinct: std::collections::HashSet<_> = verbs.iter().collect();
        assert_eq!(distinct.len(), verbs.len());
    }
}
