//! Sessions of one graph, lent to one caller at a time, and the memory through which values go in
//! and out of them (ONNX Runtime's I/O binding).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{Tensor, TensorElementType, ValueRef};

use super::or_cores;
use crate::model::runtime::{self, GraphFile, SessionOptions};
use crate::model::{Device, ModelError};

/// The sessions of one graph. A session's `run` wants exclusive use, so each is lent to one caller
/// at a time; a caller that finds none free waits.
pub(super) struct SessionPool {
    sessions: Vec<Mutex<BoundSession>>,
    /// Sessions before the wide one.
    narrow: usize,
    idle: Mutex<Idle>,
    returned: Condvar,
    device: Device,
}

/// Places in `sessions` that can be lent.
#[derive(Debug, Default)]
struct Idle {
    narrow: VecDeque<usize>,
    /// The session over all cores.
    wide: Option<usize>,
    /// Sessions that are lent.
    lent: usize,
}

impl Idle {
    /// The wide session while nothing else runs, else a narrow one: two batches side by side on
    /// sessions of few threads are quicker than one after the other on all.
    fn take(&mut self) -> Option<usize> {
        let alone = self.lent == 0;
        let wide = if alone { self.wide.take() } else { None };
        let place = wide.or_else(|| self.narrow.pop_front())?;
        self.lent += 1;
        Some(place)
    }

    fn give_back(&mut self, place: usize, is_wide: bool) {
        self.lent -= 1;
        if is_wide { self.wide = Some(place) } else { self.narrow.push_back(place) }
    }
}

impl SessionPool {
    /// Opens `count` sessions (at least one) of a graph, all on the device of the first, and one
    /// more on the CPU for the whole of it, where `wide` says so.
    pub(super) fn open(
        graph: &GraphFile,
        count: usize,
        wide: bool,
        options: SessionOptions,
    ) -> Result<Self, ModelError> {
        let (first, device) = BoundSession::open(graph, options)?;
        let mut sessions = vec![Mutex::new(first)];
        for _ in 1..count {
            let options = SessionOptions { device, ..options };
            sessions.push(Mutex::new(BoundSession::open(graph, options)?.0));
        }
        let mut idle = Idle { narrow: (0..sessions.len()).collect(), ..Idle::default() };
        if wide && device == Device::Cpu {
            let options = SessionOptions { intra_threads: or_cores(0), device };
            idle.wide = Some(sessions.len());
            sessions.push(Mutex::new(BoundSession::open(graph, options)?.0));
        }
        let narrow = idle.narrow.len();
        Ok(Self { sessions, narrow, idle: Mutex::new(idle), returned: Condvar::new(), device })
    }

    /// Batches that can run side by side.
    pub(super) fn count(&self) -> usize {
        self.narrow
    }

    /// Hands every session in turn to `work`, waiting for those that are lent.
    pub(super) fn each<E>(
        &self,
        mut work: impl FnMut(&mut BoundSession) -> Result<(), E>,
    ) -> Result<(), E> {
        let sessions = self.sessions.iter();
        sessions
            .map(|one| one.lock().unwrap_or_else(PoisonError::into_inner))
            .try_for_each(|mut session| work(&mut session))
    }

    /// What the sessions run on.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// Lends a session to `work`; it comes back even when `work` panics.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut BoundSession) -> R) -> R {
        let loan = self.borrow();
        let mut session = self.sessions[loan.place].lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut session)
    }

    fn borrow(&self) -> Loan<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(place) = idle.take() {
                return Loan { pool: self, place };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Loan<'a> {
    pool: &'a SessionPool,
    place: usize,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.give_back(self.place, self.place >= self.pool.narrow);
        // The wide one is of no use to whoever waits beside others.
        self.pool.returned.notify_all();
    }
}

/// A session whose inputs are written where its device takes them from without a detour:
/// page-locked memory for an NVIDIA GPU, the session's own arena for the CPU.
pub(super) struct BoundSession {
    binding: IoBinding,
    staging: Allocator,
    results: MemoryInfo<'static>,
    session: Session,
}

impl BoundSession {
    /// Opens a graph and says on which device.
    ///
    /// # Errors
    /// As [`runtime::open_session`], or the session has no memory to bind.
    pub(super) fn open(
        graph: &GraphFile,
        options: SessionOptions,
    ) -> Result<(Self, Device), ModelError> {
        let (session, device) = runtime::open_session(graph, options)?;
        let bound = Self::bind(session, device).map_err(|error| {
            let message = format!("its inputs cannot be bound: {error}");
            ModelError::Graph { path: graph.path().to_owned(), message }
        })?;
        Ok((bound, device))
    }

    fn bind(session: Session, device: Device) -> ort::Result<Self> {
        let staging = staging(&session, device)?;
        let results = memory(AllocationDevice::CPU, AllocatorType::Device, MemoryType::CPUOutput)?;
        Ok(Self { binding: session.create_binding()?, staging, results, session })
    }

    /// The session itself.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Binds the input of this name to floats that `fill` writes over zeros, in 16 bits where the
    /// graph takes those.
    ///
    /// # Errors
    /// No memory, or no such input.
    pub(super) fn floats(
        &mut self,
        name: &str,
        shape: &[usize],
        fill: impl FnOnce(&mut [f32]),
    ) -> ort::Result<()> {
        if self.element(name) == Some(TensorElementType::Float16) {
            let mut values = vec![0f32; shape.iter().product()];
            fill(&mut values);
            return self.input::<f16>(name, shape, |halves| halves.convert_from_f32_slice(&values));
        }
        self.input(name, shape, fill)
    }

    /// Binds the input of this name to whole numbers, in 32 bits where the graph takes those, else
    /// in 64.
    ///
    /// # Errors
    /// As [`Self::floats`].
    pub(super) fn integers(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[u32],
    ) -> ort::Result<()> {
        if self.element(name) == Some(TensorElementType::Int32) {
            // Ids and masks are far below 2^31.
            return self.input(name, shape, |out| write(out, values, |value| value as i32));
        }
        self.input(name, shape, |out| write(out, values, i64::from))
    }

    fn input<T: ort::value::PrimitiveTensorElementType + std::fmt::Debug>(
        &mut self,
        name: &str,
        shape: &[usize],
        fill: impl FnOnce(&mut [T]),
    ) -> ort::Result<()> {
        let mut tensor = Tensor::<T>::new(&self.staging, shape.to_vec())?;
        fill(tensor.extract_tensor_mut().1);
        self.binding.bind_input(name, &tensor)
    }

    /// Runs the graph on what was bound since the last run, and hands `read` the shape and the
    /// values of the output of this name.
    ///
    /// # Errors
    /// The graph failed, an input was not bound, or the output holds no floats.
    pub(super) fn run<R>(
        &mut self,
        output: &str,
        read: impl FnOnce(&[usize], &[f32]) -> R,
    ) -> ort::Result<R> {
        let answer = self.run_bound(output, read);
        // Bound outputs keep their shape, and the next batch may be of another size.
        self.binding.clear();
        answer
    }

    fn run_bound<R>(
        &mut self,
        output: &str,
        read: impl FnOnce(&[usize], &[f32]) -> R,
    ) -> ort::Result<R> {
        self.binding.bind_output_to_device(output, &self.results)?;
        self.binding.synchronize_inputs()?;
        let outputs: SessionOutputs = self.session.run_binding(&self.binding)?;
        let value = outputs[output].view();
        let (shape, values) = floats_of(&value)?;
        Ok(read(&shape, &values))
    }

    fn element(&self, name: &str) -> Option<TensorElementType> {
        let input = self.session.inputs().iter().find(|input| input.name() == name);
        input.and_then(|input| input.dtype().tensor_type())
    }
}

/// Where inputs are written.
fn staging(session: &Session, device: Device) -> ort::Result<Allocator> {
    if let Device::Cuda(_) | Device::TensorRt(_) = device {
        let pinned =
            memory(AllocationDevice::CUDA_PINNED, AllocatorType::Device, MemoryType::CPUInput)?;
        match Allocator::new(session, pinned) {
            Ok(allocator) => return Ok(allocator),
            Err(error) => {
                tracing::warn!(%device, %error, "no page-locked memory: inputs are copied once more");
            }
        }
    }
    let arena = memory(AllocationDevice::CPU, AllocatorType::Arena, MemoryType::Default)?;
    Allocator::new(session, arena)
}

fn memory(
    device: AllocationDevice<'static>,
    allocator: AllocatorType,
    kind: MemoryType,
) -> ort::Result<MemoryInfo<'static>> {
    // ONNX Runtime keeps host memory under number 0, whichever GPU it is for.
    MemoryInfo::new(device, 0, allocator, kind)
}

fn write<T>(out: &mut [T], values: &[u32], cast: impl Fn(u32) -> T) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = cast(*value));
}

/// The shape and the values of an output.
fn floats_of<'v>(value: &'v ValueRef<'_>) -> ort::Result<(Vec<usize>, Cow<'v, [f32]>)> {
    let sizes = |shape: &[i64]| shape.iter().map(|size| (*size).max(0) as usize).collect();
    if value.dtype().tensor_type() == Some(TensorElementType::Float16) {
        let (shape, halves) = value.try_extract_tensor::<f16>()?;
        return Ok((sizes(shape), Cow::Owned(halves.to_f32_vec())));
    }
    let (shape, values) = value.try_extract_tensor::<f32>()?;
    Ok((sizes(shape), Cow::Borrowed(values)))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::Barrier;

    use super::*;

    fn pool(count: usize) -> SessionPool {
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/text.onnx");
        let options = SessionOptions { intra_threads: 1, device: Device::Cpu };
        let graph = GraphFile::whole(graph).expect("the bundled graph");
        SessionPool::open(&graph, count, false, options).expect("opens; run `make setup` once")
    }

    #[test]
    fn two_sessions_are_lent_at_once() {
        let (pool, both) = (pool(2), Barrier::new(2));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                // Ends only when both are inside.
                scope.spawn(|| pool.with(|_| both.wait()));
            }
        });
    }

    #[test]
    fn the_wide_session_goes_to_who_is_alone() {
        let mut idle = Idle { narrow: [0, 1].into(), wide: Some(2), lent: 0 };
        assert_eq!(
            [idle.take(), idle.take(), idle.take(), idle.take()],
            [Some(2), Some(0), Some(1), None]
        );
        // It is back, but not alone.
        idle.give_back(2, true);
        idle.give_back(0, false);
        assert_eq!(idle.take(), Some(0));
        idle.give_back(0, false);
        idle.give_back(1, false);
        assert_eq!(idle.take(), Some(2));
    }

    #[test]
    fn a_panic_returns_the_session() {
        let pool = pool(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.with(|_| panic!("in the session"))));
        assert!(panicked.is_err());
        assert!(!pool.with(|session| session.session().inputs().is_empty()));
    }
}
