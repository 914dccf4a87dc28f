use serde::Deserialize;
use serde_json::Value;

use super::ids::id_text;
use super::refusal::Refusal;
use super::text;

/// What one JSON object says about one photo. Unknown fields are left alone; types are checked
/// field by field, so that a refusal can name the field.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields {
    id: Option<Value>,
    image: Option<Value>,
    file_name: Option<Value>,
    description: Option<Value>,
    caption: Option<Value>,
    captions: Option<Value>,
}

impl Fields {
    /// Reads one JSON object. The fault's line counts from the start of `json`.
    pub fn parse(json: &str) -> Result<Self, JsonFault> {
        // A derived reader would also take an array for an object, field by field.
        if !json.trim_start().starts_with('{') {
            serde_json::from_str::<serde::de::IgnoredAny>(json)?;
            let detail = "valid JSON, but not an object".to_owned();
            return Err(JsonFault { line: 1, column: 1, detail });
        }
        Ok(serde_json::from_str(json)?)
    }

    /// The id, when there is one.
    pub fn id(&self) -> Result<Option<String>, Refusal> {
        self.id.as_ref().map(id_text).transpose()
    }

    /// The image's name: `image`, else `file_name`.
    pub fn image(&self) -> Result<&str, Refusal> {
        let (name, value) = match (&self.image, &self.file_name) {
            (Some(value), _) => ("image", value),
            (None, Some(value)) => ("file_name", value),
            (None, None) => return Err(Refusal::new("missing_image", "no field `image`")),
        };
        let image = value.as_str().ok_or_else(|| wrong_type(name, "a string", value))?;
        check_image(image)?;
        Ok(image)
    }

    /// The description: the first of `description`, `caption` and `captions` that is there, each
    /// a string or a list of strings.
    pub fn description(&self) -> Result<String, Refusal> {
        let named = [
            ("description", &self.description),
            ("caption", &self.caption),
            ("captions", &self.captions),
        ];
        let found = named.into_iter().find_map(|(name, value)| Some((name, value.as_ref()?)));
        let Some((name, value)) = found else {
            let reason = "no field `caption`, `description` or `captions`";
            return Err(Refusal::new("missing_description", reason));
        };
        match value {
            Value::String(text) => text::description(text),
            Value::Array(list) => text::description(&text::join_captions(strings(name, list)?)),
            other => Err(wrong_type(name, "a string or a list of strings", other)),
        }
    }
}

/// Where JSON stops being valid and why, kept apart so that messages can say `file:line:column`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonFault {
    pub line: usize,
    pub column: usize,
    pub detail: String,
}

impl From<serde_json::Error> for JsonFault {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Self { line: error.line(), column: error.column(), detail }
    }
}

/// Refuses image names that cannot be a file's: empty, with control characters, or a URL.
pub(super) fn check_image(image: &str) -> Result<(), Refusal> {
    if image.trim().is_empty() {
        return Err(Refusal::new("missing_image", "the image's name is empty"));
    }
    if image.chars().any(char::is_control) {
        let reason = format!("the image's name holds a control character: {image:?}");
        return Err(Refusal::new("invalid_image_name", reason));
    }
    if image.contains("://") {
        let reason = format!("`{image}` is a URL; photos are read from files");
        return Err(Refusal::new("image_is_url", reason));
    }
    Ok(())
}

fn strings<'a>(name: &str, list: &'a [Value]) -> Result<Vec<&'a str>, Refusal> {
    list.iter()
        .map(|item| item.as_str().ok_or_else(|| wrong_type(name, "a list of strings", item)))
        .collect()
}

fn wrong_type(name: &str, expected: &str, value: &Value) -> Refusal {
    let seen = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::new("invalid_field", format!("field `{name}` holds {seen}; expected {expected}"))
}
