//! The stub's HTTP replies, good and bad.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::json;

use super::After;

pub fn events(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Sends `start` and, once it is on its way, breaks the connection.
pub fn cut(start: String, kind: &'static str) -> Response {
    let broken = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("scripted"))
    };
    let pieces = futures::stream::iter([Ok(start)]).chain(futures::stream::once(broken));
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

/// Sends `start` and then nothing, without an end.
pub fn hanging(start: String) -> Response {
    let start = futures::stream::iter([Ok::<_, std::io::Error>(start)]);
    let pieces = start.chain(futures::stream::pending());
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}

pub fn limited(after: After) -> Response {
    let value = match after {
        After::Nothing => None,
        After::Seconds(seconds) => Some(seconds.to_string()),
        After::Date(wait) => {
            let moment = SystemTime::now() + wait + Duration::from_secs(1);
            Some(httpdate::fmt_http_date(moment))
        }
    };
    let mut response = failure(429, "slow down");
    if let Some(value) = value.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

pub fn refused() -> Response {
    failure(401, "Incorrect API key provided")
}

pub fn failure(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status the script may use");
    (status, Json(json!({"error": {"message": message, "type": "stub"}}))).into_response()
}
