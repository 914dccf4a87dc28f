//! JSON as models write it: inside prose or fences, with other names, or cut off.

use serde_json::{Map, Value};

/// Places looked at for the beginning of an object.
const STARTS: usize = 2000;

/// The objects of a text, the outermost that are whole: prose around them does not matter, and of an
/// object that is cut those inside it are found. The last tells whether anything was cut.
pub(super) fn objects(text: &str) -> (Vec<Map<String, Value>>, bool) {
    let (mut found, mut broken, mut next) = (Vec::new(), false, 0);
    for (start, _) in text.match_indices('{').take(STARTS) {
        if start < next {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(Value::Object(fields))) => {
                next = start + values.byte_offset();
                found.push(fields);
            }
            Some(Err(error)) => broken |= error.is_eof(),
            _ => {}
        }
    }
    (found, broken)
}

/// A name without case, spaces and marks.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|one| one.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_in_prose_and_in_what_is_cut() {
        let (found, broken) =
            objects("So {well}: ```json\n{\"a\": {\"b\": 1}}\n``` and {\"c\": 2}");
        let told: Vec<String> =
            found.iter().map(|one| Value::from(one.clone()).to_string()).collect();
        assert_eq!((told.join(" ").as_str(), broken), ("{\"a\":{\"b\":1}} {\"c\":2}", false));
        let (found, broken) = objects("{\"claims\": [{\"q\": 1}, {\"q\": 2}, {\"q\": ");
        assert_eq!((found.len(), broken), (2, true));
        assert!(objects(&"{".repeat(100_000)).0.is_empty());
    }

    #[test]
    fn names_are_compared_without_case_and_marks() {
        assert_eq!(plain("**Image Correspondence**"), "imagecorrespondence");
        assert_eq!(plain("image_correspondence"), plain("Image-correspondence:"));
    }
}
