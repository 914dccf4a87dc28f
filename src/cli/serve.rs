//! `serve`: the gRPC service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::config::{Config, Layers, check_exposure};
use crate::server::observe::Traces;
use crate::server::{self, Ready};

use super::args::{ModelArgs, layers};
use super::exit::Exit;
use super::log;

/// Options of `serve`. Each is also a key of the configuration file and an environment variable:
/// flags win over the environment, the environment over the file.
#[derive(Debug, Args, Default)]
pub struct ServeArgs {
    /// A configuration file (TOML); flags and environment win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of the gRPC port [env: PAIRWRIGHT__SERVE__LISTEN] [default: 127.0.0.1:50051].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Folder of library, jobs and index [env: PAIRWRIGHT__SERVE__DATA] [default: pairwright-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Folder below which callers may name photos by path; may be given more than once
    /// [env: PAIRWRIGHT__SERVE__IMAGE_ROOTS, with commas].
    #[arg(long = "image-root", value_name = "DIR")]
    pub image_roots: Vec<PathBuf>,

    /// Encoder folder, or a name of `pairwright models list`; default: the bundled stand-in, not CLIP
    /// [env: PAIRWRIGHT__MODEL__PATH].
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub model_choice: ModelArgs,

    /// Instructions of a new data folder: built_in, none, or a .jsonl or .txt file
    /// [env: PAIRWRIGHT__SERVE__LIBRARY__SEED] [default: built_in].
    #[arg(long, value_name = "SEED")]
    pub library_seed: Option<String>,

    /// Vectors that callers supplied, when the model has changed: refuse, embed or keep
    /// [env: PAIRWRIGHT__SERVE__LIBRARY__ON_CHANGED_MODEL] [default: refuse].
    #[arg(long, value_name = "WHAT", value_parser = ["refuse", "embed", "keep"])]
    pub on_changed_model: Option<String>,

    /// The LLM: local, local:FILE.gguf, or openai:http://HOST:PORT/v1
    /// [env: PAIRWRIGHT__LLM__TARGET] [default: local].
    #[arg(long, value_name = "BACKEND")]
    pub llm: Option<String>,

    /// Model name to ask the LLM server for [env: PAIRWRIGHT__LLM__MODEL] [default: its first].
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,

    /// LLM calls under way at once [env: PAIRWRIGHT__LLM__MAX_IN_FLIGHT] [default: 8].
    #[arg(long, value_name = "N")]
    pub llm_in_flight: Option<u64>,

    /// Largest gRPC message in MiB, either way, 1 to 1024; in bytes in the environment
    /// [env: PAIRWRIGHT__SERVE__LIMITS__MAX_MESSAGE_BYTES] [default: 32].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub max_message_mb: Option<u64>,

    /// Items in one call [env: PAIRWRIGHT__SERVE__LIMITS__MAX_ITEMS] [default: 256].
    #[arg(long, value_name = "N")]
    pub max_items: Option<u64>,

    /// Items that each lane of each encoder may hold
    /// [env: PAIRWRIGHT__SERVE__QUEUE__MAX_QUEUE_ITEMS] [default: 512].
    #[arg(long, value_name = "N")]
    pub max_queue_items: Option<u64>,

    /// Calls under way in the whole server
    /// [env: PAIRWRIGHT__SERVE__LIMITS__MAX_REQUESTS] [default: 1024].
    #[arg(long, value_name = "N")]
    pub max_requests: Option<u64>,

    /// Open connections [env: PAIRWRIGHT__SERVE__LIMITS__MAX_CONNECTIONS] [default: 1024].
    #[arg(long, value_name = "N")]
    pub max_connections: Option<u64>,

    /// Open connections of one address, 0: no bound, as behind a proxy
    /// [env: PAIRWRIGHT__SERVE__CONNECTIONS__MAX_PER_ADDRESS] [default: 512].
    #[arg(long, value_name = "N")]
    pub max_connections_per_address: Option<u64>,

    /// Bytes of messages under way over all connections, in MiB; in bytes in the environment
    /// [env: PAIRWRIGHT__SERVE__LIMITS__MAX_MESSAGES_BYTES] [default: 512].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub max_messages_mb: Option<u64>,

    /// Seconds a unary call may take, 0: no bound
    /// [env: PAIRWRIGHT__SERVE__LIMITS__REQUEST_TIMEOUT_SECONDS] [default: 300].
    #[arg(long, value_name = "SECONDS")]
    pub request_timeout_seconds: Option<u64>,

    /// Seconds that calls get to finish at shutdown
    /// [env: PAIRWRIGHT__SERVE__LIMITS__DRAIN_SECONDS] [default: 30].
    #[arg(long, value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,

    /// Seconds between health's NOT_SERVING and the end of the port after SIGTERM
    /// [env: PAIRWRIGHT__SERVE__LIMITS__LAME_DUCK_SECONDS] [default: 5].
    #[arg(long, value_name = "SECONDS")]
    pub lame_duck_seconds: Option<u64>,

    /// Certificate and chain (PEM); turns TLS on [env: PAIRWRIGHT__SERVE__TLS__CERT].
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM) [env: PAIRWRIGHT__SERVE__TLS__KEY].
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Authorities of client certificates (PEM); turns mTLS on
    /// [env: PAIRWRIGHT__SERVE__TLS__CLIENT_CA].
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Keys file of `pairwright keys`; callers then need a key
    /// [env: PAIRWRIGHT__SERVE__AUTH__KEYS_FILE].
    #[arg(long, value_name = "FILE")]
    pub api_keys: Option<PathBuf>,

    /// Serve other machines without keys and without TLS
    /// [env: PAIRWRIGHT__SERVE__ALLOW_INSECURE=true].
    #[arg(long)]
    pub allow_insecure: bool,

    /// Let callers name photos by URL [env: PAIRWRIGHT__SERVE__URLS__ENABLED=true].
    #[arg(long)]
    pub allow_urls: bool,

    /// Address of the Prometheus page /metrics, or off
    /// [env: PAIRWRIGHT__SERVE__METRICS__LISTEN] [default: 127.0.0.1:9090].
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_listen: Option<String>,

    /// OTLP/gRPC collector such as http://127.0.0.1:4317 [env: PAIRWRIGHT__SERVE__OTEL__ENDPOINT].
    #[arg(long, value_name = "URL")]
    pub otel_endpoint: Option<String>,

    /// PEM file of the authorities that an https collector is trusted by; the system's by default
    /// [env: PAIRWRIGHT__SERVE__OTEL__CA].
    #[arg(long, value_name = "FILE")]
    pub otel_ca: Option<PathBuf>,

    /// Rows of the batch each encoder does before the server is ready, 0: none
    /// [env: PAIRWRIGHT__SERVE__WARMUP__BATCH] [default: 8].
    #[arg(long, value_name = "N")]
    pub warmup_batch: Option<u64>,

    /// Jobs at work at once [env: PAIRWRIGHT__SERVE__JOBS__MAX_RUNNING] [default: 1].
    #[arg(long, value_name = "N")]
    pub max_running_jobs: Option<u64>,
}

/// `pairwright serve`.
pub async fn serve(args: &ServeArgs, log_json: bool) -> Result<Exit, Error> {
    let config = configure(args)?;
    let traces = Traces::start(&config.serve.otel)?;
    log::start(log_json, traces.as_ref());
    let served = server::serve(config, tell_ready).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    served.map(|()| Exit::Done)
}

/// One line for people, and for programs that asked for a free port.
fn tell_ready(ready: Ready) {
    let Ready { address, metrics, took } = ready;
    let metrics = metrics.map_or_else(|| "off".to_owned(), |page| format!("http://{page}/metrics"));
    let seconds = took.as_secs_f64();
    println!("serving on {address} (metrics {metrics}), ready after {seconds:.1} s");
}

/// The configuration of a server: defaults < file < environment < flags, checked, and refused when
/// it would serve other machines unprotected.
pub fn configure(args: &ServeArgs) -> Result<Config, Error> {
    let layers = engine(layers(args.config.as_deref(), None)?, args)?;
    let layers = protection(layers, args)?;
    let config = limits(places(layers, args)?, args)?.resolve()?;
    check_exposure(&config.serve)?;
    Ok(config)
}

fn engine(layers: Layers, args: &ServeArgs) -> Result<Layers, Error> {
    Ok(args
        .model_choice
        .layers(layers)?
        .path_flag("model.path", args.model.as_ref())?
        .flag("llm.target", args.llm.clone())?
        .flag("llm.model", args.llm_model.clone())?
        .flag("llm.max_in_flight", args.llm_in_flight)?
        .flag("serve.library.seed", args.library_seed.clone())?
        .flag("serve.library.on_changed_model", args.on_changed_model.clone())?
        .flag("serve.warmup.batch", args.warmup_batch)?
        .flag("serve.jobs.max_running", args.max_running_jobs)?)
}

fn protection(layers: Layers, args: &ServeArgs) -> Result<Layers, Error> {
    Ok(layers
        .path_flag("serve.tls.cert", args.tls_cert.as_ref())?
        .path_flag("serve.tls.key", args.tls_key.as_ref())?
        .path_flag("serve.tls.client_ca", args.tls_client_ca.as_ref())?
        .path_flag("serve.auth.keys_file", args.api_keys.as_ref())?
        // A flag that is not given must not switch off what a file switched on.
        .flag("serve.allow_insecure", args.allow_insecure.then_some(true))?
        .flag("serve.urls.enabled", args.allow_urls.then_some(true))?)
}

fn places(layers: Layers, args: &ServeArgs) -> Result<Layers, Error> {
    let roots = args.image_roots.iter().map(|root| root.to_string_lossy().into_owned());
    let roots = Some(roots.collect::<Vec<_>>()).filter(|roots| !roots.is_empty());
    Ok(layers
        .flag("serve.listen", args.listen.map(|address| address.to_string()))?
        .path_flag("serve.data", args.data.as_ref())?
        .flag("serve.image_roots", roots)?
        .flag("serve.metrics.listen", args.metrics_listen.clone())?
        .path_flag("serve.otel.ca", args.otel_ca.as_ref())?
        .flag("serve.otel.endpoint", args.otel_endpoint.clone())?)
}

fn limits(layers: Layers, args: &ServeArgs) -> Result<Layers, Error> {
    let key = |name: &str| format!("serve.limits.{name}");
    Ok(layers
        .flag(&key("max_message_bytes"), args.max_message_mb.map(|mib| mib << 20))?
        .flag(&key("max_items"), args.max_items)?
        .flag("serve.queue.max_queue_items", args.max_queue_items)?
        .flag(&key("max_requests"), args.max_requests)?
        .flag(&key("max_connections"), args.max_connections)?
        .flag(&key("request_timeout_seconds"), args.request_timeout_seconds)?
        .flag("serve.connections.max_per_address", args.max_connections_per_address)?
        .flag(&key("max_messages_bytes"), args.max_messages_mb.map(|mib| mib << 20))?
        .flag(&key("lame_duck_seconds"), args.lame_duck_seconds)?
        .flag(&key("drain_seconds"), args.drain_seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::{LibrarySeed, MetricsListen};
    use crate::instruction::store::GivenVectors;
    use clap::Parser;

    fn parse(flags: &[&str]) -> ServeArgs {
        let line = ["pairwright", "serve"].iter().chain(flags);
        match Cli::try_parse_from(line).expect("parses").command {
            Command::Serve(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let args = parse(&[
            "--listen=0.0.0.0:7",
            "--data=/d",
            "--image-root=/a",
            "--image-root=/b",
            "--model=/m",
            "--library-seed=none",
            "--llm=openai:http://h:1/v1",
            "--llm-model=q",
            "--llm-in-flight=3",
            "--max-message-mb=64",
            "--max-items=5",
            "--max-queue-items=6",
            "--max-requests=7",
            "--max-connections=8",
            "--request-timeout-seconds=9",
            "--drain-seconds=10",
            "--lame-duck-seconds=11",
            "--max-connections-per-address=12",
            "--max-messages-mb=129",
            "--on-changed-model=keep",
            "--tls-cert=/c",
            "--tls-key=/k",
            "--tls-client-ca=/ca",
            "--api-keys=/keys",
            "--allow-insecure",
            "--allow-urls",
            "--metrics-listen=off",
            "--otel-endpoint=http://h:4317",
            "--warmup-batch=0",
            "--max-running-jobs=2",
        ]);
        let config = configure(&args).expect("valid");
        let (serve, limits) = (&config.serve, &config.serve.limits);
        assert_eq!(serve.listen.to_string(), "0.0.0.0:7");
        assert_eq!(serve.data.as_deref(), Some("/d".as_ref()));
        assert_eq!(serve.image_roots.len(), 2);
        assert_eq!(config.model.path.as_deref(), Some("/m".as_ref()));
        assert_eq!(serve.library.seed, LibrarySeed::None);
        assert_eq!(config.llm.target.to_string(), "openai:http://h:1/v1");
        assert_eq!((config.llm.model.as_deref(), config.llm.max_in_flight), (Some("q"), 3));
        assert_eq!((limits.max_message_bytes, limits.max_items), (64 << 20, 5));
        assert_eq!((serve.queue.max_queue_items, limits.max_requests), (6, 7));
        assert_eq!((limits.max_connections, limits.request_timeout_seconds), (8, 9));
        assert_eq!((limits.drain_seconds, limits.lame_duck_seconds), (10, 11));
        assert_eq!((serve.connections.max_per_address, limits.max_messages_bytes), (12, 129 << 20));
        assert_eq!(serve.library.on_changed_model, GivenVectors::Keep);
        let tls = [&serve.tls.cert, &serve.tls.key, &serve.tls.client_ca, &serve.auth.keys_file];
        assert!(tls.iter().all(|path| path.is_some()));
        assert!(serve.allow_insecure && serve.urls.enabled);
        assert_eq!(serve.metrics.listen, MetricsListen::Off);
        assert_eq!(serve.otel.endpoint.as_deref(), Some("http://h:4317"));
        assert_eq!((serve.warmup.batch, serve.jobs.max_running), (0, 2));
    }

    #[test]
    fn flags_win_over_the_file_and_absent_ones_change_nothing() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("c.toml");
        let text =
            "[serve]\nallow_insecure = true\n[serve.limits]\nmax_items = 9\nmax_requests = 3\n";
        fs_err::write(&path, text).expect("write");
        let config = format!("--config={}", path.display());
        let args = parse(&[&config, "--listen=0.0.0.0:1", "--max-items=4"]);
        let serve = configure(&args).expect("valid").serve;
        assert_eq!((serve.limits.max_items, serve.limits.max_requests), (4, 3));
        assert!(serve.allow_insecure);
    }

    #[test]
    fn an_open_server_is_refused() {
        let error = configure(&parse(&["--listen=0.0.0.0:1"])).expect_err("refused");
        assert!(error.to_string().contains("--allow-insecure"), "{error}");
    }
}
