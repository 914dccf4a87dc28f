//! What the fuzz targets share: how an input stands for a call or a file, and the first inputs.

pub mod files;
pub mod seeds;

use bytes::Bytes;
use pairwright::server::methods::METHODS;

/// Methods whose request is a stream: the input is cut into messages by a length of two bytes
/// before each.
const STREAMS: [&str; 3] = [
    "/pairwright.v1.AnswerService/AnswerPairs",
    "/pairwright.v1.EmbeddingService/EmbedStream",
    "/pairwright.v1.MatchingService/MatchStream",
];

/// Every method of the service itself; an input's first byte chooses one.
fn methods() -> impl Iterator<Item = &'static str> {
    METHODS.all().filter(|method| method.starts_with("/pairwright."))
}

/// A call: its method and its body as gRPC frames.
pub fn call(input: &[u8]) -> Option<(&'static str, Bytes)> {
    let (&which, rest) = input.split_first()?;
    let method = methods().nth(usize::from(which) % methods().count())?;
    let body = if STREAMS.contains(&method) { frames(rest) } else { frame(rest) };
    Some((method, body))
}

/// The input that stands for a call; the messages are encoded ones.
///
/// # Panics
/// If there is no such method.
pub fn input(method: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let at = methods().position(|one| one == method).expect("a method of the service");
    let mut input = vec![at as u8];
    for message in messages {
        if STREAMS.contains(&method) {
            input.extend((message.len() as u16).to_be_bytes());
        }
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
