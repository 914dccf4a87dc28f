use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;

use super::*;

fn config() -> UrlsConfig {
    UrlsConfig {
        enabled: true,
        max_bytes: 1000,
        timeout_seconds: 2,
        max_redirects: 2,
        max_in_flight: 4,
    }
}

/// A fetcher that may ask this machine, for the parts after the address check.
fn local() -> Fetcher {
    let lookup: Lookup = Arc::new(|name| Box::pin(system(name)));
    Fetcher::with_policy(&config(), 5000, |_| true, lookup).expect("client")
}

fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(100))
}

async fn server() -> String {
    let big = || async { vec![7u8; 1001] };
    let away = || async { (StatusCode::FOUND, [(header::LOCATION, "ftp://x/")]) };
    let round = || async { (StatusCode::FOUND, [(header::LOCATION, "/round")]) };
    let router = Router::new()
        .route("/ok", get(|| async { vec![7u8; 1000] }))
        .route("/big", get(big))
        .route("/away", get(away))
        .route("/round", get(round))
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(30))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn limits_hold_and_each_has_its_reason() {
    let (base, fetcher) = (server().await, local());
    let reason = async |path: &str| {
        let fault = fetcher.fetch(&format!("{base}/{path}"), &budget()).await.expect_err(path);
        fault.reason().to_owned()
    };
    assert_eq!(fetcher.fetch(&format!("{base}/ok"), &budget()).await.expect("fits").0.len(), 1000);
    assert_eq!(reason("big").await, "IMAGE_FILE_TOO_LARGE");
    assert_eq!(reason("missing").await, "URI_UNREACHABLE");
    assert_eq!(reason("slow").await, "URI_UNREACHABLE");
    assert_eq!(reason("away").await, "URI_REFUSED");
    assert_eq!(reason("round").await, "URI_REFUSED");
}

#[tokio::test]
async fn no_file_may_be_larger_than_the_memory_for_all() {
    let config = UrlsConfig { max_bytes: 10 << 20, ..config() };
    let bound = |file, budget| Fetcher::new(&config, file, budget).expect("client").max_bytes;
    assert_eq!(bound(5 << 20, 20 << 20), 5 << 20);
    assert_eq!(bound(50 << 20, 20 << 20), 10 << 20);
    assert_eq!(bound(50 << 20, (1 << 20) + 1), 1 << 20);
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let base = server().await;
    let port = base.rsplit(':').next().expect("port").to_owned();
    let fetcher = Fetcher::new(&config(), 5000, 1 << 20).expect("client");
    for uri in [
        format!("http://127.0.0.1:{port}/ok"),
        format!("http://localhost:{port}/ok"),
        format!("http://[::1]:{port}/ok"),
        format!("http://[::ffff:127.0.0.1]:{port}/ok"),
        format!("http://2130706433:{port}/ok"),
        format!("http://0x7f.1:{port}/ok"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:secret@example.com/".to_owned(),
        "not an address".to_owned(),
    ] {
        let fault = fetcher.fetch(&uri, &budget()).await.expect_err(&uri);
        assert_eq!(fault.reason(), "URI_REFUSED", "{uri}: {fault:?}");
    }
}

/// Whether a server heard anything, and where it is.
struct Witness {
    address: SocketAddr,
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

impl Witness {
    /// Answers `body` at any path, or redirects to `to`.
    async fn start(at: [u8; 4], to: Option<String>) -> Self {
        let listener = tokio::net::TcpListener::bind((IpAddr::from(at), 0)).await.expect("port");
        let address = listener.local_addr().expect("address");
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let answer = move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let to = to.clone();
            async move {
                match to {
                    Some(to) => (StatusCode::FOUND, [(header::LOCATION, to)], Vec::new()),
                    None => (StatusCode::OK, [(header::LOCATION, String::new())], vec![7u8; 10]),
                }
            }
        };
        let router = Router::new().fallback(get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// 127.0.0.2 stands for the public internet, every other address for a private network.
fn second_loopback(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 2])
}

const PUBLIC: [u8; 4] = [127, 0, 0, 2];
const PRIVATE: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn a_redirect_into_a_private_network_is_not_followed() {
    let inside = Witness::start(PRIVATE, None).await;
    let port = inside.address.port();
    let names: Lookup = Arc::new(|_| Box::pin(std::future::ready(Ok(vec![IpAddr::from(PRIVATE)]))));
    for to in [
        format!("http://127.0.0.1:{port}/x"),
        format!("http://[::ffff:127.0.0.1]:{port}/x"),
        format!("http://2130706433:{port}/x"),
        format!("http://inside.test:{port}/x"),
    ] {
        let outside = Witness::start(PUBLIC, Some(to.clone())).await;
        let fetcher = Fetcher::with_policy(&config(), 5000, second_loopback, Arc::clone(&names))
            .expect("client");
        let uri = format!("http://{}/a.jpg", outside.address);
        let fault = fetcher.fetch(&uri, &budget()).await.expect_err(&to);
        assert_eq!(fault.reason(), "URI_REFUSED", "{to}: {fault:?}");
        assert_eq!((outside.asked(), inside.asked()), (1, 0), "{to}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_leads_nowhere_else() {
    let outside = Witness::start(PUBLIC, None).await;
    let port = outside.address.port();
    // The same port, so that only the address decides who is asked.
    let listener = tokio::net::TcpListener::bind((IpAddr::from(PRIVATE), port)).await;
    let inside = listener.expect("the port is free there");
    let lookups = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let names: Lookup = Arc::new(move |_| {
        let first = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let both = vec![IpAddr::from(PRIVATE), IpAddr::from(PUBLIC)];
        let found = if first { both } else { vec![IpAddr::from(PRIVATE)] };
        Box::pin(std::future::ready(Ok(found)))
    });
    let fetcher = || Fetcher::with_policy(&config(), 5000, second_loopback, Arc::clone(&names));
    let uri = format!("http://photos.test:{port}/a.jpg");
    let (bytes, _) = fetcher().expect("client").fetch(&uri, &budget()).await.expect("public");
    assert_eq!((bytes.len(), outside.asked()), (10, 1));
    let fault = fetcher().expect("client").fetch(&uri, &budget()).await.expect_err("private now");
    assert_eq!(fault.reason(), "URI_REFUSED");
    assert_eq!(lookups.load(std::sync::atomic::Ordering::SeqCst), 2);
    let nobody = timeout(Duration::from_millis(100), inside.accept()).await;
    assert!(nobody.is_err(), "the private server was connected to");
}

#[tokio::test]
async fn memory_is_reserved_as_it_is_needed_and_given_back() {
    let (base, fetcher) = (server().await, local());
    let small = Arc::new(Semaphore::new(2));
    let uri = format!("{base}/ok");
    let first = fetcher.fetch(&uri, &small).await.expect("one grain");
    let second = fetcher.fetch(&uri, &small).await.expect("one grain");
    assert_eq!(small.available_permits(), 0);
    let fault = fetcher.fetch(&uri, &small).await.expect_err("no memory");
    assert_eq!((fault.code(), fault.reason()), (Code::ResourceExhausted, "FILES_FULL"));
    drop((first, second));
    assert_eq!(small.available_permits(), 2);
}
