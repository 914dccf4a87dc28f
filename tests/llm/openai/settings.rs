//! Models, keys and settings.

use pairwright::Failure;
use pairwright::llm::{LlmConfig, connect};
use tokio_util::sync::CancellationToken;

use super::{client, question, quick, stub};
use crate::support::stub_llm::{Fault, StubLlm, StubOptions};

#[tokio::test]
async fn without_a_model_the_only_one_is_taken() {
    let config = |stub: &StubLlm| LlmConfig { model: None, ..quick(stub) };
    let one = stub().await;
    let model = connect(&config(&one)).await.expect("one model");
    assert_eq!(model.name(), "stub-model");
    model.check().await.expect("up");
    let models = vec!["a".into(), "b".into()];
    let two = StubLlm::start(StubOptions { models, ..Default::default() }).await;
    let error = connect(&config(&two)).await.err().expect("a choice is needed");
    assert_eq!((error.code(), error.to_string().contains("a, b")), ("llm_config", true));
}

#[tokio::test]
async fn keys_come_from_the_named_variable_and_are_not_shown() {
    // Cargo sets this one for every test, so that no test has to change the environment.
    let (variable, secret) = ("CARGO_PKG_NAME", "pairwright");
    let key = Some(secret.to_owned());
    let guarded = StubLlm::start(StubOptions { key, ..Default::default() }).await;
    let keyed = LlmConfig { api_key_env: Some(variable.into()), ..quick(&guarded) };
    let cancel = CancellationToken::new();
    let model = connect(&keyed).await.expect("connected");
    model.check().await.expect("the key is taken");
    model.chat(&question("x"), &cancel).await.expect("the key is taken");

    let keyless = connect(&quick(&guarded)).await.expect("connected");
    let error = keyless.chat(&question("x"), &cancel).await.expect_err("no key");
    assert!(error.to_string().contains("api_key_env"), "{error}");
    assert_eq!(keyless.check().await.expect_err("no key").code(), "llm_unauthorized");

    guarded.always(Fault::Status(403, "key pairwright may not do this"));
    let error = model.chat(&question("x"), &cancel).await.expect_err("forbidden");
    let said = error.to_string();
    assert!(said.contains(variable) && said.contains("key ***"), "{said}");
    assert!(!said.contains(secret), "{said}");
}

#[tokio::test]
async fn wrong_settings_never_reach_the_server() {
    let stub = stub().await;
    let model = client(&stub).await;
    let mut request = question("x");
    request.settings.temperature = 9.0;
    let error = model.chat(&request, &CancellationToken::new()).await.expect_err("out of range");
    assert_eq!((error.code(), error.attempts, stub.calls()), ("llm_config", 0, 0));
    let unset = LlmConfig { api_key_env: Some("PAIRWRIGHT_UNSET".into()), ..quick(&stub) };
    let error = connect(&unset).await.err().expect("no such variable");
    assert!(error.to_string().contains("PAIRWRIGHT_UNSET"), "{error}");
}
