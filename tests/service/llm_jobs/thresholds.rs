//! Measures and thresholds of a job: in its pairs, its files and its counts.

use pairwright::server::pb;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use pairwright::server::pb::measure_value::Value;

use super::{ended, jobs, server};
use crate::support::run::Llm;
use crate::support::serve::samples;

fn request(keep: &str) -> pb::BatchMatchRequest {
    let path = samples().to_string_lossy().into_owned();
    pb::BatchMatchRequest {
        source: Some(pb::Source { path, ..Default::default() }),
        generate_answers: true,
        run_id: "measured".into(),
        measures: vec!["sentence_similarity_min".into()],
        keep: vec![keep.into()],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_measures_its_answers_and_keeps_samples_back() {
    let place = tempfile::tempdir().expect("temp dir");
    let llm = tokio::task::block_in_place(Llm::default);
    let server = server(place.path(), &llm.target(), &[]);
    let channel = server.connect().await;
    let mut client = MatchingServiceClient::new(channel.clone());
    let mut faulty = async |measures: &[&str], keep: &str| {
        let measures = measures.iter().map(|name| (*name).to_owned()).collect();
        let request = pb::BatchMatchRequest { measures, ..request(keep) };
        client.batch_match(request).await.expect_err("refused").message().to_owned()
    };
    for (measures, keep, said) in [
        (&["beauty"][..], "rank == 1", "measures[0]: no measure"),
        (&["sentence_similarity_min"; 2], "rank == 1", "each measure once"),
        (&["sentence_similarity_min"], "simlarity > 1", "did you mean `similarity`?"),
        (&["sentence_similarity_mean"], "sentence_similarity_min > 0", "measure.enabled"),
    ] {
        let found = faulty(measures, keep).await;
        assert!(found.contains(said), "{found}");
    }

    let job = client.batch_match(request("sentence_similarity_min >= -1")).await.expect("a job");
    let job = ended(&channel, &job.into_inner().name).await;
    let accepted = job.answer_count;
    assert!(accepted > 2, "{job:?}");
    assert_eq!((job.kept_back_count, job.thresholds[0].left_out_count), (0, 0));
    let calls = llm.stub.calls();
    let list = pb::ListJobPairsRequest { name: job.name, ..Default::default() };
    let pairs = jobs(channel.clone()).list_job_pairs(list).await.expect("pairs").into_inner().pairs;
    let measured = |pair: &pb::JobPair| {
        let value = pair.measures.get("sentence_similarity_min")?.value.clone()?;
        let Value::Number(number) = value else { panic!("a number: {value:?}") };
        Some(number)
    };
    let values: Vec<f64> = pairs.iter().filter_map(measured).collect();
    let answered = pairs.iter().filter(|pair| !pair.answer_text.is_empty()).count();
    assert_eq!((values.len(), values.len()), (answered, accepted as usize));

    // The same run under another threshold: nothing is asked again.
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let at = format!("sentence_similarity_min >= {largest}");
    let job = client.batch_match(request(&at)).await.expect("a job");
    let job = ended(&channel, &job.into_inner().name).await;
    let [threshold] = &job.thresholds[..] else { panic!("one threshold: {job:?}") };
    assert_eq!(threshold.expression, at);
    let below = values.iter().filter(|value| **value < largest).count() as i64;
    assert_eq!((threshold.left_out_count, threshold.alone_count), (below, below));
    assert_eq!((job.kept_back_count, job.answer_count), (below, accepted));
    assert_eq!(llm.stub.calls(), calls);
    tokio::task::block_in_place(|| drop(llm));
}
