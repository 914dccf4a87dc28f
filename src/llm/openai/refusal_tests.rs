use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn reason(status: u16, body: &str) -> Reason {
    Refusal::read(body).reason(status)
}

/// Bodies of many servers; those of tests/llm/shapes.jsonl are others.
#[test]
fn refusals_are_told_apart_by_what_they_say() {
    use Parameter as P;
    for (expected, status, body) in [
        // OpenAI
        (
            Reason::Quota,
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
        ),
        (
            Reason::Rate,
            429,
            r#"{"error":{"message":"Rate limit reached. See https://x/account/billing","type":"requests","code":"rate_limit_exceeded"}}"#,
        ),
        (
            Reason::Parameter(P::MaxTokens),
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.","param":"max_tokens","code":"unsupported_parameter"}}"#,
        ),
        (
            Reason::Parameter(P::SystemRole),
            400,
            r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","param":"messages[0].role","code":"unsupported_value"}}"#,
        ),
        (
            Reason::Parameter(P::Stop),
            400,
            r#"{"error":{"message":"Unsupported parameter: 'stop' is not supported with this model.","param":"stop","code":"unsupported_parameter"}}"#,
        ),
        (
            Reason::Parameter(P::ResponseFormat),
            400,
            r#"{"error":{"message":"Invalid schema for response_format 'reply'","param":"response_format","code":null}}"#,
        ),
        (
            Reason::Auth,
            403,
            r#"{"error":{"message":"Your account has been flagged for a policy violation","code":"account_deactivated"}}"#,
        ),
        (
            Reason::Unknown,
            400,
            r#"{"error":{"message":"Invalid value: 'x'","param":"messages","code":"invalid_value"}}"#,
        ),
        // Azure, Anthropic, Gemini
        (
            Reason::ContentPolicy,
            400,
            r#"{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        ),
        (
            Reason::Server,
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        ),
        (
            Reason::Quota,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
        ),
        (
            Reason::Rate,
            429,
            r#"[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"RequestsPerMinutePerProject"}]}]}}]"#,
        ),
        (
            Reason::Auth,
            400,
            r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
        ),
        (
            Reason::Parameter(P::SystemRole),
            400,
            r#"[{"error":{"code":400,"message":"Developer instruction is not enabled for models/m","status":"INVALID_ARGUMENT"}}]"#,
        ),
        // vLLM, llama.cpp
        (
            Reason::Context,
            400,
            r#"{"error":{"message":"'max_tokens' is too large: 512. This model's maximum context length is 768 tokens and your request has 320 input tokens."}}"#,
        ),
        (
            Reason::Parameter(P::RepeatPenalty),
            400,
            r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'repeat_penalty'), 'msg': 'Extra inputs are not permitted'}]","code":400}"#,
        ),
        (
            Reason::Context,
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":768}}"#,
        ),
        (
            Reason::Server,
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
        ),
        (
            Reason::Parameter(P::SystemRole),
            500,
            r#"{"error":{"code":500,"message":"System role not supported","type":"server_error"}}"#,
        ),
        (
            Reason::Parameter(P::ResponseFormat),
            400,
            r#"{"error":{"code":400,"message":"failed to parse grammar","type":"invalid_request_error"}}"#,
        ),
        // Mistral, DeepSeek, OpenRouter, TGI and others
        (
            Reason::Parameter(P::Seed),
            422,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted","input":7}]}}"#,
        ),
        (
            Reason::Parameter(P::Strict),
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","response_format","json_schema","strict"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
        (
            Reason::Quota,
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
        ),
        (
            Reason::ContentPolicy,
            400,
            r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error"}}"#,
        ),
        (
            Reason::ContentPolicy,
            403,
            r#"{"error":{"code":403,"message":"Forbidden","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#,
        ),
        (
            Reason::Context,
            422,
            r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}"#,
        ),
        (Reason::Rate, 429, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#),
        (
            Reason::Quota,
            429,
            r#"{"error":{"code":"1113","message":"您的账户余额不足或无可用资源包，请充值。"}}"#,
        ),
        (
            Reason::ContentPolicy,
            400,
            r#"{"error":{"code":"1301","message":"系统检测到输入或生成内容可能包含不安全或敏感内容"}}"#,
        ),
        (Reason::Parameter(P::Seed), 400, "json: unknown field \"seed\""),
        (
            Reason::Parameter(P::Seed),
            422,
            "unknown field `seed`, expected one of `max_tokens`, `stop`",
        ),
        (Reason::Parameter(P::TopP), 500, "create() got an unexpected keyword argument 'top_p'"),
        (
            Reason::NotFound,
            400,
            r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
        ),
        // Nothing but a status
        (Reason::Auth, 401, ""),
        (Reason::Quota, 402, ""),
        (Reason::Auth, 403, "<html>x</html>"),
        (Reason::NotFound, 404, ""),
        (Reason::NotFound, 405, ""),
        (Reason::Server, 408, ""),
        (Reason::Server, 409, ""),
        (Reason::Context, 413, ""),
        (Reason::NotFound, 421, ""),
        (Reason::Server, 423, ""),
        (Reason::Server, 425, ""),
        (Reason::Rate, 429, ""),
        (Reason::Server, 498, ""),
        (Reason::Server, 529, ""),
        (Reason::NotFound, 302, "x"),
        (Reason::Unknown, 400, ""),
        (Reason::Unknown, 418, "I'm a teapot"),
        (Reason::Unknown, 422, "no"),
        (Reason::Server, 409, r#"{"error":{"message":"Model is loading, try again"}}"#),
    ] {
        assert_eq!(reason(status, body), expected, "{status} {body}");
    }
}

#[test]
fn the_wait_asked_for_is_read_in_every_form() {
    let wait = |name: &'static str, value: &'static str, body: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        Refusal::read(body).retry_after(&headers).map(|wait| wait.as_millis())
    };
    assert_eq!(wait("retry-after", "2", ""), Some(2000));
    assert_eq!(wait("retry-after", "0.5", ""), Some(500));
    assert_eq!(wait("retry-after", "6m0s", ""), Some(360_000));
    assert_eq!(wait("retry-after-ms", "900", ""), Some(900));
    assert_eq!(wait("x", "y", r#"{"error":{"message":"Please try again in 400ms."}}"#), Some(400));
    assert_eq!(wait("x", "y", r#"[{"error":{"details":[{"retryDelay":"34.5s"}]}}]"#), Some(34_500));
    assert_eq!(wait("x", "y", r#"{"retry_after":3}"#), Some(3000));
    assert_eq!(wait("retry-after", "soon", r#"{"retry_after":-3}"#), None);
}

#[test]
fn pages_are_shown_without_their_tags() {
    let page = "<!doctype html><html><head><title>502 Bad</title><style>p { a }</style></head>\n\
                <body><p>Gate way</p></body></html>";
    assert_eq!(readable(page), "502 Bad Gate way");
    assert_eq!(readable(" {\"a\": \"<b>\"} "), "{\"a\": \"<b>\"}");
    assert_eq!(readable("<a"), "");
}

/// What servers say of a photo that they do not take, or of one that is too large.
#[test]
fn refusals_of_photos_are_told_from_others() {
    use AboutPhoto as A;
    for (expected, status, body) in [
        (
            Some(A::NotTaken),
            500,
            r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#,
        ),
        (
            Some(A::NotTaken),
            400,
            r#"{"object":"error","message":"org/model is not a multimodal model None","type":"BadRequestError","code":400}"#,
        ),
        (
            Some(A::NotTaken),
            400,
            r#"{"error":{"message":"At most 0 image(s) may be provided in one prompt.","type":"BadRequestError"}}"#,
        ),
        (
            Some(A::NotTaken),
            422,
            "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, expected `text` at line 1 column 99",
        ),
        (
            Some(A::NotTaken),
            400,
            r#"{"error":{"message":"Invalid content type. image_url is only supported by certain models.","type":"invalid_request_error"}}"#,
        ),
        (
            Some(A::NotTaken),
            404,
            r#"{"error":{"message":"No endpoints found that support image input","code":404}}"#,
        ),
        (
            Some(A::NotTaken),
            400,
            r#"{"error":{"message":"This model does not support vision","type":"invalid_request_error"}}"#,
        ),
        (Some(A::TooLarge), 413, "<html><h1>413 Request Entity Too Large</h1></html>"),
        (
            Some(A::TooLarge),
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.0.content.0.image.source.base64: image exceeds 5 MB maximum: 5602816 bytes > 5242880 bytes"}}"#,
        ),
        (Some(A::TooLarge), 400, "Failed to buffer the request body: length limit exceeded"),
        (
            None,
            400,
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","code":"context_length_exceeded"}}"#,
        ),
        (
            None,
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens'.","param":"max_tokens","code":"unsupported_parameter"}}"#,
        ),
        (None, 429, r#"{"error":{"message":"Rate limit reached"}}"#),
        (None, 500, ""),
    ] {
        assert_eq!(Refusal::read(body).about_photo(status), expected, "{status} {body}");
    }
}

proptest! {
    #[test]
    fn any_refusal_is_read_without_panic(status in 100u16..1000, body in "\\PC*") {
        let refusal = Refusal::read(&body);
        refusal.reason(status);
        refusal.about_photo(status);
        refusal.retry_after(&HeaderMap::new());
        readable(&body);
        readable(&format!("<{body}"));
        readable(&format!("< <ſtyle {body} <script {body}"));
    }
}
