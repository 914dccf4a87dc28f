//! A walk over the segments of a JPEG file, to learn whether it was cut.

use memchr::memchr;

const END_OF_IMAGE: u8 = 0xd9;

/// Whether an end-of-image marker follows the scans. Without one the file was cut, and a decoder
/// that does not notice hands over a photo whose lower part is grey. The marker that ends the
/// thumbnail inside an EXIF segment does not count.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut position = 2;
    while let Some((marker, after)) = next_marker(bytes, position) {
        position = match marker {
            END_OF_IMAGE => return true,
            // These stand alone: stuffed bytes, TEM, restart markers, start of image.
            0x00 | 0x01 | 0xd0..=0xd8 => after,
            _ => after + segment_length(bytes, after),
        };
    }
    false
}

/// The next marker code at or after `position`, and the offset just behind it. Fill bytes (FF FF)
/// are skipped; entropy-coded data is skipped too, since it holds no other FF.
fn next_marker(bytes: &[u8], position: usize) -> Option<(u8, usize)> {
    let start = position + memchr(0xff, bytes.get(position..)?)?;
    let fill = bytes[start..].iter().take_while(|&&byte| byte == 0xff).count();
    let code = start + fill;
    bytes.get(code).map(|&marker| (marker, code + 1))
}

/// Bytes of the segment at `position`, its length field included.
fn segment_length(bytes: &[u8], position: usize) -> usize {
    match bytes.get(position..position + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])).max(2),
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCAN: &[u8] = b"\xff\xda\x00\x03\x01data\xff\x00more\xff\xd0rest";

    fn complete(parts: &[&[u8]]) -> bool {
        is_complete(&[&[b"\xff\xd8".as_slice()], parts].concat().concat())
    }

    #[test]
    fn a_file_is_complete_only_with_its_own_end_marker() {
        assert!(complete(&[SCAN, b"\xff\xd9"]));
        assert!(complete(&[SCAN, b"\xff\xff\xff\xd9trailing"]));
        assert!(!complete(&[SCAN]));
        assert!(!complete(&[SCAN, b"\xff"]));
    }

    #[test]
    fn the_end_marker_of_an_embedded_thumbnail_does_not_count() {
        let exif = b"\xff\xe1\x00\x0a\xff\xd8thum\xff\xd9";
        assert!(!complete(&[exif, SCAN]));
        assert!(complete(&[exif, SCAN, b"\xff\xd9"]));
    }

    #[test]
    fn segments_that_overrun_the_file_end_the_walk() {
        assert!(!is_complete(b"\xff\xd8\xff\xe0\xff\xff\xff\xd9"));
        assert!(!is_complete(b"\xff\xd8\xff\xe0\x00"));
        assert!(!is_complete(b"\xff\xd8"));
        assert!(!is_complete(b""));
    }
}
