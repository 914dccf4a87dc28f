//! The methods the server knows, as HTTP/2 paths.

/// Full method paths such as `/pairwright.v1.JobService/GetJob`, apart by how they are called.
#[derive(Debug, Clone, Copy)]
pub struct Methods {
    /// One message in, one out.
    pub unary: &'static [&'static str],
    /// A stream in at least one direction.
    pub streaming: &'static [&'static str],
}

/// The label of calls to methods that do not exist; their paths are the caller's free choice and
/// must not become metric labels.
pub const OTHER: &str = "other";

/// The path prefix of the health service, which must answer whatever else is refused.
const HEALTH: &str = "/grpc.health.v1.Health/";

impl Methods {
    /// Every known method.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.unary.iter().chain(self.streaming).copied()
    }

    /// Whether `path` is called with a stream. Unknown paths are not.
    pub fn is_streaming(&self, path: &str) -> bool {
        self.streaming.contains(&path)
    }
}

/// Whether `path` is a method of the health service.
pub fn is_health(path: &str) -> bool {
    path.starts_with(HEALTH)
}
