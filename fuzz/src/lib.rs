//! What the fuzz targets share: how an input stands for a call, and the first inputs.

pub mod seeds;

use bytes::Bytes;

/// Methods whose request is one message. An input's first byte chooses one of these or of
/// [`STREAMING`].
pub const UNARY: [&str; 25] = [
    "/pairwright.v1.AnswerService/GenerateAnswer",
    "/pairwright.v1.EmbeddingService/EmbedImages",
    "/pairwright.v1.EmbeddingService/EmbedTexts",
    "/pairwright.v1.InfoService/GetServerInfo",
    "/pairwright.v1.InstructionService/BatchCreateInstructions",
    "/pairwright.v1.InstructionService/CreateInstruction",
    "/pairwright.v1.InstructionService/DeleteInstruction",
    "/pairwright.v1.InstructionService/GetInstruction",
    "/pairwright.v1.InstructionService/ListInstructions",
    "/pairwright.v1.InstructionService/SearchInstructions",
    "/pairwright.v1.JobService/CancelJob",
    "/pairwright.v1.JobService/GetJob",
    "/pairwright.v1.JobService/ListJobPairs",
    "/pairwright.v1.JobService/ListJobs",
    "/pairwright.v1.JobService/ResumeJob",
    "/pairwright.v1.JobService/WatchJob",
    "/pairwright.v1.MatchingService/BatchMatch",
    "/pairwright.v1.MatchingService/Match",
    "/pairwright.v1.MatchingService/SearchImages",
    "/pairwright.v1.EvaluationService/Compare",
    "/pairwright.v1.EvaluationService/GetEvaluation",
    "/pairwright.v1.EvaluationService/Judge",
    "/pairwright.v1.InstructionService/Generate",
    "/pairwright.v1.JobService/ListJobInstructions",
    "/pairwright.v1.JobService/ListJobVerdicts",
];

/// Methods whose request is a stream: the input is cut into messages by a length of two bytes
/// before each.
pub const STREAMING: [&str; 3] = [
    "/pairwright.v1.AnswerService/AnswerPairs",
    "/pairwright.v1.EmbeddingService/EmbedStream",
    "/pairwright.v1.MatchingService/MatchStream",
];

/// A call: its method and its body as gRPC frames.
pub fn call(input: &[u8]) -> Option<(&'static str, Bytes)> {
    let (&which, rest) = input.split_first()?;
    let which = usize::from(which) % (UNARY.len() + STREAMING.len());
    if let Some(method) = UNARY.get(which) {
        return Some((method, frame(rest)));
    }
    Some((STREAMING[which - UNARY.len()], frames(rest)))
}

/// The input that stands for a call; the messages are encoded ones.
///
/// # Panics
/// If there is no such method.
pub fn input(method: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let at = |methods: &[&str]| methods.iter().position(|one| *one == method);
    if let Some(at) = at(&UNARY) {
        return [vec![at as u8], messages.concat()].concat();
    }
    let at = at(&STREAMING).expect("a method of the service");
    let mut input = vec![(UNARY.len() + at) as u8];
    for message in messages {
        input.extend((message.len() as u16).to_be_bytes());
        input.extend(message);
    }
    input
}

fn frame(message: &[u8]) -> Bytes {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat().into()
}

fn frames(mut rest: &[u8]) -> Bytes {
    let mut body = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        body.extend(frame(&after[..length]));
        rest = &after[length..];
    }
    body.into()
}
