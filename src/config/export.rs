//! `[export]`: which files a run writes of its samples, and how.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::check::Checks;
use crate::base::hash;
use crate::dataset::record::Sample;
use crate::dataset::sink::{
    Conversations, ExportFormat, ExtraColumns, PhotoPlaces, SinkOptions, TRAIN,
};
use crate::measure::MeasureName;
use crate::measure::keep::{Keep, MAX_EXPRESSIONS};

/// The most splits, and the most categories with a share.
const MAX_SHARES: usize = 64;

/// Names of splits whose files could not be told from those that tell about an export.
const RESERVED: [&str; 4] = ["manifest", "dataset_info", "croissant", "readme"];

/// Which exports to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    pub formats: Vec<ExportFormat>,
    /// Expressions that a sample must pass to be exported, all of them: see [`Keep`].
    pub keep: Vec<String>,
    /// Where the photos are that rows name; unset: as is usual for each format.
    pub photos: Option<PhotoPlaces>,
    pub conversations: Conversations,
    /// Parts of the photos that are set apart, each as `NAME=SHARE`.
    pub splits: Vec<String>,
    /// Categories of which only a part is exported, each as `CATEGORY=SHARE`.
    pub mix: Vec<String>,
    /// Where a shard is closed, in MiB, 1 to 4096.
    pub shard_mib: u64,
    /// What the dataset's card calls it.
    pub title: Option<String>,
    /// The dataset's licence by the hub's short name, such as `cc-by-4.0`.
    pub license: Option<String>,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            formats: ExportFormat::USUAL.into(),
            keep: Vec::new(),
            photos: None,
            conversations: Conversations::Single,
            splits: Vec::new(),
            mix: Vec::new(),
            shard_mib: 500,
            title: None,
            license: None,
        }
    }
}

impl ExportConfig {
    /// Looks at every value.
    pub(super) fn check(&self, enabled: &[MeasureName], checks: &mut Checks) {
        let formats: BTreeSet<ExportFormat> = self.formats.iter().copied().collect();
        let (count, most) = (self.formats.len(), ExportFormat::ALL.len());
        let fits = (1..=most).contains(&count) && formats.len() == count;
        let expected = format!("1 to {most}, each once");
        checks.require(fits, "export.formats (count)", count, expected);
        self.check_keep(enabled, checks);
        self.check_splits(checks);
        check_shares("export.mix", &self.mix, |share| (0.0..=1.0).contains(&share), checks);
        checks.range("export.shard_mib", self.shard_mib, 1, 4096);
        let license = self.license.as_deref().unwrap_or("unknown");
        let is_short = !license.is_empty()
            && license.len() <= 64
            && license.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c));
        let expected = "a short name of letters, digits, `-`, `.` and `_`, such as cc-by-4.0";
        checks.require(is_short, "export.license", license, expected);
    }

    fn check_keep(&self, enabled: &[MeasureName], checks: &mut Checks) {
        let count = self.keep.len();
        checks.require(count <= MAX_EXPRESSIONS, "export.keep (count)", count, "at most 64");
        for text in self.keep.iter().take(MAX_EXPRESSIONS) {
            let keep = Keep::parse(&[text]);
            let checked = keep.and_then(|keep| keep.require_enabled(enabled));
            if let Err(error) = checked {
                let expected = format!("a comparison with a measure or field: {error}");
                checks.require(false, "export.keep", text, expected);
            }
        }
    }

    fn check_splits(&self, checks: &mut Checks) {
        check_shares("export.splits", &self.splits, |share| 0.0 < share && share < 1.0, checks);
        let shares = self.shares(&self.splits);
        let total: f64 = shares.iter().map(|split| split.share).sum();
        checks.require(total < 1.0, "export.splits (sum)", total, "less than 1, for `train`");
        for Share { name, .. } in shares {
            let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
            let free = name != TRAIN && !RESERVED.contains(&&*name);
            let fits = free && name.len() <= 32 && name.bytes().all(plain);
            let expected = "a name of small letters, digits and `_` that is not `train`, \
                            `manifest`, `dataset_info`, `croissant` or `readme`";
            checks.require(fits, "export.splits", name, expected);
        }
    }

    fn shares(&self, texts: &[String]) -> Vec<Share> {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// What draws which samples are exported and to which split they go.
    pub fn draws(&self, seed: u64) -> Draws {
        Draws { seed, splits: self.shares(&self.splits), mix: self.shares(&self.mix) }
    }

    /// How every format is written; `extra` are the columns that not every export has.
    pub fn sink_options(&self, extra: ExtraColumns) -> SinkOptions {
        SinkOptions {
            extra,
            photos: self.photos,
            conversations: self.conversations,
            splits: self.shares(&self.splits).into_iter().map(|split| split.name).collect(),
            shard_bytes: self.shard_mib << 20,
        }
    }
}

fn check_shares(
    field: &str,
    texts: &[String],
    is_share: impl Fn(f64) -> bool,
    checks: &mut Checks,
) {
    let count = texts.len();
    checks.require(count <= MAX_SHARES, &format!("{field} (count)"), count, "at most 64");
    let mut names = BTreeSet::new();
    for text in texts.iter().take(MAX_SHARES) {
        let fits =
            text.parse::<Share>().is_ok_and(|one| is_share(one.share) && names.insert(one.name));
        checks.require(fits, field, text, "NAME=SHARE, a share up to 1, each name once");
    }
}

/// A name with a share of something, written as `NAME=SHARE`.
#[derive(Debug, Clone, PartialEq)]
struct Share {
    name: String,
    /// From 0 to 1.
    share: f64,
}

impl FromStr for Share {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, share) = text.rsplit_once('=').ok_or(())?;
        let (name, share) = (name.trim(), share.trim().parse().map_err(|_| ())?);
        if name.is_empty() { Err(()) } else { Ok(Self { name: name.to_owned(), share }) }
    }
}

/// The draws of an export. Each depends on the seed and on what it is about alone, so that a photo
/// that comes later moves no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    seed: u64,
    splits: Vec<Share>,
    mix: Vec<Share>,
}

impl Draws {
    /// Whether a sample is among those of its category that are exported.
    pub fn takes(&self, sample: &Sample) -> bool {
        let category = sample.lineage.category.as_deref().unwrap_or_default();
        let share = self.mix.iter().find(|one| one.name == category);
        share.is_none_or(|one| self.draw("mix", &sample.id) < one.share)
    }

    /// The split of a photo, by its bytes: equal photos are never on two sides.
    pub fn split(&self, image_sha256: &str) -> &str {
        let draw = self.draw("split", image_sha256);
        let mut end = 0.0;
        let found = self.splits.iter().find(|split| {
            end += split.share;
            draw < end
        });
        found.map_or(TRAIN, |split| &split.name)
    }

    /// From 0 up to 1.
    fn draw(&self, what: &str, of: &str) -> f64 {
        // 53 bits fill a float's digits.
        (hash::seed(self.seed, &["export", what, of]) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::dataset::record::Lineage;

    #[test]
    fn shares_are_drawn_by_the_seed_and_close_to_what_is_asked_for() {
        let config = ExportConfig {
            splits: vec!["validation=0.1".into(), "test=0.05".into()],
            mix: vec!["writing = 0.25".into(), "a=b=0".into()],
            ..ExportConfig::default()
        };
        let draws = config.draws(7);
        let splits: Vec<&str> = (0..4_000).map(|one| draws.split(&format!("{one}"))).collect();
        let count = |name: &str| splits.iter().filter(|split| **split == name).count();
        assert!((320..480).contains(&count("validation")), "{}", count("validation"));
        assert!((140..260).contains(&count("test")), "{}", count("test"));
        assert_eq!(count("validation") + count("test") + count(TRAIN), 4_000);
        assert!(
            (0..100)
                .any(|one| draws.split(&format!("{one}"))
                    != config.draws(8).split(&format!("{one}")))
        );
        let taken = |category: Option<&str>| {
            let sample = |number: u32| Sample {
                id: number.to_string(),
                lineage: Lineage { category: category.map(str::to_owned), ..Lineage::default() },
                ..Sample::default()
            };
            (0..2_000).filter(|number| draws.takes(&sample(*number))).count()
        };
        assert_eq!((taken(Some("a=b")), taken(Some("other")), taken(None)), (0, 2_000, 2_000));
        assert!((420..580).contains(&taken(Some("writing"))), "{}", taken(Some("writing")));
    }

    #[test]
    fn wrong_values_are_named() {
        let mut config = Config::default();
        config.export.formats = vec![ExportFormat::Llava; 2];
        config.export.splits =
            vec!["train=0.5".into(), "manifest=0.6".into(), "b".into(), "../x=0.1".into()];
        config.export.mix = vec!["x=2".into()];
        config.export.shard_mib = 0;
        config.export.license = Some("CC BY: 4".into());
        let text = config.validate().expect_err("wrong").to_string();
        for part in [
            "export.formats (count) is 2, must be 1 to 9, each once",
            "export.splits is train,",
            "export.splits is manifest,",
            "export.splits is b,",
            "export.splits is ../x,",
            "export.splits (sum) is 1.2",
            "export.mix is x=2,",
            "export.shard_mib is 0, must be 1 to 4096",
            "export.license is CC BY: 4,",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
