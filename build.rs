//! Compiles the public contract in `proto/` without protoc.

use std::path::PathBuf;

const ROOT: &str = "proto";
const FILES: [&str; 7] = [
    "pairwright/v1/answer.proto",
    "pairwright/v1/embedding.proto",
    "pairwright/v1/evaluation.proto",
    "pairwright/v1/info.proto",
    "pairwright/v1/instruction.proto",
    "pairwright/v1/job.proto",
    "pairwright/v1/matching.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // Details of errors travel as `Any`; with their types in the reflection, clients can read them.
    compiler.open_file("google/rpc/error_details.proto")?;
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("pairwright.bin");
    std::fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .bytes(".pairwright.v1.Image")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
