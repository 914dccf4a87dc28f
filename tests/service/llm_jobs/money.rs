//! What a job spends, and the cap that ends it.

use pairwright::server::pb;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;

use super::{QUICK, ended};
use crate::support::run::Llm;
use crate::support::serve::{Server, item_reason, samples};

fn server(folder: &std::path::Path, llm: &Llm, cap: u64) -> Server {
    let config = folder.join("config.toml");
    let more = format!(
        "llm.max_tokens_total = {cap}\nllm.max_in_flight = 1\n\
         llm.price_per_million_prompt_tokens = 1.0\n\
         llm.price_per_million_completion_tokens = 1.0\nanswer.settings.max_tokens = 200\n"
    );
    fs_err::create_dir_all(folder).expect("create");
    fs_err::write(&config, format!("{QUICK}{more}")).expect("write");
    let config = config.to_str().expect("a path").to_owned();
    Server::over(folder, &["--llm", &llm.target(), "--config", &config])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_at_the_cap_and_another_one_of_the_run_goes_on() {
    let place = tempfile::tempdir().expect("temp dir");
    let llm = tokio::task::block_in_place(Llm::default);
    let path = samples().to_string_lossy().into_owned();
    let request = pb::BatchMatchRequest {
        source: Some(pb::Source { path, ..Default::default() }),
        generate_answers: true,
        run_id: "capped".into(),
        ..Default::default()
    };
    let mut jobs = Vec::new();
    // The first cap has room for a few of the calls.
    for cap in [2500, 1_000_000] {
        let server = server(place.path(), &llm, cap);
        let channel = server.connect().await;
        let mut client = MatchingServiceClient::new(channel.clone());
        let job = client.batch_match(request.clone()).await.expect("a job").into_inner();
        jobs.push(ended(&channel, &job.name).await);
    }
    let [capped, whole] = &jobs[..] else { panic!("two jobs") };
    assert_eq!(capped.state(), pb::JobState::Failed, "{capped:?}");
    let error = capped.error.clone().expect("an error");
    assert!(error.message.contains("llm.max_tokens_total = 2500"), "{}", error.message);
    assert_eq!(item_reason(&error), "SPENDING_CAP");
    let spent = |job: &pb::Job| {
        let [answer] = &job.llm_spending[..] else { panic!("one role: {job:?}") };
        assert_eq!((&*answer.role, &*answer.section), ("answer", "llm"));
        let tokens = answer.prompt_tokens + answer.completion_tokens;
        let cost = answer.cost.expect("prices");
        assert!((cost - tokens as f64 / 1e6).abs() < 1e-9, "{answer:?}");
        (answer.call_count, tokens)
    };
    let ((calls, tokens), (all_calls, _)) = (spent(capped), spent(whole));
    assert!(calls > 0 && calls < all_calls && tokens <= 2500, "{capped:?}");
    assert_eq!(whole.state(), pb::JobState::Succeeded, "{whole:?}");
    assert_eq!(all_calls, llm.stub.calls() as i64, "nothing was asked twice");
    assert!(whole.answer_count > capped.answer_count);
    tokio::task::block_in_place(|| drop(llm));
}
