//! `Generate`: a request becomes a job that makes instructions.

use std::path::PathBuf;
use std::sync::Arc;

use super::app::App;
use super::call::Call;
use super::convert::{count, requirements};
use super::fault::Fault;
use super::{batch, jobs, pb, validate};
use crate::config::Config;
use crate::dataset::sink::StagedFile;
use crate::instruction::augment::Pool;
use crate::instruction::lineage::LineageRow;
use crate::instruction::{GenerateError, Seeds};
use crate::jobs::{JobSpec, JobTask};

/// The most seeds of a request.
const MAX_SEEDS: usize = 10_000;

/// Raw instructions of a cluster that travel.
const MAX_MEMBERS: usize = 10;

/// Checks the request and queues the job.
///
/// # Errors
/// The request is wrong, the source is not below an image root, or the manager refuses the job.
pub async fn submit(
    app: &Arc<App>,
    call: &Call,
    request: pb::GenerateRequest,
) -> Result<pb::Job, Fault> {
    let request_id = request.request_id.clone();
    jobs::submit(app, call, &request_id, move |app| spec(app, &request)).await
}

fn spec(app: &App, request: &pb::GenerateRequest) -> Result<JobSpec, Fault> {
    let config = Box::new(engine_config(app, request)?);
    Ok(JobSpec {
        run_id: jobs::given(&request.run_id),
        task: JobTask::Generate { config, into_library: request.add_to_library },
        request_id: jobs::given(&request.request_id),
        spec_json: jobs::fingerprint(request),
    })
}

/// The server's engine settings with the request's over them.
fn engine_config(app: &App, request: &pb::GenerateRequest) -> Result<Config, Fault> {
    let source = request.source.as_ref().ok_or_else(|| Fault::required("source"))?;
    let mut config = (*app.config).clone();
    batch::set_source(app, &mut config, source)?;
    // The request's source counts, not a list that the server was started with.
    config.generate.descriptions = None;
    config.seed = validate::seed("seed", request.seed.or(Some(config.seed)))?;
    set_augment(&mut config, request)?;
    set_clusters(&mut config, request)?;
    if !request.seeds.is_empty() {
        config.generate.seeds = Some(seeds(app, &request.seeds)?);
    }
    Ok(config)
}

fn set_augment(config: &mut Config, request: &pb::GenerateRequest) -> Result<(), Fault> {
    let generate = &mut config.generate;
    if let Some(limit) = request.description_limit {
        let seen = u64::try_from(limit).ok().filter(|limit| *limit > 0);
        let range = || Fault::range("description_limit", limit, 1, i64::MAX);
        generate.limit = Some(seen.ok_or_else(range)?);
    }
    if let Some(count) = request.seeds_per_prompt {
        generate.seeds_per_prompt = validate::count("seeds_per_prompt", count, 1, 32)?;
    }
    if let Some(count) = request.instructions_per_description {
        generate.per_description = validate::count("instructions_per_description", count, 1, 20)?;
    }
    if request.accepted_join_pool {
        generate.pool = Pool::Accepted;
    }
    Ok(())
}

fn set_clusters(config: &mut Config, request: &pb::GenerateRequest) -> Result<(), Fault> {
    let cluster = &mut config.cluster;
    let count = |field: &str, value: Option<i32>, low| {
        value.map(|value| validate::count(field, value, low, i32::MAX)).transpose()
    };
    let exact = count("cluster_count", request.cluster_count, 1)?;
    let least = count("min_cluster_count", request.min_cluster_count, 2)?;
    let most = count("max_cluster_count", request.max_cluster_count, 2)?;
    if exact.is_some() && (least.is_some() || most.is_some()) {
        let why = "excludes min_cluster_count and max_cluster_count";
        return Err(Fault::invalid("cluster_count", why));
    }
    if let Some((least, most)) = least.zip(most)
        && least > most
    {
        let why = format!("{least} is more than max_cluster_count, {most}");
        return Err(Fault::invalid("min_cluster_count", why));
    }
    if exact.or(least).or(most).is_some() {
        (cluster.k, cluster.k_min, cluster.k_max) = (exact, least, most);
    }
    Ok(())
}

/// The request's seeds, in a file named by their content: a job that goes on after a restart must
/// draw from the seeds it began with.
fn seeds(app: &App, texts: &[String]) -> Result<PathBuf, Fault> {
    if texts.len() > MAX_SEEDS {
        return Err(Fault::range("seeds (count)", texts.len(), 1, MAX_SEEDS));
    }
    for (position, text) in texts.iter().enumerate() {
        validate::shown_text(&format!("seeds[{position}]"), text, &app.limits)?;
    }
    let rows = texts.iter().zip(1..);
    let rows = rows.map(|(text, n)| {
        format!("{}\n", serde_json::json!({ "id": format!("seed-{n}"), "text": text }))
    });
    let content: String = rows.collect();
    let folder = app.config.serve.data_folder().join("seeds");
    let path = folder.join(format!("{}.jsonl", crate::base::hash::sha256_hex(content.as_bytes())));
    let refused = |error: GenerateError| Fault::from(error).at("seeds");
    let failed = |error: &dyn std::fmt::Display| Fault::internal(error.to_string());
    fs_err::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let mut file = StagedFile::create(&path).map_err(|error| failed(&error))?;
    file.put(content.as_bytes()).map_err(|error| failed(&error))?;
    file.commit(texts.len() as u64).map_err(|error| failed(&error))?;
    Seeds::read(Some(&path)).map_err(refused)?;
    Ok(path)
}

/// A cluster of a generation as it travels.
pub fn generated(row: LineageRow) -> pb::JobInstruction {
    let members = row.members.into_iter().take(MAX_MEMBERS);
    pb::JobInstruction {
        members: members
            .map(|member| pb::RawInstruction {
                text: member.text,
                image_id: member.description,
                seeds: member.seeds,
                distance: member.distance,
            })
            .collect(),
        instruction_id: row.id,
        text: row.text,
        verdict: row.verdict,
        cluster: count(row.cluster),
        merged_into: row.merged_into.map(count),
        member_count: count(row.size),
        attempts: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        requires: row.requires.as_deref().map(requirements),
        model: row.call.map(|call| call.model).unwrap_or_default(),
    }
}
