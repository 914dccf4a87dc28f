use super::*;
use crate::config::{Config, Layers};

fn resolve(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("c.toml");
    fs_err::write(&path, text).expect("write");
    Layers::default().file(&path)?.resolve()
}

fn refusal(text: &str) -> String {
    resolve(text).expect_err("refused").to_string()
}

#[test]
fn every_wrong_value_is_named_with_its_range() {
    let text = refusal(
        "[serve.limits]\nmax_message_bytes = 1\nmax_requests = 0\n[serve.otel]\nsample_ratio = 1.5\n\
         endpoint = \"collector:4317\"\nca = \"ca.pem\"\n[serve.urls]\nmax_redirects = 11\n[serve.jobs]\n\
         max_running = 0\n[serve.warmup]\nbatch = 257\n[serve.prober]\ninterval_seconds = 0\n",
    );
    for part in [
        "serve.limits.max_message_bytes is 1, must be 65536 to 1073741824",
        "serve.limits.max_requests is 0, must be 1 to 1000000",
        "serve.otel.sample_ratio is 1.5, must be 0 to 1",
        "serve.otel.endpoint is \"collector:4317\", must be http://HOST:PORT or https://HOST:PORT",
        "ca.pem, must be unset unless serve.otel.endpoint is https",
        "serve.urls.max_redirects is 11, must be 0 to 10",
        "serve.jobs.max_running is 0, must be 1 to 64",
        "serve.warmup.batch is 257, must be 0 to 256",
        "serve.prober.interval_seconds is 0, must be 1 to 3600",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn addresses_are_read_and_wrong_ones_named() {
    let config = resolve("[serve]\nlisten = \"[::1]:0\"\n[serve.metrics]\nlisten = \"off\"\n");
    let serve = config.expect("valid").serve;
    assert_eq!(serve.listen.to_string(), "[::1]:0");
    assert_eq!(serve.metrics.listen, MetricsListen::Off);
    let text = refusal("[serve]\nlisten = \"localhost\"\n");
    assert!(text.contains("\"localhost\" is no address") && text.contains("listen"), "{text}");
    let text = refusal("[serve.metrics]\nlisten = \"on\"\n");
    assert!(text.contains("\"on\" is no address") && text.contains("\"off\""), "{text}");
}

#[test]
fn half_a_certificate_is_refused() {
    let text = refusal("[serve.tls]\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"\n");
    assert!(
        text.contains("serve.tls.key is set, must be set together with serve.tls.cert"),
        "{text}"
    );
    assert!(
        text.contains("serve.tls.client_ca is set, must be set together with serve.tls.cert"),
        "{text}"
    );
}

#[test]
fn paths_become_absolute() {
    let config = resolve(
        "[serve]\ndata = \"d\"\nimage_roots = [\"a\", \"/b\"]\n[serve.library]\nseed = \"l.txt\"\n\
         [serve.auth]\nkeys_file = \"k.toml\"\n[serve.otel]\nendpoint = \"https://h:1\"\nca = \"ca.pem\"\n",
    );
    let mut serve = config.expect("valid").serve;
    let paths: Vec<PathBuf> = serve.paths_mut().into_iter().map(|path| path.clone()).collect();
    assert_eq!(paths.len(), 6);
    assert!(paths.iter().all(|path| path.is_absolute()), "{paths:?}");
    assert!(matches!(serve.library.seed, LibrarySeed::File(_)));
}

#[test]
fn serve_settings_stay_out_of_a_runs_file() {
    let mut config = Config::default();
    config.serve.auth.keys_file = Some("/secret/keys.toml".into());
    let text = config.to_run_file(toml::Table::new()).expect("serialises");
    assert!(!text.contains("serve") && !text.contains("secret"), "{text}");
}

#[test]
fn open_servers_must_be_asked_for() {
    let mut serve = ServeConfig::default();
    check_exposure(&serve).expect("loopback");
    serve.listen = SocketAddr::from(([0, 0, 0, 0], 50051));
    let text = check_exposure(&serve).expect_err("open").to_string();
    assert!(text.contains("0.0.0.0:50051") && text.contains("--allow-insecure"), "{text}");
    for make_safe in [
        (|serve| serve.auth.keys_file = Some("k".into())) as fn(&mut ServeConfig),
        |serve| serve.tls.cert = Some("c".into()),
        |serve| serve.allow_insecure = true,
    ] {
        let mut safe = serve.clone();
        make_safe(&mut safe);
        check_exposure(&safe).expect("protected or asked for");
    }
}
