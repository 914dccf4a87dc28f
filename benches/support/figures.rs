//! Figures of a benchmark: their median over the rounds, and lines of JSON for the page that
//! `benches/page.py` draws from them.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

/// The middle one, of two the larger.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The figures of one benchmark: `target/bench/NAME.jsonl`, begun anew by every start.
pub struct Figures {
    path: PathBuf,
    file: fs_err::File,
}

/// What a chart shows, and the names of its axes.
#[derive(Clone, Copy)]
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

impl Figures {
    pub fn begin(name: &str) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("bench");
        fs_err::create_dir_all(&folder).expect("a folder");
        let path = folder.join(name).with_extension("jsonl");
        let file = fs_err::File::create(&path).expect("a file");
        Self { path, file }
    }

    /// Where they lie, for a script that adds some of its own.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// A point of a line where `x` is a number, a bar where it is a text.
    pub fn add(&mut self, chart: Chart<'_>, series: &str, x: impl Into<Value>, y: f64) {
        let x: Value = x.into();
        let Chart { title, x: x_axis, y: y_axis } = chart;
        let line = json!({
            "chart": title, "x_axis": x_axis, "y_axis": y_axis, "series": series, "x": x, "y": y,
        });
        writeln!(self.file, "{line}").expect("written");
    }
}
