//! The export stage: derived files, written again from the store each time.

use std::path::Path;

use crate::Error;
use crate::dataset::sink::{ExportFormat, SinkError, SinkSummary};
use crate::dataset::store::Store;

use super::holding::hold_near_duplicates;
use super::settings::Settings;
use super::{RunError, RunFolder};
use crate::work::{Phase, Progress};

/// Writes the accepted samples in every format asked for. Equal runs give equal bytes. Where there is
/// no sample, no file is left either: loaders choke on empty ones, or take them for a dataset.
///
/// # Errors
/// The run has no matches or answers yet, a sample is not fit for a format, or a file cannot be
/// written; what was exported before is then still there.
pub fn export(
    folder: &RunFolder,
    store: &Store,
    formats: &[ExportFormat],
    progress: &dyn Progress,
) -> Result<Vec<SinkSummary>, Error> {
    let settings = Settings::read(store)?;
    let Some(context) = settings.sample_context() else {
        let needs = if settings.matching.is_some() { "answer" } else { "match" };
        let path = folder.path().to_owned();
        return Err(RunError::StepMissing { path, step: "export", needs }.into());
    };
    // Photos may have come since a benchmark was held out.
    hold_near_duplicates(store, context.encoder_hash)?;
    let dataset = folder.path().join("dataset");
    let with_reasoning = store.has_reasoning(context.answer_conf)?;
    let sinks = formats.iter().map(|format| format.create(&dataset, with_reasoning));
    let mut sinks = sinks.collect::<Result<Vec<_>, _>>()?;
    let mut samples = 0u64;
    store.each_sample(&context, |sample| {
        samples += 1;
        for sink in &mut sinks {
            sink.push(&sample)?;
        }
        progress.advance(Phase::Export, 1);
        Ok::<(), Error>(())
    })?;
    if samples == 0 {
        // What they have begun goes with them.
        drop(sinks);
        formats.iter().try_for_each(|format| withdraw(store, *format, &dataset))?;
        progress.finish(Phase::Export);
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    for sink in sinks {
        let name = sink.name();
        let summary = sink.finish()?;
        store.put_export(name, &summary)?;
        written.push(summary);
    }
    progress.finish(Phase::Export);
    Ok(written)
}

/// Removes an earlier export, whose samples are all gone.
fn withdraw(store: &Store, format: ExportFormat, dataset: &Path) -> Result<(), Error> {
    let path = dataset.join(format.file_name());
    match fs_err::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(SinkError::Io { path, source }.into())
        }
        _ => Ok(store.remove_export(format.name())?),
    }
}
