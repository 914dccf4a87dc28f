//! Every key of the configuration with its default and its range, taken from the types and checks
//! themselves: what reads lists from the environment, and what the documentation is held against.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Config;
use crate::base::check::{Checks, Settings};

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Such as `matching.strategy`; its environment variable is
    /// `PAIRWRIGHT__MATCHING__STRATEGY`.
    pub path: String,
    /// `null` where it is unset.
    pub default: Value,
    /// The values it may have, where that is a range.
    pub range: Option<String>,
    is_list: bool,
}

impl Key {
    /// Whether its value is a list, which the environment writes with commas.
    pub fn is_list(&self) -> bool {
        self.is_list
    }
}

/// Every key, those of tables that are left out by default included.
pub fn keys() -> Vec<Key> {
    let config = filled();
    let mut checks = Checks::default();
    config.check(&mut checks);
    let ranges: HashMap<_, _> = checks.ranges().iter().cloned().collect();
    let (defaults, all) = (settings(&config), settings(&given(config)));
    let key = |(path, given): (String, Value)| Key {
        range: ranges.get(&path).cloned(),
        default: defaults.get(&path).cloned().unwrap_or_default(),
        is_list: given.is_array(),
        path,
    };
    all.into_iter().map(key).collect()
}

/// Every key of a configuration with its value.
pub fn settings(config: &Config) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    collect("", text(config), &mut settings);
    collect("serve", text(&config.serve), &mut settings);
    settings
}

/// The defaults, with every table that may be left out.
fn filled() -> Config {
    let mut config = Config::default();
    config.answer.settings = Some(Default::default());
    config.describe.settings = Some(Default::default());
    config.describe.llm = Some(Default::default());
    config.generate.settings = Some(Default::default());
    config.generate.llm = Some(Default::default());
    config.summarize.settings = Some(Default::default());
    config.summarize.llm = Some(Default::default());
    config.measure.judge.settings = Some(config.measure.judge.resolved_settings());
    config.measure.judge.llm = Some(Default::default());
    config
}

/// `config` with what its text leaves out while it is unset.
fn given(mut config: Config) -> Config {
    let llms = [
        &mut config.describe.llm,
        &mut config.generate.llm,
        &mut config.summarize.llm,
        &mut config.measure.judge.llm,
    ];
    let llms = llms.into_iter().flatten();
    for llm in llms.chain([&mut config.llm]) {
        llm.model = Some(String::new());
        llm.api_key_env = Some(String::new());
        llm.max_tokens_total = Some(1);
        llm.max_cost = Some(1.0);
        llm.price_per_million_prompt_tokens = Some(1.0);
        llm.price_per_million_completion_tokens = Some(1.0);
        llm.local.server = Some(Default::default());
        llm.local.threads = Some(1);
        llm.local.log_dir = Some(Default::default());
    }
    let fields = &mut config.source.fields;
    for name in [&mut fields.id, &mut fields.image, &mut fields.caption] {
        *name = Some(String::new());
    }
    config.source.limit = Some(1);
    config.matching.check = Some(Vec::new());
    config.index.expansion_search = Some(1);
    config.generate.limit = Some(1);
    config.generate.structured = Some(crate::instruction::augment::Structured::Off);
    config.generate.text_model = Some(String::new());
    let cluster = &mut config.cluster;
    (cluster.k, cluster.k_min, cluster.k_max) = (Some(1), Some(1), Some(1));
    let stages = [
        &mut config.answer.settings,
        &mut config.describe.settings,
        &mut config.generate.settings,
        &mut config.summarize.settings,
        &mut config.measure.judge.settings,
    ];
    for settings in stages.into_iter().flatten() {
        settings.repeat_penalty = Some(1.0);
        settings.frequency_penalty = Some(0.0);
        settings.presence_penalty = Some(0.0);
    }
    config
}

/// By way of the text, in which a number is as short as it was written.
fn text(table: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(table).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn collect(path: &str, value: Value, settings: &mut BTreeMap<String, Value>) {
    let Value::Object(table) = value else {
        settings.insert(path.to_owned(), value);
        return;
    };
    for (name, value) in table {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        collect(&path, value, settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of a table in `docs/configuration.md`.
    struct Row {
        keys: Vec<String>,
        default: String,
        range: String,
    }

    fn rows() -> Vec<Row> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let text = fs_err::read_to_string(path).expect("the documentation");
        let mut section = None;
        let mut rows = Vec::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('#') {
                section = quoted(heading).first().map(|name| name.trim_matches(['[', ']']).into());
                section = section.or_else(|| heading.contains("Top level").then(String::new));
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let (Some(section), ["", names, _, default, range, _, ""]) = (&section, &cells[..]) {
                let below = |name: String| match section.as_str() {
                    "" => name,
                    section => format!("{section}.{name}"),
                };
                rows.push(Row {
                    keys: quoted(names).into_iter().map(below).collect(),
                    default: (*default).to_owned(),
                    range: (*range).to_owned(),
                });
            }
        }
        rows
    }

    /// What stands between backticks.
    fn quoted(text: &str) -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Whether a cell begins with `words` and then something else, such as an explanation.
    fn begins(cell: &str, words: &str) -> bool {
        cell.strip_prefix(words).is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_alphanumeric() || next == '.')
        })
    }

    fn says_default(row: &Row, default: &Value) -> bool {
        let cell = row.default.replace('`', "");
        match default {
            Value::Null => begins(&cell, "unset"),
            Value::Array(list) if begins(&cell, "all") => {
                list.iter().filter_map(Value::as_str).eq(quoted(&row.range))
            }
            Value::Array(list) if list.is_empty() => begins(&cell, "none") || begins(&cell, "[]"),
            Value::Number(number) => {
                let digits = cell.split([' ', ':']).next().unwrap_or_default();
                digits.parse().ok() == number.as_f64()
            }
            other => begins(&cell, &other.to_string().replace(',', ", ")),
        }
    }

    #[test]
    fn the_documentation_has_every_key_with_its_default_and_range() {
        let (rows, mut wrong) = (rows(), Vec::new());
        let keys = keys();
        for key in &keys {
            let Some(row) = rows.iter().find(|row| row.keys.contains(&key.path)) else {
                // A table that another section documents.
                let table = |name: &String| key.path.starts_with(&format!("{name}."));
                if !rows.iter().any(|row| row.keys.iter().any(table)) {
                    wrong.push(format!("{} is not documented", key.path));
                }
                continue;
            };
            if !says_default(row, &key.default) {
                let (path, default) = (&key.path, &key.default);
                wrong.push(format!("{path}: default {default}, documented {:?}", row.default));
            }
            if let Some(range) = key.range.as_ref().filter(|range| !begins(&row.range, range)) {
                wrong.push(format!("{}: range {range}, documented {:?}", key.path, row.range));
            }
        }
        for name in rows.iter().flat_map(|row| &row.keys) {
            let table = format!("{name}.");
            if !keys.iter().any(|key| key.path == *name || key.path.starts_with(&table)) {
                wrong.push(format!("{name} is documented and does not exist"));
            }
        }
        assert!(wrong.is_empty(), "docs/configuration.md:\n{}", wrong.join("\n"));
    }

    #[test]
    fn lists_are_known_as_such() {
        let lists: Vec<String> =
            keys().into_iter().filter(Key::is_list).map(|key| key.path).collect();
        for path in
            ["export.formats", "matching.check", "answer.settings.stop", "serve.image_roots"]
        {
            assert!(lists.iter().any(|list| list == path), "{path} in {lists:?}");
        }
    }
}
