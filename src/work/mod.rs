//! What all long work shares: how it is stopped, what it tells of its progress, and how it lets
//! more urgent work go first.

mod progress;
mod stop;

pub use progress::{Phase, Progress, Silent, Throttle};
pub use stop::Stop;
