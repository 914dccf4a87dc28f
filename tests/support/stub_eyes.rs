//! What the stub sees: the photos of a request, and what becomes of them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use image::DynamicImage;
use serde_json::{Value, json};

use super::Eyes;
use super::replies::failure;

/// The photo of a request: bytes and pixels of the JPEG in its data URL, which must be one.
pub fn shown(request: &Value) -> Option<(Vec<u8>, DynamicImage)> {
    let messages = request["messages"].as_array().into_iter().flatten();
    let parts = messages.filter_map(|message| message["content"].as_array()).flatten();
    let url = parts.filter_map(|part| part["image_url"]["url"].as_str()).next_back()?;
    let encoded = url.strip_prefix("data:image/jpeg;base64,").expect("a JPEG as a data URL");
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = engine.decode(encoded).expect("base64");
    let image = image::load_from_memory(&bytes).expect("a JPEG that decodes");
    Some((bytes, image))
}

/// The words of a request's last message.
pub fn asked(request: &Value) -> String {
    let content =
        &request["messages"].as_array().expect("messages").last().expect("one")["content"];
    let parts = content.as_array().into_iter().flatten();
    let text = parts.filter_map(|part| part["text"].as_str()).next_back();
    text.or(content.as_str()).unwrap_or_default().to_owned()
}

/// What comes back for the photo's sake; `None` where the call goes its usual way.
pub fn look(eyes: Eyes, request: &Value, (_, photo): &(Vec<u8>, DynamicImage)) -> Option<Response> {
    match eyes {
        Eyes::None => {
            return Some(failure(500, "image input is not supported - hint: provide the mmproj"));
        }
        Eyes::UpTo(side) if photo.width().max(photo.height()) > side => {
            return Some(failure(413, "Payload Too Large"));
        }
        Eyes::Good | Eyes::Blind | Eyes::UpTo(_) => {}
    }
    asked(request).contains("four squares").then(|| {
        let said =
            if eyes == Eyes::Blind { "red, green, blue, yellow".into() } else { colours(photo) };
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": said},
            "finish_reason": "stop"});
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5});
        Json(json!({"object": "chat.completion", "model": request["model"], "choices": [choice],
            "usage": usage}))
        .into_response()
    })
}

/// The colours along the middle of a picture, as far as it knows them.
fn colours(photo: &DynamicImage) -> String {
    const KNOWN: [(&str, [u8; 3]); 4] = [
        ("green", [0, 150, 60]),
        ("black", [0; 3]),
        ("red", [215, 20, 30]),
        ("yellow", [250, 215, 0]),
    ];
    let photo = photo.to_rgb8();
    let mut seen: Vec<&str> = Vec::new();
    for x in 0..photo.width() {
        let pixel = photo.get_pixel(x, photo.height() / 2).0;
        let near = |colour: [u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 24);
        if let Some((name, _)) = KNOWN.iter().find(|(_, colour)| near(*colour))
            && seen.last() != Some(name)
        {
            seen.push(name);
        }
    }
    seen.join(", ")
}
