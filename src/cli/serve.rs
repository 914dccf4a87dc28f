//! `serve`: the gRPC service.

use crate::Error;
use crate::config::{Config, Layers, check_exposure};
use crate::server::observe::Traces;
use crate::server::{self, Ready};

use super::args::ServeArgs;
use super::exit::Outcome;
use super::log;

/// `pairwright serve`.
pub async fn serve(args: &ServeArgs, log_json: bool) -> Result<Outcome, Error> {
    let config = configure(args)?;
    let traces = Traces::start(&config.serve.otel)?;
    log::start(log_json, traces.as_ref());
    let served = server::serve(config, tell_ready).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    served.map(|()| Outcome::Done)
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
    let layers = match &args.config {
        Some(path) => Layers::default().file(path)?,
        None => Layers::default(),
    };
    let layers = protection(engine(layers.environment(), args)?, args)?;
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
        .flag(&key("drain_seconds"), args.drain_seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::config::{LibrarySeed, MetricsListen};
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
        assert_eq!(limits.drain_seconds, 10);
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
