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

/// Streams of which only the answer is one.
const ANSWERS_ALONE: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/pairwright.v1.AnswerService/GenerateAnswer",
    "/pairwright.v1.JobService/WatchJob",
];

/// The path prefix of the health service, which must answer whatever else is refused.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The path prefix of reflection, whatever its version.
const REFLECTION: &str = "/grpc.reflection.";

impl Methods {
    /// Every known method.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.unary.iter().chain(self.streaming).copied()
    }

    /// Whether `path` is called with a stream. Unknown paths are not.
    pub fn is_streaming(&self, path: &str) -> bool {
        self.streaming.contains(&path)
    }

    /// Whether the request of `path` is one message, and only the answer a stream, or none.
    pub fn asks_once(&self, path: &str) -> bool {
        !self.is_streaming(path) || ANSWERS_ALONE.contains(&path)
    }
}

/// Whether `path` is a method of the health service.
pub fn is_health(path: &str) -> bool {
    path.starts_with(HEALTH)
}

/// What a stream watches that says nothing of its own and may stay open for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// A job's progress.
    Jobs,
    /// The contract, by reflection.
    Reflection,
    /// The server's health.
    Health,
}

impl Watched {
    /// How many kinds there are.
    pub const COUNT: usize = 3;
}

/// What `path` watches, if it is such a stream.
pub fn watched(path: &str) -> Option<Watched> {
    match path {
        "/pairwright.v1.JobService/WatchJob" => Some(Watched::Jobs),
        "/grpc.health.v1.Health/Watch" => Some(Watched::Health),
        _ if path.starts_with(REFLECTION) => Some(Watched::Reflection),
        _ => None,
    }
}

/// Whether `path` is answered while the server still loads: health and reflection.
pub fn is_early(path: &str) -> bool {
    is_health(path) || path.starts_with(REFLECTION)
}

/// Every method of the server.
pub const METHODS: Methods = Methods {
    unary: &[
        "/grpc.health.v1.Health/Check",
        "/pairwright.v1.EmbeddingService/EmbedImages",
        "/pairwright.v1.EmbeddingService/EmbedTexts",
        "/pairwright.v1.EvaluationService/Compare",
        "/pairwright.v1.EvaluationService/GetEvaluation",
        "/pairwright.v1.EvaluationService/Judge",
        "/pairwright.v1.InfoService/GetServerInfo",
        "/pairwright.v1.InstructionService/BatchCreateInstructions",
        "/pairwright.v1.InstructionService/CreateInstruction",
        "/pairwright.v1.InstructionService/DeleteInstruction",
        "/pairwright.v1.InstructionService/Generate",
        "/pairwright.v1.InstructionService/GetInstruction",
        "/pairwright.v1.InstructionService/ListInstructions",
        "/pairwright.v1.InstructionService/SearchInstructions",
        "/pairwright.v1.JobService/CancelJob",
        "/pairwright.v1.JobService/DeleteJob",
        "/pairwright.v1.JobService/GetJob",
        "/pairwright.v1.JobService/ListJobInstructions",
        "/pairwright.v1.JobService/ListJobPairs",
        "/pairwright.v1.JobService/ListJobVerdicts",
        "/pairwright.v1.JobService/ListJobs",
        "/pairwright.v1.JobService/ResumeJob",
        "/pairwright.v1.MatchingService/BatchMatch",
        "/pairwright.v1.MatchingService/Match",
        "/pairwright.v1.MatchingService/SearchImages",
    ],
    streaming: &[
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/pairwright.v1.AnswerService/AnswerPairs",
        "/pairwright.v1.AnswerService/GenerateAnswer",
        "/pairwright.v1.EmbeddingService/EmbedStream",
        "/pairwright.v1.JobService/WatchJob",
        "/pairwright.v1.MatchingService/MatchStream",
    ],
};

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::server::pb::DESCRIPTORS;

    #[test]
    fn the_table_names_every_method_of_the_contract() {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    let table = if streams { METHODS.streaming } else { METHODS.unary };
                    assert!(table.contains(&path.as_str()), "{path}");
                    assert_eq!(METHODS.asks_once(&path), !method.client_streaming(), "{path}");
                }
            }
        }
    }
}
