//! Which photos pass for nearly the same, by their looks and embeddings: changed copies of photos,
//! which should, and all pairs of different photos, which should not.
//!
//!     cargo bench --bench twins
//!
//! The photos are those of `../shared/data/coco-train80`, else the samples. Photos at even places
//! are those that the thresholds were chosen on.

mod support {
    pub mod photos;
}

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView};
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder, cosine};
use pairwright::image::{DecodeOptions, look_distance};
use support::photos;

type Change = (&'static str, fn(&DynamicImage) -> Vec<u8>);

fn jpeg(image: &DynamicImage, quality: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    image.to_rgb8().write_with_encoder(encoder).expect("encodes");
    bytes.into_inner()
}

fn resized(image: &DynamicImage, percent: u32) -> DynamicImage {
    let side = |side: u32| (side * percent / 100).max(1);
    image.resize_exact(side(image.width()), side(image.height()), FilterType::Lanczos3)
}

/// Without `percent` of each side, half of it left and half right.
fn cropped(image: &DynamicImage, percent: u32) -> DynamicImage {
    let (width, height) = image.dimensions();
    let off = |side: u32| side * percent / 200;
    let (left, top) = (off(width), off(height));
    image.crop_imm(left, top, width - 2 * left, height - 2 * top)
}

const CHANGES: [Change; 8] = [
    ("half the size", |image| jpeg(&resized(image, 50), 90)),
    ("a quarter of the size", |image| jpeg(&resized(image, 25), 90)),
    ("JPEG of quality 30", |image| jpeg(image, 30)),
    ("5 % cut off", |image| jpeg(&cropped(image, 5), 90)),
    ("10 % cut off", |image| jpeg(&cropped(image, 10), 90)),
    ("20 % cut off", |image| jpeg(&cropped(image, 20), 90)),
    ("brighter by 40 of 255", |image| jpeg(&image.brighten(40), 90)),
    ("less contrast", |image| jpeg(&image.adjust_contrast(-30.0), 90)),
];

struct Photo {
    look: u64,
    vector: Vec<f32>,
}

fn photo(encoder: &OnnxEncoder, bytes: &[u8]) -> Photo {
    let pixels = encoder.preprocessor().prepare(bytes).expect("decodes").0;
    let look = pixels.look();
    Photo { look, vector: encoder.embed_images(&[pixels]).expect("embeds").remove(0) }
}

/// Bits that differ, and the cosine.
fn apart(one: &Photo, other: &Photo) -> (u32, f64) {
    (look_distance(one.look, other.look), cosine(&one.vector, &other.vector))
}

fn main() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder = encoder.expect("the bundled model");
    let files = photos::files(&photos::folder());
    let originals: Vec<Vec<u8>> =
        files.iter().map(|file| fs_err::read(file).expect("a photo")).collect();
    let known: Vec<Photo> = originals.iter().map(|bytes| photo(&encoder, bytes)).collect();
    let bounds =
        [(8, 0.9), (12, 0.9), (16, 0.9), (20, 0.9), (64, 0.9), (16, 0.7), (16, 0.8), (16, -1.0)];
    println!("found among {} photos, of even and odd places, by bits and cosine", known.len());
    println!("| copy | {} |", bounds.map(|(bits, least)| format!("{bits}, {least}")).join(" | "));
    for (name, change) in CHANGES {
        let copies: Vec<(u32, f64)> = originals
            .iter()
            .zip(&known)
            .map(|(bytes, known)| {
                let image = image::load_from_memory(bytes).expect("decodes");
                apart(known, &photo(&encoder, &change(&image)))
            })
            .collect();
        println!("| {name} | {} |", counts(&copies, &bounds));
    }
    let mut pairs = Vec::new();
    for (at, one) in known.iter().enumerate() {
        pairs.extend(known[..at].iter().map(|other| apart(one, other)));
    }
    println!("| {} pairs of different photos | {} |", pairs.len(), counts(&pairs, &bounds));
    pairs.sort_by_key(|one| one.0);
    println!("the nearest looks: {:?}", &pairs[..5.min(pairs.len())]);
    pairs.sort_by(|one, other| other.1.total_cmp(&one.1));
    println!("the nearest embeddings: {:?}", &pairs[..5.min(pairs.len())]);
}

fn counts(apart: &[(u32, f64)], bounds: &[(u32, f64)]) -> String {
    let count = |(bits, least): &(u32, f64)| {
        let passes = |(at, (other, near)): &(usize, &(u32, f64))| {
            (other <= bits && near >= least).then_some(at.is_multiple_of(2))
        };
        let found: Vec<bool> = apart.iter().enumerate().filter_map(|one| passes(&one)).collect();
        let even = found.iter().filter(|even| **even).count();
        format!("{} ({even}, {})", found.len(), found.len() - even)
    };
    bounds.iter().map(count).collect::<Vec<_>>().join(" | ")
}
