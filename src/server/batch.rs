//! `BatchMatch`: a request becomes a job over a source below an image root.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::app::App;
use super::call::Call;
use super::fault::Fault;
use super::pb::{self, source::Format};
use super::{jobs, options, validate};
use crate::base::check::Settings;
use crate::base::durable;
use crate::config::Config;
use crate::dataset::source::SourceKind;
use crate::instruction::store::InstructionFilter;
use crate::jobs::{JobSpec, JobTask};
use crate::matching::MatchRules;
use crate::measure::MeasureName;
use crate::measure::keep::Keep;

/// Checks the request, takes the library as it is now, and queues the job.
///
/// # Errors
/// The request is wrong, the source is not below an image root, the library is empty, or the
/// manager refuses the job.
pub async fn submit(
    app: &Arc<App>,
    call: &Call,
    request: pb::BatchMatchRequest,
) -> Result<pb::Job, Fault> {
    let request_id = request.request_id.clone();
    jobs::submit(app, call, &request_id, move |app| spec(app, &request)).await
}

fn spec(app: &App, request: &pb::BatchMatchRequest) -> Result<JobSpec, Fault> {
    let mut config = engine_config(app, request)?;
    let filter = options::filter(&request.options.clone().unwrap_or_default())?;
    config.library.instructions = Some(library_snapshot(app, &filter)?);
    Ok(JobSpec {
        run_id: jobs::given(&request.run_id),
        task: JobTask::Match { config: Box::new(config), answers: request.generate_answers },
        request_id: jobs::given(&request.request_id),
        spec_json: jobs::fingerprint(request),
    })
}

/// The library as it is now, in a file named by its content: a job that goes on after a restart
/// must draw from the library it began with.
fn library_snapshot(app: &App, filter: &InstructionFilter) -> Result<PathBuf, Fault> {
    if app.library.is_empty() {
        return Err(Fault::library_empty());
    }
    let folder = app.config.serve.data_folder().join("libraries");
    let io = |error: std::io::Error| Fault::internal(error.to_string());
    fs_err::create_dir_all(&folder).map_err(io)?;
    let file = tempfile_name(&folder);
    let export = app.library.export_some(&file, filter).map_err(Fault::from)?;
    let named = folder.join(format!("{}.jsonl", export.hash));
    durable::put(&file, &named).map_err(io)?;
    Ok(named)
}

/// A name that no other call uses at the same time.
fn tempfile_name(folder: &Path) -> PathBuf {
    folder.join(format!("new-{:016x}.jsonl", rand::random::<u64>()))
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
    if let Some(recall) = options::recall(asked)? {
        // A width that the server's settings name gives way, as it does in a single match.
        (config.index.target_recall, config.index.expansion_search) = (recall, None);
    }
    if let Some(share) = request.max_share {
        config.matching.max_share = share;
    }
    MatchRules::new(&config.matching, app.encoder().manifest().defaults)
        .map_err(|error| Fault::from(error).at("options"))?;
    set_thresholds(&mut config, request)?;
    config.seed = validate::seed("options.seed", asked.seed.or(Some(config.seed)))?;
    set_source(app, &mut config, source)?;
    Ok(config)
}

/// Reads the request's measures and thresholds over the server's.
fn set_thresholds(config: &mut Config, request: &pb::BatchMatchRequest) -> Result<(), Fault> {
    let pb::BatchMatchRequest { measures, keep, .. } = request;
    if !measures.is_empty() {
        let named = |(place, name): (usize, &String)| {
            let field = || format!("measures[{place}]");
            let why = "no measure has this name; docs/quality.md lists them";
            MeasureName::named(name).ok_or_else(|| Fault::invalid(field(), why))
        };
        config.measure.enabled =
            measures.iter().enumerate().map(named).collect::<Result<_, _>>()?;
        let checked = config.measure.validate_as("measures");
        checked.map_err(|problems| Fault::invalid("measures", problems))?;
    }
    if !keep.is_empty() {
        config.export.keep.clone_from(keep);
    }
    let keep = Keep::parse(&config.export.keep);
    let checked = keep.and_then(|keep| keep.require_enabled(&config.measure.enabled));
    checked.map_err(|error| Fault::invalid("keep", error))
}

/// Reads the request's source over the server's.
///
/// # Errors
/// It is not below an image root, or its format is unknown.
pub fn set_source(app: &App, config: &mut Config, source: &pb::Source) -> Result<(), Fault> {
    let pb::Source { path, format, images } = source;
    if path.is_empty() {
        return Err(Fault::required("source.path"));
    }
    config.source.path = Some(place(app, "source.path", path)?);
    config.source.kind = match Format::try_from(*format) {
        Ok(Format::Unspecified) => SourceKind::Auto,
        Ok(Format::Folder) => SourceKind::Folder,
        Ok(Format::Jsonl) => SourceKind::Jsonl,
        Ok(Format::Coco) => SourceKind::Coco,
        Err(_) => return Err(Fault::unknown_enum("source.format", *format)),
    };
    config.source.images = match images.as_str() {
        "" => None,
        images => Some(place(app, "source.images", images)?),
    };
    Ok(())
}

/// The absolute path of what a request names below an image root.
///
/// # Errors
/// There is no root, or it does not lie below one.
pub fn place(app: &App, field: &str, path: &str) -> Result<PathBuf, Fault> {
    let roots = app.images.roots().ok_or_else(Fault::no_image_root)?;
    roots.resolve(Path::new(path)).map_err(|error| Fault::from(error).at(field))
}
