//! Files and replies that people and models hand over, through their readers: captions, questions,
//! answers, seeds, libraries, exports of models, and what a language model wrote.
#![no_main]

mod driver;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use pairwright::dataset::source::{self, SourceEvent, SourceOptions};
use pairwright::dataset::{ImageRef, Photos};
use pairwright::evaluate::{AnswerFile, QuestionFile, verdict};
use pairwright::image::ImageLimits;
use pairwright::instruction::{Library, Seeds, reply};
use pairwright::model::ModelFolder;
use pairwright::sandbox::FileAccess;
use pairwright::{Error, ErrorKind};
use pairwright_fuzz::files::{Reader, folder_of, reader};
use pairwright_fuzz::seeds;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
}

/// A refusal has words, and is the file's fault.
fn check(read: Result<(), Error>) {
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
        assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    }
}

/// Reads a photo as stages after the source do.
fn photo(image: &ImageRef) {
    let named = ImageRef::from_text(&image.to_text());
    assert_eq!(named, *image);
    if let Err(error) = FileAccess::default().read(&named, &ImageLimits::default()) {
        assert!(!error.to_string().is_empty());
    }
}

/// The readers of Parquet, Arrow and tokenizers panic at some damaged files, which ours expect; any
/// other panic ends the process, as libFuzzer wants it.
fn expect_panics_of_others() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |place| place.file());
            let others = ["/parquet-", "/arrow-", "/flatbuffers-", "/snap-", "/tokenizers-"];
            if !others.iter().any(|name| file.contains(name)) {
                end(panic);
            }
        }));
    });
}

fn source(path: &Path) -> Result<(), Error> {
    let mut emit = |event: SourceEvent| {
        match event {
            SourceEvent::Record(record) => {
                assert!(!record.id.is_empty());
                photo(&record.image);
            }
            SourceEvent::Undescribed(record, rejection) => {
                assert!(!record.id.is_empty() && !rejection.reason.is_empty());
            }
            SourceEvent::Rejected(rejection) => assert!(!rejection.reason.is_empty()),
        }
        ControlFlow::Continue(())
    };
    Ok(source::open(path, &SourceOptions::default())?.read(&mut emit)?)
}

fn language_model(text: &str) {
    if let Ok((_, instructions)) = reply::read(text) {
        assert!(instructions.iter().all(|one| !one.trim().is_empty()));
    }
    let _ = verdict::parse(text);
    // Marks are all that is lost.
    let (reasoning, answer) = pairwright::llm::reasoning::split(text);
    assert!(reasoning.map_or(0, |one| one.len()) + answer.len() <= text.len());
}

fn read(reader: Reader, path: &Path) -> Result<(), Error> {
    let access = FileAccess::default();
    match reader {
        Reader::Source => source(path)?,
        Reader::Questions => drop(QuestionFile::read(path, &access)?),
        Reader::Answers => drop(AnswerFile::read(path, &access)?),
        Reader::Seeds => drop(Seeds::read(Some(path))?),
        Reader::Library => drop(Library::read(Some(path))?),
        Reader::Model => drop(ModelFolder::open(path)?),
        Reader::Reply => {
            language_model(&String::from_utf8_lossy(&std::fs::read(path).expect("our file")));
        }
    }
    Ok(())
}

fuzz_target!(
    init: seeds::write_if_asked(seeds::Kind::Files),
    |input: &[u8]| {
        expect_panics_of_others();
        let Some((file, bytes)) = reader(input) else { return };
        FOLDER.with(|folder| {
            let root = folder_of(file, folder.path());
            std::fs::write(folder.path().join(file.path), bytes).expect("written");
            check(read(file.reader, &root));
        });
    }
);
