//! Records, their durable store, and the formats they come from and go to.

pub mod names;
pub mod photos;
pub mod record;
pub mod sink;
pub mod source;
pub mod store;
mod viewer;

pub use photos::{ImageRef, Photos, Place};
pub use viewer::{PhotoViewer, ShowError};
