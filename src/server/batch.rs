//! `BatchMatch`: a request becomes a job over a source below an image root.

use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};

use super::app::App;
use super::fault::Fault;
use super::jobs::job;
use super::options;
use super::pb::{self, source::Format};
use super::validate;
use crate::config::Config;
use crate::dataset::source::SourceKind;
use crate::matching::MatchRules;
use crate::pipeline::manager::JobSpec;

/// The kind that jobs of this method carry.
const KIND: &str = "BatchMatch";

/// Checks the request, takes the library as it is now, and queues the job.
///
/// # Errors
/// The request is wrong, the source is not below an image root, the library is empty, or the
/// manager refuses the job.
pub fn submit(app: &App, request: &pb::BatchMatchRequest) -> Result<pb::Job, Fault> {
    validate::echo_id("request_id", &request.request_id)?;
    let mut config = engine_config(app, request)?;
    // A call that is repeated gets its first job, even if the library has changed since.
    let spec_key = spec_key(request);
    if app.library.len() == 0 {
        return Err(Fault::library_empty());
    }
    let snapshots = app.config.serve.data_folder().join("libraries");
    let exported = app.library.export_snapshot(&snapshots).map_err(|error| Fault::from(&error))?;
    config.library.instructions = Some(exported);
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let spec = JobSpec {
        kind: KIND.to_owned(),
        run_id: text(&request.run_id),
        config,
        answers: request.generate_answers,
        request_id: text(&request.request_id),
        spec_json: spec_key,
    };
    let record = app.jobs.submit(spec).map_err(|error| Fault::from(&error))?;
    Ok(job(&record))
}

/// The server's engine settings with the request's over them.
fn engine_config(app: &App, request: &pb::BatchMatchRequest) -> Result<Config, Fault> {
    let source = request.source.as_ref().ok_or_else(|| Fault::required("source"))?;
    let default = pb::MatchOptions::default();
    let asked = request.options.as_ref().unwrap_or(&default);
    let mut config = (*app.config).clone();
    config.matching = options::matching(asked, &config.matching, &app.limits)?;
    if let Some(hubness) = options::hubness(request.hubness)? {
        config.matching.hubness = hubness;
    }
    if let Some(share) = request.max_share {
        config.matching.max_share = share;
    }
    MatchRules::new(&config.matching, app.encoder().manifest().defaults)
        .map_err(|error| Fault::from(&error).at("options"))?;
    config.seed = validate::seed("options.seed", asked.seed.or(Some(config.seed)))?;
    set_source(app, &mut config, source)?;
    Ok(config)
}

fn set_source(app: &App, config: &mut Config, source: &pb::Source) -> Result<(), Fault> {
    let pb::Source { path, format, images } = source;
    if path.is_empty() {
        return Err(Fault::required("source.path"));
    }
    let roots = app.images.roots().ok_or_else(Fault::no_image_root)?;
    let place = |field: &str, path: &str| {
        roots.resolve(Path::new(path)).map_err(|error| Fault::from(&error).at(field))
    };
    config.source.path = Some(place("source.path", path)?);
    config.source.kind = match Format::try_from(*format) {
        Ok(Format::Unspecified) => SourceKind::Auto,
        Ok(Format::Folder) => SourceKind::Folder,
        Ok(Format::Jsonl) => SourceKind::Jsonl,
        Ok(Format::Coco) => SourceKind::Coco,
        Err(_) => return Err(Fault::unknown_enum("source.format", *format)),
    };
    config.source.images = match images.as_str() {
        "" => None,
        images => Some(place("source.images", images)?),
    };
    Ok(())
}

/// What two calls with one request id must agree in: all of the request.
fn spec_key(request: &pb::BatchMatchRequest) -> String {
    let digest = Sha256::digest(request.encode_to_vec());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
