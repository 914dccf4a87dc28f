//! ONNX Runtime, loaded at run time so that one binary serves every build of it, and the devices
//! that its sessions run on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::Outlet;
use serde::{Deserialize, Serialize};

use super::ModelError;
use super::onnx::{self, InMemory};

/// The library's name in the folder `make setup` fills.
const LIBRARY_PREFIX: &str = if cfg!(windows) { "onnxruntime" } else { "libonnxruntime" };
const SETUP_FOLDER: &str = "runtime/onnxruntime/lib";

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Loads ONNX Runtime once per process and returns its environment.
///
/// Looks at `ORT_DYLIB_PATH`, then at `runtime/onnxruntime/lib` below the current folder and below
/// the executable's parent folders.
///
/// # Errors
/// [`ModelError::RuntimeMissing`] or [`ModelError::RuntimeUnusable`], each naming the command to
/// run.
pub fn environment() -> Result<&'static Environment, ModelError> {
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let path = locate()?;
    let unusable = |message: String| ModelError::RuntimeUnusable {
        path: path.clone(),
        message,
        minimum: ort::MINOR_VERSION,
    };
    let environment = ort::init_from(&path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("pairwright")
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    tracing::debug!(path = %path.display(), build = ort::info(), "loaded ONNX Runtime");
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

/// A graph to open sessions of.
pub struct GraphFile {
    path: PathBuf,
    /// The graph itself, where it is not the file as it is.
    made: Option<InMemory>,
}

impl GraphFile {
    /// The whole file.
    ///
    /// # Errors
    /// The file cannot be read or is not ONNX, or weights that it keeps in other files are missing.
    pub fn whole(path: PathBuf) -> Result<Self, ModelError> {
        // The runtime's own format has all weights inside.
        let own = path.extension().is_some_and(|ending| ending == "ort");
        let made = if own { None } else { onnx::relocated(&path)? };
        Ok(Self { path, made })
    }

    /// What of the file `output` depends on.
    ///
    /// # Errors
    /// As [`GraphFile::whole`].
    pub fn part(path: PathBuf, output: &str) -> Result<Self, ModelError> {
        let made = Some(onnx::split(&path, output)?);
        Ok(Self { path, made })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn commit(&self, mut builder: SessionBuilder) -> ort::Result<Session> {
        let Some(InMemory { bytes, folder }) = &self.made else {
            return builder.commit_from_file(&self.path);
        };
        let folder = folder.to_string_lossy();
        // Without a file of its own the graph has no folder in which its weights could lie.
        let mut builder = builder
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        builder.commit_from_memory(bytes)
    }
}

/// How sessions use the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads inside one inference call, at least 1.
    pub intra_threads: usize,
    pub device: Device,
}

/// Opens a graph and says on which device: the one that was asked for, or with [`Device::Auto`]
/// the first that works.
///
/// # Errors
/// The runtime cannot be loaded, the device cannot be used, or the runtime refuses the graph.
pub fn open_session(
    graph: &GraphFile,
    options: SessionOptions,
) -> Result<(Session, Device), ModelError> {
    let environment = environment()?;
    if options.device != Device::Auto {
        let session = open_on(environment, graph, options.device, options.intra_threads)?;
        return Ok((session, options.device));
    }
    for device in AUTOMATIC.into_iter().filter(|device| device.is_built_in()) {
        match open_on(environment, graph, device, options.intra_threads) {
            Ok(session) => return Ok((session, device)),
            Err(error) => tracing::warn!(%device, %error, "passed over"),
        }
    }
    Ok((open_on(environment, graph, Device::Cpu, options.intra_threads)?, Device::Cpu))
}

fn open_on(
    environment: &Environment,
    graph: &GraphFile,
    device: Device,
    intra_threads: usize,
) -> Result<Session, ModelError> {
    let refused = |message: String| ModelError::Device {
        device: device.to_string(),
        message,
        available: available(),
    };
    if !device.is_built_in() {
        return Err(refused("this build of ONNX Runtime does not have it".into()));
    }
    let failed = |error: ort::Error| ModelError::Graph {
        path: graph.path.clone(),
        message: error.to_string(),
    };
    let builder = builder(environment, intra_threads).map_err(failed)?;
    let providers = device.providers();
    let builder =
        builder.with_execution_providers(providers).map_err(|error| refused(error.to_string()))?;
    graph.commit(builder).map_err(failed)
}

fn builder(environment: &Environment, intra_threads: usize) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(intra_threads)?
        // Spinning between operators would take the cores that decode the next photos.
        .with_intra_op_spinning(false)?;
    if int8_saturates() {
        builder = builder.with_precise_qmm()?;
    }
    Ok(builder)
}

/// Whether this CPU's 8-bit products saturate at 16 bits in ONNX Runtime's fast kernels, which
/// would bend the embeddings of quantised graphs (seen: cosine 0.71 on one photo). x86 with VNNI
/// and other architectures do not.
fn int8_saturates() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        !(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Checks that a graph has the inputs and the output its manifest names.
///
/// # Errors
/// [`ModelError::GraphShape`] with the names that were found.
pub fn require(
    path: &Path,
    session: &Session,
    inputs: &[&str],
    output: &str,
) -> Result<(), ModelError> {
    for input in inputs {
        require_name(path, "input", input, session.inputs())?;
    }
    require_name(path, "output", output, session.outputs())
}

fn require_name(
    path: &Path,
    direction: &'static str,
    wanted: &str,
    outlets: &[Outlet],
) -> Result<(), ModelError> {
    let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    if names.contains(&wanted) {
        return Ok(());
    }
    let found = names.join(", ");
    Err(ModelError::GraphShape { path: path.to_owned(), direction, wanted: wanted.into(), found })
}

fn locate() -> Result<PathBuf, ModelError> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        return Err(missing(&format!("ORT_DYLIB_PATH={}", path.display())));
    }
    let folders = crate::base::paths::candidates(SETUP_FOLDER);
    folders.iter().find_map(|folder| library_in(folder)).ok_or_else(|| {
        let looked: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        missing(&looked.join(", "))
    })
}

fn missing(looked: &str) -> ModelError {
    ModelError::RuntimeMissing { looked: looked.into(), minimum: ort::MINOR_VERSION }
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_runtime_library(path))
        .collect();
    found.sort();
    found.pop()
}

fn is_runtime_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = name.strip_prefix(LIBRARY_PREFIX);
    // Not `libonnxruntime_providers_*`, which are plug-ins.
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// A device, as configured or as chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The first that works here of CUDA, Core ML and OpenVINO, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(u32),
    /// An NVIDIA GPU through TensorRT, by its number; what TensorRT lacks runs on CUDA.
    TensorRt(u32),
    /// Apple's Core ML.
    CoreMl,
    /// Intel's OpenVINO.
    OpenVino,
}

/// What `auto` tries, in this order. TensorRT is not among them: it builds its engines for minutes.
const AUTOMATIC: [Device; 3] = [Device::Cuda(0), Device::CoreMl, Device::OpenVino];

impl Device {
    /// The execution providers that make the device, none for the CPU, which is always there.
    /// Registering one fails loudly: a GPU that was asked for is never quietly replaced.
    pub(super) fn providers(self) -> Vec<ExecutionProviderDispatch> {
        let cuda = |number: u32| {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            ep::CUDA::default().with_device_id(number).build().error_on_failure()
        };
        match self {
            Self::Auto | Self::Cpu => Vec::new(),
            Self::Cuda(number) => vec![cuda(number)],
            Self::TensorRt(number) => {
                let id = i32::try_from(number).unwrap_or(i32::MAX);
                let tensorrt = ep::TensorRT::default().with_device_id(id).with_engine_cache(false);
                vec![tensorrt.build().error_on_failure(), cuda(number)]
            }
            Self::CoreMl => vec![ep::CoreML::default().build().error_on_failure()],
            Self::OpenVino => vec![ep::OpenVINO::default().build().error_on_failure()],
        }
    }

    /// Whether the loaded ONNX Runtime was built with it.
    pub(super) fn is_built_in(self) -> bool {
        let known = match self {
            Self::Auto | Self::Cpu => return true,
            Self::Cuda(_) => ep::CUDA::is_available(),
            Self::TensorRt(_) => ep::TensorRT::is_available(),
            Self::CoreMl => ep::CoreML::is_available(),
            Self::OpenVino => ep::OpenVINO::is_available(),
        };
        known.unwrap_or(false)
    }
}

/// The devices that the loaded ONNX Runtime was built with, in words.
fn available() -> String {
    let all = [Device::Cpu, Device::Cuda(0), Device::TensorRt(0), Device::CoreMl, Device::OpenVino];
    let built_in = all.into_iter().filter(|device| device.is_built_in());
    built_in.map(|device| device.to_string()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(0) => f.write_str("tensorrt"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
            Self::CoreMl => f.write_str("coreml"),
            Self::OpenVino => f.write_str("openvino"),
        }
    }
}

/// A device that does not exist by that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device {0:?}: auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N, coreml or openvino")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", number) => Ok(Self::Cuda(number.unwrap_or(0))),
            ("tensorrt", number) => Ok(Self::TensorRt(number.unwrap_or(0))),
            ("coreml", None) => Ok(Self::CoreMl),
            ("openvino", None) => Ok(Self::OpenVino),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_library_itself_counts() {
        assert!(is_runtime_library(Path::new("/x/libonnxruntime.so.1.32.0")));
        assert!(is_runtime_library(Path::new("/x/libonnxruntime.1.32.0.dylib")));
        assert!(!is_runtime_library(Path::new("/x/libonnxruntime_providers_shared.so")));
        assert!(!is_runtime_library(Path::new("/x/LICENSE")));
    }

    #[test]
    fn devices_are_read_as_they_are_written() {
        for name in ["auto", "cpu", "cuda", "cuda:3", "tensorrt", "tensorrt:1", "coreml"] {
            assert_eq!(name.parse::<Device>().expect(name).to_string(), name);
        }
        for wrong in ["gpu", "cuda:", "cuda:-1", "cpu:0", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
