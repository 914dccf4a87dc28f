//! The export stage: derived files, written again from the store each time.

use crate::Error;
use crate::dataset::sink::{ExportFormat, SinkSummary};
use crate::dataset::store::Store;

use super::holding::hold_near_duplicates;
use super::settings::Settings;
use super::{RunError, RunFolder};
use crate::work::{Phase, Progress};

/// Writes the accepted samples in every format asked for. Equal runs give equal bytes.
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
    let mut sinks =
        formats.iter().map(|format| format.create(&dataset)).collect::<Result<Vec<_>, _>>()?;
    store.each_sample(&context, |sample| {
        for sink in &mut sinks {
            sink.push(&sample)?;
        }
        progress.advance(Phase::Export, 1);
        Ok::<(), Error>(())
    })?;
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
