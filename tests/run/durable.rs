//! What a power cut would leave: the system calls of the real program, as `strace` sees them.

use std::path::Path;
use std::process::Command;

use crate::support::run::{Llm, PHOTOS, World, assert_code, finish};

/// The calls of `command` that write to the disk and rename, in their order; `None`, said aloud,
/// where there is no `strace` or it may not trace.
fn traced(command: &Command, log: &Path) -> Option<Vec<String>> {
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-s",
        "4096",
        "-e",
        "trace=fsync,fdatasync,rename,renameat,renameat2",
    ]);
    strace.arg("-o").arg(log);
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the order of writes, because strace is not there or may not trace");
        return None;
    }
    strace.current_dir(crate::support::run::root());
    strace.arg(command.get_program()).args(command.get_args());
    assert_code(&finish(&mut strace), 0);
    let text = fs_err::read_to_string(log).expect("a log");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn files_and_their_folders_are_on_the_disk_before_they_count() {
    let (world, llm) = (World::with_photos(&PHOTOS), Llm::default());
    let first = "generate.min_library = 2\ngenerate.per_description = 4\n";
    world.configure(&format!("matching.min_similarity = -1.0\n{first}"));
    let out = world.path("run");
    let mut command = world.command(&out, &llm.target());
    let Some(calls) = traced(command.arg("--generate-instructions"), &world.path("calls")) else {
        return;
    };
    let files = ["run.toml", "instructions/library.jsonl", "instructions/lineage.jsonl"];
    for path in files.map(|name| fs_err::canonicalize(&out).expect("a run").join(name)) {
        let renames = |line: &&String| line.contains(&format!(", \"{}\"", path.display()));
        let place = calls.iter().position(|line| renames(&line)).expect("it is put in place");
        let temporary = calls[place].split('"').nth(1).expect("the name before");
        let synced = |calls: &[String], path: &str| {
            calls.iter().any(|line| line.contains("sync(") && line.contains(&format!("<{path}>")))
        };
        assert!(synced(&calls[..place], temporary), "{} was not synced", path.display());
        let folder = path.parent().expect("a folder").display().to_string();
        assert!(synced(&calls[place..], &folder), "{folder} was not synced");
    }
}
