//! The stub's answers: English-like text of 40 to 80 words that follows from the request alone.

use pairwright::base::hash;
use serde_json::{Value, json};

const OPENINGS: [&str; 8] = [
    "Morning light falls across {place} and gives {thing} a warm edge.",
    "At the centre stands {thing}, calm and a little worn by many summers.",
    "Two friends pause near {place} to admire {thing} before the day begins.",
    "Behind {thing} the street opens toward {place}, where shadows grow long.",
    "Nobody hurries here, and {thing} seems to set the pace for {place}.",
    "A small sign beside {place} points visitors gently in the direction of {thing}.",
    "Colour does most of the work: {thing} glows while {place} stays muted.",
    "Look closely and {thing} tells its own story about life around {place}.",
];

const MIDDLES: [&str; 8] = [
    "A careful visitor would bring water, sturdy shoes and plenty of patience.",
    "The mood is cheerful rather than grand, like a postcard from an old aunt.",
    "Somebody has swept the ground recently, leaving neat lines in the dust.",
    "Music drifts over from a window, half drowned by passing bicycles.",
    "Children would probably invent a game involving chalk, stones and loud rules.",
    "Prices look fair, portions look generous and every chair invites a longer stay.",
    "Rain may arrive by evening, so a folded umbrella earns its place in the bag.",
    "Every texture, from rough bark to polished metal, rewards a slower glance.",
];

const ENDINGS: [&str; 6] = [
    "In short, {thing} deserves a second visit with better company.",
    "Whoever took this picture clearly loves {place} in all its moods.",
    "Tomorrow {place} will look different, which is reason enough to remember today.",
    "If a title were needed, \"{thing}, waiting\" would suit the scene well.",
    "That quiet balance between {thing} and {place} is what stays in memory.",
    "Take the path past {place} and let {thing} surprise you once more.",
];

const PLACES: [&str; 12] = [
    "the harbour wall",
    "the corner bakery",
    "the narrow bridge",
    "the park gate",
    "the village square",
    "the tram stop",
    "the orchard",
    "the covered market",
    "the station hall",
    "the river bend",
    "the roof garden",
    "the library steps",
];

const THINGS: [&str; 12] = [
    "a red bicycle",
    "the sleepy dog",
    "a striped awning",
    "the old clock",
    "a paper lantern",
    "the wooden boat",
    "a basket of pears",
    "the stone fountain",
    "a yellow raincoat",
    "the brass doorbell",
    "a stack of books",
    "the tall sunflower",
];

const VERBS: [&str; 10] = [
    "Write", "Compose", "Draft", "Invent", "Design", "Propose", "Outline", "Sketch", "Produce",
    "Imagine",
];

const FORMS: [&str; 16] = [
    "a limerick",
    "a museum label",
    "a radio play",
    "three trivia questions",
    "a travel itinerary",
    "a recipe card",
    "a news bulletin",
    "a chess puzzle",
    "a lullaby",
    "a safety leaflet",
    "a classroom exercise",
    "a perfume advert",
    "a detective scene",
    "a gardening calendar",
    "a letter of complaint",
    "a board game",
];

const ASPECTS: [&str; 12] = [
    "dominant colours",
    "quietest corner",
    "weather",
    "hidden geometry",
    "oldest object",
    "likely sounds",
    "light",
    "unseen owner",
    "textures",
    "mood",
    "foreground",
    "distant edge",
];

const MANNERS: [&str; 8] = [
    "",
    " in exactly five lines",
    " for an audience of curious children",
    " with a surprising final twist",
    " as a patient old teacher would",
    ", keeping every sentence short",
    " and explain your choices afterwards",
    " without using any adjectives",
];

/// What the request asks for, whichever way it is to be delivered.
pub fn digest(request: &Value) -> String {
    let mut asked = request.clone();
    if let Some(fields) = asked.as_object_mut() {
        fields.remove("stream");
        fields.remove("stream_options");
    }
    hash::key(&[&asked.to_string()])
}

/// Draws that follow from a digest.
struct Draws(String);

impl Draws {
    fn number(&self, name: &str, below: usize) -> usize {
        usize::try_from(hash::seed(0, &[&self.0, name]) % below as u64).unwrap_or_default()
    }

    fn pick<'a>(&self, name: &str, choices: &[&'a str]) -> &'a str {
        choices[self.number(name, choices.len())]
    }

    /// Different choices, as many as asked for.
    fn several<'a>(&self, name: &str, choices: &[&'a str], count: usize) -> Vec<&'a str> {
        let start = self.number(name, choices.len());
        choices.iter().cycle().skip(start).take(count).copied().collect()
    }

    /// An instruction in the form that schemas for instructions ask for.
    fn instruction(&self) -> String {
        format!(
            "{} {} {} the {} of the image{}.",
            self.pick("verb", &VERBS),
            self.pick("form", &FORMS),
            self.pick("link", &["about", "that explores", "inspired by", "built around"]),
            self.pick("aspect", &ASPECTS),
            self.pick("manner", &MANNERS),
        )
    }

    fn prose(&self) -> String {
        let middles = 1 + self.number("middles", 3);
        let mut sentences = self.several("opening", &OPENINGS, 2);
        sentences.extend(self.several("middle", &MIDDLES, middles));
        sentences.push(self.pick("ending", &ENDINGS));
        // Another place and thing in each sentence, so that no phrase comes twice.
        let places = self.several("place", &PLACES, sentences.len());
        let things = self.several("thing", &THINGS, sentences.len());
        let fill = |((sentence, place), thing): ((&str, &str), &str)| {
            sentence.replace("{place}", place).replace("{thing}", thing)
        };
        let filled: Vec<_> = sentences.into_iter().zip(places).zip(things).map(fill).collect();
        filled.join(" ")
    }

    /// An instance of a JSON Schema, as far as tests use them.
    fn instance(&self, schema: &Value, path: &str) -> Value {
        if let Some(choices) = schema["enum"].as_array().filter(|choices| !choices.is_empty()) {
            return choices[self.number(path, choices.len())].clone();
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, path),
            Some("array") => {
                let count = schema["minItems"].as_u64().unwrap_or(2);
                let item = |n| self.instance(&schema["items"], &format!("{path}/{n}"));
                (0..count).map(item).collect()
            }
            Some("integer" | "number") => json!(self.number(path, 10)),
            Some("boolean") => json!(self.number(path, 2) == 1),
            _ if path.starts_with("/instruction") => {
                json!(Draws(hash::key(&[&self.0, path])).instruction())
            }
            _ => json!(Draws(hash::key(&[&self.0, path])).prose()),
        }
    }

    fn object(&self, schema: &Value, path: &str) -> Value {
        let fields = schema["properties"].as_object().into_iter().flatten();
        let field = |(name, inner): (&String, &Value)| {
            (name.clone(), self.instance(inner, &format!("{path}/{name}")))
        };
        Value::Object(fields.map(field).collect())
    }
}

/// An answer.
pub struct Reply {
    text: String,
    finish: &'static str,
    prompt_tokens: usize,
    completion_tokens: usize,
    model: Value,
}

impl Reply {
    /// A token is a word here; a reply longer than `max_tokens` is cut as a real one would be.
    pub fn to(request: &Value) -> Self {
        let draws = Draws(digest(request));
        let schema = &request["response_format"]["json_schema"]["schema"];
        let whole = match schema {
            Value::Null => draws.prose(),
            asked if asked["properties"]["1"].is_object() => verdicts(request).to_string(),
            asked => draws.instance(asked, "").to_string(),
        };
        let words: Vec<_> = whole.split(' ').collect();
        let limit = request["max_tokens"].as_u64().and_then(|n| usize::try_from(n).ok());
        let kept = words.len().min(limit.unwrap_or(usize::MAX));
        Self {
            text: words[..kept].join(" "),
            finish: if kept < words.len() { "length" } else { "stop" },
            prompt_tokens: prompt_words(request),
            completion_tokens: kept,
            model: request["model"].clone(),
        }
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        })
    }

    pub fn json(&self) -> Value {
        let message = json!({"role": "assistant", "content": self.text});
        json!({
            "id": "stub", "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
            "usage": self.usage(),
        })
    }

    /// The same answer as server-sent events, a word each.
    pub fn events(&self) -> String {
        let mut body: String = self.text.split_inclusive(' ').map(word_event).collect();
        let last = json!({"choices": [{"delta": {}, "finish_reason": self.finish}]});
        let usage = json!({"choices": [], "model": self.model, "usage": self.usage()});
        for event in [last.to_string(), usage.to_string(), "[DONE]".to_owned()] {
            body += &format!("data: {event}\n\n");
        }
        body
    }
}

/// Which of the numbered instructions of a request apply: those that speak of no boat.
fn verdicts(request: &Value) -> Value {
    let messages = request["messages"].as_array().into_iter().flatten();
    let content = messages.last().map(|message| &message["content"]);
    let parts = content.and_then(Value::as_array).into_iter().flatten();
    let text = parts.filter_map(|part| part["text"].as_str()).next_back();
    let asked = text.or_else(|| content.and_then(Value::as_str));
    let numbered = asked.unwrap_or_default().lines().filter_map(|line| {
        let (number, text) = line.split_once(". ")?;
        number.parse::<u32>().ok()?;
        Some((number.to_owned(), json!(!text.contains("boat"))))
    });
    Value::Object(numbered.collect())
}

/// The start of a stream that will not end well.
pub fn two_words() -> String {
    ["Morning ", "light "].into_iter().map(word_event).collect()
}

fn word_event(word: &str) -> String {
    let chunk = json!({"choices": [{"delta": {"content": word}, "finish_reason": null}]});
    format!("data: {chunk}\n\n")
}

fn prompt_words(request: &Value) -> usize {
    let messages = request["messages"].as_array().into_iter().flatten();
    messages.map(|message| message["content"].to_string().split_whitespace().count()).sum()
}
