//! Records, their durable store, and the formats they come from and go to (design 8, 9).

pub mod record;
pub mod sink;
pub mod source;
pub mod store;
