//! The engine by itself: pictures, exports, encoders, the library, and models from a hub.

#[path = "../support/mod.rs"]
mod support;

mod clip_exports;
mod clip_layouts;
mod clip_multilingual;
mod clip_refusals;
mod clip_tokens;
mod encoder_golden;
mod image_golden;
mod library_encoder;
mod library_kill;
mod models_hub;
