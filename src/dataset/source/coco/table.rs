use std::collections::HashMap;

use super::super::endings::without_ending;
use super::super::fields::is_license;
use super::super::ids::number;

/// Images and captions of a COCO file, packed: one string holds every caption.
///
/// Each image id met, listed or only referred to, has a slot; a caption costs its text and 32
/// bytes.
#[derive(Default)]
pub(super) struct Table {
    slots: HashMap<Box<str>, u32>,
    /// By slot.
    ids: Vec<Box<str>>,
    /// By slot.
    listed: Vec<Listed>,
    images: Vec<Image>,
    captions: Vec<Caption>,
    text: String,
    /// Names or addresses by the ids that images name.
    licenses: HashMap<Box<str>, Box<str>>,
}

/// Whether `images` lists an id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    No,
    /// At this place in the table's `images`.
    At(u32),
    /// It does, but the entry was refused.
    Refused,
}

/// One usable entry of `images`.
pub(super) struct Image {
    slot: u32,
    pub file_name: Box<str>,
    /// The id of its licence, or the licence itself.
    license: Option<Box<str>>,
}

struct Caption {
    slot: u32,
    annotation: i64,
    start: usize,
    length: u32,
}

impl Table {
    fn slot(&mut self, id: &str) -> u32 {
        if let Some(slot) = self.slots.get(id) {
            return *slot;
        }
        let slot = u32::try_from(self.ids.len()).expect("fewer than 2^32 images fit in memory");
        self.slots.insert(id.into(), slot);
        self.ids.push(id.into());
        self.listed.push(Listed::No);
        slot
    }

    /// Lists an image; when the id is listed already, says for which file.
    pub fn add_image(
        &mut self,
        id: &str,
        file_name: &str,
        license: Option<String>,
    ) -> Result<(), &str> {
        let slot = self.slot(id);
        match self.listed[slot as usize] {
            Listed::No => {}
            Listed::At(first) => return Err(&self.images[first as usize].file_name),
            Listed::Refused => return Err("an entry that was refused"),
        }
        self.listed[slot as usize] = Listed::At(self.images.len() as u32);
        let license = license.map(Into::into);
        self.images.push(Image { slot, file_name: file_name.into(), license });
        Ok(())
    }

    pub fn add_license(&mut self, id: &str, name: &str) {
        self.licenses.insert(id.into(), name.into());
    }

    /// An image's licence: what its number stands for, or what its entry says itself.
    pub fn license(&self, image: &Image) -> Option<String> {
        let told = image.license.as_deref()?;
        let named = self.licenses.get(told).map(|name| &**name);
        named.or(Some(told)).filter(|text| is_license(text)).map(str::to_owned)
    }

    /// Notes that the entry with this id was refused, so that its captions are not reported too.
    pub fn refuse_image(&mut self, id: &str) {
        let slot = self.slot(id) as usize;
        if self.listed[slot] == Listed::No {
            self.listed[slot] = Listed::Refused;
        }
    }

    /// Keeps a caption; one without an annotation id comes behind those with one.
    pub fn add_caption(&mut self, image_id: &str, annotation: Option<i64>, caption: &str) {
        let slot = self.slot(image_id);
        let annotation = annotation.unwrap_or(i64::MAX);
        let start = self.text.len();
        self.text.push_str(caption);
        self.captions.push(Caption { slot, annotation, start, length: caption.len() as u32 });
    }

    /// Gives captions whose image is not listed to the one listed image whose id differs in
    /// leading zeros alone, and puts all in order; call once, before reading them.
    pub fn sort(&mut self) {
        self.join_numbers();
        self.captions.sort_by_key(|caption| (caption.slot, caption.annotation));
    }

    fn join_numbers(&mut self) {
        if self.unlisted_slots().next().is_none() {
            return;
        }
        let mut by_number: HashMap<&str, Option<u32>> = HashMap::new();
        for image in &self.images {
            if let Some(number) = number(&self.ids[image.slot as usize]) {
                let only = by_number.entry(number).or_insert(Some(image.slot));
                *only = only.filter(|slot| *slot == image.slot);
            }
        }
        let target = |slot: u32| *by_number.get(number(&self.ids[slot as usize])?)?;
        let moved: HashMap<u32, u32> =
            self.unlisted_slots().filter_map(|slot| Some((slot, target(slot)?))).collect();
        for caption in &mut self.captions {
            caption.slot = moved.get(&caption.slot).copied().unwrap_or(caption.slot);
        }
    }

    fn unlisted_slots(&self) -> impl Iterator<Item = u32> {
        let listed = self.listed.iter().zip(0_u32..);
        listed.filter(|(listed, _)| **listed == Listed::No).map(|(_, slot)| slot)
    }

    /// The image whose file has this name, without its ending or, for a number, leading zeros.
    pub fn of_that_name(&self, id: &str) -> Option<&Image> {
        self.images.iter().find(|image| {
            let file = image.file_name.rsplit('/').next().map(without_ending);
            file.is_some_and(|file| {
                file == id || number(file).is_some_and(|n| Some(n) == number(id))
            })
        })
    }

    pub fn has_captions(&self) -> bool {
        !self.captions.is_empty()
    }

    /// The listed images in file order.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.iter()
    }

    pub fn id(&self, image: &Image) -> &str {
        &self.ids[image.slot as usize]
    }

    /// An image's captions in the order of their annotation ids.
    pub fn captions(&self, image: &Image) -> impl Iterator<Item = &str> {
        self.captions_of(image.slot).iter().map(|caption| {
            let end = caption.start + caption.length as usize;
            &self.text[caption.start..end]
        })
    }

    fn captions_of(&self, slot: u32) -> &[Caption] {
        let start = self.captions.partition_point(|caption| caption.slot < slot);
        let count = self.captions[start..].partition_point(|caption| caption.slot == slot);
        &self.captions[start..start + count]
    }

    /// Image ids that captions refer to and `images` does not list, with how many captions do.
    pub fn unlisted(&self) -> impl Iterator<Item = (&str, usize)> {
        self.unlisted_slots()
            .map(|slot| (&*self.ids[slot as usize], self.captions_of(slot).len()))
            .filter(|(_, count)| *count > 0)
    }
}
