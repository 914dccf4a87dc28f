//! What a role gets to know of a photo.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What a call shows of its photo.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum See {
    /// What people or a model say of it, in the prompt: for models that only read.
    #[default]
    Description,
    /// The photo itself, attached; nothing that is said of it.
    Image,
    /// The photo, and what is said of it.
    Both,
}

impl See {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Description, Self::Image, Self::Both];

    /// The name in settings, keys and records.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the photo is attached, which needs a model that sees.
    pub fn shows_photo(self) -> bool {
        self != Self::Description
    }

    /// Whether what is said of the photo stands in the prompt.
    pub fn shows_text(self) -> bool {
        self != Self::Image
    }
}

impl FromStr for See {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|see| see.name() == name);
        found.ok_or_else(|| format!("unknown sight `{name}`: use description, image or both"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for see in See::ALL {
            assert_eq!(see.name().parse(), Ok(see));
            assert_eq!(serde_json::to_string(&see).expect("a name"), format!("{:?}", see.name()));
        }
        assert!("caption".parse::<See>().is_err());
    }
}
