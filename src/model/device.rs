//! What sessions run on.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use serde::{Deserialize, Serialize};

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
pub(super) const AUTOMATIC: [Device; 3] = [Device::Cuda(0), Device::CoreMl, Device::OpenVino];

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
pub(super) fn available() -> String {
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
    fn devices_are_read_as_they_are_written() {
        for name in ["auto", "cpu", "cuda", "cuda:3", "tensorrt", "tensorrt:1", "coreml"] {
            assert_eq!(name.parse::<Device>().expect(name).to_string(), name);
        }
        for wrong in ["gpu", "cuda:", "cuda:-1", "cpu:0", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
