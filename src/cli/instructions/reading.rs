//! `instructions list`, `show`, `export` and `stats`: what a generation holds.

use std::io::Write;
use std::path::Path;

use crate::Error;
use crate::dataset::sink::SinkError;
use crate::generate::{GenerationSummary, folder};
use crate::instruction::GenerateError;
use crate::instruction::diversity::Diversity;
use crate::instruction::lineage::{GenerationStore, LineageRow};

use super::super::args::{
    ExportInstructionsArgs, LibraryFormat, ListArgs, Listed, ShowArgs, StatsArgs,
};
use super::super::exit::Outcome;

/// `pairwright instructions list`.
pub fn list(args: &ListArgs) -> Result<Outcome, Error> {
    let store = folder::open(&args.out)?;
    let mut text = String::new();
    match args.what {
        Listed::Library => {
            for one in store.library()? {
                text +=
                    &format!("{}\t{}\t{}\n", one.id, one.category.unwrap_or_default(), one.text);
            }
        }
        Listed::Raw => {
            for row in store.raws()? {
                text += &format!("{}\t{}\t{}\n", row.place, row.verdict, row.text);
            }
        }
        Listed::Clusters => {
            for row in store.lineage()? {
                text += &cluster_line(&row);
            }
        }
    }
    write_out(text.as_bytes(), None)
}

fn cluster_line(row: &LineageRow) -> String {
    let into = row.merged_into.map_or(String::new(), |into| format!(" into cluster {into}"));
    let what = if row.text.is_empty() { &row.reason } else { &row.text };
    format!("{}\t{} members\t{}{into}\t{what}\n", row.cluster, row.size, row.verdict)
}

/// `pairwright instructions show`.
pub fn show(args: &ShowArgs) -> Result<Outcome, Error> {
    let store = folder::open(&args.out)?;
    let found = store.lineage()?.into_iter().find(|row| row.id == args.id);
    if let Some(row) = found {
        let text = if args.json { json_line(&row)? } else { told(&store, &row)? };
        return write_out(text.as_bytes(), None);
    }
    match store.imported()?.into_iter().find(|one| one.id == args.id) {
        Some(one) if args.json => write_out(json_line(&one)?.as_bytes(), None),
        Some(one) => write_out(format!("{}\n{}\nimported\n", one.id, one.text).as_bytes(), None),
        None => {
            let (path, id) = (args.out.clone(), args.id.clone());
            Err(GenerateError::NoInstruction { path, id }.into())
        }
    }
}

fn json_line<T: serde::Serialize>(row: &T) -> Result<String, Error> {
    let bytes = folder::json_lines(std::slice::from_ref(row))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An instruction and, line by line, where it came from.
fn told(store: &GenerationStore, row: &LineageRow) -> Result<String, Error> {
    let descriptions = store.descriptions()?;
    let mut text = format!("{}\n{}\n\n", row.id, row.text);
    if let Some(call) = &row.call {
        text += &format!(
            "written by {}, attempt {} of {}, seed {}, {} + {} tokens\n",
            call.model,
            call.attempt,
            row.attempts,
            call.seed,
            call.prompt_tokens,
            call.completion_tokens
        );
    }
    text += &format!(
        "from cluster {} of {} members ({} shown to the LLM):\n",
        row.cluster,
        row.size,
        row.shown.len()
    );
    for member in &row.members {
        let shown = if row.shown.contains(&member.place) { "*" } else { " " };
        let description = descriptions.iter().find(|(id, _)| *id == member.description);
        let start: String = description.map_or("", |(_, text)| text).chars().take(70).collect();
        text += &format!(
            "{shown} {}\n    distance {:.3}, for {} ({start}...), seeds {}\n",
            member.text,
            member.distance,
            member.description,
            member.seeds.join(" ")
        );
    }
    Ok(text)
}

/// `pairwright instructions export`.
pub fn export(args: &ExportInstructionsArgs) -> Result<Outcome, Error> {
    let store = folder::open(&args.out)?;
    let bytes = match args.format {
        LibraryFormat::Jsonl => folder::json_lines(&store.library()?)?,
        LibraryFormat::Lineage => folder::json_lines(&store.lineage()?)?,
        LibraryFormat::Txt => {
            let lines = store.library()?.into_iter().map(|one| one.text + "\n");
            lines.collect::<String>().into_bytes()
        }
    };
    write_out(&bytes, args.to.as_deref())
}

/// `pairwright instructions stats`.
pub fn stats(args: &StatsArgs) -> Result<Outcome, Error> {
    let store = folder::open(&args.out)?;
    let summary = GenerationSummary::read(folder::find(&args.out)?, &store)?;
    let mut text = summary.to_string();
    let seeds: Vec<String> = store.seeds()?.into_iter().map(|seed| seed.text).collect();
    let library: Vec<String> = store.library()?.into_iter().map(|one| one.text).collect();
    for (name, texts) in [("seeds", seeds), ("library", library)] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let Diversity { count, distinct, not_questions, mean_words, verbs, .. } =
            Diversity::new(&texts, &[]);
        text += &format!(
            "{name:<9} {count} texts, distinct-1/2/3 {:.2}/{:.2}/{:.2}, {:.0} % no question, \
             {mean_words:.1} words, {} root verbs\n",
            distinct[0],
            distinct[1],
            distinct[2],
            100.0 * not_questions,
            verbs.len()
        );
    }
    write_out(text.as_bytes(), None)
}

/// To a file, or to standard output; a reader that has seen enough is no error.
#[expect(clippy::disallowed_methods, reason = "the path may be that of a pipe or a device")]
fn write_out(bytes: &[u8], to: Option<&Path>) -> Result<Outcome, Error> {
    let path = to.unwrap_or(Path::new("standard output"));
    let written = match to {
        Some(path) => fs_err::write(path, bytes),
        None => std::io::stdout().write_all(bytes),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(SinkError::Io { path: path.to_owned(), source: error }.into())
        }
        _ => Ok(Outcome::Done),
    }
}
