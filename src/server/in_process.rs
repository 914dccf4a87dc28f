//! The whole service without a port.

use tonic::service::Routes;
use tower::Layer;

use super::layers::{Explain, ExplainLayer, Shutdown};
use super::observe::Metrics;
use super::{ServerError, health, routes, start};
use crate::Error;
use crate::config::Config;

/// Opens all parts and returns every service, to be called in process: a request is an
/// `http::Request` as it comes from the wire. For programs that test the handlers, such as the
/// fuzz targets; keys, deadlines and the bound on calls belong to the port and are not here.
///
/// # Errors
/// A part cannot be opened.
#[doc(hidden)]
pub async fn in_process(config: Config) -> Result<Explain<Routes>, Error> {
    let (reporter, service) = tonic_health::server::health_reporter();
    health::not_serving(&reporter).await;
    let shutdown = Shutdown::new(config.serve.limits.lame_duck(), config.serve.limits.drain());
    let app = start::start(config, &Metrics::off(), &shutdown).await?;
    Ok(ExplainLayer.layer(routes::full(&app, service).map_err(ServerError::from)?))
}
