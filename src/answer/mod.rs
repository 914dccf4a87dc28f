//! (room)

pub mod filter;
