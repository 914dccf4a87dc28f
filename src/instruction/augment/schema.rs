//! JSON schemas of the replies.

use serde_json::{Value, json};

use super::Structured;

/// Verbs that a small model may begin with.
const VERBS: &str = "Write|Describe|Explain|Suggest|Plan|Invent|Imagine|Compare|List|Create|Design|\
    Draft|Tell|Give|Propose|Compose|Turn|Make";

/// Longest instruction a schema allows, in characters.
const MAX_CHARS: usize = 240;

fn instruction(structured: Structured) -> Value {
    match structured {
        Structured::Verbs => {
            let ends = "in|from|about|of|for|inspired by|based on|shown in";
            // Word by word, so that none is cut and none goes on for ever.
            let pattern =
                format!("^({VERBS})( [A-Za-z'-]{{1,14}},?){{2,12}} ({ends}) the image\\.$");
            json!({"type": "string", "pattern": pattern})
        }
        Structured::Schema | Structured::Off => {
            json!({"type": "string", "minLength": 10, "maxLength": MAX_CHARS})
        }
    }
}

fn object(name: &str, value: Value) -> Value {
    json!({
        "type": "object",
        "properties": { name: value },
        "required": [name],
        "additionalProperties": false,
    })
}

/// `{"instructions": [...]}` with exactly `count` of them; `None` when no schema is wanted.
pub fn list_schema(structured: Structured, count: usize) -> Option<Value> {
    let list = json!({
        "type": "array",
        "items": instruction(structured),
        "minItems": count,
        "maxItems": count,
    });
    (structured != Structured::Off).then(|| object("instructions", list))
}

/// `{"instruction": "..."}`; `None` when no schema is wanted.
pub fn one_schema(structured: Structured) -> Option<Value> {
    (structured != Structured::Off).then(|| object("instruction", instruction(structured)))
}
