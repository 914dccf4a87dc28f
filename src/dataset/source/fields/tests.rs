use super::*;

static USUAL: FieldNames = FieldNames { id: None, image: None, caption: None, license: None };

fn fields(json: &str) -> Fields<'static> {
    Fields::parse(json, &USUAL).expect("an object")
}

fn caption(json: &str) -> Result<String, (&'static str, String)> {
    let read = fields(json).captions().and_then(Texts::captions);
    read.map(|captions| captions.description).map_err(|refusal| (refusal.code, refusal.reason))
}

fn fault(json: &str) -> String {
    let fault = Fields::parse(json, &USUAL).expect_err("not JSON");
    format!("{}:{} {}", fault.line, fault.column, fault.detail)
}

#[test]
fn usual_names_are_found_and_the_old_ones_go_first() {
    for name in CAPTIONS.iter().copied().chain(["Caption", "TEXT", "Alt-Text", "alt text"]) {
        assert_eq!(caption(&format!(r#"{{"x": 1, "{name}": "yes"}}"#)), Ok("yes".into()), "{name}");
    }
    for name in IMAGES.iter().copied().chain(["Image", "File Name", "IMAGE"]) {
        assert_eq!(fields(&format!(r#"{{"{name}": "a.jpg"}}"#)).image(), Ok("a.jpg"), "{name}");
    }
    let all = r#"{"text": "t", "Description": "D", "captions": ["c"], "caption": "b"}"#;
    assert_eq!(caption(all), Ok("b".into()));
    assert_eq!(caption(r#"{"text": "t", "DESCRIPTION": "D", "captions": ["c"]}"#), Ok("c.".into()));
}

#[test]
fn the_first_text_that_is_full_holds() {
    assert_eq!(caption(r#"{"description": null, "caption": " ", "text": "t"}"#), Ok("t".into()));
    assert_eq!(caption(r#"{"captions": [null, "", "a b"], "text": "t"}"#), Ok("a b.".into()));
    assert_eq!(caption(r#"{"captions": [], "text": "t"}"#), Ok("t".into()));
    assert_eq!(caption(r#"{"sentences": [{"raw": "a"}, {"raw": "b"}]}"#), Ok("a. b.".into()));
    let (code, reason) = caption(r#"{"caption": "", "text": "\ufeff "}"#).expect_err("empty");
    assert_eq!(
        (code, &*reason),
        ("empty_description", "the description is empty (field `caption`)")
    );
    let (code, reason) = caption(r#"{"id": 1, "kapition": "x"}"#).expect_err("none");
    assert_eq!(code, "missing_description");
    assert!(reason.contains("source.fields.caption") && reason.contains("`kapition`"), "{reason}");
    let (code, reason) = caption(r#"{"id": 1, "caption": null, "x": 2}"#).expect_err("nothing");
    assert_eq!((code, &*reason), ("missing_description", "field `caption` holds nothing"));
    let (code, reason) = caption(r#"{"caption": "['a', 'b']"}"#).expect_err("a list");
    assert!(code == "invalid_field" && reason.contains("json.dumps"), "{reason}");
}

#[test]
fn a_name_that_is_set_is_the_only_one() {
    let names = FieldNames { caption: Some("kapition".into()), ..FieldNames::default() };
    let read = |json| Fields::parse(json, &names).expect("an object").captions();
    let text = read(r#"{"caption": "no", "kapition": "yes"}"#).and_then(Texts::captions);
    assert_eq!(text.map(|text| text.description), Ok("yes".into()));
    let refusal = read(r#"{"caption": "no"}"#).expect_err("not there");
    assert!(refusal.reason.contains("`kapition`"), "{}", refusal.reason);
}

#[test]
fn one_answer_to_one_question_describes() {
    let llava = r#"{"id": "1", "image": "a.jpg", "conversations": [
        {"from": "human", "value": "<image>\nDescribe."}, {"from": "gpt", "value": "A cat."}]}"#;
    assert_eq!(caption(llava), Ok("A cat.".into()));
    let messages = r#"{"images": ["a.jpg"], "messages": [{"role": "system", "content": "s"},
        {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#;
    assert_eq!(caption(messages), Ok("a".into()));
    assert_eq!(fields(messages).image(), Ok("a.jpg"));
    let long = r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
        {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#;
    let (code, reason) = caption(long).expect_err("a talk");
    assert!(code == "ambiguous_description" && reason.contains("4 turns"), "{reason}");
}

#[test]
fn numbers_that_are_none_are_absent() {
    let json =
        r#"{"id": NaN, "caption": "NaN, \"Infinity", "w": [Infinity, -Infinity], "image": "a"}"#;
    let fields = fields(json);
    assert_eq!(fields.id(), Ok(None));
    assert_eq!(caption(json), Ok("NaN, \"Infinity".into()));
    assert_eq!(fault(r#"{"a": NaN, "b": }"#), fault(r#"{"a": 123, "b": }"#));
}

#[test]
fn what_is_almost_json_is_named() {
    for json in ["{'id': 1}", r#"{"a": None}"#, r#"{"a": True, "b": 1}"#, r#"{"a": 'x'}"#] {
        assert!(fault(json).contains("Python"), "{}", fault(json));
    }
    assert!(fault(r#"{"a": 1,}"#).contains("trailing comma"), "{}", fault(r#"{"a": 1,}"#));
    assert!(fault(r#"{"a": "b"#).contains("not closed"));
    assert!(fault("{\"a\": \"b\tc\"}").contains("\\t"));
    assert!(fault(r#"{"id": 1, "id": 2}"#).contains("duplicate field `id`"));
}

#[test]
fn a_licence_is_a_name_or_an_address() {
    let license = |json: &str| fields(json).license();
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(
        license(r#"{"license": " CC BY 2.0 ", "licenseurl": "http://x"}"#),
        told("CC BY 2.0")
    );
    assert_eq!(license(r#"{"license": 4, "License URL": "https://x/by"}"#), told("https://x/by"));
    for nothing in ["4", "\"4\"", "\"?\"", "\"\"", "null", "[\"a\"]", "\"a\\nb\""] {
        assert_eq!(license(&format!("{{\"license\": {nothing}}}")), None, "{nothing}");
    }
    assert_eq!(license(&format!("{{\"license\": \"{}\"}}", "a".repeat(201))), None);
}

#[test]
fn images_that_are_no_names_are_refused() {
    let code = |image: &str| check_image(image).map_err(|refusal| refusal.code);
    assert_eq!(code("https://example.org/a.jpg"), Err("image_is_url"));
    assert_eq!(code("s3://bucket/a.jpg"), Err("image_is_url"));
    assert_eq!(code("data:image/png;base64,AAAA"), Err("invalid_image_name"));
    assert_eq!(code(&"A".repeat(5000)), Err("invalid_image_name"));
    assert_eq!(code("file:///photos/a.jpg"), Ok(()));
    let image = |json| fields(json).image().map(str::to_owned).map_err(|refusal| refusal.code);
    assert_eq!(image(r#"{"image": {"bytes": null, "path": "a.jpg"}}"#), Ok("a.jpg".into()));
    assert_eq!(image(r#"{"images": ["a.jpg", "b.jpg"]}"#), Err("invalid_field"));
    assert_eq!(image(r#"{"image": "", "file_name": "b.jpg"}"#), Ok("b.jpg".into()));
}

#[test]
fn a_refusal_names_columns_that_are_not_read_among_the_rows_own() {
    let beside = ["width", "license"].map(str::to_owned);
    let row = serde_json::json!({"image": "a.jpg", "key": "1", "license": null});
    let row = row.as_object().cloned().expect("an object");
    let refusal = Fields::of_object(row, &USUAL).beside(&beside).captions().expect_err("none");
    let expected = "; it has `image`, `key`, `license`, `width`";
    assert!(refusal.reason.ends_with(expected), "{}", refusal.reason);
}
