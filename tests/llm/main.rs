//! Language models: the managed local server, and servers that speak the OpenAI protocol.

#[path = "../support/mod.rs"]
mod support;

mod local;
mod openai;
mod reasoning;
mod roles;
mod shapes;
mod stage;
