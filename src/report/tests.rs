use super::*;

fn page(data: &ReportData) -> String {
    render(data).expect("the template takes any data")
}

/// The values of an attribute, wherever it stands.
fn attribute<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!(" {name}=\"");
    page.split(&opening).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The page's words, without tags, style and script.
fn text(page: &str) -> String {
    let mut bare = page.to_owned();
    for block in ["style", "script"] {
        let (open, close) = (format!("<{block}>"), format!("</{block}>"));
        let start = bare.find(&open).expect("one block");
        let end = bare.find(&close).expect("closed") + close.len();
        bare.replace_range(start..end, "");
    }
    let pieces = bare.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text);
    let lines = pieces.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_small_report_reads_as_before() {
    insta::assert_snapshot!(text(&page(&fixture::small())));
}

#[test]
fn nothing_is_loaded_from_outside() {
    let page = page(&fixture::small());
    assert!(page.contains("http:&#x2f;&#x2f;127.0.0.1:8080"), "addresses are text like any other");
    for forbidden in
        ["<link", "<script ", "<iframe", "<object", "<embed", "<base", "@import", "url("]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(attribute(&page, "src").iter().all(|uri| uri.starts_with("data:image/")));
    assert!(attribute(&page, "href").iter().all(|uri| uri.starts_with('#')));
    for name in ["srcset", "poster", "action", "formaction", "background", "xlink:href"] {
        assert!(attribute(&page, name).is_empty(), "{name}");
    }
    // What is left of addresses is text from the run, never in the page's own parts.
    let bare = page.replace("http:&#x2f;&#x2f;127.0.0.1:8080", "");
    assert!(!bare.contains("http://") && !bare.contains("https://"));
}

#[test]
fn every_link_has_its_section() {
    let page = page(&fixture::small());
    for link in attribute(&page, "href") {
        let id = format!("id=\"{}\"", link.trim_start_matches('#'));
        assert_eq!(page.matches(&id).count(), 1, "{link}");
    }
}

#[test]
fn the_policy_allows_this_script_only() {
    let page = page(&fixture::small());
    let script = page.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next());
    let hash = crate::base::hash::sha256_hex(script.expect("one script").as_bytes());
    let policy = attribute(&page, "content").into_iter().find(|value| value.contains("script-src"));
    let named = policy.expect("a policy").split("sha256-").nth(1).expect("a hash");
    let named = named.split("'").next().unwrap_or_default().replace("&#x2f;", "/");
    use base64::Engine;
    let named = base64::engine::general_purpose::STANDARD.decode(named.trim()).expect("base64");
    let named: String = named.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(named, hash);
    assert!(!page.contains(" onclick=") && !page.contains("javascript:"));
}

/// Puts a text into every place that comes from outside.
fn with_text_everywhere(text: &str) -> ReportData {
    let mut data = fixture::small();
    let one = || text.to_owned();
    let row = || KeyValue::new(text, text);
    (data.title, data.run_folder, data.generated_with) = (one(), one(), one());
    (data.notices, data.run.toml, data.samples_note) = (vec![one()], one(), one());
    data.samples_total = 1000;
    data.run.sections = vec![Section { name: one(), rows: vec![row()] }];
    (data.encoder.name, data.encoder.hash, data.encoder.notice) = (one(), one(), Some(one()));
    data.encoder.files = vec![ModelFile { path: one(), sha256: one() }];
    data.encoder.quality = vec![row()];
    data.llm = LlmFacts { name: one(), backend: one(), notice: Some(one()) };
    data.funnel.iter_mut().for_each(|step| step.stage = one());
    for group in &mut data.rejections {
        (group.stage, group.code) = (one(), one());
        group.examples = vec![Example { subject: one(), reason: one() }; 3];
    }
    data.failures = vec![FailureGroup { code: one(), count: 1, example: one() }];
    for used in &mut data.instruction_use {
        (used.id, used.text, used.category) = (one(), one(), Some(one()));
    }
    data.stages.iter_mut().for_each(|stage| stage.name = one());
    data.prompts = vec![PromptText { name: one(), hash: one(), text: one() }];
    data.matching.facts = vec![row()];
    data.matching.hubs[0].instruction_id = one();
    data.exports[0].path = one();
    data.exports[0].sha256 = one();
    data.samples.iter_mut().for_each(|sample| fill_sample(sample, text));
    for measure in &mut data.measures {
        measure.name = one();
        if let MeasuredValues::Words(words) = &mut measure.values {
            words.iter_mut().for_each(|(word, _)| *word = one());
        }
        for threshold in &mut measure.thresholds {
            threshold.expression = one();
            for sample in &mut threshold.edge {
                (sample.id, sample.description) = (one(), one());
                (sample.instruction, sample.answer) = (one(), one());
            }
        }
    }
    data
}

fn fill_sample(sample: &mut SampleCard, text: &str) {
    let one = || text.to_owned();
    (sample.id, sample.description, sample.answer) = (one(), one(), one());
    (sample.instruction_id, sample.instruction, sample.category) = (one(), one(), Some(one()));
    (sample.strategy, sample.llm, sample.example_ids) = (one(), one(), vec![one(), one()]);
    for candidate in &mut sample.candidates {
        (candidate.id, candidate.text) = (one(), one());
    }
    for attempt in &mut sample.attempts {
        (attempt.text, attempt.verdict, attempt.finish) = (one(), one(), one());
    }
    match &mut sample.verdict {
        Verdict::Accepted => {}
        Verdict::Rejected { filter: name, reason } | Verdict::Failed { code: name, reason } => {
            (*name, *reason) = (one(), one());
        }
    }
}

#[test]
fn hostile_text_is_inert_everywhere() {
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let page = page(&with_text_everywhere(hostile));
    let plain = self::page(&with_text_everywhere("plain"));
    // The same tags as with a harmless text: nothing became markup.
    for mark in ["<", ">", "<script", "<img ", "\""] {
        assert_eq!(page.matches(mark).count(), plain.matches(mark).count(), "{mark}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"));
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 60, "shown as text");
}

#[test]
fn a_description_with_quotes_stays_inside_its_attribute() {
    let mut data = fixture::small();
    data.samples[0].description = "A sign says \"OPEN\" & 'late'.".into();
    let page = page(&data);
    let alt = "A sign says &quot;OPEN&quot; &amp; &#x27;late&#x27;.";
    assert!(attribute(&page, "alt").contains(&alt));
}

#[test]
fn the_stand_in_is_named_as_one_and_only_then() {
    let mut data = fixture::small();
    assert_eq!(page(&data).matches("small stand-in, not CLIP").count(), 2);
    data.encoder.stand_in = false;
    assert!(!page(&data).contains("small stand-in, not CLIP"));
    assert!(page(&data).contains("A very small model; its answers are poor."));
}

#[test]
fn shown_and_total_are_both_told() {
    let mut data = fixture::small();
    assert!(page(&data).contains("All 4 pairs are shown."));
    (data.samples_total, data.samples_note) = (100_000, "Every 500th pair.".into());
    assert!(page(&data).contains("4 of 100,000 pairs are shown. Every 500th pair."));
}

#[test]
fn an_empty_run_still_has_a_report() {
    let mut data = fixture::small();
    (data.samples, data.rejections, data.failures) = (vec![], vec![], vec![]);
    (data.funnel, data.instruction_use, data.stages) = (vec![], vec![], vec![]);
    (data.samples_total, data.tokens.accepted) = (0, 0);
    let empty = histogram::Layout::nice(f64::INFINITY, f64::NEG_INFINITY, 20);
    data.similarity = histogram::Comparison::new(empty);
    data.answer_words = histogram::Histogram::new(empty);
    let page = page(&data);
    assert!(page.contains("There are no pairs yet.") && page.contains("Nothing was rejected."));
    assert!(!page.contains("NaN") && !page.contains(">inf"));
}

#[test]
fn equal_data_gives_equal_bytes() {
    assert_eq!(page(&fixture::small()), page(&fixture::small()));
}

#[test]
fn photos_have_alternative_texts_and_charts_have_labels() {
    let page = page(&fixture::small());
    assert_eq!(page.matches("<img ").count(), attribute(&page, "alt").len());
    assert_eq!(page.matches("role=\"img\"").count(), page.matches("<svg").count());
    assert!(attribute(&page, "aria-label").iter().all(|label| !label.is_empty()));
}
