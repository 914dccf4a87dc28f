//! Text embeddings as they were before a dual encoder centred them.

use crate::model::{ModelError, ModelFolder};

use super::Embedding;

/// A mean text embedding m, |m| < 1, that a text graph subtracts from unit vectors u before it
/// normalises again: x = (u - m) / |u - m|.
///
/// Centred vectors match photos better; for the meaning of sentences alone the vectors before
/// centring are the published ones, and thresholds on their cosines are the usual ones.
#[derive(Debug, Clone, PartialEq)]
pub struct TextMean {
    values: Vec<f32>,
    /// 1 - |m|².
    rest: f64,
}

impl TextMean {
    /// Reads the file that the folder's manifest names; `None` where it names none.
    ///
    /// # Errors
    /// The file cannot be read, or is no mean of unit vectors of the model's width.
    pub fn open(folder: &ModelFolder) -> Result<Option<Self>, ModelError> {
        let Some(file) = &folder.manifest.text.mean else { return Ok(None) };
        let path = folder.file(&file.name);
        let bytes =
            fs_err::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let words = bytes.chunks_exact(4);
        let values: Vec<f32> =
            words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        match Self::new(values, folder.manifest.embedding_dim) {
            Some(mean) => Ok(Some(mean)),
            None => {
                let message = "text.mean is no mean of unit vectors of embedding_dim floats".into();
                Err(ModelError::Manifest { path, message })
            }
        }
    }

    fn new(values: Vec<f32>, dim: usize) -> Option<Self> {
        let rest = 1.0 - values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        (values.len() == dim && rest > 0.0 && rest.is_finite()).then_some(Self { values, rest })
    }

    /// The unit vector u of which `centred` is the centred form: u = m + t x with the t > 0 that
    /// gives |u| = 1.
    pub fn undo(&self, centred: &[f32]) -> Embedding {
        let along: f64 =
            self.values.iter().zip(centred).map(|(m, x)| f64::from(*m) * f64::from(*x)).sum();
        let t = (along * along + self.rest).sqrt() - along;
        let pairs = self.values.iter().zip(centred);
        pairs.map(|(m, x)| (f64::from(*m) + t * f64::from(*x)) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unit;
    use super::*;

    proptest! {
        #[test]
        fn centring_is_undone(
            u in prop::collection::vec(-1.0f32..1.0, 6), m in prop::collection::vec(-0.3f32..0.3, 6),
        ) {
            prop_assume!(u.iter().any(|value| value.abs() > 0.1));
            let u = unit("text", 0, &u).expect("a direction");
            let mean = TextMean::new(m.clone(), 6).expect("short enough");
            let difference: Vec<f32> = u.iter().zip(&m).map(|(u, m)| u - m).collect();
            let centred = unit("text", 0, &difference).expect("u is longer than m");
            for (back, was) in mean.undo(&centred).iter().zip(&u) {
                prop_assert!((back - was).abs() < 1e-5, "{back} {was}");
            }
        }
    }

    #[test]
    fn what_is_no_mean_of_unit_vectors_is_refused() {
        assert_eq!(TextMean::new(vec![0.9, 0.9], 2), None);
        assert_eq!(TextMean::new(vec![0.1], 2), None);
        assert_eq!(TextMean::new(vec![f32::NAN, 0.0], 2), None);
    }
}
