//! Every line of `docs/api.md` that a reader can type, typed: the server is started by the page's
//! own line, and the shell runs the rest as it stands. Only the port, the language model's address
//! and `jobs/019...` are put in.

use std::path::{Path, PathBuf};
use std::process::Command;

use pairwright::server::pb::DESCRIPTORS;

use crate::clients::{clients, output};
use crate::support::run::Llm;
use crate::support::serve::{Server, root, samples};

fn page() -> String {
    fs_err::read_to_string(root().join("docs/api.md")).expect("the page")
}

/// The code blocks below a heading, each with its language.
fn blocks(page: &str, heading: &str) -> Vec<(String, String)> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("no heading {heading:?}"));
    let mut parts = section.split("```").skip(1).step_by(2);
    let split = |part: &str| {
        let (language, text) = part.split_once('\n').expect("a block of lines");
        (language.to_owned(), text.to_owned())
    };
    parts.by_ref().map(split).collect()
}

/// A folder as a reader has it: the samples, a photo, and the clients by their names.
fn workplace(bin: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    let link = |from: PathBuf, to: &str| {
        std::os::unix::fs::symlink(from, folder.path().join(to)).expect("linked");
    };
    link(root().join("samples"), "samples");
    fs_err::copy(samples().join("tabby-cat.jpg"), folder.path().join("photo.jpg")).expect("copied");
    fs_err::create_dir(folder.path().join("bin")).expect("made");
    link(bin.join("buf"), "bin/buf");
    link(env!("CARGO_BIN_EXE_pairwright").into(), "bin/pairwright");
    // A link to an environment's Python would not find its packages.
    let script = |name: &str, argument: &str| {
        let path = folder.path().join("bin").join(name);
        let text = format!("#!/bin/sh\nexec {}/python {argument} \"$@\"\n", bin.display());
        fs_err::write(&path, text).expect("written");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&path, executable).expect("set");
    };
    script("python", "");
    script("grpcurl", &root().join("tests/clients/grpcurl.py").to_string_lossy());
    folder
}

/// Runs lines by the shell until one fails, which is named.
fn shell(folder: &Path, lines: &str) -> String {
    let script =
        format!("trap 'echo \"FAILED: $BASH_COMMAND\" >&2' ERR\nset -Ee -o pipefail\n{lines}");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).current_dir(folder);
    output(command.env("PATH", format!("{}:{path}", folder.join("bin").display())))
}

/// The words of a line that starts the server.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

/// The benchmark of the page's evaluation lies below the image root, which is the samples' folder;
/// so the root is a copy of it.
fn photos(folder: &Path) {
    let to = folder.join("photos");
    fs_err::create_dir(&to).expect("made");
    for entry in fs_err::read_dir(samples()).expect("samples") {
        let entry = entry.expect("readable");
        if entry.path().is_file() {
            fs_err::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
    crate::clients::benchmark(&to);
    fs_err::create_dir_all(to.join("images")).expect("made");
    fs_err::copy(samples().join("tabby-cat.jpg"), to.join("images/x.jpg")).expect("copied");
}

#[test]
fn every_line_of_the_page_runs_as_it_stands() {
    let Some(bin) = clients() else { return };
    let page = page();
    let folder = workplace(&bin);
    photos(folder.path());
    fs_err::remove_file(folder.path().join("samples")).expect("unlinked");
    fs_err::create_dir(folder.path().join("samples")).expect("made");
    fs_err::rename(folder.path().join("photos"), folder.path().join("samples/photos"))
        .expect("moved");

    // The first line of the page starts the server, the second is what it says.
    let start = page.split("```").nth(1).expect("a block");
    let line = start.lines().find(|line| line.starts_with("pairwright serve")).expect("a line");
    let llm = Llm::default();
    let line = line.replace("openai:http://localhost:8000/v1", &llm.target());
    let server = Server::by_words(folder.path(), &words(&line));
    let here = |text: &str| {
        let text = text.replace("localhost:50051", &server.address);
        text.replace("127.0.0.1:50051", &server.address)
    };

    let mut ran = 0;
    for heading in ["With grpcurl", "The same with buf curl"] {
        for (_, lines) in blocks(&page, heading) {
            ran += lines.matches("grpcurl ").count() + lines.matches("buf curl").count();
            shell(folder.path(), &here(&lines));
        }
    }
    assert!(ran > 20, "only {ran} calls were found on the page");

    let descriptors = folder.path().join("descriptors");
    fs_err::write(&descriptors, DESCRIPTORS).expect("written");
    let made = Command::new(bin.join("python"))
        .arg(root().join("tests/clients/stubs.py"))
        .args([&descriptors, folder.path()])
        .output();
    assert!(made.expect("runs").status.success());
    for (language, text) in blocks(&page, "From Python") {
        assert_eq!(language, "python");
        fs_err::write(folder.path().join("client.py"), here(&text)).expect("written");
        let said = shell(folder.path(), "PYTHONPATH=. python client.py photo.jpg");
        assert!(said.contains("photo.jpg  0."), "{said}");
    }
}

#[test]
fn the_pages_server_with_keys_and_tls_asks_for_both() {
    let Some(bin) = clients() else { return };
    let page = page();
    let folder = workplace(&bin);
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let write = |name: &str, text: String| {
        fs_err::write(folder.path().join(name), text).expect("written");
    };
    write("cert.pem", certificate.cert.pem());
    write("key.pem", certificate.signing_key.serialize_pem());

    let blocks = blocks(&page, "Operation");
    let (_, lines) = blocks.iter().find(|(_, lines)| lines.contains("keys new")).expect("a block");
    let lines: Vec<&str> = lines.lines().collect();
    let [keys, serve] = lines[..] else { panic!("{lines:?}") };
    let printed = shell(folder.path(), keys);
    let key = printed.split_whitespace().find(|word| word.starts_with("pw_")).expect("a key");
    // What stands in brackets may be left out.
    let serve = serve.split(" [").next().expect("a line");
    let server = Server::by_words(folder.path(), &words(serve));
    let port = server.address.rsplit(':').next().expect("a port").to_owned();
    // As the page says below its list of calls.
    assert!(page.contains("`-H 'authorization: Bearer pw_...'`") && page.contains("`-cacert`"));
    let call = |more: &str| {
        format!(
            "grpcurl -cacert cert.pem {more} -d '{{}}' localhost:{port} \
             pairwright.v1.InfoService/GetServerInfo"
        )
    };
    let told = shell(folder.path(), &call(&format!("-H 'authorization: Bearer {key}'")));
    assert!(told.contains("pairwright-mini"), "{told}");
    shell(folder.path(), &format!("! {}", call("")));
}
