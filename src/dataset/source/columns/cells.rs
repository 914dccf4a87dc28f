use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use super::super::manifest::MAX_LINE_BYTES;
use super::super::refusal::Refusal;

/// How deep lists and structures are followed.
const DEPTH: usize = 4;

pub(super) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whether [`value`] reads values of this type.
pub(super) fn is_plain(kind: &DataType) -> bool {
    fn to(kind: &DataType, depth: usize) -> bool {
        match kind {
            _ if depth == 0 => false,
            // A list of nothing has any length in no bytes.
            DataType::List(field) | DataType::LargeList(field) => {
                *field.data_type() != DataType::Null && to(field.data_type(), depth - 1)
            }
            DataType::Struct(fields) => fields.iter().any(|field| to(field.data_type(), depth - 1)),
            DataType::Null | DataType::Boolean | DataType::Float32 | DataType::Float64 => true,
            kind => is_text(kind) || kind.is_integer(),
        }
    }
    to(kind, DEPTH)
}

/// The text at `row`; `None` where it is null, no text or too long.
pub(in super::super) fn text(column: &dyn Array, row: usize) -> Option<String> {
    match value(column, row, &mut Room::new()) {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// What a row may still hold, in bytes as JSON would write it.
pub(super) struct Room(usize);

impl Room {
    pub fn new() -> Self {
        Self(MAX_LINE_BYTES)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                let reason =
                    format!("its texts and lists are over the limit of {MAX_LINE_BYTES} bytes");
                Err(Refusal::new("line_too_long", reason))
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<Value, Refusal> {
        self.take(text.len())?;
        Ok(text.into())
    }

    fn list(&mut self, values: &dyn Array) -> Result<Value, Refusal> {
        // A value and a comma. Asked for before anything is made of them.
        self.take(values.len().saturating_mul(2))?;
        (0..values.len()).map(|row| value(values, row, self)).collect()
    }
}

/// The value at `row` as JSON has it; null for what JSON has no word for.
///
/// # Errors
/// There is no room for it.
pub(super) fn value(column: &dyn Array, row: usize, room: &mut Room) -> Result<Value, Refusal> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => room.text(column.as_string::<i32>().value(row))?,
        DataType::LargeUtf8 => room.text(column.as_string::<i64>().value(row))?,
        DataType::Utf8View => room.text(column.as_string_view().value(row))?,
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => number::<Int8Type>(column, row),
        DataType::Int16 => number::<Int16Type>(column, row),
        DataType::Int32 => number::<Int32Type>(column, row),
        DataType::Int64 => number::<Int64Type>(column, row),
        DataType::UInt8 => number::<UInt8Type>(column, row),
        DataType::UInt16 => number::<UInt16Type>(column, row),
        DataType::UInt32 => number::<UInt32Type>(column, row),
        DataType::UInt64 => number::<UInt64Type>(column, row),
        DataType::Float32 => number::<Float32Type>(column, row),
        DataType::Float64 => number::<Float64Type>(column, row),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            match value(dictionary.keys(), row, room)?.as_u64() {
                Some(key) => value(dictionary.values(), key as usize, room)?,
                None => Value::Null,
            }
        }
        DataType::List(_) => room.list(&column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => room.list(&column.as_list::<i64>().value(row))?,
        DataType::Struct(fields) => {
            let mut object = Map::new();
            for (field, part) in fields.iter().zip(column.as_struct().columns()) {
                room.take(field.name().len())?;
                object.insert(field.name().clone(), value(part, row, room)?);
            }
            Value::Object(object)
        }
        _ => Value::Null,
    })
}

fn number<T: ArrowPrimitiveType>(column: &dyn Array, row: usize) -> Value
where
    Value: From<T::Native>,
{
    column.as_primitive::<T>().value(row).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{
        ArrayRef, DictionaryArray, Int64Array, LargeListArray, NullArray, StringArray, StructArray,
    };
    use arrow_buffer::OffsetBuffer;
    use arrow_schema::Field;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_json_says_of_them() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_null();
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
        let both = StructArray::from(vec![
            (Arc::new(Field::new("t", DataType::Utf8, true)), texts),
            (Arc::new(Field::new("n", DataType::Int64, true)), numbers),
        ]);
        let dictionary: DictionaryArray<Int32Type> = vec!["b", "a"].into_iter().collect();
        let read = |column: &dyn Array, row| value(column, row, &mut Room::new()).expect("room");
        let rows = |column: &dyn Array| [read(column, 0), read(column, 1)];
        assert_eq!(rows(&lists.finish()), [json!(["a", null]), json!(null)]);
        assert_eq!(rows(&both), [json!({"t": "x", "n": 7}), json!({"t": null, "n": 8})]);
        assert_eq!(rows(&dictionary), [json!("b"), json!("a")]);
        assert!(is_plain(both.data_type()) && is_plain(dictionary.data_type()));
        assert!(!is_plain(&DataType::Date32));
    }
    #[test]
    fn lists_and_texts_that_are_too_long_are_refused_unread() {
        let nothing = Arc::new(Field::new("item", DataType::Null, true));
        let offsets = OffsetBuffer::new(vec![0_i64, 1 << 40].into());
        let values: ArrayRef = Arc::new(NullArray::new(1 << 40));
        let endless = LargeListArray::new(nothing, offsets, values, None);
        assert!(!is_plain(endless.data_type()));
        let refusal = value(&endless, 0, &mut Room::new()).expect_err("too long");
        assert_eq!(refusal.code, "line_too_long");
        let texts =
            StringArray::from(vec!["x".repeat(MAX_LINE_BYTES), "x".repeat(MAX_LINE_BYTES + 1)]);
        assert!(value(&texts, 0, &mut Room::new()).is_ok());
        assert_eq!(value(&texts, 1, &mut Room::new()).map_err(|r| r.code), Err("line_too_long"));
        assert_eq!(text(&texts, 1), None);
    }
}
