//! What a photo looks like, in 64 bits: a perceptual hash (pHash, Zauner 2010).

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::Pixels;

/// The photo is averaged to this many points along each side.
const SIDE: usize = 32;

/// Lowest frequencies along each side; one bit each.
const WAVES: usize = 8;

/// cos((2x + 1) u π / 64) of each wave u, from 1, at each point x: the first wave is the mean, which
/// brightness alone changes.
static COSINES: LazyLock<[[f64; SIDE]; WAVES]> = LazyLock::new(|| {
    let cosine = |wave: usize, at: usize| {
        ((2 * at + 1) as f64 * (wave + 1) as f64 * PI / (2 * SIDE) as f64).cos()
    };
    std::array::from_fn(|wave| std::array::from_fn(|at| cosine(wave, at)))
});

impl Pixels {
    /// A hash that sizes, formats and brightness hardly change: for each of the lowest frequencies
    /// of the grey photo whether it is above their median. Compare with [`look_distance`]. A photo
    /// of one colour has no frequencies and gives 0.
    pub fn look(&self) -> u64 {
        let grey = self.grey();
        let rows: Vec<[f64; WAVES]> = grey
            .iter()
            .map(|row| COSINES.map(|wave| wave.iter().zip(row).map(|(a, b)| a * b).sum()))
            .collect();
        let mut waves = Vec::with_capacity(WAVES * WAVES);
        for down in &*COSINES {
            for across in 0..WAVES {
                waves.push(down.iter().zip(&rows).map(|(a, row)| a * row[across]).sum::<f64>());
            }
        }
        let mut sorted = waves.clone();
        sorted.sort_by(f64::total_cmp);
        let median = f64::midpoint(sorted[WAVES * WAVES / 2 - 1], sorted[WAVES * WAVES / 2]);
        // Rounding leaves traces of a flat photo.
        let above = |wave: &f64| *wave > median + 1e-6;
        waves.iter().fold(0, |bits, wave| bits << 1 | u64::from(above(wave)))
    }

    /// Mean grey of each of 32 by 32 fields, by the weights of ITU-R BT.601.
    fn grey(&self) -> [[f64; SIDE]; SIDE] {
        let side = self.side as usize;
        let mut sums = [[(0.0, 0.0); SIDE]; SIDE];
        for (at, pixel) in self.rgb.chunks_exact(3).enumerate() {
            let field = &mut sums[at / side * SIDE / side][at % side * SIDE / side];
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
            field.0 += 0.299 * red + 0.587 * green + 0.114 * blue;
            field.1 += 1.0;
        }
        sums.map(|row| row.map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 }))
    }
}

/// In how many of 64 bits two looks differ.
pub fn look_distance(one: u64, other: u64) -> u32 {
    (one ^ other).count_ones()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn flat(value: u8) -> Pixels {
        Pixels { side: 224, rgb: vec![value; 3 * 224 * 224] }
    }

    #[test]
    fn brightness_hardly_changes_a_look_and_another_picture_does() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/photos/moose.jpg");
        let bytes = fs_err::read(path).expect("a sample");
        let card = fixtures::preprocessor().prepare(&bytes).expect("decodes").0;
        let rgb = card.rgb.iter().map(|value| value / 2 + 10).collect();
        let darker = Pixels { side: card.side, rgb };
        assert!(look_distance(card.look(), darker.look()) <= 2);
        let mut turned = card.clone();
        turned.rgb.reverse();
        assert!(look_distance(card.look(), turned.look()) > 20);
        assert_eq!((flat(0).look(), flat(200).look()), (0, 0));
        // Sides below 32 leave fields empty.
        let _ = (Pixels::test_card(1).look(), Pixels::test_card(20).look());
    }
}
