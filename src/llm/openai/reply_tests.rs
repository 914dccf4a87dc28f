use proptest::prelude::*;
use serde_json::json;

use super::*;

fn one(body: &str) -> Piece {
    let values = values(body).expect("readable");
    Piece::read(&values[0])
}

fn said(message: &Value) -> (String, String) {
    let piece = Piece::read(&json!({"choices": [{"message": message}]}));
    (piece.text, piece.reasoning)
}

#[test]
fn content_is_read_in_every_form() {
    let text = |content: Value| said(&json!({"content": content})).0;
    assert_eq!(text(json!("a b")), "a b");
    assert_eq!(text(json!(null)), "");
    assert_eq!(text(json!([{"type": "text", "text": "a"}, " ", {"text": "b"}])), "a b");
    assert_eq!(text(json!([{"type": "image_url", "image_url": {"url": "x"}}])), "");
    assert_eq!(text(json!({"type": "text", "text": "a"})), "a");
    assert_eq!(text(json!({"parts": [{"text": "a"}]})), "a");
    assert_eq!(text(json!({"verdict": "A"})), r#"{"verdict":"A"}"#);
    assert_eq!(text(json!({})), "");
    assert_eq!(text(json!(7)), "7");
    assert_eq!(said(&json!({"refusal": "I cannot."})).0, "I cannot.");
    assert_eq!(one(r#"{"choices":[{"text":"a"}]}"#).text, "a");
    assert_eq!(one(r#"{"choices":[{"message":null,"text":"a"}]}"#).text, "a");
    assert_eq!(one(r#"{"choices":[{"message":"a"}]}"#).text, "a");
    assert_eq!(one(r#"{"choices":[{"index":1,"text":"b"},{"index":0,"text":"a"}]}"#).text, "a");
    assert!(!one(r#"{"choices":null}"#).has_choice);
}

#[test]
fn reasoning_has_its_own_place() {
    let apart = json!({"content": "a", "reasoning_content": "r", "reasoning": "r"});
    assert_eq!(said(&apart), ("a".into(), "r".into()));
    let parts = json!({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
        {"type": "text", "text": "a"},
    ]});
    assert_eq!(said(&parts), ("a".into(), "r".into()));
    assert_eq!(said(&json!({"content": null, "reasoning": {"content": "r"}})).1, "r");
}

#[test]
fn tokens_are_counted_in_every_form() {
    let count = |usage: Value| {
        let piece = Piece::read(&json!({"usage": usage}));
        piece.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens))
    };
    assert_eq!(count(json!({"prompt_tokens": 3, "completion_tokens": 4.0})), Some((3, 4)));
    assert_eq!(count(json!({"prompt_tokens": "3", "completion_tokens": null})), Some((3, 0)));
    assert_eq!(count(json!({"input_tokens": 3, "output_tokens": -1})), Some((3, 0)));
    for nothing in [json!(null), json!({}), json!("x"), json!({"prompt_tokens": null})] {
        assert_eq!(count(nothing), None);
    }
}

#[test]
fn what_is_nearly_json_is_read() {
    let body = "\u{feff}\n {\"x\": NaN, \"y\": [-Infinity, nan], \"choices\": [{\"message\": \
                {\"content\": \"a\nb NaN \\ud83d c \\ud83d\\ude00 \\\"q\\\"\"}}]}";
    assert_eq!(one(body).text, "a\nb NaN \u{fffd} c \u{1F600} \"q\"");
    assert_eq!(values("{\"a\": 1}\n{\"b\": 2}").expect("two").len(), 2);
    for broken in ["{\"choices\": [{\"mess", "<html>", "{\"a\": \"\\u12", "\"\\"] {
        values(broken).expect_err(broken);
    }
}

#[test]
fn only_known_words_mean_a_complete_reply() {
    use FinishReason::{ContentFilter, Failed, Length, Stop, Unknown};
    for (finish, words) in [
        (Stop, "stop STOP eos eos_token end_turn stop_sequence FINISH_REASON_STOP COMPLETE"),
        (Length, "length max_tokens MAX_TOKENS max_output_tokens model_length limit max_length"),
        (Length, "model_context_window_exceeded context_length truncated max_new_tokens"),
        (ContentFilter, "content_filter safety SAFETY RECITATION refusal sensitive BLOCKLIST"),
        (ContentFilter, "content-filter guardrail_intervened PROHIBITED_CONTENT ERROR_TOXIC"),
        (Failed, "error abort cancelled network_error insufficient_system_resource timeout"),
        (Unknown, "tool_calls function_call load pause_turn stopped_oddly ?"),
    ] {
        for word in words.split(' ') {
            assert_eq!(finish_reason(&json!(word)), Some(finish), "{word}");
        }
    }
    assert_eq!(finish_reason(&json!({"type": "stop", "matched": 2})), Some(Stop));
    assert_eq!(finish_reason(&json!(3)), Some(Unknown));
    for nothing in [json!(null), json!(""), json!("null")] {
        assert_eq!(finish_reason(&nothing), None);
    }
}

#[test]
fn errors_in_a_good_status_are_seen() {
    for error in [
        json!({"error": {"code": 429}}),
        json!({"error": "no"}),
        json!({"object": "error", "message": "no"}),
        json!({"type": "error", "error": {"type": "overloaded_error"}}),
        json!({"detail": [{"msg": "no"}]}),
        json!({"choices": [], "error": {"code": 502}}),
        json!({"choices": [{"delta": {}}], "error": {"code": 502}}),
        json!({"choices": null, "base_resp": {"status_code": 1008}}),
    ] {
        assert!(is_error(&error), "{error}");
    }
    for fine in [
        json!({"choices": [{"text": "a"}], "error": null, "message": "ok"}),
        json!({"choices": [{"text": "a"}], "error": {}}),
        json!({"choices": []}),
        json!({"type": "ping"}),
        json!({"usage": {}}),
    ] {
        assert!(!is_error(&fine), "{fine}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop_oneof![Just("stop"), Just("length"), Just("error"), Just("text")]
            .prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("choices"),
        Just("message"),
        Just("delta"),
        Just("content"),
        Just("text"),
        Just("finish_reason"),
        Just("usage"),
        Just("error"),
        Just("type"),
        Just("index"),
        Just("reasoning"),
        Just("parts"),
        Just("prompt_tokens"),
        Just("code"),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_read_without_panic(body in "\\PC*", value in any_json()) {
        if let Ok(values) = values(&body) {
            values.iter().for_each(|value| drop(Piece::read(value)));
        }
        Piece::read(&value);
        is_error(&value);
        // Mending never changes what was right.
        let text = value.to_string();
        prop_assert_eq!(mended(&text), text);
        mended(&body);
    }
}
