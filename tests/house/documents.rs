//! What the documents tell a reader to type or to open is there: commands with their flags, make
//! targets, files, links and this repository's tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

/// What a command makes, so that a fresh clone has it not.
const MADE: [&str; 1] = ["fuzz/artifacts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let in_docs = fs_err::read_dir(root().join("docs")).expect("docs");
    let in_docs = in_docs.map(|entry| entry.expect("readable").path());
    let at_root = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let pages =
        in_docs.chain(at_root).filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.map(|path| (path.clone(), fs_err::read_to_string(path).expect("text"))).collect()
}

/// Lines inside code fences; one that ends with a backslash goes on in the next.
fn fenced(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            goes_on = false;
        } else if inside {
            let part = line.trim_end_matches('\\').trim();
            match lines.last_mut().filter(|_| goes_on) {
                Some(last) => *last = format!("{last} {part}"),
                None => lines.push(part.to_owned()),
            }
            goes_on = line.ends_with('\\');
        }
    }
    lines
}

/// The words of a `pairwright` command line, optional parts (`[...]`) included, up to a comment or
/// the next command; `None` for other lines.
fn command(line: &str) -> Option<Vec<String>> {
    let assignment = Regex::new(r"^[A-Z_]+=\S+ ").expect("sound");
    let mut line = line.trim_start_matches("$ ").trim_start_matches("# ");
    while let Some(found) = assignment.find(line) {
        line = &line[found.end()..];
    }
    let line = line.strip_prefix("target/release/").unwrap_or(line);
    if !line.starts_with("pairwright ") {
        return None;
    }
    let word = Regex::new(r#""[^"]*"|'[^']*'|\S+"#).expect("sound");
    let ends = |word: &str| ["#", "|", "&&", ">"].contains(&word);
    let words = word.find_iter(line).map(|found| found.as_str());
    let words = words.take_while(|word| !ends(word)).filter(|word| *word != "...");
    // Of `[a|b]` and `--format a|b` the first choice.
    let first = |word: &str| {
        let word = word.trim_matches(['[', ']', '"', '\'']);
        word.split('|').next().unwrap_or_default().to_owned()
    };
    Some(words.map(first).collect())
}

#[test]
fn every_command_in_a_code_block_is_one_the_program_takes() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        for words in fenced(&text).iter().filter_map(|line| command(line)) {
            count += 1;
            if let Err(error) = pairwright::cli::command().try_get_matches_from(&words)
                && error.use_stderr()
            {
                wrong.push(format!("{}: {}\n{error}", path.display(), words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "only {count} commands found");
}

#[test]
fn every_subcommand_has_its_line_in_the_page_of_commands() {
    let page = fs_err::read_to_string(root().join("docs/commands.md")).expect("the page");
    let lines = fenced(&page).join("\n");
    let command = pairwright::cli::command();
    for sub in command.get_subcommands() {
        let inner: Vec<&str> = sub.get_subcommands().map(clap::Command::get_name).collect();
        let name = sub.get_name();
        let ways = if inner.is_empty() {
            vec![format!("pairwright {name}")]
        } else {
            inner.iter().map(|inner| format!("pairwright {name} {inner}")).collect()
        };
        for way in ways {
            assert!(lines.contains(&way), "docs/commands.md does not show `{way}`");
        }
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = fs_err::read_to_string(root().join("Makefile")).expect("the Makefile");
    let target = Regex::new(r"(?m)^([a-z]+):").expect("sound");
    let targets: BTreeSet<&str> =
        target.captures_iter(&makefile).map(|found| found.get(1).expect("one").as_str()).collect();
    let named = Regex::new(r"(?m)(?:`|^)make ([a-z]+)").expect("sound");
    for (path, text) in documents() {
        for found in named.captures_iter(&text) {
            assert!(targets.contains(&found[1]), "{}: make {}", path.display(), &found[1]);
        }
    }
}

#[test]
fn every_named_file_and_link_exists() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").expect("sound");
    let tops =
        "src|tests|docs|scripts|benches|examples|models|prompts|proto|samples|fuzz|recipes|\\.ci";
    let file = Regex::new(&format!(r"`((?:{tops})/[A-Za-z0-9_./-]*)`")).expect("sound");
    let mut missing = Vec::new();
    for (path, text) in documents() {
        let folder = path.parent().expect("in a folder");
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            if !target.contains("://") && !folder.join(&target).exists() {
                missing.push(format!("{} links to {target}", path.display()));
            }
        }
        for named in file.captures_iter(&text).map(|found| found[1].to_owned()) {
            if !MADE.contains(&&*named) && !root().join(&named).exists() {
                missing.push(format!("{} names {named}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_test_binary_and_benchmark_that_is_told_to_run_exists() {
    let named = Regex::new(r"--(test|bench|example) ([a-z_]+)").expect("sound");
    for (path, text) in documents() {
        for found in named.captures_iter(&text) {
            let (kind, name) = (&found[1], &found[2]);
            let folder = root().join(match kind {
                "test" => "tests",
                "bench" => "benches",
                _ => "examples",
            });
            let there = folder.join(format!("{name}.rs")).exists() || folder.join(name).is_dir();
            assert!(there, "{}: --{kind} {name}", path.display());
        }
    }
}

#[test]
fn every_test_that_shows_a_bound_exists() {
    let page = fs_err::read_to_string(root().join("docs/security.md")).expect("the page");
    let named =
        Regex::new(r"`((?:src|tests)/[a-z_/]+\.rs)`: ((?:`[a-z_]+`(?:, )?)+)").expect("sound");
    let mut count = 0;
    for found in named.captures_iter(&page) {
        let code = fs_err::read_to_string(root().join(&found[1])).expect("the file");
        for test in found[2].split('`').filter(|name| name.contains('_')) {
            assert!(code.contains(&format!("fn {test}(")), "{}: {test}", &found[1]);
            count += 1;
        }
    }
    assert!(count > 8, "only {count} tests are named");
}
