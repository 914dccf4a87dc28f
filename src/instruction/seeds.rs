//! Seed instructions: validated and deduplicated.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::wording::normal_form;
use super::{GenerateError, library};
use crate::base::hash;

/// The seeds compiled into the binary.
const BUILT_IN: &str = include_str!("../../samples/seeds.jsonl");

/// One seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Unique in its file.
    pub id: String,
    pub text: String,
}

/// Checked seeds in their file's order, no two alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    pub seeds: Vec<Seed>,
    /// Seeds left out because an earlier one differs in case, spacing and punctuation only.
    pub duplicates: usize,
    /// Key over ids and texts in order.
    pub hash: String,
    /// Where they came from.
    pub origin: String,
}

impl Seeds {
    /// Reads `.jsonl` (`{"id", "text"}` per line) or `.txt` (one seed per line, ids `line-N`);
    /// without a path, the seeds compiled into the binary.
    ///
    /// # Errors
    /// [`GenerateError`] with file and line for a line that is no seed, and for a file without one.
    pub fn read(path: Option<&Path>) -> Result<Self, GenerateError> {
        let Some(path) = path else {
            return Self::parse(Path::new("built-in seeds.jsonl"), BUILT_IN);
        };
        let text = fs_err::read_to_string(path)
            .map_err(|source| GenerateError::Io { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, GenerateError> {
        let plain = path.extension().is_some_and(|extension| extension == "txt");
        let mut seeds: Vec<Seed> = Vec::new();
        let mut forms = std::collections::HashSet::new();
        let mut duplicates = 0;
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let seed = read_line(line.trim(), index + 1, plain, &seeds)
                .map_err(|message| refuse(path, index + 1, message))?;
            if forms.insert(normal_form(&seed.text)) {
                seeds.push(seed);
            } else {
                duplicates += 1;
            }
        }
        if seeds.is_empty() {
            return Err(GenerateError::NoSeeds { path: path.to_owned() });
        }
        let fields = seeds.iter().flat_map(|seed| [seed.id.as_str(), seed.text.as_str()]);
        let hash = hash::key(&fields.collect::<Vec<_>>());
        Ok(Self { seeds, duplicates, hash, origin: path.display().to_string() })
    }
}

fn refuse(path: &Path, line: usize, message: String) -> GenerateError {
    GenerateError::Line { path: PathBuf::from(path), line, message }
}

fn read_line(line: &str, number: usize, plain: bool, earlier: &[Seed]) -> Result<Seed, String> {
    let mut seed = if plain {
        Seed { id: format!("line-{number}"), text: line.to_owned() }
    } else {
        serde_json::from_str::<Seed>(line).map_err(|error| error.to_string())?
    };
    seed.text = seed.text.split_whitespace().collect::<Vec<_>>().join(" ");
    if seed.id.is_empty() || normal_form(&seed.text).is_empty() {
        return Err("id and text must not be empty".into());
    }
    library::check_text(&seed.text).map_err(|bad| bad.to_string())?;
    if earlier.iter().any(|other| other.id == seed.id) {
        return Err(format!("the id {:?} is there already", seed.id));
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Seeds, GenerateError> {
        Seeds::parse(Path::new(name), text)
    }

    #[test]
    fn the_built_in_seeds_are_fifty_or_more_and_varied() {
        let seeds = Seeds::read(None).expect("built-in seeds");
        assert!(seeds.seeds.len() >= 50 && seeds.duplicates == 0);
        let verbs: std::collections::HashSet<_> = seeds
            .seeds
            .iter()
            .filter_map(|seed| super::super::wording::opening(&seed.text))
            .map(|(verb, _)| verb)
            .collect();
        assert!(verbs.len() >= 10, "{verbs:?}");
    }

    #[test]
    fn seeds_that_differ_in_form_only_are_one() {
        let seeds = parse("s.txt", "Write a poem.\nPlan a trip.\n\nwrite  a poem\n").expect("two");
        assert_eq!((seeds.seeds.len(), seeds.duplicates), (2, 1));
        assert_eq!(seeds.seeds[1].id, "line-2");
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, wanted) in [
            ("{\"id\": \"a\"", "s.jsonl:1: "),
            ("{\"id\": \"a\", \"text\": \"..\"}", "must not be empty"),
            ("{\"id\": \"a\", \"text\": \"see <image>\"}", "<image>"),
            ("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"y\"}", "s.jsonl:2: the id"),
            (" \n", "holds no seed"),
        ] {
            let error = parse("s.jsonl", text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let long = format!("{{\"id\":\"a\",\"text\":\"{}\"}}", "x".repeat(5000));
        assert!(parse("s.jsonl", &long).expect_err("long").to_string().contains("5000 bytes"));
    }
}
