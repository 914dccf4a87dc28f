//! The first photos of a source, as a preview of the whole.

use std::ops::ControlFlow;
use std::path::Path;

use super::{Emit, Source, SourceError, SourceEvent};

/// A source that ends after so many photos, those without a text among them, whether they are used
/// or not; other refused entries do not count.
pub(super) struct Limited {
    pub source: Box<dyn Source>,
    /// At least 1.
    pub limit: u64,
}

impl Source for Limited {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        let mut left = self.limit;
        self.source.read(&mut |event| {
            left -= u64::from(!matches!(event, SourceEvent::Rejected(_)));
            let said = emit(event);
            if left == 0 { ControlFlow::Break(()) } else { said }
        })
    }

    fn image_root(&self) -> Option<&Path> {
        self.source.image_root()
    }
}
