#!/bin/sh
# Cargo's RUSTC_WRAPPER of the fuzz targets: libFuzzer's instrumentation for our code and for what
# reads what clients send, and for nothing else, so that all other crates are those of the main
# build. fuzz/Cargo.toml lists the same names, which keeps the two builds of each apart.
for argument; do
    if [ "${last-}" = --crate-name ]; then name=$argument; fi
    last=$argument
done
case ${name-} in
pairwright | pairwright_fuzz | image | zune_jpeg | png | gif | tiff | image_webp | exif) ;;
*) exec "$@" ;;
esac
# `fuzzing`: png reads on where a checksum is wrong, as every changed file's is.
exec "$@" --cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares
