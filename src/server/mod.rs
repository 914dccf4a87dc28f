//! The gRPC service: what surrounds every call.

pub mod auth;
pub mod error;
pub mod layers;
pub mod methods;
pub mod observe;
pub mod reason;
pub mod tls;

pub use error::ServerError;
pub use methods::Methods;
