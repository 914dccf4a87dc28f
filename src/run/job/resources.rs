use std::sync::Arc;

use crate::encoder::Encoder;
use crate::instruction::store::InstructionStore;
use crate::sandbox::FileAccess;
use crate::work::{Backend, Throttle};

/// What a job does when the LLM cannot be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDeadBackend {
    /// Finishes without the missing answers and says so: a person is there to start it again.
    #[default]
    GiveUp,
    /// Waits until the LLM answers again, and goes on by itself.
    Pause,
}

/// What a job shares with others, where it does not open its own.
#[derive(Clone, Default)]
pub struct Resources {
    /// In place of the one that the configuration names. Its own decoding limits then hold for
    /// the photos. Each call must embed its batch as one: vectors depend on it in their last bits.
    pub encoder: Option<Arc<dyn Encoder>>,
    /// In place of one made from the configuration's `llm`, whose settings it replaces.
    pub backend: Option<Backend>,
    pub on_dead_backend: OnDeadBackend,
    /// Which files the source, its photos and the report's thumbnails may be read from.
    pub access: FileAccess,
    /// Where a generation puts its instructions when it is asked to. Its vectors are `encoder`'s.
    pub library: Option<Arc<InstructionStore>>,
    /// Asked before each photo is decoded.
    pub throttle: Option<Arc<dyn Throttle>>,
}
