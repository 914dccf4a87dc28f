//! The gRPC service: the public contract of `proto/` over the engine.
//!
//! A call passes the layers ([`observe`], [`auth`], [`layers`]), its service checks it
//! ([`validate`]), calls the engine and maps the reply ([`convert`]) or the error ([`fault`]).

mod app;
pub mod auth;
mod batch;
mod bounds;
mod call;
pub mod callers;
mod convert;
pub mod error;
pub mod fault;
mod fetch;
mod generate;
mod health;
mod images;
mod in_process;
mod jobs;
mod judge;
pub mod layers;
mod limits;
mod llm_check;
mod matcher;
pub mod methods;
pub mod observe;
mod options;
mod pages;
mod probe;
pub mod reload;
mod routes;
mod serve;
mod services;
mod start;
mod streams;
mod switch;
mod telemetry;
pub mod tls;
mod validate;
mod writer;

pub use error::ServerError;
#[doc(hidden)]
pub use in_process::in_process;
pub use limits::Limits;
pub use methods::Methods;
pub use serve::{Ready, serve};

/// The contract's generated code.
pub mod pb {
    tonic::include_proto!("pairwright.v1");

    /// Every descriptor of the contract and of the messages it uses, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pairwright.bin"));
}
