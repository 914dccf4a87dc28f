//! What a read key may call.

/// First words of methods that change nothing and cost no LLM tokens.
const READS: [&str; 7] = ["Compare", "Get", "List", "Search", "Embed", "Match", "Watch"];

/// Services without any changing method.
const READ_SERVICES: [&str; 2] = ["grpc.health.v1.", "grpc.reflection."];

/// Whether the method at `path` needs a write key: whatever creates, deletes, cancels, resumes,
/// starts a job or spends LLM tokens. A method that is not known to only read counts as mutating,
/// so that forgetting one here closes it and opens nothing.
pub fn is_mutating(path: &str) -> bool {
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return true;
    };
    if READ_SERVICES.iter().any(|prefix| service.starts_with(prefix)) {
        return false;
    }
    !(service.starts_with("pairwright.v1.") && READS.iter().any(|word| begins(method, word)))
}

/// Whether `word` is the first word of `method`, which is written in UpperCamelCase.
fn begins(method: &str, word: &str) -> bool {
    method.strip_prefix(word).is_some_and(|rest| rest.chars().next().is_none_or(char::is_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_methods_are_known_and_all_others_mutate() {
        for method in [
            "EmbeddingService/EmbedImages",
            "EmbeddingService/EmbedStream",
            "InstructionService/GetInstruction",
            "InstructionService/SearchInstructions",
            "MatchingService/Match",
            "MatchingService/MatchStream",
            "JobService/WatchJob",
            "EvaluationService/Compare",
            "EvaluationService/GetEvaluation",
            "InfoService/GetInfo",
        ] {
            assert!(!is_mutating(&format!("/pairwright.v1.{method}")), "{method}");
        }
        for method in [
            "InstructionService/CreateInstruction",
            "InstructionService/BatchDeleteInstructions",
            "MatchingService/BatchMatch",
            "AnswerService/GenerateAnswer",
            "AnswerService/AnswerPairs",
            "JobService/CancelJob",
            "EvaluationService/Judge",
            "InstructionService/Generate",
            "InfoService/Getaway",
            "InfoService/",
        ] {
            assert!(is_mutating(&format!("/pairwright.v1.{method}")), "{method}");
        }
    }

    #[test]
    fn other_services_mutate_unless_they_are_known_to_read() {
        assert!(!is_mutating("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
        assert!(!is_mutating("/grpc.health.v1.Health/Watch"));
        for path in ["/other.v1.Service/GetThing", "/", "", "GetInfo"] {
            assert!(is_mutating(path), "{path:?}");
        }
    }
}
