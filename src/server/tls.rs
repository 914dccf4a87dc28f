//! TLS and mTLS from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::reload::Reload;
use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::config::TlsConfig;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("serve.{setting}: {source}")]
    Read {
        setting: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("serve.{setting} = {path}: no {wanted} in PEM form; found {found}")]
    Content { setting: &'static str, path: PathBuf, wanted: &'static str, found: String },
    #[error("serve.tls.cert = {cert} with serve.tls.key = {key}: {message}")]
    Unusable { cert: PathBuf, key: PathBuf, message: String },
    #[error("serve.tls.client_ca = {path}: {message}")]
    Authority { path: PathBuf, message: String },
}

impl Failure for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Read { .. }
            | Self::Content { .. }
            | Self::Unusable { .. }
            | Self::Authority { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        "tls_unusable"
    }
}

/// The server's certificate as its files say now. Clones share it.
#[derive(Clone)]
pub struct LiveTls(Arc<Inner>);

struct Inner {
    config: TlsConfig,
    current: ArcSwap<ServerConfig>,
}

impl LiveTls {
    /// Reads the files and tries them out. None when no certificate is configured.
    ///
    /// # Errors
    /// [`TlsError`] naming the file, what was wanted and what was found.
    pub fn open(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let Some(current) = server_config(config)? else { return Ok(None) };
        let (config, current) = (config.clone(), ArcSwap::from_pointee(current));
        Ok(Some(Self(Arc::new(Inner { config, current }))))
    }

    /// For the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.current.load_full()
    }
}

impl Reload for LiveTls {
    fn files(&self) -> Vec<PathBuf> {
        let TlsConfig { cert, key, client_ca } = &self.0.config;
        [cert, key, client_ca].into_iter().flatten().cloned().collect()
    }

    /// Files that do not fit together, such as a certificate whose key is not there yet, change
    /// nothing. Open connections keep what they began with.
    fn reload(&self) {
        match server_config(&self.0.config) {
            Ok(Some(config)) => {
                tracing::info!("TLS certificate reloaded");
                self.0.current.store(Arc::new(config));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "TLS not reloaded; the old certificate holds"),
        }
    }
}

fn server_config(config: &TlsConfig) -> Result<Option<ServerConfig>, TlsError> {
    let (Some(cert), Some(key)) = (&config.cert, &config.key) else { return Ok(None) };
    let chain = read_certificates("tls.cert", cert)?;
    let secret = read_pem("tls.key", key, "private key", |label| label.ends_with("PRIVATE KEY"))?;
    warn_if_others_can_read(key);
    let unusable =
        |message: String| TlsError::Unusable { cert: cert.clone(), key: key.clone(), message };
    let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes())
        .map_err(|error| unusable(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let refused = |message: String| TlsError::Authority { path: ca.clone(), message };
            let mut roots = RootCertStore::empty();
            for root in read_certificates("tls.client_ca", ca)? {
                roots.add(root).map_err(|error| refused(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| refused(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    // Finds a key that is not the certificate's, too.
    let mut tls =
        builder.with_single_cert(chain, secret).map_err(|error| unusable(error.to_string()))?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(tls))
}

fn read_certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = certificates(setting, path)?;
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|error| {
        let found = error.to_string();
        TlsError::Content { setting, path: path.to_owned(), wanted: "certificate", found }
    })
}

/// TLS towards the collector of traces: trusts the authorities of `ca`, or those of the system.
///
/// # Errors
/// [`TlsError`] naming the file, what was wanted and what was found.
pub fn collector_tls(ca: Option<&Path>) -> Result<ClientTlsConfig, TlsError> {
    choose_cryptography();
    let tls = ClientTlsConfig::new();
    let Some(ca) = ca else { return Ok(tls.with_native_roots()) };
    Ok(tls.ca_certificate(Certificate::from_pem(certificates("otel.ca", ca)?)))
}

/// Two providers are in the tree, so rustls wants to be told.
fn choose_cryptography() {
    // An error says that this was done already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn certificates(setting: &'static str, path: &Path) -> Result<String, TlsError> {
    read_pem(setting, path, "certificate", |label| label == "CERTIFICATE")
}

fn read_pem(
    setting: &'static str,
    path: &Path,
    wanted: &'static str,
    fits: fn(&str) -> bool,
) -> Result<String, TlsError> {
    let text = fs_err::read_to_string(path).map_err(|source| TlsError::Read { setting, source })?;
    let labels: Vec<&str> = text.lines().filter_map(pem_label).collect();
    if labels.iter().any(|label| fits(label)) {
        return Ok(text);
    }
    let found = match labels.as_slice() {
        [] if text.trim().is_empty() => "an empty file".to_owned(),
        [] => "no PEM section".to_owned(),
        labels => labels.join(", "),
    };
    Err(TlsError::Content { setting, path: path.to_owned(), wanted, found })
}

/// `CERTIFICATE` of `-----BEGIN CERTIFICATE-----`.
fn pem_label(line: &str) -> Option<&str> {
    line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

#[cfg(unix)]
fn warn_if_others_can_read(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs_err::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(
            file = %key.display(), mode,
            "other users of this machine can read the TLS key: chmod 600"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_key: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        _folder: tempfile::TempDir,
        config: TlsConfig,
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(cert: &str, key: &str, client_ca: Option<&str>) -> Files {
        let folder = tempfile::tempdir().expect("temp dir");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).expect("write");
            path
        };
        let config = TlsConfig {
            cert: Some(write("cert.pem", cert)),
            key: Some(write("key.pem", key)),
            client_ca: client_ca.map(|text| write("ca.pem", text)),
        };
        Files { _folder: folder, config }
    }

    fn error(config: &TlsConfig) -> TlsError {
        LiveTls::open(config).err().expect("refused")
    }

    fn refusal(files: &Files) -> String {
        error(&files.config).to_string()
    }

    #[test]
    fn good_files_are_taken_and_none_means_plain() {
        let (cert, key) = pair();
        let with_ca = files(&cert, &key, Some(&cert));
        assert!(LiveTls::open(&with_ca.config).expect("good").is_some());
        assert!(LiveTls::open(&TlsConfig::default()).expect("plain").is_none());
    }

    #[test]
    fn errors_name_the_file_and_what_is_in_it() {
        let (cert, key) = pair();
        let text = refusal(&files(&key, &key, None));
        assert!(text.contains("serve.tls.cert") && text.contains("cert.pem"), "{text}");
        assert!(text.contains("no certificate") && text.contains("found PRIVATE KEY"), "{text}");
        let text = refusal(&files(&cert, "", None));
        assert!(text.contains("serve.tls.key") && text.contains("an empty file"), "{text}");
        let text = refusal(&files(&cert, &key, Some("hello")));
        assert!(text.contains("client_ca") && text.contains("no PEM section"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let (cert, key) = pair();
        let mut missing = files(&cert, &key, None);
        missing.config.key = Some("/nowhere/key.pem".into());
        let error = error(&missing.config);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nowhere/key.pem"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((cert, _), (_, other)) = (pair(), pair());
        let text = refusal(&files(&cert, &other, None));
        assert!(text.contains("cert.pem") && text.contains("key.pem"), "{text}");
    }

    #[test]
    fn a_renewed_certificate_is_taken_once_its_key_is_there() {
        let ((cert, key), (new_cert, new_key)) = (pair(), pair());
        let it = files(&cert, &key, None);
        let live = LiveTls::open(&it.config).expect("good").expect("on");
        let first = live.current();
        assert_eq!(live.files().len(), 2);
        let write = |path: &Option<PathBuf>, text: &str| {
            fs_err::write(path.as_ref().expect("set"), text).expect("written");
        };
        write(&it.config.cert, &new_cert);
        live.reload();
        assert!(Arc::ptr_eq(&first, &live.current()), "half a renewal was taken");
        write(&it.config.key, &new_key);
        live.reload();
        assert!(!Arc::ptr_eq(&first, &live.current()));
    }
}
