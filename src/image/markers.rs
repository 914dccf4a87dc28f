//! A walk over the segments of a JPEG file, to learn what its decoder does not tell.

use memchr::memchr;

/// What the segments tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Markers {
    /// An end-of-image marker follows the scans. Without one the file was cut: decoders that do
    /// not notice would hand over a photo whose lower part is grey.
    pub complete: bool,
    /// The transform flag of Adobe's APP14 segment: 0 RGB or CMYK, 1 YCbCr, 2 YCCK.
    pub adobe_transform: Option<u8>,
}

const EOI: u8 = 0xd9;
const APP14: u8 = 0xee;

/// Walks from the start of the file to the first end-of-image marker outside any segment (the
/// thumbnail inside an EXIF segment has its own, which does not count).
pub(super) fn walk(bytes: &[u8]) -> Markers {
    let mut found = Markers::default();
    let mut position = 2;
    while let Some((marker, after)) = next_marker(bytes, position) {
        position = after;
        match marker {
            EOI => {
                found.complete = true;
                break;
            }
            // These stand alone: stuffed bytes, TEM, restart markers, start of image.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(segment) = segment(bytes, after) else {
                    break;
                };
                if marker == APP14 && segment.starts_with(b"Adobe") {
                    found.adobe_transform = segment.get(11).copied();
                }
                position = after + 2 + segment.len();
            }
        }
    }
    found
}

/// The next marker code at or after `position`, and the offset just behind it. Fill bytes (FF FF)
/// are skipped; entropy-coded data is skipped too, since it holds no other FF.
fn next_marker(bytes: &[u8], position: usize) -> Option<(u8, usize)> {
    let start = position + memchr(0xff, bytes.get(position..)?)?;
    let fill = bytes[start..].iter().take_while(|&&byte| byte == 0xff).count();
    let code = start + fill;
    bytes.get(code).map(|&marker| (marker, code + 1))
}

/// The payload of the segment whose length field starts at `position`.
fn segment(bytes: &[u8], position: usize) -> Option<&[u8]> {
    let length = bytes.get(position..position + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    bytes.get(position + 2..position + length.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCAN: &[u8] = b"\xff\xda\x00\x03\x01data\xff\x00more\xff\xd0rest";

    fn file(parts: &[&[u8]]) -> Vec<u8> {
        [&[b"\xff\xd8".as_slice()], parts].concat().concat()
    }

    #[test]
    fn a_file_is_complete_only_with_its_own_end_marker() {
        assert!(walk(&file(&[SCAN, b"\xff\xd9"])).complete);
        assert!(walk(&file(&[SCAN, b"\xff\xff\xff\xd9trailing"])).complete);
        assert!(!walk(&file(&[SCAN])).complete);
        assert!(!walk(&file(&[SCAN, b"\xff"])).complete);
    }

    #[test]
    fn the_end_marker_of_an_embedded_thumbnail_does_not_count() {
        let exif = b"\xff\xe1\x00\x0a\xff\xd8thum\xff\xd9";
        assert!(!walk(&file(&[exif, SCAN])).complete);
        assert!(walk(&file(&[exif, SCAN, b"\xff\xd9"])).complete);
    }

    #[test]
    fn adobe_transform_is_read() {
        let adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\x02";
        assert_eq!(walk(&file(&[adobe, SCAN])).adobe_transform, Some(2));
        assert_eq!(walk(&file(&[SCAN])).adobe_transform, None);
    }

    #[test]
    fn segments_that_overrun_the_file_end_the_walk() {
        assert_eq!(walk(b"\xff\xd8\xff\xe0\xff\xff\xff\xd9"), Markers::default());
        assert_eq!(walk(b"\xff\xd8"), Markers::default());
        assert_eq!(walk(b""), Markers::default());
    }
}
