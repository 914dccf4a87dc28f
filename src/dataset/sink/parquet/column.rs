use std::borrow::Cow;

use arrow_array::ArrayRef;
use arrow_schema::Field;
use bytes::Bytes;

use super::super::Sample;

/// What a row is made of.
pub(super) struct Held {
    /// Never empty; several where they make a conversation.
    pub samples: Vec<Sample>,
    /// What the photo is called.
    pub image: String,
    /// Empty where the photo is not carried.
    pub bytes: Bytes,
}

/// A column with its name.
pub(super) struct Column {
    pub name: Cow<'static, str>,
    pub nullable: bool,
    pub values: ArrayRef,
}

impl Column {
    pub fn field(&self) -> Field {
        Field::new(&*self.name, self.values.data_type().clone(), self.nullable)
    }
}

pub(super) fn required(name: &'static str, values: ArrayRef) -> Column {
    Column { name: name.into(), nullable: false, values }
}

/// A column that may be null.
pub(super) fn nullable(name: impl Into<Cow<'static, str>>, values: ArrayRef) -> Column {
    Column { name: name.into(), nullable: true, values }
}
