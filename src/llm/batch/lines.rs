//! The lines of a batch's files.

use serde_json::{Value, json};

/// What a batch brought for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The key of the call.
    pub key: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// A request as a line of the file that is sent, its line break included.
pub(super) fn write(key: &str, body: &str) -> String {
    let key = json!(key);
    format!(
        "{{\"custom_id\":{key},\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\
         \"body\":{body}}}\n"
    )
}

/// Reads a line of the files that a batch brings; none where it is no answer to a call: a call that
/// the batch had no time for, or something unknown.
pub(super) fn read(line: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(line).ok()?;
    let key = value.get("custom_id")?.as_str()?.to_owned();
    let response = value.get("response").filter(|response| response.is_object());
    if let Some(response) = response {
        let status = response.get("status_code").and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        let body = match response.get("body") {
            Some(Value::String(text)) => text.clone(),
            Some(body) => body.to_string(),
            None => String::new(),
        };
        return Some(Line { key, status, body });
    }
    let error = value.get("error").filter(|error| !error.is_null())?;
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    // `batch_expired` and `batch_cancelled`: the call was never made.
    let unmade = code.starts_with("batch_");
    (!unmade).then(|| Line { key, status: 500, body: json!({ "error": error }).to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_errors_and_calls_without_either_are_told_apart() {
        let read = |line: Value| super::read(&line.to_string());
        let answer = json!({"custom_id": "k", "response": {"status_code": 200, "body": {"a": 1}}});
        let line = Line { key: "k".into(), status: 200, body: r#"{"a":1}"#.into() };
        assert_eq!(read(answer), Some(line));
        let refused = json!({"custom_id": "k", "error": null,
            "response": {"status_code": 400, "body": {"error": {"message": "no"}}}});
        assert_eq!(read(refused).map(|line| line.status), Some(400));
        let broken = json!({"custom_id": "k", "response": null, "error": {"code": "oops"}});
        assert_eq!(read(broken).map(|line| line.status), Some(500));
        for nothing in [
            json!({"custom_id": "k", "response": null, "error": {"code": "batch_expired"}}),
            json!({"custom_id": "k", "response": null, "error": null}),
            json!({"custom_id": 5, "response": {"status_code": 200}}),
            json!([]),
        ] {
            assert_eq!(read(nothing), None);
        }
        assert_eq!(super::read("{"), None);
    }

    #[test]
    fn a_line_that_is_sent_is_one_line_of_json() {
        let line = write("k\"", r#"{"model":"m"}"#);
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["custom_id"], "k\"");
        assert_eq!(value["body"]["model"], "m");
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
    }
}
