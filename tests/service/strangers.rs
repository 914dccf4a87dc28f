//! What those who mean no good, or do not know better, can do to a server: little, and not for long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use pairwright::server::pb;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::job_service_client::JobServiceClient;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::ops::{health, until_health};
use crate::support::serve::{Server, command, info, reason};

async fn embeds(server: &Server) -> Result<(), tonic::Status> {
    let mut client = EmbeddingServiceClient::new(server.connect().await);
    let request = pb::EmbedTextsRequest { texts: vec!["a cat".into()], lane: 0 };
    client.embed_texts(request).await.map(drop)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_keep_nobody_out() {
    let config = tempfile::NamedTempFile::new().expect("temp file");
    let text = "[serve.limits]\nmax_connections = 32\n[serve.connections]\ngreeting_seconds = 3\n";
    fs_err::write(config.path(), text).expect("write");
    let server = Server::start(&["--config", &config.path().to_string_lossy()]);
    until_health(&server, "", ServingStatus::Serving).await;
    for words in [&b""[..], b"PRI * HTTP/2.0\r\n", &[PREFACE, NO_SETTINGS].concat()] {
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut one = TcpStream::connect(&server.address).expect("connects");
            // One that was closed already cannot be told anything.
            let _ = one.write_all(words);
            held.push(one);
        }
        assert_eq!(health(&server, "").await, ServingStatus::Serving, "{words:?}");
        // Those who have just spoken are not closed for another at once.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        embeds(&server).await.unwrap_or_else(|status| panic!("{words:?}: {status:?}"));
        assert_eq!(health(&server, "").await, ServingStatus::Serving, "{words:?}");
    }
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(&server.address)).collect();
    assert!(silent.iter().all(Result::is_ok));
    server.until_metric("pw_connections_open", |open| open >= 8.0).await;
    // Nobody needs their places; the time to speak is over all the same.
    server.until_metric("pw_connections_open", |open| open < 8.0).await;
}

/// One HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header as HPACK's literal without indexing.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = vec![u8::try_from(text.len()).expect("short")];
        bytes.extend(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// Begins a call of EmbedTexts with a message of `declared` bytes and sends as much of `sent` as
/// the server takes; whether all of it.
fn half_a_message(address: &str, declared: u32, sent: usize) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let headers: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pairwright.v1.EmbeddingService/EmbedTexts"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .into_iter()
    .flat_map(|(name, value)| header(name, value))
    .collect();
    let mut start = PREFACE.to_vec();
    start.extend(NO_SETTINGS);
    start.extend(frame(1, 4, 1, &headers));
    let mut begin = vec![0];
    begin.extend(declared.to_be_bytes());
    start.extend(frame(0, 0, 1, &begin));
    stream.write_all(&start).expect("said");
    // What HTTP/2 allows before the server says more.
    let (mut connection, mut call) = (65_530i64, 65_530i64);
    let piece = vec![0u8; 16_000];
    let mut left = sent;
    while left > 0 {
        let now = left.min(piece.len());
        if connection.min(call) >= now as i64 {
            if stream.write_all(&frame(0, 0, 1, &piece[..now])).is_err() {
                return (stream, false);
            }
            (connection, call, left) = (connection - now as i64, call - now as i64, left - now);
            continue;
        }
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return (stream, false);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).expect("a whole frame");
        let of_call = head[8] == 1;
        match head[3] {
            // The end of the call, refused: its headers, or a reset.
            1 | 3 if of_call => return (stream, false),
            4 if head[4] & 1 == 0 => {
                for setting in payload.chunks_exact(6).filter(|setting| setting[1] == 4) {
                    let size = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    call += i64::from(size) - 65_535;
                }
                stream.write_all(&frame(4, 1, 0, &[])).expect("said");
            }
            8 => {
                let more = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                *if of_call { &mut call } else { &mut connection } += i64::from(more);
            }
            _ => {}
        }
    }
    (stream, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_messages_take_no_more_memory_than_their_budget() {
    let server = Server::start(&["--max-message-mb", "31", "--max-messages-mb", "128"]);
    embeds(&server).await.expect("works");
    let before = server.resident();
    let address = server.address.clone();
    // All from one address, which is one caller: it may hold half.
    let flood = tokio::task::spawn_blocking(move || {
        (0..16).map(|_| half_a_message(&address, 31 << 20, 30 << 20)).collect::<Vec<_>>()
    });
    let held = flood.await.expect("no panic");
    let taken = held.iter().filter(|(_, all)| *all).count();
    assert!((2..16).contains(&taken), "half of 128 MiB hold two of 30 MiB, {taken} were taken");
    let grown = server.resident().saturating_sub(before) >> 20;
    // As it came, once more while it is read, and some for sixteen connections; 480 were sent.
    assert!(grown < 192, "{grown} MiB for half-sent messages");
    embeds(&server).await.expect("small calls pass");
    // Half a message is given up for a whole one when it has been coming for too long.
    let text = "a cat ".repeat(4000);
    // Its size passes, and its number of items is refused once it is read.
    let large = || pb::EmbedTextsRequest { texts: vec![text.clone(); 300], lane: 0 };
    let mut client = EmbeddingServiceClient::new(server.connect().await);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let status = client.embed_texts(large()).await.expect_err("too many items");
        if reason(&status) != "MESSAGES_FULL" {
            assert_eq!(reason(&status), "TOO_MANY_ITEMS");
            break;
        }
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.metadata().contains_key("retry-after"));
        assert!(Instant::now() < until, "never let in");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(held);
    embeds(&server).await.expect("works");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Takes the places of one caller with calls of which so much is declared and sent, and waits until
/// one of another connection of its is served.
async fn until_served(settings: &str, (declared, sent): (u32, usize)) {
    let config = tempfile::NamedTempFile::new().expect("temp file");
    let text = format!("[serve.limits]\nmax_requests = 8\n{settings}");
    fs_err::write(config.path(), text).expect("written");
    let server = Server::start(&["--config", &config.path().to_string_lossy()]);
    let address = server.address.clone();
    let silent = tokio::task::spawn_blocking(move || {
        (0..32).map(|_| half_a_message(&address, declared, sent)).collect::<Vec<_>>()
    });
    let silent = silent.await.expect("no panic");
    // What is sent has not come yet: a call that overtook it would find a place.
    let until = Instant::now() + Duration::from_secs(60);
    while server.log().matches("calls are under way for you").count() < silent.len() - 4 {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = embeds(&server).await.expect_err("its caller has its share");
    assert_eq!(reason(&refused), "TOO_MANY_REQUESTS");
    assert_eq!(info(&refused).metadata["allowed"], "4");
    // The default deadline of a call is five minutes, that of silence one.
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(status) = embeds(&server).await {
        assert_eq!(reason(&status), "TOO_MANY_REQUESTS");
        assert!(Instant::now() < until, "their places never came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_calls_give_their_places_back_soon() {
    until_served("stream_idle_seconds = 2\n", (100, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_sent_to_their_end_make_room_for_others() {
    until_served("", (100, 10)).await;
    // A whole message, and no end of the request after it.
    until_served("", (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_does_not_end_a_server_without_keys() {
    let mut server = Server::start(&[]);
    server.signal("HUP");
    let until = Instant::now() + Duration::from_secs(60);
    while !server.log().contains("SIGHUP") {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    embeds(&server).await.expect("goes on");
    assert!(server.terminate().success(), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_about_to_go_says_so_while_its_port_is_open() {
    let mut server = Server::start(&["--lame-duck-seconds", "3"]);
    until_health(&server, "", ServingStatus::Serving).await;
    let mut client = HealthClient::new(server.connect().await);
    let watched = client.watch(HealthCheckRequest::default()).await.expect("watching");
    let mut watched = watched.into_inner();
    let first = watched.message().await.expect("a message").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    server.signal("TERM");
    let told = watched.message().await.expect("a message").expect("a status");
    assert_eq!(told.status(), ServingStatus::NotServing);
    // A new connection, and a call on it.
    assert_eq!(health(&server, "").await, ServingStatus::NotServing);
    embeds(&server).await.expect("still served");
    assert_eq!(watched.message().await.expect_err("ended").code(), Code::Unavailable);
    assert!(server.wait(Duration::from_secs(60)).success());
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn a_signal_while_the_library_is_made_ends_it_promptly() {
    let folder = tempfile::tempdir().expect("temp dir");
    let seeds: String =
        (0..50_000).map(|at| format!("Write about subject {at} at length.\n")).collect();
    let library = folder.path().join("seeds.txt");
    fs_err::write(&library, seeds).expect("written");
    let log = fs_err::File::create(folder.path().join("log")).expect("made").into_file();
    let mut child = command(folder.path())
        .args(["--listen", "127.0.0.1:0", "--library-seed"])
        .arg(&library)
        .stderr(log)
        .spawn()
        .expect("starts");
    let read = || fs_err::read_to_string(folder.path().join("log")).expect("log");
    let until = Instant::now() + Duration::from_secs(120);
    while !read().contains("opened: model") {
        assert!(Instant::now() < until, "{}", read());
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(sent.expect("kill runs").success());
    let began = Instant::now();
    let ended = child.wait().expect("reaped");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(!ended.success() && read().contains("opened: model"), "{ended}: {}", read());
}

#[tokio::test(flavor = "multi_thread")]
async fn supplied_vectors_survive_another_model_or_the_server_does_not_start() {
    let folder = tempfile::tempdir().expect("temp dir");
    let supplied: Vec<f32> = (0..384).map(|at| if at == 5 { 1.0 } else { 0.0 }).collect();
    {
        let mut server = Server::over(folder.path(), &["--library-seed", "none"]);
        let mut client = InstructionServiceClient::new(server.connect().await);
        let instruction = pb::Instruction {
            text: "Write a poem.".into(),
            embedding: Some(pb::Embedding { values: supplied.clone() }),
            ..Default::default()
        };
        let request = pb::CreateInstructionRequest {
            instruction_id: "mine".into(),
            instruction: Some(instruction),
        };
        client.create_instruction(request).await.expect("created");
        drop(client);
        assert!(server.terminate().success());
    }
    let other = ["--model-prompt", "a photo of {}"];
    let mut refused = command(folder.path());
    let done = refused.args(["--listen", "127.0.0.1:0"]).args(other).output().expect("runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{told}");
    assert!(told.contains("--on-changed-model"), "{told}");
    let flags = [&other[..], &["--on-changed-model", "keep"]].concat();
    let server = Server::over(folder.path(), &flags);
    let mut client = InstructionServiceClient::new(server.connect().await);
    let request =
        pb::GetInstructionRequest { name: "instructions/mine".into(), include_embedding: true };
    let kept = client.get_instruction(request).await.expect("there").into_inner();
    assert_eq!(kept.embedding.expect("asked for").values, supplied);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_ids_and_texts_that_nobody_should_take_are_refused() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let mut jobs = JobServiceClient::new(channel.clone());
    for token in ["x", "019abc", "anything-at-all"] {
        let request = pb::ListJobsRequest { page_token: token.into(), ..Default::default() };
        let status = jobs.list_jobs(request).await.expect_err("refused");
        assert_eq!(reason(&status), "BAD_PAGE_TOKEN", "{token}");
    }
    let mut library = InstructionServiceClient::new(channel);
    let new = |id: &str, text: &str, category: &str| pb::CreateInstructionRequest {
        instruction_id: id.into(),
        instruction: Some(pb::Instruction {
            text: text.into(),
            category: category.into(),
            ..Default::default()
        }),
    };
    for (request, wanted) in [
        (new(".", "Write.", ""), "BAD_INSTRUCTION_ID"),
        (new("..", "Write.", ""), "BAD_INSTRUCTION_ID"),
        (new("-", "Write.", ""), "BAD_INSTRUCTION_ID"),
        (new("a", "Write\0.", ""), "FIELD_INVALID"),
        (new("a", "Write\u{7}.", ""), "FIELD_INVALID"),
        (new("a", "Write \u{202e}.", ""), "FIELD_INVALID"),
        (new("a", "Write.", "\u{2067}x"), "FIELD_INVALID"),
    ] {
        let status = library.create_instruction(request).await.expect_err("refused");
        assert_eq!((status.code(), &*reason(&status)), (Code::InvalidArgument, wanted));
    }
    library.create_instruction(new("a", "Write\tא\nb.", "c")).await.expect("sound");
}
