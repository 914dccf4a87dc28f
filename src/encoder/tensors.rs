//! Values in and out of a session, in the element types its graph has.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::Session;
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueRef};

/// Whether the input of this name takes 16-bit floats.
pub(super) fn takes_f16(session: &Session, name: &str) -> bool {
    element(session, name) == Some(TensorElementType::Float16)
}

/// Whether the input of this name takes 32-bit integers.
pub(super) fn takes_i32(session: &Session, name: &str) -> bool {
    element(session, name) == Some(TensorElementType::Int32)
}

fn element(session: &Session, name: &str) -> Option<TensorElementType> {
    let input = session.inputs().iter().find(|input| input.name() == name);
    input.map(Outlet::dtype).and_then(|kind| kind.tensor_type())
}

/// A tensor of floats, halved if the graph wants that.
pub(super) fn floats(shape: &[usize], values: Vec<f32>, halved: bool) -> ort::Result<DynValue> {
    if !halved {
        return Ok(Tensor::from_array((shape.to_vec(), values))?.into_dyn());
    }
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(&values);
    Ok(Tensor::from_array((shape.to_vec(), halves))?.into_dyn())
}

/// A tensor of whole numbers: 32 bits if the graph wants that, else 64.
pub(super) fn integers(shape: &[usize], values: &[u32], narrow: bool) -> ort::Result<DynValue> {
    let shape = shape.to_vec();
    if narrow {
        // Ids and masks are far below 2^31.
        let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
        return Ok(Tensor::from_array((shape, values))?.into_dyn());
    }
    let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
    Ok(Tensor::from_array((shape, values))?.into_dyn())
}

/// The shape and the values of an output.
pub(super) fn read<'v>(value: &'v ValueRef<'_>) -> ort::Result<(Vec<usize>, Cow<'v, [f32]>)> {
    let sizes = |shape: &[i64]| shape.iter().map(|size| (*size).max(0) as usize).collect();
    if value.dtype().tensor_type() == Some(TensorElementType::Float16) {
        let (shape, halves) = value.try_extract_tensor::<f16>()?;
        return Ok((sizes(shape), Cow::Owned(halves.to_f32_vec())));
    }
    let (shape, values) = value.try_extract_tensor::<f32>()?;
    Ok((sizes(shape), Cow::Borrowed(values)))
}
