//! Whether a model that is to be shown photos sees them, asked once for each server and model of a
//! folder of work.

use tokio_util::sync::CancellationToken;

use super::Backend;
use crate::base::db::{Database, DbError};
use crate::base::failure::Failure;
use crate::llm::{ChatModel, LlmError, probe_sight};

/// Why `model` is not to be shown photos; `None` where it sees, has shown so before, or is not to be
/// asked (`llm.probe`). `db` keeps that it sees.
///
/// # Errors
/// SQLite's.
pub async fn lacks_sight(
    db: &Database,
    backend: &Backend,
    model: &dyn ChatModel,
    cancel: &CancellationToken,
) -> Result<Option<LlmError>, DbError> {
    let llm = backend.config();
    let name = format!("sight of {} at {}", model.name(), llm.target);
    if !llm.probe || db.meta(&name)?.is_some() {
        return Ok(None);
    }
    match probe_sight(model, cancel).await {
        Ok(()) => {
            backend.report_success();
            db.set_meta(&name, "sees")?;
            Ok(None)
        }
        Err(error) => {
            tracing::error!(code = error.code(), "no photos are shown: {error}");
            backend.report_failure(&error);
            Ok(Some(error))
        }
    }
}
