use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;

use super::*;

fn config() -> UrlsConfig {
    UrlsConfig { enabled: true, max_bytes: 1000, timeout_seconds: 2, max_redirects: 2 }
}

/// A fetcher that may ask this machine, for the parts after the address check.
fn local() -> Fetcher {
    Fetcher::with_policy(&config(), 5000, |_| true).expect("client")
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
        let fault = fetcher.fetch(&format!("{base}/{path}")).await.expect_err(path);
        fault.reason().to_owned()
    };
    assert_eq!(fetcher.fetch(&format!("{base}/ok")).await.expect("fits").len(), 1000);
    assert_eq!(reason("big").await, "IMAGE_FILE_TOO_LARGE");
    assert_eq!(reason("missing").await, "URI_UNREACHABLE");
    assert_eq!(reason("slow").await, "URI_UNREACHABLE");
    assert_eq!(reason("away").await, "URI_REFUSED");
    assert_eq!(reason("round").await, "URI_REFUSED");
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let base = server().await;
    let port = base.rsplit(':').next().expect("port").to_owned();
    let fetcher = Fetcher::new(&config(), 5000).expect("client");
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
        let fault = fetcher.fetch(&uri).await.expect_err(&uri);
        assert_eq!(fault.reason(), "URI_REFUSED", "{uri}: {fault:?}");
    }
}

#[test]
fn special_ranges_are_not_public() {
    for private in [
        "10.0.0.1",
        "172.16.3.4",
        "192.168.0.1",
        "127.0.0.1",
        "169.254.0.1",
        "0.0.0.0",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "2001::1",
        "::7f00:1",
    ] {
        assert!(!is_public(private.parse().expect(private)), "{private}");
    }
    for public in ["8.8.8.8", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
        assert!(is_public(public.parse().expect(public)), "{public}");
    }
}
