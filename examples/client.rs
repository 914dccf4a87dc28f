//! A client of the gRPC service: embeds photos and prints the instructions that fit them.
//!
//!     cargo run --release --example client -- http://127.0.0.1:50051 photo.jpg ...

use pairwright::server::pb;
use pairwright::server::pb::info_service_client::InfoServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("usage: client http://HOST:PORT PHOTO...")?;
    let channel = tonic::transport::Endpoint::from_shared(address)?.connect().await?;
    let info = InfoServiceClient::new(channel.clone())
        .get_server_info(pb::GetServerInfoRequest {})
        .await?
        .into_inner();
    let limits = info.limits.ok_or("the server tells no limits")?;
    // tonic's own limit is 4 MiB.
    let size = usize::try_from(limits.max_message_bytes)?;
    let mut matching = MatchingServiceClient::new(channel)
        .max_decoding_message_size(size)
        .max_encoding_message_size(size);
    let mut queries = Vec::new();
    for path in args {
        let content = pb::image::Source::Content(fs_err::read(&path)?.into());
        let image = pb::match_query::ImageSource::Image(pb::Image { source: Some(content) });
        queries.push(pb::MatchQuery { id: path, image_source: Some(image), ..Default::default() });
    }
    let options = pb::MatchOptions { per_image: Some(2), seed: Some(7), ..Default::default() };
    let request = pb::MatchRequest { queries, options: Some(options), ..Default::default() };
    for result in matching.r#match(request).await?.into_inner().results {
        match result.result {
            Some(pb::match_result::Result::Match(matched)) => {
                for pick in matched.picks {
                    println!("{}  {:.3}  {}", result.id, pick.similarity, pick.text);
                }
            }
            Some(pb::match_result::Result::Error(status)) => {
                println!("{}  refused: {}", result.id, status.message);
            }
            None => println!("{}  no result", result.id),
        }
    }
    Ok(())
}
