//! Files and replies that people and models hand over, through their readers: captions, questions,
//! answers, seeds, libraries, exports of models, and what a language model wrote.
#![no_main]

use std::ops::ControlFlow;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pairwright::ErrorKind;
use pairwright::confine::FileAccess;
use pairwright::dataset::source::{self, SourceEvent, SourceOptions};
use pairwright::evaluation::{AnswerFile, QuestionFile, verdict};
use pairwright::instruction::{Library, Seeds, reply};
use pairwright::model::ModelFolder;
use pairwright_fuzz::files::{Reader, folder_of, reader};
use pairwright_fuzz::seeds;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
}

/// A refusal has words, and is the file's fault.
fn refused(kind: ErrorKind, words: &str) {
    assert!(!words.is_empty());
    assert_ne!(kind, ErrorKind::Internal, "{words}");
}

fn source(path: &Path) {
    let opened = match source::open(path, &SourceOptions::default()) {
        Ok(opened) => opened,
        Err(error) => return refused(error.kind(), &error.to_string()),
    };
    let mut events = Vec::new();
    let mut emit = |event: SourceEvent| {
        events.push(event);
        ControlFlow::Continue(())
    };
    if let Err(error) = opened.read(&mut emit) {
        refused(error.kind(), &error.to_string());
    }
    for event in events {
        match event {
            SourceEvent::Record(record) => assert!(!record.id.is_empty()),
            SourceEvent::Rejected(rejection) => assert!(!rejection.reason.is_empty()),
        }
    }
}

fn read(reader: Reader, path: &Path) {
    match reader {
        Reader::Source => source(path),
        Reader::Questions => {
            if let Err(error) = QuestionFile::read(path, &FileAccess::default()) {
                refused(error.kind(), &error.to_string());
            }
        }
        Reader::Answers => {
            if let Err(error) = AnswerFile::read(path, &FileAccess::default()) {
                refused(error.kind(), &error.to_string());
            }
        }
        Reader::Seeds => {
            if let Err(error) = Seeds::read(Some(path)) {
                refused(error.kind(), &error.to_string());
            }
        }
        Reader::Library => {
            if let Err(error) = Library::read(Some(path)) {
                refused(error.kind(), &error.to_string());
            }
        }
        Reader::Model => {
            if let Err(error) = ModelFolder::open(path) {
                refused(error.kind(), &error.to_string());
            }
        }
        Reader::Reply => {
            let text =
                String::from_utf8_lossy(&std::fs::read(path).expect("our file")).into_owned();
            if let Ok((_, instructions)) = reply::read(&text) {
                assert!(instructions.iter().all(|one| !one.trim().is_empty()));
            }
            let _ = verdict::parse(&text);
        }
    }
}

fuzz_target!(
    init: seeds::write_if_asked(seeds::Kind::Files),
    |input: &[u8]| {
        let Some((file, bytes)) = reader(input) else { return };
        FOLDER.with(|folder| {
            let root = folder_of(file, folder.path());
            std::fs::write(folder.path().join(file.path), bytes).expect("written");
            read(file.reader, &root);
        });
    }
);
