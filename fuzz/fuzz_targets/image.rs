//! Bytes of a request's image through all that the service does with them before the encoder:
//! limits, header, decoding, orientation, resize, tensor.
#![no_main]

mod driver;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pairwright::image::{DecodeOptions, ImageLimits, PreprocessConfig, Preprocessor};
use pairwright_fuzz::seeds;

/// Far below the service's own, so that a bomb shows at once, by memory as by time. libFuzzer
/// refuses any single allocation of four times as much (`make fuzz`).
const LIMITS: ImageLimits = ImageLimits {
    max_file_bytes: 1 << 20,
    max_side: 30_000,
    max_pixels: 4_000_000,
    max_decoded_bytes: 16 << 20,
};

static PREPROCESSOR: LazyLock<Preprocessor> = LazyLock::new(|| {
    let options = DecodeOptions { limits: LIMITS, ..DecodeOptions::default() };
    Preprocessor::new(PreprocessConfig::default(), options).expect("the default settings are valid")
});

fuzz_target!(
    init: {
        seeds::write_if_asked(seeds::Kind::Images);
        // In place of libFuzzer's hook, which ends the process at any panic: one in a decoder is
        // caught and refuses the file. One that gets out of `prepare` still ends the process.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        match PREPROCESSOR.prepare(bytes) {
            Ok((pixels, info)) => {
                assert!(u64::from(info.width) * u64::from(info.height) <= LIMITS.max_pixels);
                assert!(info.width.min(info.height) > 0 && (1..=8).contains(&info.orientation));
                let mut tensor = vec![0.0; PREPROCESSOR.tensor_len()];
                PREPROCESSOR.write_nchw(&pixels, &mut tensor);
                assert!(tensor.iter().all(|value| value.is_finite()));
            }
            Err(error) => {
                assert!(pairwright::Failure::code(&error).starts_with("image_"), "{error:?}");
                assert_ne!(pairwright::Failure::code(&error), "image_internal", "{error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
);
