//! Arbitrary messages to every method of the whole service in process: no panic anywhere, and
//! every refusal is a status of the caller's with a reason.
#![no_main]

mod driver;

use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use pairwright::config::{Config, LibrarySeed};
use pairwright::image::ImageLimits;
use pairwright::llm::LlmTarget;
use pairwright::server::layers::Explain;
use pairwright::server::{in_process, pb};
use pairwright_fuzz::seeds;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::{RpcStatusExt, StatusExt};
use tower::ServiceExt;

/// How long an answer is waited for; a client that leaves then is a case as well.
const PATIENCE: Duration = Duration::from_secs(3);

struct Service {
    // Not dropped at the end, where it would wait for jobs that wait for a language model.
    runtime: ManuallyDrop<Runtime>,
    routes: Explain<Routes>,
    _folder: tempfile::TempDir,
}

thread_local! {
    static SERVICE: Service = Service::open();
}

impl Service {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let routes =
            runtime.block_on(in_process(config(folder.path()))).expect("the service opens");
        Self { runtime: ManuallyDrop::new(runtime), routes, _folder: folder }
    }

    fn answer(&self, method: &'static str, body: Bytes) {
        let answering = async {
            let request = http::Request::post(method)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::new(http_body_util::Full::new(body)))
                .expect("a request");
            let Ok(response) = self.routes.clone().oneshot(request).await;
            if let Some(status) = Status::from_header_map(response.headers()) {
                return check(method, &status);
            }
            let body = response.into_body().collect().await.expect("a body that ends well");
            let trailers = body.trailers().cloned().expect("trailers");
            check(method, &Status::from_header_map(&trailers).expect("a status"));
            check_items(method, &body.to_bytes());
        };
        let within = async { tokio::time::timeout(PATIENCE, answering).await };
        // Too late: the call is given up.
        let _ = self.runtime.block_on(within);
    }
}

/// Two small photos may be named by path, jobs may run over them, and there is no language model.
fn config(folder: &Path) -> Config {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    for name in ["tiny_17x11.png", "one_pixel.png"] {
        let photo = project.join("tests/golden/images").join(name);
        std::fs::copy(photo, photos.join(name)).expect("a photo");
    }
    std::fs::write(photos.join("one_pixel.txt"), "A pixel.").expect("a caption");
    let mut config = Config::default();
    config.model.path = Some(project.join("models/mini"));
    config.llm.target = LlmTarget::OpenAi { base_url: "http://127.0.0.1:9/v1".into() };
    config.llm.max_attempts = 1;
    config.image.limits = ImageLimits {
        max_file_bytes: 1 << 20,
        max_pixels: 1_000_000,
        max_decoded_bytes: 4 << 20,
        ..ImageLimits::default()
    };
    config.serve.data = Some(folder.join("data"));
    config.serve.image_roots = vec![photos];
    config.serve.library.seed = LibrarySeed::BuiltIn;
    config.serve.limits.max_message_bytes = 64 << 10;
    config.serve.limits.max_items = 8;
    config.serve.limits.stream_idle_seconds = 1;
    config.serve.queue.sessions = 1;
    config.serve.queue.decode_threads = 1;
    config.serve.jobs.max_queued = 2;
    config
}

fn check(method: &str, status: &Status) {
    let code = status.code();
    if code == Code::Ok {
        return;
    }
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{method}: {status:?}"));
    check_reason(method, code, &info.reason, status);
}

fn check_item(method: &str, status: &tonic_types::Status) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{method}: {status:?}"));
    check_reason(method, Code::from(status.code), &info.reason, status);
}

fn check_reason(method: &str, code: Code, reason: &str, status: &dyn std::fmt::Debug) {
    assert!(!reason.is_empty(), "{method}: {status:?}");
    assert!(
        !matches!(code, Code::Ok | Code::Internal | Code::Unknown | Code::DataLoss),
        "{method}: {status:?}"
    );
}

/// The statuses of a list's items.
fn check_items(method: &str, frames: &[u8]) {
    let Some((_, message)) = frames.split_at_checked(5) else { return };
    macro_rules! items {
        ($reply:ident.$list:ident, $result:ident) => {{
            let reply = pb::$reply::decode(message).expect("a reply that decodes");
            for item in reply.$list {
                if let Some(pb::$result::Result::Error(status)) = &item.result {
                    check_item(method, status);
                }
            }
        }};
    }
    match method.rsplit_once('/').map(|(_, name)| name) {
        Some("EmbedImages") => items!(EmbedImagesResponse.results, image_embedding_result),
        Some("EmbedTexts") => items!(EmbedTextsResponse.results, text_embedding_result),
        Some("Match") => items!(MatchResponse.results, match_result),
        Some("BatchCreateInstructions") => {
            items!(BatchCreateInstructionsResponse.results, create_instruction_result);
        }
        _ => {}
    }
}

fuzz_target!(
    init: {
        seeds::write_if_asked(seeds::Kind::Requests);
        // Not in the time of the first input.
        SERVICE.with(|_| ());
    },
    |input: &[u8]| {
        if let Some((method, body)) = pairwright_fuzz::call(input) {
            SERVICE.with(|service| service.answer(method, body));
        }
    }
);
