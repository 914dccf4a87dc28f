//! Range checks of settings and of requests: one way to look at a value, one sentence about it.

use std::fmt::{self, Display};

use super::{ErrorKind, Failure};

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, must be {expected}")]
pub struct Problem {
    /// The setting's path, for instance `serve.limits.max_items`, or a request's field.
    pub field: String,
    /// The value seen.
    pub value: String,
    /// The range or the form that would do.
    pub expected: String,
}

impl Problem {
    /// A value and what it must be.
    pub fn new(field: impl Into<String>, value: impl Display, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.to_string(), expected: expected.into() }
    }
}

/// The value, if it lies from `low` to `high`. A NaN lies in no range.
///
/// # Errors
/// The field, the value and the range.
pub fn range<T: PartialOrd + Display>(
    field: &str,
    value: T,
    low: T,
    high: T,
) -> Result<T, Problem> {
    if low <= value && value <= high {
        return Ok(value);
    }
    Err(Problem::new(field, value, format!("{low} to {high}")))
}

/// Everything that is wrong with some settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let between = if position > 0 { "; " } else { "" };
            write!(formatter, "{between}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Failure for Problems {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    fn code(&self) -> &'static str {
        "config_invalid"
    }
}

/// Settings whose values have ranges.
pub trait Settings {
    /// Looks at every value.
    fn check(&self, checks: &mut Checks);

    /// Checks these settings alone; `section` is put before their names.
    ///
    /// # Errors
    /// Every wrong value's name, the value and what it must be.
    fn validate_as(&self, section: &str) -> Result<(), Problems> {
        let mut checks = Checks::default();
        checks.section(section, self);
        checks.finish()
    }
}

impl<S: Settings> Settings for Option<S> {
    fn check(&self, checks: &mut Checks) {
        if let Some(settings) = self {
            settings.check(checks);
        }
    }
}

/// Looks at values and collects what is wrong with them.
#[derive(Debug, Default)]
pub struct Checks {
    section: String,
    problems: Vec<Problem>,
    ranges: Vec<(String, String)>,
}

impl Checks {
    /// A value, where it is set, lies from `low` to `high`.
    pub fn range<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: impl Into<Option<T>>,
        low: T,
        high: T,
    ) {
        let text = format!("{low} to {high}");
        self.look(field, value.into(), |value| low <= *value && *value <= high, text);
    }

    /// A value, where it is set, lies above `low`, up to `high`.
    pub fn above<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: impl Into<Option<T>>,
        low: T,
        high: T,
    ) {
        let text = format!("above {low}, to {high}");
        self.look(field, value.into(), |value| low < *value && *value <= high, text);
    }

    /// A value, where it is set, is `least` or more.
    pub fn at_least<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: impl Into<Option<T>>,
        least: T,
    ) {
        self.look(field, value.into(), |value| least <= *value, format!("{least} or more"));
    }

    /// A rule that is no range of its own, such as one between two settings.
    pub fn require(
        &mut self,
        holds: bool,
        field: &str,
        value: impl Display,
        expected: impl Into<String>,
    ) {
        if !holds {
            self.problems.push(Problem::new(self.path(field), value, expected));
        }
    }

    /// The settings of a table below this one.
    pub fn section<S: Settings + ?Sized>(&mut self, name: &str, settings: &S) {
        let within = self.path(name);
        let outer = std::mem::replace(&mut self.section, within);
        settings.check(self);
        self.section = outer;
    }

    /// What was found.
    ///
    /// # Errors
    /// Every wrong value.
    pub fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }

    /// Every range that was looked at, with its setting's path: what the documentation must say.
    pub fn ranges(&self) -> &[(String, String)] {
        &self.ranges
    }

    fn look<T: Display>(
        &mut self,
        field: &str,
        value: Option<T>,
        lies_within: impl FnOnce(&T) -> bool,
        expected: String,
    ) {
        let path = self.path(field);
        if let Some(value) = value.filter(|value| !lies_within(value)) {
            self.problems.push(Problem::new(path.clone(), value, expected.clone()));
        }
        self.ranges.push((path, expected));
    }

    fn path(&self, field: &str) -> String {
        match (self.section.as_str(), field) {
            ("", name) | (name, "") => name.to_owned(),
            (section, field) => format!("{section}.{field}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Oven {
        heat: f64,
        trays: Option<u32>,
    }

    impl Settings for Oven {
        fn check(&self, checks: &mut Checks) {
            checks.above("heat", self.heat, 0.0, 300.0);
            checks.range("trays", self.trays, 1, 4);
            checks.require(self.heat < 250.0 || self.trays.is_some(), "trays", "unset", "set");
        }
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        Oven { heat: 300.0, trays: Some(4) }.validate_as("oven").expect("at the limits");
        let found = Oven { heat: f64::NAN, trays: Some(5) }.validate_as("oven").expect_err("two");
        assert_eq!(
            found.to_string(),
            "oven.heat is NaN, must be above 0, to 300; oven.trays is 5, must be 1 to 4"
        );
        let found = Oven { heat: 260.0, trays: None }.validate_as("").expect_err("a rule");
        assert_eq!(found.to_string(), "trays is unset, must be set");
    }

    #[test]
    fn one_value_is_looked_at_alone() {
        assert_eq!(range("top_k", 7, 1, 7), Ok(7));
        let problem = range("min_similarity", f32::NAN, -1.0, 1.0).expect_err("no number");
        assert_eq!(problem.to_string(), "min_similarity is NaN, must be -1 to 1");
    }
}
