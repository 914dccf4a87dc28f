use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::super::fields::{FieldNames, Fields, check_image};
use super::super::ids::{check_id, id_of_image, id_text};
use super::super::outlet::Outlet;
use super::super::refusal::Refusal;
use super::super::text::Texts;
use super::table::Table;

/// Fills a [`Table`] from a stream of JSON, one array element in memory at a time.
pub(super) struct Scan<'a, 'b, 'c> {
    name: &'a str,
    names: &'a FieldNames,
    out: &'a mut Outlet<'b, 'c>,
    table: Table,
    /// Captions in the entries of `images`: the image's id, and one caption.
    own: Vec<(String, String)>,
    saw_images: bool,
    saw_annotations: bool,
    /// Annotations without a caption text: how many, and the first one's place.
    captionless: u64,
    first_captionless: u64,
}

impl<'a, 'b, 'c> Scan<'a, 'b, 'c> {
    pub fn new(name: &'a str, names: &'a FieldNames, out: &'a mut Outlet<'b, 'c>) -> Self {
        Self {
            name,
            names,
            out,
            table: Table::default(),
            own: Vec::new(),
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
            (true, false) if self.own.is_empty() => return Err("it has no `annotations`"),
            (true, false) => {
                for (id, caption) in &self.own {
                    self.table.add_caption(id, None, caption);
                }
            }
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

    fn image(&mut self, index: u64, entry: Map<String, Value>) -> ControlFlow<()> {
        let place = format!("{}: images[{index}]", self.name);
        let file_name = entry.get("file_name").filter(|_| self.names.image.is_none());
        let file_name = file_name.and_then(Value::as_str).map(str::to_owned);
        let id = entry.get(self.names.id.as_deref().unwrap_or("id")).cloned();
        let id = id.filter(|id| !id.is_null());
        let license = entry.get(self.names.license.as_deref().unwrap_or("license"));
        let license = license.and_then(|license| id_text(license).ok());
        let fields = Fields::of_object(entry, self.names);
        let file_name = file_name
            .map_or_else(|| fields.image().map(str::to_owned), Ok)
            .and_then(|name| check_image(&name).map(|()| name));
        let id = match (id, &file_name) {
            (Some(id), _) => required_id("id", Some(&id)),
            (None, Ok(name)) => Ok(id_of_image(name)),
            (None, Err(refusal)) => Err(refusal.clone()),
        };
        let id = match id.and_then(|id| check_id(&id).map(|()| id)) {
            Ok(id) => id,
            Err(refusal) => return self.out.refuse(&place, refusal.at(&place)),
        };
        let refusal = match file_name {
            Err(refusal) => {
                self.table.refuse_image(&id);
                refusal
            }
            Ok(file_name) => match self.table.add_image(&id, &file_name, license) {
                Ok(()) => {
                    self.keep_own(&id, &fields);
                    return ControlFlow::Continue(());
                }
                Err(first) => Refusal::new(
                    "duplicate_id",
                    format!("{file_name} has the id `{id}` that {first} already has"),
                ),
            },
        };
        self.out.refuse(&id, refusal.at(&place))
    }

    /// Keeps the captions of an entry of `images` as long as there may be no others.
    fn keep_own(&mut self, id: &str, fields: &Fields<'_>) {
        if self.saw_annotations {
            self.own.clear();
        } else if fields.describes()
            && let Ok(texts) = fields.captions()
        {
            self.own.extend(texts.into_iter().map(|text| (id.to_owned(), text)));
        }
    }

    fn annotation(&mut self, index: u64, entry: Map<String, Value>) -> ControlFlow<()> {
        let (id, image_id) = (entry.get("id").cloned(), entry.get("image_id").cloned());
        let caption = match entry.get("caption") {
            Some(Value::String(caption)) if self.names.caption.is_none() => {
                Ok(Texts::one(caption.clone()))
            }
            _ => Fields::of_object(entry, self.names).captions(),
        };
        let Ok(captions) = caption else {
            if self.captionless == 0 {
                self.first_captionless = index;
            }
            self.captionless += 1;
            return ControlFlow::Continue(());
        };
        match required_id("image_id", image_id.as_ref()) {
            Ok(image_id) => {
                let id = id.as_ref().and_then(Value::as_i64);
                for caption in captions {
                    self.table.add_caption(&image_id, id, &caption);
                }
                ControlFlow::Continue(())
            }
            Err(refusal) => {
                let place = format!("{}: annotations[{index}]", self.name);
                self.out.refuse(&place, refusal.at(&place))
            }
        }
    }

    /// Keeps what the numbers of licences stand for. What is none says nothing, and is no reason to
    /// refuse anything.
    fn licenses(&mut self, list: &Value) {
        for entry in list.as_array().into_iter().flatten() {
            let id = entry.get("id").and_then(|id| id_text(id).ok());
            let said = ["name", "url"].into_iter().filter_map(|field| entry.get(field)?.as_str());
            let said = said.map(str::trim).find(|said| !said.is_empty());
            if let (Some(id), Some(said)) = (id, said) {
                self.table.add_license(&id, said);
            }
        }
    }

    /// An element of a list that is no object.
    fn no_object(&mut self, list: &str, index: u64) -> ControlFlow<()> {
        let place = format!("{}: {list}[{index}]", self.name);
        self.out.refuse(&place, Refusal::new("invalid_field", "no object").at(&place))
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
                    map.next_value_seed(Items { scan: self.0, list: "images", add: Scan::image })?;
                }
                "annotations" => {
                    self.0.saw_annotations = true;
                    map.next_value_seed(Items {
                        scan: self.0,
                        list: "annotations",
                        add: Scan::annotation,
                    })?;
                }
                "licenses" => self.0.licenses(&map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads an array, handing each element on as soon as it is read.
struct Items<'s, 'a, 'b, 'c> {
    scan: &'s mut Scan<'a, 'b, 'c>,
    list: &'static str,
    add: fn(&mut Scan<'a, 'b, 'c>, u64, Map<String, Value>) -> ControlFlow<()>,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        let mut index = 0;
        while let Some(item) = seq.next_element::<Value>()? {
            let flow = match item {
                Value::Object(entry) => (self.add)(self.scan, index, entry),
                _ => self.scan.no_object(self.list, index),
            };
            if flow.is_break() {
                return Err(S::Error::custom("stopped by the caller"));
            }
            index += 1;
        }
        Ok(())
    }
}
