//! The command line of `serve` and `keys`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::ModelArgs;
use crate::server::auth::Scope;

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

    /// Seconds a unary call may take, 0: no bound
    /// [env: PAIRWRIGHT__SERVE__LIMITS__REQUEST_TIMEOUT_SECONDS] [default: 300].
    #[arg(long, value_name = "SECONDS")]
    pub request_timeout_seconds: Option<u64>,

    /// Seconds that calls get to finish at shutdown
    /// [env: PAIRWRIGHT__SERVE__LIMITS__DRAIN_SECONDS] [default: 30].
    #[arg(long, value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,

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

/// Options of `keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The keys file; `serve --api-keys` takes the same.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "keys.toml",
        env = "PAIRWRIGHT__SERVE__AUTH__KEYS_FILE"
    )]
    pub file: PathBuf,

    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, print it once, and store its hash.
    New {
        /// Who will use it; logged with each call.
        #[arg(long)]
        name: String,

        /// read: calls that change nothing and cost no LLM tokens; write: every call.
        #[arg(long, value_enum)]
        scope: Scope,

        /// Time until it ends, such as 90d or 12h; default: never.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// Show names, scopes and expiry of the keys.
    List,
    /// Take a key back; a running server notices within seconds.
    Revoke {
        /// The name it was made with.
        #[arg(long)]
        name: String,
    },
}
