use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::super::fields::check_image;
use super::super::ids::{check_id, id_text};
use super::super::refusal::{Outlet, Refusal};
use super::table::Table;

/// Fills a [`Table`] from a stream of JSON, one array element in memory at a time.
pub(super) struct Scan<'a, 'b, 'c> {
    name: &'a str,
    out: &'a mut Outlet<'b, 'c>,
    table: Table,
    saw_images: bool,
    saw_annotations: bool,
    /// Annotations without a caption text: how many, and the first one's place.
    captionless: u64,
    first_captionless: u64,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: Option<Value>,
    file_name: Option<Value>,
}

#[derive(Deserialize)]
struct AnnotationEntry {
    id: Option<Value>,
    image_id: Option<Value>,
    caption: Option<Value>,
}

impl<'a, 'b, 'c> Scan<'a, 'b, 'c> {
    pub fn new(name: &'a str, out: &'a mut Outlet<'b, 'c>) -> Self {
        Self {
            name,
            out,
            table: Table::default(),
            saw_images: false,
            saw_annotations: false,
            captionless: 0,
            first_captionless: 0,
        }
    }

    /// Reads the document; an error while [`Self::stopped`] only says that the caller stopped it.
    pub fn run(&mut self, reader: impl Read) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_reader(reader);
        json.deserialize_map(Document(self))?;
        json.end()
    }

    pub fn stopped(&self) -> bool {
        self.out.stopped
    }

    /// The filled table, or what the document lacks; `None` when the caller stopped.
    pub fn finish(mut self) -> Result<Option<Table>, &'static str> {
        match (self.saw_images, self.saw_annotations) {
            (false, _) => return Err("it has no `images`"),
            (true, false) => return Err("it has no `annotations`"),
            (true, true) => {}
        }
        if self.captionless > 0 && !self.table.has_captions() {
            return Err("no annotation has a `caption` (is it an instances or keypoints file?)");
        }
        if self.report_captionless().is_break() {
            return Ok(None);
        }
        self.table.sort();
        Ok(Some(self.table))
    }

    fn report_captionless(&mut self) -> ControlFlow<()> {
        let (name, count, first) = (self.name, self.captionless, self.first_captionless);
        if count == 0 {
            return ControlFlow::Continue(());
        }
        let reason =
            format!("{name}: {count} annotations have no caption, first annotations[{first}]");
        self.out.refuse(name, Refusal::new("missing_caption", reason))
    }

    fn image(&mut self, index: u64, entry: ImageEntry) -> ControlFlow<()> {
        let place = format!("{}: images[{index}]", self.name);
        let id = match required_id("id", entry.id.as_ref()) {
            Ok(id) => id,
            Err(refusal) => return self.out.refuse(&place, refusal.at(&place)),
        };
        let file_name = entry.file_name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let refusal = match check_image(file_name) {
            Err(refusal) => {
                self.table.refuse_image(&id);
                refusal
            }
            Ok(()) => match self.table.add_image(&id, file_name) {
                Ok(()) => return ControlFlow::Continue(()),
                Err(first) => Refusal::new(
                    "duplicate_id",
                    format!("{file_name} has the id `{id}` that {first} already has"),
                ),
            },
        };
        self.out.refuse(&id, refusal.at(&place))
    }

    fn annotation(&mut self, index: u64, entry: AnnotationEntry) -> ControlFlow<()> {
        let Some(Value::String(caption)) = &entry.caption else {
            if self.captionless == 0 {
                self.first_captionless = index;
            }
            self.captionless += 1;
            return ControlFlow::Continue(());
        };
        match required_id("image_id", entry.image_id.as_ref()) {
            Ok(image_id) => {
                let id = entry.id.as_ref().and_then(Value::as_i64);
                self.table.add_caption(&image_id, id, caption);
                ControlFlow::Continue(())
            }
            Err(refusal) => {
                let place = format!("{}: annotations[{index}]", self.name);
                self.out.refuse(&place, refusal.at(&place))
            }
        }
    }
}

fn required_id(field: &str, value: Option<&Value>) -> Result<String, Refusal> {
    let missing = || Refusal::new("missing_id", format!("no field `{field}`"));
    let id = id_text(value.ok_or_else(missing)?)?;
    check_id(&id)?;
    Ok(id)
}

/// Reads the top level: `images`, `annotations`, and passes over the rest.
struct Document<'s, 'a, 'b, 'c>(&'s mut Scan<'a, 'b, 'c>);

impl<'de> Visitor<'de> for Document<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a COCO captions object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "images" => {
                    self.0.saw_images = true;
                    map.next_value_seed(Items { scan: self.0, add: Scan::image })?;
                }
                "annotations" => {
                    self.0.saw_annotations = true;
                    map.next_value_seed(Items { scan: self.0, add: Scan::annotation })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads an array, handing each element on as soon as it is read.
struct Items<'s, 'a, 'b, 'c, T> {
    scan: &'s mut Scan<'a, 'b, 'c>,
    add: fn(&mut Scan<'a, 'b, 'c>, u64, T) -> ControlFlow<()>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, '_, '_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<'_, '_, '_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        let mut index = 0;
        while let Some(item) = seq.next_element::<T>()? {
            if (self.add)(self.scan, index, item).is_break() {
                return Err(S::Error::custom("stopped by the caller"));
            }
            index += 1;
        }
        Ok(())
    }
}
