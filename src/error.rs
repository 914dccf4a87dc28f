//! The crate's error and the one table that says what kind each error is.

/// What kind of failure an error is: decides the exit code today and the gRPC status in the
/// service. Kept small on purpose; details live in each error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's input or configuration is wrong; the same call will fail again.
    InvalidInput,
    /// A named file, model, item or run does not exist.
    NotFound,
    /// A limit or a quota refused the input.
    ResourceExhausted,
    /// The state on disk or of a model does not allow the call (wrong model, damaged file).
    FailedPrecondition,
    /// A backend (LLM server, hub) cannot be reached now; the same call may pass later.
    Unavailable,
    /// Key or token refused by a backend.
    PermissionDenied,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// The user stopped the work.
    Cancelled,
    /// Our fault, or the machine's.
    Internal,
}

/// Any failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
