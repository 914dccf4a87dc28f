//! The generation's report page.
use super::summary::GenerationSummary;
use super::vectors::Vectors;
use crate::Error;
use std::path::Path;
pub fn write(
    _path: &Path,
    _summary: &GenerationSummary,
    _vectors: &mut Vectors<'_>,
) -> Result<(), Error> {
    Ok(())
}
