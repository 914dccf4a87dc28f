//! Which format the first bytes announce.

use image::ImageFormat;

use super::{Format, ImageError};

/// The two ways a JPEG XL file begins: the bare codestream, the container.
const JXL: [&[u8]; 2] = [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"];

/// Whether the file calls itself AVIF, as its kind or among those it agrees with.
fn is_avif(bytes: &[u8]) -> bool {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let Some(brands) = rest.strip_prefix(b"ftyp") else { return false };
    // Larger than any that is written.
    let size = (u32::from_be_bytes(*size) as usize).saturating_sub(8).min(256).min(brands.len());
    brands[..size].chunks_exact(4).any(|brand| brand == b"avif" || brand == b"avis")
}

fn stands_at(bytes: &[u8], offset: usize, signature: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|tail| tail.starts_with(signature))
}

impl Format {
    /// Finds the format in the first bytes; the file's name plays no part.
    ///
    /// # Errors
    /// [`ImageError::UnknownFormat`], saying what the bytes look like.
    pub fn sniff(bytes: &[u8]) -> Result<Self, ImageError> {
        match image::guess_format(bytes).ok() {
            Some(ImageFormat::Jpeg) => Ok(Self::Jpeg),
            Some(ImageFormat::Png) => Ok(Self::Png),
            Some(ImageFormat::WebP) => Ok(Self::WebP),
            Some(ImageFormat::Gif) => Ok(Self::Gif),
            Some(ImageFormat::Bmp) => Ok(Self::Bmp),
            Some(ImageFormat::Tiff) => Ok(Self::Tiff),
            _ if cfg!(feature = "jxl") && JXL.iter().any(|start| bytes.starts_with(start)) => {
                Ok(Self::Jxl)
            }
            _ if cfg!(feature = "avif") && is_avif(bytes) => Ok(Self::Avif),
            _ => Err(ImageError::UnknownFormat { looks_like: describe(bytes) }),
        }
    }
}

/// What people most often have in a folder of photos that is not a photo: offset of the signature,
/// signature, name.
const STRANGERS: [(usize, &[u8], &str); 16] = [
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer (the photo itself was not fetched)"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftyp", "an ISO media file (MP4, HEIC or the like)"),
    (0, JXL[0], "a JPEG XL image, which needs a build with the cargo feature jxl"),
    (0, JXL[1], "a JPEG XL image, which needs a build with the cargo feature jxl"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\x01\0", "an icon (ICO)"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<", "HTML or XML text"),
];

fn describe(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(8)];
    let shown: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (first bytes {})", stranger(bytes), shown.join(" "))
}

fn stranger(bytes: &[u8]) -> &'static str {
    let known = STRANGERS.iter().find(|&&(offset, begins, _)| stands_at(bytes, offset, begins));
    let head = &bytes[..bytes.len().min(64)];
    match known {
        _ if is_avif(bytes) => "an AVIF image, which needs a build with the cargo feature avif",
        Some(&(_, _, name)) => name,
        None if head.iter().all(|&byte| byte == 0) => "nothing but zero bytes",
        None if head.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            "plain text"
        }
        None => "unknown binary data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_like(bytes: &[u8]) -> String {
        match Format::sniff(bytes) {
            Err(ImageError::UnknownFormat { looks_like }) => looks_like,
            other => panic!("expected an unknown format, got {other:?}"),
        }
    }

    #[test]
    fn strangers_are_named() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let seen = [
            looks_like(b"PK\x03\x04\x14\0\0\0\x08\0"),
            looks_like(b"just some words\n"),
            looks_like(b"<!DOCTYPE html><html>"),
            looks_like(b"version https://git-lfs.github.com/spec/v1\n"),
            looks_like(b"\0\0\0\x18ftypheic\0\0\0\0"),
            looks_like(&tar),
            looks_like(&[0; 100]),
            looks_like(&[0x80; 100]),
            looks_like(b"\xff"),
        ];
        insta::assert_snapshot!(seen.join("\n"));
    }

    #[test]
    fn a_file_may_name_itself_avif_among_others() {
        let brands = |size: u8, brands: &[u8]| [&[0, 0, 0, size][..], b"ftyp", brands].concat();
        assert!(is_avif(&brands(24, b"mif1\0\0\0\0miafavif")));
        assert!(is_avif(&brands(16, b"avis\0\0\0\0")));
        assert!(!is_avif(&brands(16, b"mif1\0\0\0\0avif")), "behind the box");
        assert!(!is_avif(&brands(28, b"heic\0\0\0\0mif1heic")));
        assert!(!is_avif(b"\0\0\0\0ftyp") && !is_avif(b""));
    }

    #[test]
    fn a_format_that_the_build_lacks_is_named_with_its_feature() {
        for (bytes, format, here) in [
            (&b"\xff\x0a\0\0"[..], Format::Jxl, cfg!(feature = "jxl")),
            (b"\0\0\0\x20ftypavif\0\0\0\0", Format::Avif, cfg!(feature = "avif")),
            (b"\0\0\0\x20ftypavis\0\0\0\0", Format::Avif, cfg!(feature = "avif")),
        ] {
            assert_eq!(Format::ENDINGS.contains(&format.as_str()), here);
            if here {
                assert_eq!(Format::sniff(bytes).expect("read by this build"), format);
            } else {
                let feature = format!("needs a build with the cargo feature {format}");
                assert!(looks_like(bytes).contains(&feature), "{}", looks_like(bytes));
            }
        }
    }

    #[test]
    fn the_six_formats_are_told_by_their_first_bytes() {
        let samples: [(&[u8], Format); 7] = [
            (b"\xff\xd8\xff\xe0", Format::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Format::WebP),
            (b"GIF89a", Format::Gif),
            (b"BM\0\0", Format::Bmp),
            (b"II*\0", Format::Tiff),
            (b"MM\0*", Format::Tiff),
        ];
        for (bytes, format) in samples {
            assert_eq!(Format::sniff(bytes).expect("a known signature"), format);
        }
    }
}
