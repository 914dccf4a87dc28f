//! Makes a large source of distinct, real JPEG photos with captions, for soak runs:
//! `cargo run --release --example synthetic_source -- DIR COUNT [tars]`.
//!
//! Writes DIR/photos/NNN/NNNNNN.jpg and DIR/manifest.jsonl, and with `tars` the same photos and
//! captions once more as DIR/tars/NNN.tar. Pictures are seeded gradients with shapes and noise, so
//! that every file has its own bytes and decodes like a photo.

use std::io::Write;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const COLOURS: [(&str, [u8; 3]); 8] = [
    ("red", [200, 40, 40]),
    ("green", [40, 160, 60]),
    ("blue", [50, 80, 200]),
    ("yellow", [220, 200, 60]),
    ("white", [240, 240, 235]),
    ("black", [25, 25, 30]),
    ("orange", [230, 130, 40]),
    ("grey", [130, 130, 135]),
];
const SUBJECTS: [&str; 8] =
    ["a dog", "a boat", "a cup of coffee", "a train", "a mountain", "a cat", "a pizza", "a bus"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("usage: synthetic_source DIR COUNT [tars]");
    let count: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("COUNT");
    let with_tars = arguments.next().is_some_and(|word| word == "tars");
    let folder = Path::new(&folder);
    let tars = folder.join("tars");
    fs_err::create_dir_all(if with_tars { &tars } else { folder }).expect("folder");
    let manifest = fs_err::File::create(folder.join("manifest.jsonl")).expect("manifest");
    let mut manifest = std::io::BufWriter::new(manifest);
    let mut tar: Option<tar::Builder<_>> = None;
    for number in 0..count {
        let name = format!("photos/{:03}/{number:06}.jpg", number / 1000);
        let path = folder.join(&name);
        if number % 1000 == 0 {
            fs_err::create_dir_all(path.parent().expect("has a parent")).expect("folder");
            if with_tars {
                tar.take().map(tar::Builder::into_inner).transpose().expect("a whole tar");
                let path = tars.join(format!("{:03}.tar", number / 1000));
                tar = Some(tar::Builder::new(fs_err::File::create(path).expect("tar")));
            }
        }
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let (colour, rgb) = COLOURS[random.random_range(0..COLOURS.len())];
        let subject = SUBJECTS[random.random_range(0..SUBJECTS.len())];
        let photo = jpeg(&mut random, rgb);
        fs_err::write(&path, &photo).expect("photo");
        let caption = format!("Picture {number}: {subject} in front of a {colour} wall.");
        if let Some(tar) = &mut tar {
            for (ending, bytes) in [("jpg", &photo[..]), ("txt", caption.as_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                let name = format!("{number:06}.{ending}");
                tar.append_data(&mut header, name, bytes).expect("a member");
            }
        }
        let row =
            serde_json::json!({ "id": number.to_string(), "image": name, "caption": caption });
        writeln!(manifest, "{row}").expect("manifest row");
    }
    manifest.flush().expect("manifest");
    tar.map(tar::Builder::into_inner).transpose().expect("a whole tar");
}

fn jpeg(random: &mut ChaCha8Rng, colour: [u8; 3]) -> Vec<u8> {
    let (width, height) = if random.random_bool(0.5) { (320, 240) } else { (240, 320) };
    let (centre_x, centre_y) = (random.random_range(0..width), random.random_range(0..height));
    let radius = random.random_range(20..100i64).pow(2);
    let slope = random.random_range(1..4);
    let noise: u8 = random.random_range(4..24);
    let photo = RgbImage::from_fn(width, height, |x, y| {
        let far = (i64::from(x) - i64::from(centre_x)).pow(2)
            + (i64::from(y) - i64::from(centre_y)).pow(2);
        let shade = ((x * slope + y) % 200) as u8;
        let grain = random.random_range(0..noise);
        let base = if far < radius { colour } else { [shade, shade / 2 + 60, 180 - shade / 2] };
        Rgb(base.map(|channel| channel.saturating_add(grain)))
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&photo).expect("encodes");
    bytes
}
