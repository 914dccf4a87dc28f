//! Who calls, and what one caller may take: the identity that shares of the encoder and quotas go
//! by.

mod account;
mod bucket;
mod identity;
mod quotas;

pub use account::{Account, Accounts};
pub use identity::{Caller, TrustedProxies};
pub use quotas::Quotas;
