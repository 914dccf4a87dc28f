//! What an instruction requires, from its creation to the match that it is left out of.

use pairwright::server::pb;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::match_query::ImageSource;
use pairwright::server::pb::match_result::Result as Matched;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::transport::Channel;

use crate::support::serve::{Server, image, photo, reason};

/// An instruction of the category `water`.
fn new(id: &str, text: &str, requires: &[&str], tag: &str) -> pb::CreateInstructionRequest {
    let phrases = requires.iter().map(|&phrase| phrase.to_owned()).collect();
    pb::CreateInstructionRequest {
        instruction_id: id.into(),
        instruction: Some(pb::Instruction {
            text: text.into(),
            category: "water".into(),
            requires: Some(pb::Requirements { phrases }),
            tags: vec![tag.into()],
            ..Default::default()
        }),
    }
}

/// Two draws of the category `water`, however dissimilar, by these checks or the server's own.
fn options(kinds: Option<&[i32]>, tags: &[&str]) -> pb::MatchOptions {
    pb::MatchOptions {
        per_image: Some(2),
        min_similarity: Some(-1.0),
        check: kinds.map(|kinds| pb::Checks { kinds: kinds.to_vec() }),
        filter: Some(pb::InstructionFilter {
            categories: vec!["water".into()],
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        }),
        ..Default::default()
    }
}

fn dogs() -> pb::MatchQuery {
    pb::MatchQuery {
        image_source: Some(ImageSource::Image(image(photo("two-dogs")))),
        caption: "Two dogs lean out of an opening in a wooden house.".into(),
        ..Default::default()
    }
}

async fn matched(
    client: &mut MatchingServiceClient<Channel>,
    query: pb::MatchQuery,
    options: pb::MatchOptions,
) -> pb::Match {
    let request = pb::MatchRequest { queries: vec![query], options: Some(options), lane: 0 };
    let reply = client.r#match(request).await.expect("answered").into_inner();
    match reply.results.into_iter().next().and_then(|one| one.result) {
        Some(Matched::Match(found)) => found,
        other => panic!("{other:?}"),
    }
}

/// The ids of what was drawn, sorted.
fn drawn(found: &pb::Match) -> Vec<&str> {
    let mut ids: Vec<&str> = found.picks.iter().map(|pick| pick.instruction.as_str()).collect();
    ids.sort_unstable();
    ids
}

const TEXT: i32 = pb::CheckKind::Text as i32;
const BOAT: &str = "instructions/boat-ad";
const POEM: &str = "instructions/any-poem";

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_apply_is_not_drawn_and_says_why() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let mut library = InstructionServiceClient::new(channel.clone());
    for one in [
        new("boat-ad", "Write an ad for the boat in the image.", &["boat"], "sale"),
        new("any-poem", "Write a poem about the image.", &[], "verse"),
    ] {
        let asked = one.instruction.clone().expect("given");
        let created = library.create_instruction(one).await.expect("created").into_inner();
        let get = pb::GetInstructionRequest { name: created.name, ..Default::default() };
        let read = library.get_instruction(get).await.expect("there").into_inner();
        assert_eq!((read.requires, read.tags), (asked.requires, asked.tags));
    }
    let nothing = library.create_instruction(new("x", "Sing.", &["it"], "song")).await;
    let nothing = nothing.expect_err("it names nothing");
    assert_eq!(reason(&nothing), "INSTRUCTION_REQUIRES_NAMES_NOTHING");

    let mut client = MatchingServiceClient::new(channel);
    let found = matched(&mut client, dogs(), options(Some(&[]), &[])).await;
    assert_eq!(drawn(&found), [POEM, BOAT], "nothing is checked, only the category counts");
    assert_eq!((found.candidates.len(), found.refused_count), (2, 0));

    for kinds in [Some(&[TEXT][..]), None] {
        let found = matched(&mut client, dogs(), options(kinds, &[])).await;
        assert_eq!(drawn(&found), [POEM], "{kinds:?}");
        assert_eq!((found.candidates.len(), found.refused_count), (1, 1));
        let refused = &found.refused_candidates[0];
        assert_eq!(refused.instruction, BOAT);
        let text = refused.checks.iter().find(|found| found.kind == TEXT).expect("a text check");
        assert_eq!(text.missing, ["boat"]);
    }

    let found = matched(&mut client, dogs(), options(Some(&[TEXT]), &["sale", "none"])).await;
    assert_eq!(found.no_match_reason, "no_applicable_instruction");
    assert!(found.no_match_message.contains("boat"), "{}", found.no_match_message);

    // A vector says nothing in words, so that the text check has nothing to go by.
    let vector = pb::Embedding { values: (0..384).map(|at| (at % 7) as f32 - 3.0).collect() };
    let vector = pb::MatchQuery {
        image_source: Some(ImageSource::ImageEmbedding(vector)),
        ..Default::default()
    };
    let found = matched(&mut client, vector, options(Some(&[TEXT]), &["sale"])).await;
    assert_eq!(drawn(&found), [BOAT]);

    for (kinds, wanted) in [(&[9][..], "ENUM_UNKNOWN"), (&[TEXT, TEXT], "BAD_MATCHING_SETTINGS")] {
        let options = Some(options(Some(kinds), &[]));
        let request = pb::MatchRequest { queries: vec![dogs()], options, lane: 0 };
        assert_eq!(reason(&client.r#match(request).await.expect_err("refused")), wanted);
    }
}
