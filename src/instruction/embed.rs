//! Sentence embeddings for clustering and for near-duplicates, and their principal components.

use ndarray::{Array1, ArrayView2, Axis};

use crate::base::hash;
use crate::encoder::{
    Embedding, EncoderError, EncoderOptions, SentenceEncoder, TextMean, TextTower,
};
use crate::model::{ModelFolder, ModelSource};

/// A sentence embedder: fastembed's by name, or the text tower of a dual encoder. Where the model
/// folder tells what its text graph subtracts, that is undone, which for the bundled encoder gives
/// the plain embeddings of all-MiniLM-L6-v2.
pub struct TextEmbedder {
    backend: Backend,
    /// The model in words, for the report.
    pub name: String,
    /// Key of the model and of what is done to its output.
    pub hash: String,
}

enum Backend {
    Tower { tower: Box<TextTower>, mean: Option<TextMean> },
    Sentence(Box<SentenceEncoder>),
}

impl TextEmbedder {
    /// Opens fastembed's `text_model`, or the text tower of the model folder `model`.
    ///
    /// # Errors
    /// The model cannot be fetched, opened or is not what its manifest says.
    pub fn open(
        model: impl Into<ModelSource>,
        text_model: Option<&str>,
        options: &EncoderOptions,
    ) -> Result<Self, EncoderError> {
        if let Some(name) = text_model {
            let encoder = SentenceEncoder::open(name, options.resolved_intra_threads())?;
            let backend = Backend::Sentence(Box::new(encoder));
            return Ok(Self { backend, name: name.into(), hash: hash::key(&["sentence", name]) });
        }
        let folder = ModelFolder::open(model)?;
        let tower = Box::new(TextTower::open(&folder, options)?);
        let mean = TextMean::open(&folder)?;
        let name = &folder.manifest.name;
        let (name, kind) = match mean {
            Some(_) => (format!("{name}, text tower, centring undone"), "uncentred"),
            None => (format!("{name}, text tower"), "text"),
        };
        let hash = hash::key(&[kind, &folder.hash]);
        Ok(Self { backend: Backend::Tower { tower, mean }, name, hash })
    }

    /// Unit vectors of the texts, in order. Each text goes in alone: in a batch its vector would
    /// depend, in its last bits, on the texts beside it, and a resumed run on where it stopped.
    ///
    /// # Errors
    /// A text cannot be tokenised, or inference failed.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EncoderError> {
        texts.iter().map(|text| self.one(text)).collect()
    }

    fn one(&mut self, text: &str) -> Result<Embedding, EncoderError> {
        let vector = match &mut self.backend {
            Backend::Sentence(encoder) => encoder.embed(&[text])?.pop(),
            Backend::Tower { tower, mean } => {
                let vector = tower.embed(&[text])?.pop().map(|text| text.vector);
                vector.map(|vector| {
                    mean.as_ref().map_or_else(|| vector.clone(), |mean| mean.undo(&vector))
                })
            }
        };
        vector.ok_or_else(|| EncoderError::Shape {
            tower: "sentence",
            found: "no row".into(),
            rows: 1,
            dim: 0,
        })
    }
}

/// Steps of the power iteration at most.
const STEPS: usize = 300;

/// Coordinates of each row on the first two principal components, and the share of the variance
/// that both carry. The sign of a component is chosen so that its largest part is positive.
pub fn two_components(rows: ArrayView2<'_, f32>) -> (Vec<[f64; 2]>, f64) {
    let mut centred = rows.mapv(f64::from);
    if let Some(mean) = centred.mean_axis(Axis(0)) {
        centred -= &mean;
    }
    let total: f64 = centred.iter().map(|value| value * value).sum();
    let first = component(centred.view(), None);
    let second = component(centred.view(), Some(&first));
    let on = |axis: &Array1<f64>| centred.dot(axis);
    let (x, y) = (on(&first), on(&second));
    let carried = x.dot(&x) + y.dot(&y);
    let share = if total > 0.0 { carried / total } else { 0.0 };
    (x.iter().zip(&y).map(|(x, y)| [*x, *y]).collect(), share)
}

/// The direction of largest variance that is at right angles to `other`.
fn component(rows: ArrayView2<'_, f64>, other: Option<&Array1<f64>>) -> Array1<f64> {
    // A fixed start that is at right angles to nothing likely.
    let start = |place: usize| 1.0 + (place as f64 * 0.754_877).fract();
    let mut axis = Array1::from_shape_fn(rows.ncols(), start);
    for _ in 0..STEPS {
        let mut next = rows.t().dot(&rows.dot(&axis));
        if let Some(other) = other {
            let along = other.dot(&next);
            next.scaled_add(-along, other);
        }
        let norm = next.dot(&next).sqrt();
        if norm < 1e-12 {
            // No variance is left in any direction.
            return Array1::zeros(rows.ncols());
        }
        next /= norm;
        let moved = (&next - &axis).mapv(f64::abs).sum();
        axis = next;
        if moved < 1e-9 {
            break;
        }
    }
    let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
    if largest.is_some_and(|value| value < 0.0) { -axis } else { axis }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn a_flat_cloud_is_seen_from_its_flat_side() {
        // Wide along (3, 4) / 5, narrow along (-4, 3) / 5, nothing along z.
        let point = |a: f32, b: f32| [0.6 * a - 0.8 * b + 7.0, 0.8 * a + 0.6 * b - 2.0, 5.0];
        let rows = [point(-4.0, 1.0), point(4.0, 1.0), point(-4.0, -1.0), point(4.0, -1.0)];
        let (points, share) = two_components(array(&rows).view());
        for (point, expected) in
            points.iter().zip([[-4.0, 1.0], [4.0, 1.0], [-4.0, -1.0], [4.0, -1.0]])
        {
            assert!((point[0] - expected[0]).abs() < 1e-4, "{points:?}");
            assert!((point[1].abs() - 1.0).abs() < 1e-4, "{points:?}");
        }
        assert!((share - 1.0).abs() < 1e-6);
    }

    fn array(rows: &[[f32; 3]; 4]) -> Array2<f32> {
        ndarray::arr2(rows)
    }

    #[test]
    fn equal_points_and_one_dimension_have_a_map_too() {
        let (points, share) = two_components(array![[1.0f32, 2.0], [1.0, 2.0]].view());
        assert_eq!((points, share), (vec![[0.0, 0.0]; 2], 0.0));
        let (points, _) = two_components(array![[1.0f32], [3.0]].view());
        assert!((points[0][0] + 1.0).abs() < 1e-9 && points[0][1].abs() < 1e-9);
    }
}
