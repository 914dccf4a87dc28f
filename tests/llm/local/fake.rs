//! Programs that stand in for the server, for ends that the real one does not take.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pairwright::llm::{LlmConfig, LocalChat};

use super::{config, run};
use crate::support::paths::again;

/// A stand-in with the settings that start it.
struct Fake {
    config: LlmConfig,
    gguf: PathBuf,
    _folder: tempfile::TempDir,
}

fn fake(script: &str) -> Fake {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, gguf) = (folder.path().join("llama-server"), folder.path().join("m.gguf"));
    std::fs::write(&server, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::write(&gguf, "").expect("written");
    let runnable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&server, runnable).expect("made runnable");
    let mut config = config();
    config.local.server = Some(server);
    config.local.start_deadline_s = 1.0;
    Fake { config, gguf, _folder: folder }
}

#[test]
fn a_server_that_never_gets_healthy_is_ended() {
    let fake = fake("echo group $$; echo loading forever >&2; sleep 600");
    let error = run(LocalChat::start(Some(&fake.gguf), &fake.config)).err().expect("too late");
    let said = error.to_string();
    assert!(said.contains("not healthy within 1s") && said.contains("loading forever"), "{said}");
    let pid = said.split("group ").nth(1).and_then(|rest| rest.lines().next()).expect("logged");
    let start = Instant::now();
    while Path::new("/proc").join(pid.trim()).exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "{pid} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_for_another_processor_is_explained() {
    let fake = fake("kill -ILL $$");
    let error = run(LocalChat::start(Some(&fake.gguf), &fake.config)).err().expect("crashed");
    assert!(error.to_string().contains("another processor"), "{error}");
}

/// Not a test by itself: the next one runs it with a setting in its environment.
#[test]
#[ignore = "run by the_users_llama_settings_do_not_reach_the_server"]
fn show_the_servers_environment() {
    // The script shows its environment in the log that the error quotes.
    let fake = fake("env | grep -E '^LLAMA_' | cut -d= -f1; echo \"$LD_LIBRARY_PATH\"; exit 3");
    let error = run(LocalChat::start(Some(&fake.gguf), &fake.config)).err().expect("ended");
    let said = error.to_string();
    let folder = fake.gguf.parent().expect("in a folder").display().to_string();
    assert!(said.contains("exit code 3") && said.contains(&folder), "{said}");
    assert!(said.contains("LLAMA_API_KEY") && !said.contains("LLAMA_ARG"), "{said}");
}

#[test]
fn the_users_llama_settings_do_not_reach_the_server() {
    let mut test = again(module_path!(), "show_the_servers_environment");
    let output = test.env("LLAMA_ARG_PORT", "1").output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_missing_model_is_named() {
    let fake = fake("exit 0");
    let gguf = Path::new("/no/such/model.gguf");
    let error = run(LocalChat::start(Some(gguf), &fake.config)).err().expect("no model");
    assert!(error.to_string().contains("/no/such/model.gguf"), "{error}");
}
