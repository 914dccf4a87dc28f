//! Photos in columns, as `datasets` keeps them: a struct of `bytes` and `path`, or a list of it.
//! Types and nullability are exactly those of its `Image` feature, or it shows bytes, not pictures.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder, StructBuilder};
use arrow_schema::{DataType, Field};

use super::column::{Column, Held, nullable};

/// The paths that photos' bytes may have in a file.
pub(super) const COLUMNS: [&[&str]; 2] =
    [&["image", "bytes"], &["images", "list", "item", "bytes"]];

/// A column with a photo in each row.
pub(super) fn one(name: &'static str, rows: &[Held]) -> Column {
    let mut photos = builder();
    rows.iter().for_each(|row| append(&mut photos, row));
    nullable(name, Arc::new(photos.finish()))
}

/// A column with a list of one photo in each row.
pub(super) fn listed(name: &'static str, rows: &[Held]) -> Column {
    let mut list = ListBuilder::new(builder());
    for row in rows {
        append(list.values(), row);
        list.append(true);
    }
    nullable(name, Arc::new(list.finish()))
}

fn builder() -> StructBuilder {
    let field = |name: &str, kind| Field::new(name, kind, true);
    let fields = vec![field("bytes", DataType::Binary), field("path", DataType::Utf8)];
    StructBuilder::from_fields(fields, 0)
}

fn append(photos: &mut StructBuilder, row: &Held) {
    let known = "the builders are made from the fields above";
    photos.field_builder::<BinaryBuilder>(0).expect(known).append_value(&row.bytes);
    // The hub's viewer takes a path for one inside the dataset: only the name is told.
    let name = row.image.rsplit(['/', '\\']).next();
    photos.field_builder::<StringBuilder>(1).expect(known).append_option(name);
    photos.append(true);
}
