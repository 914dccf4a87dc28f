use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::llm::chat::Message;
use crate::llm::config::{LlmConfig, LlmTarget};
use crate::llm::error::LlmFault;
use crate::llm::settings::SamplingSettings;
use crate::llm::spent::Prices;

fn none() -> Result<Vec<SpentBefore>, crate::base::db::DbError> {
    Ok(Vec::new())
}

fn account(ledger: &Arc<Ledger>, role: &str, config: &LlmConfig) -> Arc<Account> {
    Account::new(ledger, ("llm", role), config).expect("an account").of_model("m")
}

fn capped(max_tokens_total: u64) -> LlmConfig {
    LlmConfig { max_tokens_total: Some(max_tokens_total), ..LlmConfig::default() }
}

fn tokens(prompt: u64, completion: u64) -> Spent {
    Spent::call(prompt, completion, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spent_is_there_in_the_next_session_by_role() {
    let folder = tempfile::tempdir().expect("temp dir");
    let before = || Ok(vec![("llm", "answer", "m".to_owned(), tokens(5, 5))]);
    let ledger = Ledger::open(folder.path(), before).expect("a ledger");
    let config = LlmConfig {
        price_per_million_prompt_tokens: Some(2.0),
        price_per_million_completion_tokens: Some(10.0),
        ..LlmConfig::default()
    };
    let (answer, augment) =
        (account(&ledger, "answer", &config), account(&ledger, "augment", &config));
    for _ in 0..100 {
        answer.spend(tokens(10, 1));
        augment.spend(tokens(0, 1));
    }
    ledger.flush();
    let seen = Ledger::read(folder.path()).expect("a ledger");
    assert_eq!(seen, ledger.spending());
    drop((answer, augment, ledger));
    let panics = || panic!("what was spent before is asked once");
    let again = Ledger::open(folder.path(), panics).expect("a ledger").spending();
    assert_eq!(again, seen);
    let roles: Vec<_> = again.roles.iter().map(|one| (&*one.role, one.spent.tokens())).collect();
    assert_eq!(roles, [("answer", 1110), ("augment", 100)]);
    let expected = (1005.0 * 2.0 + 205.0 * 10.0) / 1e6;
    assert!((again.cost().expect("prices") - expected).abs() < 1e-12, "{again}");
    assert_eq!(again.to_string(), "1210 tokens, cost 0.00406");
}

#[tokio::test]
async fn a_cap_counts_calls_under_way_and_all_roles_of_its_section() {
    let folder = tempfile::tempdir().expect("temp dir");
    let ledger = Ledger::open(folder.path(), none).expect("a ledger");
    let (answer, augment) =
        (account(&ledger, "answer", &capped(100)), account(&ledger, "augment", &capped(100)));
    let free = CancellationToken::new();
    augment.spend(tokens(20, 20));
    let first = answer.reserve(tokens(10, 40), &free).await.expect("90 of 100");
    // Whether there is room shows when the first one has ended.
    let mut second = std::pin::pin!(augment.reserve(tokens(10, 20), &free));
    assert!(futures::poll!(second.as_mut()).is_pending());
    answer.spend(tokens(10, 15));
    drop(first);
    let place = second.await.expect("65 and 30 of 100");
    let error = answer.reserve(tokens(30, 10), &free).await.err().expect("105 of 100");
    let LlmFault::SpendingCap { setting, cap, spent, next } = error else { panic!("{error}") };
    assert_eq!((&*setting, &*cap), ("llm.max_tokens_total", "100"));
    assert_eq!((&*spent, &*next), ("65 tokens", "40 tokens"));
    // Another section has its own.
    let other = Account::new(&ledger, ("generate.llm", "augment"), &capped(100));
    let other = other.expect("an account").of_model("m");
    drop(other.reserve(tokens(50, 50), &free).await.expect("100 of 100"));
    drop(place);
    let gone = CancellationToken::new();
    gone.cancel();
    let _held = answer.reserve(tokens(10, 20), &free).await.expect("95 of 100");
    let error = answer.reserve(tokens(5, 5), &gone).await.err();
    assert_eq!(error, Some(LlmFault::Cancelled));
}

#[tokio::test]
async fn what_is_held_for_an_earlier_batch_is_free_once_that_has_ended() {
    let folder = tempfile::tempdir().expect("temp dir");
    {
        let ledger = Ledger::open(folder.path(), none).expect("a ledger");
        let sql = "INSERT INTO batches (token, server, section, role, made_at)
            VALUES ('t', 's', 'llm', 'answer', 0)";
        ledger.db().execute(sql, []).expect("a batch");
        for key in ["a", "b", "c"] {
            let sql = "INSERT INTO batch_calls
                (server, key, token, prompt_tokens, completion_tokens) VALUES ('s', ?1, 't', 20, 5)";
            ledger.db().execute(sql, [key]).expect("a call");
        }
    }
    let ledger = Ledger::open(folder.path(), none).expect("a ledger");
    let account = account(&ledger, "answer", &capped(100));
    let free = CancellationToken::new();
    let error = account.reserve(tokens(20, 10), &free).await.err().expect("105 of 100");
    assert!(matches!(error, LlmFault::SpendingCap { .. }), "{error}");
    // One is taken over; the end of the batch frees what was held for the others, once.
    let taken = account.take_over(("s", "a"), tokens(20, 5));
    account.settle("s", ["a", "b", "c", "b"].into_iter());
    let all = account.reserve(tokens(65, 10), &free).await.expect("100 of 100");
    drop((taken, all));
    assert!(account.reserve(tokens(100, 0), &free).await.is_ok());
}

#[test]
fn tokens_by_the_batch_cost_a_part() {
    let prices = Prices { prompt: 1.0, completion: 10.0, batch_factor: 0.5 };
    let mut spent = Spent::call(1_000_000, 100_000, true);
    assert!((spent.cost(&prices) - 1.0).abs() < 1e-9);
    spent += Spent::call(1_000_000, 100_000, false);
    assert!((spent.cost(&prices) - 3.0).abs() < 1e-9);
    assert_eq!((spent.calls, spent.tokens()), (2, 2_200_000));
}

#[test]
fn a_call_is_expected_to_take_its_prompt_and_all_of_its_limit() {
    let settings = SamplingSettings { max_tokens: 64, ..SamplingSettings::default() };
    let request = ChatRequest::new(vec![Message::user("x".repeat(400))], settings, 1);
    let expected = expected(&request, false);
    assert_eq!((expected.prompt_tokens, expected.completion_tokens), (110, 64));
}

#[test]
fn a_cost_cap_needs_prices_and_batches_a_server() {
    let config = LlmConfig { max_cost: Some(1.0), batch: true, ..LlmConfig::default() };
    let error = config.validate().expect_err("no prices").to_string();
    assert!(error.contains("max_cost") && error.contains("price_per_million"), "{error}");
    let config = LlmConfig { batch: true, ..LlmConfig::default() };
    let error = config.validate().expect_err("local").to_string();
    assert!(error.starts_with("batch: "), "{error}");
    let target = LlmTarget::OpenAi { base_url: "http://h/v1".into() };
    LlmConfig { batch: true, target, ..LlmConfig::default() }.validate().expect("fits");
}

#[test]
fn money_has_four_places_at_least() {
    for (cost, text) in [(0.0, "0.0000"), (1.5, "1.5000"), (0.000_012_3, "0.000012")] {
        assert_eq!(crate::llm::spent::money(cost), text);
    }
}
