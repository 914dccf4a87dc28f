use super::*;
use crate::dataset::record::Stage;

/// Everything a source says, one line an event, and its error's code.
pub(super) struct Said {
    pub events: Vec<SourceEvent>,
    pub error: Option<SourceError>,
}

impl Said {
    pub fn of(source: &dyn Source) -> Self {
        let mut events = Vec::new();
        let error = source
            .read(&mut |event| {
                events.push(event);
                ControlFlow::Continue(())
            })
            .err();
        Self { events, error }
    }

    pub fn records(&self) -> Vec<&SourceRecord> {
        let records = self.events.iter().filter_map(|event| match event {
            SourceEvent::Record(record) => Some(record),
            SourceEvent::Undescribed(..) | SourceEvent::Rejected(_) => None,
        });
        records.collect()
    }

    /// `subject code` of each rejection.
    pub fn codes(&self) -> Vec<String> {
        let rejections = self.events.iter().filter_map(|event| match event {
            SourceEvent::Record(_) => None,
            SourceEvent::Undescribed(_, rejection) | SourceEvent::Rejected(rejection) => {
                Some(rejection)
            }
        });
        rejections.map(|r| format!("{} {}", r.subject, r.code)).collect()
    }

    /// The reason of the rejection with this code; the test fails when there is not exactly one.
    pub fn reason(&self, code: &str) -> &str {
        let mut found = self.events.iter().filter_map(|event| match event {
            SourceEvent::Undescribed(_, rejection) | SourceEvent::Rejected(rejection)
                if rejection.code == code =>
            {
                Some(rejection)
            }
            _ => None,
        });
        let rejection = found.next().expect("a rejection with this code");
        assert_eq!(found.next(), None, "only one rejection is {code}");
        assert_eq!(rejection.stage, Stage::Source);
        &rejection.reason
    }

    pub fn error_code(&self) -> Option<&'static str> {
        self.error.as_ref().map(SourceError::code)
    }
}

/// Reads until `count` events came, then breaks.
pub(super) fn read_some(source: &dyn Source, count: usize) -> usize {
    let mut seen = 0;
    let outcome = source.read(&mut |_| {
        seen += 1;
        if seen == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    outcome.expect("a break is not an error");
    seen
}

/// A folder with these files in it.
pub(super) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().expect("below the folder")).expect("a subfolder");
        fs_err::write(path, bytes).expect("a test file");
    }
    folder
}

fn open_error(path: &Path, options: &SourceOptions) -> SourceError {
    match open(path, options) {
        Ok(source) => panic!("{} was opened", source.describe()),
        Err(error) => error,
    }
}

#[test]
fn the_path_tells_the_kind() {
    let files: [(&str, &[u8]); 6] = [
        ("a.jsonl", b""),
        ("a.NDJSON", b""),
        ("a.json", b""),
        ("a.TSV", b""),
        ("a.xml", b""),
        ("photos/x", b""),
    ];
    let folder = folder(&files);
    let kind = |name: &str| {
        open(&folder.path().join(name), &SourceOptions::default())
            .map(|source| source.kind())
            .map_err(|error| error.code())
    };
    assert_eq!(kind("a.jsonl"), Ok("jsonl"));
    assert_eq!(kind("a.NDJSON"), Ok("jsonl"));
    assert_eq!(kind("a.json"), Ok("coco"));
    assert_eq!(kind("photos"), Ok("folder"));
    assert_eq!(kind("a.TSV"), Ok("csv"));
    assert_eq!(kind("a.xml"), Err("source_unknown_kind"));
    assert_eq!(kind("none"), Err("source_not_found"));
}

#[test]
fn a_limit_takes_the_first_photos() {
    let line = |n: u32| format!("{{\"image\": \"{n}.jpg\", \"caption\": \"Number {n}.\"}}\n");
    let text = format!("{}not JSON\n{}{}", line(1), line(2), line(3));
    let folder = folder(&[("a.jsonl", text.as_bytes())]);
    let said = |limit| {
        let options = SourceOptions { limit, ..SourceOptions::default() };
        Said::of(&*open(&folder.path().join("a.jsonl"), &options).expect("a manifest"))
    };
    let all = said(None);
    assert_eq!((all.records().len(), all.codes().len()), (3, 1));
    assert_eq!(said(Some(0)).events, all.events);
    let two = said(Some(2));
    assert_eq!((two.records().len(), two.codes().len()), (2, 1));
    assert!(all.events.starts_with(&two.events));
    assert_eq!(said(Some(9)).events, all.events);
}

#[test]
fn a_kind_asked_for_must_fit_the_path() {
    let folder = folder(&[("a.txt", b"")]);
    let options = |kind| SourceOptions { kind, ..SourceOptions::default() };
    let file = folder.path().join("a.txt");
    assert_eq!(open_error(&file, &options(SourceKind::Folder)).code(), "source_wrong_type");
    assert_eq!(open_error(folder.path(), &options(SourceKind::Coco)).code(), "source_wrong_type");
    let opened = open(&file, &options(SourceKind::Jsonl)).expect("any name will do");
    assert_eq!(opened.kind(), "jsonl");
}

#[test]
fn image_folders_are_checked() {
    let folder = folder(&[("a.jsonl", b""), ("photos/x", b"")]);
    let options = |images: &str| SourceOptions {
        images: Some(folder.path().join(images)),
        ..SourceOptions::default()
    };
    let manifest = folder.path().join("a.jsonl");
    let opened = open(&manifest, &options("photos")).expect("both are there");
    assert_eq!(opened.image_root(), Some(&*folder.path().join("photos")));
    assert_eq!(open_error(&manifest, &options("none")).code(), "image_folder_not_found");
    assert_eq!(open_error(&manifest, &options("a.jsonl")).code(), "image_folder_not_found");
    let unused = open_error(&folder.path().join("photos"), &options("photos"));
    assert_eq!(unused.code(), "image_folder_not_used");
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let error = open_error(Path::new("/nowhere/at/all"), &SourceOptions::default());
    assert_eq!(
        error.to_string(),
        "no such source: /nowhere/at/all; expected a folder of photos, a .jsonl manifest, a .csv \
         or .tsv manifest, a COCO captions .json, a .tar of photos (WebDataset), a .parquet or a \
         dataset on disk (Arrow)"
    );
    assert_eq!(error.kind(), crate::ErrorKind::NotFound);
}

#[test]
fn kinds_have_names() {
    let readers = READERS.iter().map(|reader| (reader.name, reader.kind));
    for (name, kind) in readers.chain([("auto", SourceKind::Auto)]) {
        assert_eq!(name.parse(), Ok(kind));
        let json = serde_json::to_string(&kind).expect("a name");
        assert_eq!(json, format!("\"{name}\""));
    }
    assert!("tar".parse::<SourceKind>().is_err_and(|error| error.contains("coco")));
}
