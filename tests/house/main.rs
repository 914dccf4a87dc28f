//! The house rules that no compiler checks: which way the rooms of `src` look, and that the
//! documents name commands, targets and files that exist.

mod comments;
mod documents;
mod reasons;
mod rooms;
mod source;
