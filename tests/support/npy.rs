//! Reads the two-dimensional float32 `.npy` files of the golden references.

use std::path::Path;

/// Rows of a float32 [N, D] array.
pub fn rows(path: &Path) -> Vec<Vec<f32>> {
    let bytes = fs_err::read(path).expect("npy file");
    assert_eq!(&bytes[..6], b"\x93NUMPY", "{}", path.display());
    let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..10 + header_len]).into_owned();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next());
    let shape: Vec<usize> =
        shape.expect("a shape").split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let values: Vec<f32> = bytes[10 + header_len..]
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    assert_eq!(values.len(), shape[0] * shape[1]);
    values.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect()
}

/// Cosine similarity of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
