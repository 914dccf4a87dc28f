use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::DataType;
use serde_json::{Map, Value};

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
            DataType::List(field) | DataType::LargeList(field) => to(field.data_type(), depth - 1),
            DataType::Struct(fields) => fields.iter().any(|field| to(field.data_type(), depth - 1)),
            DataType::Null | DataType::Boolean | DataType::Float32 | DataType::Float64 => true,
            kind => is_text(kind) || kind.is_integer(),
        }
    }
    to(kind, DEPTH)
}

/// The text at `row`; `None` where it is null or no text.
pub(in super::super) fn text(column: &dyn Array, row: usize) -> Option<String> {
    match value(column, row) {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The value at `row` as JSON has it; null for what JSON has no word for.
pub(super) fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
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
            let key = value(dictionary.keys(), row).as_u64();
            key.map_or(Value::Null, |key| value(dictionary.values(), key as usize))
        }
        DataType::List(_) => list(&column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row)),
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(column.as_struct().columns());
            let object: Map<String, Value> =
                parts.map(|(field, part)| (field.name().clone(), value(part, row))).collect();
            Value::Object(object)
        }
        _ => Value::Null,
    }
}

fn number<T: ArrowPrimitiveType>(column: &dyn Array, row: usize) -> Value
where
    Value: From<T::Native>,
{
    column.as_primitive::<T>().value(row).into()
}

fn list(values: &dyn Array) -> Value {
    (0..values.len()).map(|row| value(values, row)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, StringArray, StructArray};
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
        let rows = |column: &dyn Array| [value(column, 0), value(column, 1)];
        assert_eq!(rows(&lists.finish()), [json!(["a", null]), json!(null)]);
        assert_eq!(rows(&both), [json!({"t": "x", "n": 7}), json!({"t": null, "n": 8})]);
        assert_eq!(rows(&dictionary), [json!("b"), json!("a")]);
        assert!(is_plain(both.data_type()) && is_plain(dictionary.data_type()));
        assert!(!is_plain(&DataType::Date32));
    }
}
