//! API keys: a file of hashed keys, who may call what, and the layer that asks.

mod error;
mod file;
mod key;
mod layer;
mod methods;
mod ring;

pub use error::KeysError;
pub use file::{KeyEntry, KeyFile};
pub use key::{ApiKey, KeyHash, Scope};
pub(super) use layer::out_of_scope;
pub use layer::{AuthLayer, Caller};
pub use methods::is_mutating;
pub use ring::KeyRing;
