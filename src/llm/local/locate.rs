//! Where the managed server's program and its model are.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::llm::error::LlmFault;

/// Environment variable that names the program.
pub const SERVER_VARIABLE: &str = "PAIRWRIGHT_LLAMA_SERVER";

/// Where `make setup` puts the program, from the folder it ran in.
const SERVER: &str = "runtime/llama/bin/llama-server";

/// A file whose first line is the path of the model that `make setup` fetched.
const MODEL_NOTE: &str = "runtime/demo-llm.path";

/// The program: as configured, or named by [`SERVER_VARIABLE`], or below `runtime/` of one of
/// `places`. A configured path that is wrong is an error, never a reason to look elsewhere.
pub(super) fn server(configured: Option<&Path>, places: &[PathBuf]) -> Result<PathBuf, LlmFault> {
    let variable = std::env::var_os(SERVER_VARIABLE).map(PathBuf::from);
    let looked = match configured.map(Path::to_path_buf).or(variable) {
        Some(path) => vec![path],
        None => places.iter().map(|place| place.join(SERVER)).collect(),
    };
    first_file(looked, "the program llama-server", SERVER_VARIABLE)
}

/// The model file: as configured, or the one noted below `runtime/` of one of `places`.
pub(super) fn model(configured: Option<&Path>, places: &[PathBuf]) -> Result<PathBuf, LlmFault> {
    let looked = match configured {
        Some(path) => vec![path.to_path_buf()],
        None => match places.iter().find_map(|place| noted_model(place)) {
            Some(path) => vec![path],
            None => {
                let looked = places.iter().map(|place| place.join(MODEL_NOTE)).collect();
                return Err(missing_model(looked));
            }
        },
    };
    first_file(looked, MODEL, MODEL_SETTING)
}

const MODEL: &str = "the model file";
const MODEL_SETTING: &str = "the target to local:/path/model.gguf";

fn missing_model(looked: Vec<PathBuf>) -> LlmFault {
    LlmFault::Missing { what: MODEL, looked, setting: MODEL_SETTING }
}

/// The model that `place` notes; a relative path starts at `place`.
fn noted_model(place: &Path) -> Option<PathBuf> {
    let note = fs_err::read_to_string(place.join(MODEL_NOTE)).ok()?;
    let line = note.lines().next()?.trim();
    (!line.is_empty()).then(|| place.join(line))
}

fn first_file(
    looked: Vec<PathBuf>,
    what: &'static str,
    setting: &'static str,
) -> Result<PathBuf, LlmFault> {
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(LlmFault::Missing { what, looked, setting }),
    }
}

/// Eight hexadecimal digits over a model file's size, first and last MiB: enough to tell two files
/// of one name apart without reading gigabytes at every start.
pub(super) fn fingerprint(gguf: &Path) -> Result<String, LlmFault> {
    const PART: u64 = 1 << 20;
    let read = || {
        let mut file = fs_err::File::open(gguf)?;
        let size = file.metadata()?.len();
        let mut bytes = size.to_le_bytes().to_vec();
        file.by_ref().take(PART).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(size.saturating_sub(PART)))?;
        file.take(PART).read_to_end(&mut bytes)?;
        Ok(crate::base::hash::sha256_hex(&bytes)[..8].to_owned())
    };
    read().map_err(|error: std::io::Error| LlmFault::config("target", error.to_string()))
}

/// Folders that may hold `runtime/`: the current one, then every folder above this program.
pub(super) fn places() -> Vec<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|path| path.ancestors().skip(1));
    here.into_iter().chain(above.map(Path::to_path_buf)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    fn place_with(file: &str, text: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = place.path().join(file);
        fs_err::create_dir_all(path.parent().expect("has a parent")).expect("created");
        fs_err::write(path, text).expect("written");
        place
    }

    #[test]
    fn the_first_place_that_has_the_program_wins() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        let full = place_with(SERVER, "");
        let places = [empty.path().to_path_buf(), full.path().to_path_buf()];
        assert_eq!(server(None, &places), Ok(full.path().join(SERVER)));
    }

    #[test]
    fn a_configured_path_is_the_only_one_tried() {
        let full = place_with(SERVER, "");
        let wrong = Path::new("/no/such/llama-server");
        let fault = server(Some(wrong), &[full.path().to_path_buf()]).expect_err("missing");
        assert_eq!(fault.code(), "llm_missing");
        assert!(fault.to_string().contains("/no/such/llama-server"), "{fault}");
    }

    #[test]
    fn the_noted_model_is_taken_absolute_or_relative() {
        let place = place_with("runtime/m.gguf", "");
        fs_err::write(place.path().join(MODEL_NOTE), "runtime/m.gguf\n").expect("written");
        let expected = place.path().join("runtime/m.gguf");
        assert_eq!(model(None, &[place.path().to_path_buf()]), Ok(expected.clone()));
        fs_err::write(place.path().join(MODEL_NOTE), expected.display().to_string())
            .expect("written");
        assert_eq!(model(None, &[place.path().to_path_buf()]), Ok(expected));
    }

    #[test]
    fn without_a_note_the_error_names_make_setup() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        let fault = model(None, &[empty.path().to_path_buf()]).expect_err("missing");
        let said = fault.to_string();
        assert!(said.contains("make setup") && said.contains(MODEL_NOTE), "{said}");
    }
}
