//! Layers a configuration from its sources.

use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat, Value};

use super::keys::{Key, keys};
use super::{Config, ConfigError};
use crate::llm::PromptSource;
use crate::model::catalog;
use crate::sandbox::remote;

/// The resolved configuration inside a run folder.
pub const RUN_FILE: &str = "run.toml";

/// The table of `run.toml` that records hashes and versions; not configuration.
pub const RESOLVED: &str = "resolved";

/// Environment variables look like `PAIRWRIGHT__MATCHING__STRATEGY=mmr`; lists take commas.
const ENVIRONMENT_PREFIX: &str = "PAIRWRIGHT";

/// Collects layers, later ones winning, and resolves them.
#[derive(Default)]
pub struct Layers {
    builder: ConfigBuilder<DefaultState>,
}

impl Layers {
    /// Adds a configuration file, or a run folder's `run.toml`.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML (with line and column).
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = fs_err::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let syntax = |message: String| ConfigError::Syntax { path: path.to_owned(), message };
        let mut table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| syntax(error.to_string()))?;
        table.remove(RESOLVED);
        // Checked alone first, so that a wrong name or type is blamed on this file.
        Config::from_table(table.clone()).map_err(syntax)?;
        let source = File::from_str(&table.to_string(), FileFormat::Toml);
        Ok(Self { builder: self.builder.add_source(source) })
    }

    /// Adds the process environment.
    pub fn environment(self) -> Self {
        self.variables(None)
    }

    /// Adds `variables`, or the process's own when there are none.
    pub(crate) fn variables(self, variables: Option<config::Map<String, String>>) -> Self {
        let source = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .source(variables)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",");
        let lists = keys().into_iter().filter(Key::is_list);
        let source = lists.fold(source, |source, key| source.with_list_parse_key(&key.path));
        Self { builder: self.builder.add_source(source) }
    }

    /// Sets one value when a flag was given.
    ///
    /// # Errors
    /// `key` is not a path of names.
    pub fn flag<T: Into<Value>>(self, key: &str, value: Option<T>) -> Result<Self, ConfigError> {
        let builder = self.builder.set_override_option(key, value).map_err(wrong)?;
        Ok(Self { builder })
    }

    /// Sets one path when a flag was given.
    ///
    /// # Errors
    /// As [`Layers::flag`].
    pub fn path_flag(self, key: &str, value: Option<&PathBuf>) -> Result<Self, ConfigError> {
        self.flag(key, value.map(|path| path.to_string_lossy().into_owned()))
    }

    /// Resolves the layers into a checked configuration with absolute paths.
    ///
    /// # Errors
    /// [`ConfigError`] naming each wrong key or value.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let mut config: Config =
            self.builder.build().map_err(wrong)?.try_deserialize().map_err(wrong)?;
        config.make_paths_absolute();
        config.validate()?;
        Ok(config)
    }
}

fn wrong(error: config::ConfigError) -> ConfigError {
    ConfigError::Value { message: error.to_string() }
}

impl Config {
    fn from_table(table: toml::Table) -> Result<Self, String> {
        table.try_into().map_err(|error: toml::de::Error| error.to_string().trim().to_owned())
    }

    /// `run.toml`: the configuration and, under `[resolved]`, what it came to.
    pub fn to_run_file(&self, resolved: toml::Table) -> Result<String, ConfigError> {
        let failed = |error: toml::ser::Error| ConfigError::Value { message: error.to_string() };
        let mut table = toml::Table::try_from(self).map_err(failed)?;
        table.insert(RESOLVED.into(), toml::Value::Table(resolved));
        toml::to_string_pretty(&table).map_err(failed)
    }

    /// A run must resume from any current folder.
    fn make_paths_absolute(&mut self) {
        let paths = [
            &mut self.source.path,
            &mut self.source.images,
            &mut self.model.text_path,
            &mut self.library.instructions,
            &mut self.generate.seeds,
            &mut self.generate.descriptions,
            &mut self.answer.examples,
            &mut self.measure.judge.prompts,
        ];
        let is_name = |path: &PathBuf| catalog::name_in(path).is_some();
        let model = self.model.path.as_mut().filter(|path| !is_name(path));
        let prompts =
            [&mut self.generate.prompts, &mut self.answer.prompts, &mut self.describe.prompts];
        let prompts = prompts.into_iter().flatten().filter_map(PromptSource::folder_mut);
        let paths = paths.into_iter().flatten().chain(prompts);
        for path in paths.chain(model).chain(self.serve.paths_mut()) {
            if remote::is_remote(path) {
                continue;
            }
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sink::ExportFormat;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("c.toml");
        fs_err::write(&path, text).expect("write");
        (folder, path)
    }

    #[test]
    fn flags_win_over_files() {
        let (_folder, path) = file("seed = 3\n[answer]\nattempts = 4\n");
        let layers = Layers::default().file(&path).expect("file");
        let config = layers.flag("seed", Some(9u64)).expect("flag").resolve().expect("valid");
        assert_eq!((config.seed, config.answer.attempts), (9, 4));
    }

    #[test]
    fn variables_reach_every_table_lists_too() {
        let variables = [
            ("PAIRWRIGHT__SERVE__LISTEN", "127.0.0.1:7"),
            ("PAIRWRIGHT__SERVE__IMAGE_ROOTS", "/photos,/more"),
            ("PAIRWRIGHT__SERVE__LIMITS__MAX_ITEMS", "9"),
            ("PAIRWRIGHT__EXPORT__FORMATS", "jsonl,parquet"),
            ("PAIRWRIGHT__ANSWER__SETTINGS__STOP", "END"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let layers = Layers::default().variables(Some(variables.into()));
        let config = layers.resolve().expect("valid");
        assert_eq!(config.export.formats, [ExportFormat::Jsonl, ExportFormat::Parquet]);
        assert_eq!(config.answer.settings.expect("set").stop, ["END"]);
        let serve = config.serve;
        assert_eq!((serve.listen.port(), serve.limits.max_items), (7, 9));
        assert_eq!(serve.image_roots, [PathBuf::from("/photos"), PathBuf::from("/more")]);
    }

    #[test]
    fn a_wrong_name_is_blamed_on_its_file() {
        let (_folder, path) = file("[answer]\natempts = 4\n");
        let text = Layers::default().file(&path).err().expect("refused").to_string();
        assert!(text.contains("c.toml") && text.contains("atempts"), "{text}");
    }

    #[test]
    fn the_run_file_reads_back_as_the_same_configuration() {
        let mut config = Config { seed: 5, ..Config::default() };
        config.source.path = Some("/photos".into());
        let text = config.to_run_file(toml::Table::new()).expect("serialises");
        let (_folder, path) = file(&text);
        let read = Layers::default().file(&path).expect("file").resolve().expect("valid");
        assert_eq!(read, config);
    }
}
