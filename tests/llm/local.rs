//! The managed llama.cpp server: the real program with the real small model, and its real deaths.
//! Skipped, loudly, where `make setup` has not fetched them.

use pairwright::Failure;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pairwright::answer::PromptSet;
use pairwright::answer::prompt::BuiltIn;
use pairwright::llm::BuiltInSet;
use pairwright::llm::{
    ChatModel, ChatRequest, FinishReason, LlmConfig, LlmError, LocalChat, LocalConfig, Message,
    SamplingSettings,
};
use tokio_util::sync::CancellationToken;

mod fake;

use crate::support::paths::again;

/// One server at a time: several of them on a small machine only slow each other down.
static TURN: Mutex<()> = Mutex::new(());

fn config() -> LlmConfig {
    let local = LocalConfig {
        threads: Some(1),
        slots: 2,
        context_per_slot: 512,
        max_restarts: 1,
        ..Default::default()
    };
    LlmConfig { local, ..Default::default() }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

/// Runs `test` with a fresh server.
fn with_server(name: &str, test: impl AsyncFnOnce(LocalChat)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    run(async {
        match LocalChat::start(None, &config()).await {
            Ok(chat) => test(chat).await,
            Err(error) if error.code() == "llm_missing" => {
                eprintln!("SKIPPED {name}: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    });
}

fn question(text: &str, max_tokens: u32) -> ChatRequest {
    let settings = SamplingSettings { max_tokens, repeat_penalty: Some(1.1), ..Default::default() };
    let messages = vec![Message::system("You are a helpful assistant."), Message::user(text)];
    ChatRequest::new(messages, settings, 11)
}

/// Tokens that a prompt with this description takes.
async fn prompt_tokens(chat: &LocalChat, description: &str) -> u64 {
    let prompts =
        PromptSet::read(&BuiltIn::of(BuiltInSet::Small), None, None, 0).expect("built-in prompts");
    let messages = prompts.build(description, &[], "Write a line about the image.", 1);
    count(chat, messages).await
}

async fn count(chat: &LocalChat, messages: Vec<Message>) -> u64 {
    let settings = SamplingSettings { max_tokens: 1, ..Default::default() };
    let request = ChatRequest::new(messages, settings, 1);
    let reply = chat.chat(&request, &CancellationToken::new()).await.expect("a reply");
    reply.usage.prompt_tokens
}

/// A prompt with template tokens in its description has as many tokens as its twin with spaces
/// inside them: the server reads none of them as a control token.
#[test]
fn template_tokens_in_a_description_are_text_for_the_server() {
    const TOKENS: [&str; 5] =
        ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<file_sep>", "<jupyter_text>"];
    with_server("template tokens", async |chat| {
        for token in TOKENS {
            let (first, last) = (&token[..1], &token[token.len() - 1..]);
            let twin = format!("Soup.{first} {} {last} Go on.", &token[1..token.len() - 1]);
            let raw = format!("Soup.{token} Go on.");
            let sent = prompt_tokens(&chat, &raw).await;
            assert_eq!(sent, prompt_tokens(&chat, &twin).await, "{token}");
            // As it stands, it is one token for this server: the prompt would be shorter.
            let user = |text: &str| vec![Message::user(text)];
            assert!(count(&chat, user(&raw)).await < count(&chat, user(&twin)).await, "{token}");
        }
    });
}

async fn ask(chat: &LocalChat, request: &ChatRequest) -> Result<String, LlmError> {
    chat.chat(request, &CancellationToken::new()).await.map(|reply| reply.text)
}

/// The processes of a group with their names.
fn members(group: u32) -> Vec<(String, String)> {
    let listed = Command::new("ps").args(["-A", "-o", "pgid=,pid=,comm="]).output();
    let listed = String::from_utf8(listed.expect("ps runs").stdout).expect("text");
    let fields = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let group = group.to_string();
    fields
        .filter(|line| line.len() >= 3 && line[0] == group && !line[2].contains("defunct"))
        .map(|line| (line[1].to_owned(), line[2].to_owned()))
        .collect()
}

fn kill(target: &str) {
    let status = Command::new("kill").args(["-KILL", "--", target]).status().expect("kill runs");
    assert!(status.success(), "killed {target}");
}

/// Kills the server and leaves its shell alone.
fn kill_server(group: u32) {
    let members = members(group);
    let server = members.iter().find(|(_, name)| name.contains("llama-server"));
    kill(&server.unwrap_or_else(|| panic!("a server among {members:?}")).0);
}

fn assert_empties(group: u32) {
    let start = Instant::now();
    while !members(group).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "still there: {:?}", members(group));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn answers_equal_questions_equally_alone_and_in_parallel() {
    with_server("answers", async |chat| {
        assert!(chat.name().contains("SmolLM2"), "{}", chat.name());
        chat.check().await.expect("healthy");
        let bus = question("Describe a red bus in one sentence.", 24);
        let cat = question("Why do cats sleep so much?", 24);
        let reply = chat.chat(&bus, &CancellationToken::new()).await.expect("answered");
        // A wrong chat template drops the prompt and still answers.
        assert!(reply.usage.prompt_tokens > 10, "{reply:?}");
        assert!(reply.usage.completion_tokens > 3 && !reply.text.is_empty(), "{reply:?}");
        assert_eq!(reply.attempts, 1);
        let alone = ask(&chat, &cat).await.expect("answered");
        let (first, second) = tokio::join!(ask(&chat, &bus), ask(&chat, &cat));
        assert_eq!(first.expect("answered"), reply.text);
        assert_eq!(second.expect("answered"), alone);
        let other = ChatRequest { seed: 12, ..bus };
        assert_ne!(ask(&chat, &other).await.expect("answered"), reply.text);
    });
}

#[test]
fn follows_a_schema_and_streams_the_same_text() {
    with_server("schema", async |chat| {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}, "wheels": {"type": "integer"}},
            "required": ["colour", "wheels"],
        });
        let request = question("Describe a bus as JSON.", 64).with_json_schema(schema);
        let cancel = CancellationToken::new();
        let whole = chat.chat(&request, &cancel).await.expect("answered");
        assert_eq!(whole.finish, FinishReason::Stop, "{whole:?}");
        let parsed: serde_json::Value = serde_json::from_str(&whole.text).expect("JSON");
        assert!(parsed["colour"] == "red" || parsed["colour"] == "blue", "{parsed}");

        let (sender, mut arriving) = tokio::sync::mpsc::channel(256);
        let reply = chat.chat_stream(&request, &cancel, sender).await.expect("streamed");
        let mut pieces = Vec::new();
        while let Ok(piece) = arriving.try_recv() {
            pieces.push(piece);
        }
        assert!(pieces.len() > 2, "{pieces:?}");
        assert_eq!((pieces.concat(), &reply.text), (whole.text.clone(), &whole.text));
        assert_eq!(reply.usage, whole.usage);
    });
}

#[test]
fn too_long_a_conversation_is_named_as_such() {
    with_server("too long", async |chat| {
        let long = question(&"many words about a bus ".repeat(300), 16);
        let error = ask(&chat, &long).await.expect_err("does not fit");
        assert_eq!((error.code(), error.attempts), ("llm_context_too_long", 1), "{error}");
    });
}

#[test]
fn a_killed_server_comes_back_and_then_is_given_up() {
    with_server("restart", async |chat| {
        let group = chat.process_group().expect("live");
        let request = question("Write a long story about a bus.", 300);
        let (reply, ()) = tokio::join!(ask(&chat, &request), async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            kill_server(group);
        });
        reply.expect("asked again after the death");
        assert_empties(group);
        assert_eq!(chat.stats().restarts, 1);
        let group = chat.process_group().expect("live again");
        kill(&format!("-{group}"));
        let error = ask(&chat, &request).await.expect_err("one restart was allowed");
        assert_eq!(error.code(), "llm_local_server", "{error}");
        assert!(error.to_string().contains("signal 9"), "{error}");
        assert_eq!(chat.process_group(), None);
    });
}

#[test]
fn dropping_the_model_ends_the_server() {
    with_server("drop", async |chat| {
        let group = chat.process_group().expect("live");
        assert!(members(group).len() >= 3, "server, shell and watcher");
        drop(chat);
        assert_empties(group);
    });
}

/// Not a test: the parent that the next test kills. It holds a server and says which.
#[test]
#[ignore = "run by a_killed_parent_takes_the_server_with_it"]
fn hold_a_server() {
    run(async {
        let chat = match LocalChat::start(None, &config()).await {
            Ok(chat) => chat,
            Err(error) => return println!("\nerror {error}"),
        };
        println!("\ngroup {}", chat.process_group().expect("live"));
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
}

#[test]
fn a_killed_parent_takes_the_server_with_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut parent =
        again(module_path!(), "hold_a_server").stdout(Stdio::piped()).spawn().expect("started");
    let output = BufReader::new(parent.stdout.take().expect("piped"));
    let mut said = output.lines().map_while(Result::ok);
    let line = said.find(|line| line.starts_with("group ") || line.starts_with("error "));
    let line = line.expect("the parent says something");
    let Some(group) = line.strip_prefix("group ") else {
        parent.wait().expect("ended");
        assert!(line.contains("make setup"), "{line}");
        return eprintln!("SKIPPED killed parent: {line}");
    };
    let group = group.parse().expect("a number");
    assert!(members(group).iter().any(|(_, name)| name.contains("llama-server")));
    kill(&parent.id().to_string());
    parent.wait().expect("killed");
    assert_empties(group);
}

#[test]
fn a_missing_program_or_model_names_make_setup() {
    run(async {
        let mut settings = config();
        settings.local.server = Some("/no/such/llama-server".into());
        let error = LocalChat::start(None, &settings).await.err().expect("no program");
        assert_eq!(error.code(), "llm_missing");
        let said = error.to_string();
        assert!(said.contains("make setup") && said.contains("/no/such/llama-server"), "{said}");
    });
}

#[test]
fn a_file_that_is_no_model_is_an_error_with_the_log() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gguf = folder.path().join("bad.gguf");
    std::fs::write(&gguf, "no model").expect("written");
    let mut settings = config();
    settings.local.log_dir = Some(folder.path().join("logs"));
    let error = run(LocalChat::start(Some(&gguf), &settings)).err().expect("no model");
    let said = error.to_string();
    if error.code() == "llm_missing" {
        return eprintln!("SKIPPED bad model: {said}");
    }
    assert_eq!(error.code(), "llm_local_server", "{said}");
    assert!(said.contains("exit code 1") && said.contains("failed to load model"), "{said}");
    let log = std::fs::read_to_string(folder.path().join("logs/llama-server-bad.log"));
    assert!(log.expect("a log is kept").contains("failed to load model"));
}
