//! Weights beside their graph, however links lead there, give the vectors of plain files; a graph
//! that names a file outside its folder is refused.

#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::paths;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::{DecodeOptions, Pixels};
use pairwright::model::{Device, ModelError};
use tempfile::TempDir;

const DATA: &str = "model_fp16.onnx_data";

/// A graph with both towers, and a graph for each.
const KINDS: [&[&str]; 2] = [&["model"], &["vision_model", "text_model"]];

fn golden(name: &str) -> PathBuf {
    paths::golden().join("clip").join(name)
}

fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().expect("a parent")).expect("folder");
    fs_err::write(path, bytes).expect("write");
}

fn small_files(folder: &Path) {
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json"] {
        let bytes = fs_err::read(golden("clip").join(name)).expect("read");
        write(&folder.join(name), &bytes);
    }
}

/// The golden export whose weights are in a file of their own, once or once per tower, with the
/// weights at `location` and called so.
struct Graphs {
    /// Name of a graph and its bytes.
    graphs: Vec<(String, Vec<u8>)>,
    data: Vec<u8>,
}

impl Graphs {
    fn named(stems: &[&str], location: &str) -> Self {
        let combined = golden("clip-combined/onnx/model_fp16.onnx");
        let graph = |stem: &&str| {
            let bytes = match *stem {
                "vision_model" => split(&combined, "image_embeds"),
                "text_model" => split(&combined, "text_embeds"),
                _ => fs_err::read(&combined).expect("read"),
            };
            (format!("onnx/{stem}.onnx"), renamed(&bytes, location))
        };
        let graphs = stems.iter().map(graph).collect();
        Self { graphs, data: fs_err::read(golden("clip-combined/onnx").join(DATA)).expect("read") }
    }

    /// All as plain files in `folder`, the weights at `place` below `onnx/`.
    fn write(&self, folder: &Path, place: &str) {
        for (name, bytes) in &self.graphs {
            write(&folder.join(name), bytes);
        }
        write(&folder.join("onnx").join(place), &self.data);
    }
}

fn split(path: &Path, output: &str) -> Vec<u8> {
    pairwright::model::onnx::split(path, output).expect("splits").bytes
}

/// The graph with another name for its weights: longer or shorter, so that the lengths of the
/// messages around it change as well.
fn renamed(graph: &[u8], location: &str) -> Vec<u8> {
    rewritten(graph, &[7, 5, 13, 2], &|value| match value {
        value if value == DATA.as_bytes() => location.as_bytes().to_vec(),
        other => other.to_vec(),
    })
}

/// A protobuf message in which the fields on `path` are changed.
fn rewritten(message: &[u8], path: &[u64], change: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((wanted, rest)) = path.split_first() else { return change(message) };
    let (mut out, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let start = at;
        let key = varint(message, &mut at);
        match key & 7 {
            0 => drop(varint(message, &mut at)),
            1 => at += 8,
            5 => at += 4,
            2 => {
                let length = varint(message, &mut at) as usize;
                let value = &message[at..at + length];
                at += length;
                if key >> 3 == *wanted {
                    let value = rewritten(value, rest, change);
                    prost::encoding::encode_varint(key, &mut out);
                    prost::encoding::encode_varint(value.len() as u64, &mut out);
                    out.extend(value);
                    continue;
                }
            }
            other => panic!("wire type {other}"),
        }
        out.extend(&message[start..at]);
    }
    out
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut rest = &bytes[*at..];
    let value = prost::encoding::decode_varint(&mut rest).expect("a number");
    *at = bytes.len() - rest.len();
    value
}

fn open(folder: &Path) -> Result<OnnxEncoder, ModelError> {
    let options = EncoderOptions { device: Device::Cpu, ..EncoderOptions::default() };
    OnnxEncoder::open(folder, &options, DecodeOptions::default())
}

/// The vectors of a photo and of a text.
fn vectors(encoder: &OnnxEncoder) -> (Vec<f32>, Vec<f32>) {
    let photo = encoder.embed_images(&[Pixels::test_card(48)]).expect("embeds").remove(0);
    let text = encoder.embed_texts(&["a photo of a cat"]).expect("embeds").remove(0);
    (photo, text.vector)
}

/// Lays an export out in a folder: the folder to open.
type Layout = fn(&Graphs, &Path) -> PathBuf;

/// Files in `store` by the name of their place, and links to them in `export`: `target` makes a
/// link's target of the place and the depth of the link.
fn linked(graphs: &Graphs, root: &Path, target: impl Fn(&str, usize) -> PathBuf) -> PathBuf {
    let plain = root.join("store");
    graphs.write(&plain, DATA);
    small_files(&plain);
    let export = root.join("snapshots/one");
    let names = graphs.graphs.iter().map(|(name, _)| name.clone());
    let small = ["config.json", "preprocessor_config.json", "tokenizer.json"].map(String::from);
    for name in names.chain([format!("onnx/{DATA}")]).chain(small) {
        let link = export.join(&name);
        fs_err::create_dir_all(link.parent().expect("a parent")).expect("folder");
        symlink(target(&name, name.matches('/').count()), link).expect("link");
    }
    export
}

/// As the hub's tools keep repositories: every file a link to one named by its content's hash.
fn hub_cache(graphs: &Graphs, root: &Path) -> PathBuf {
    let blob = |name: &str| pairwright::base::hash::sha256_hex(name.as_bytes());
    let export = linked(graphs, root, |name, depth| {
        PathBuf::from("../".repeat(depth + 2)).join("blobs").join(blob(name))
    });
    fs_err::create_dir(root.join("blobs")).expect("folder");
    for entry in walk(&root.join("store")) {
        let name = entry.strip_prefix(root.join("store")).expect("below").to_string_lossy();
        fs_err::rename(&entry, root.join("blobs").join(blob(&name))).expect("moved");
    }
    export
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).expect("read").map(|one| one.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn relative_links(graphs: &Graphs, root: &Path) -> PathBuf {
    linked(graphs, root, |name, depth| {
        PathBuf::from("../".repeat(depth + 2)).join("store").join(name)
    })
}

fn absolute_links(graphs: &Graphs, root: &Path) -> PathBuf {
    linked(graphs, root, |name, _| root.join("store").join(name))
}

fn link_to_the_export(graphs: &Graphs, root: &Path) -> PathBuf {
    graphs.write(&root.join("store"), DATA);
    small_files(&root.join("store"));
    symlink("store", root.join("link")).expect("link");
    root.join("link")
}

fn link_to_the_graphs_folder(graphs: &Graphs, root: &Path) -> PathBuf {
    graphs.write(&root.join("elsewhere"), DATA);
    small_files(&root.join("export"));
    symlink("../elsewhere/onnx", root.join("export/onnx")).expect("link");
    root.join("export")
}

fn links_for_the_weights_only(graphs: &Graphs, root: &Path) -> PathBuf {
    let export = root.join("export");
    graphs.write(&export, DATA);
    small_files(&export);
    fs_err::create_dir(root.join("disk")).expect("folder");
    fs_err::rename(export.join("onnx").join(DATA), root.join("disk/w")).expect("moved");
    symlink("../../disk/w", export.join("onnx").join(DATA)).expect("link");
    export
}

fn links_for_the_graphs_only(graphs: &Graphs, root: &Path) -> PathBuf {
    graphs.write(&root.join("store"), DATA);
    let export = root.join("export");
    small_files(&export);
    fs_err::create_dir(export.join("onnx")).expect("folder");
    for (name, _) in &graphs.graphs {
        symlink(root.join("store").join(name), export.join(name)).expect("link");
    }
    export
}

fn a_link_to_a_link(graphs: &Graphs, root: &Path) -> PathBuf {
    let export = links_for_the_weights_only(graphs, root);
    fs_err::rename(root.join("disk"), root.join("moved")).expect("moved");
    symlink("moved", root.join("disk")).expect("link");
    export
}

const LAYOUTS: [(&str, Layout); 8] = [
    ("hub cache", hub_cache),
    ("relative links", relative_links),
    ("absolute links", absolute_links),
    ("a link to the export", link_to_the_export),
    ("a link to the folder of the graphs", link_to_the_graphs_folder),
    ("links for the weights only", links_for_the_weights_only),
    ("links for the graphs only", links_for_the_graphs_only),
    ("a link to a link", a_link_to_a_link),
];

#[test]
fn links_change_no_vector_and_no_hash() {
    for stems in KINDS {
        let graphs = Graphs::named(stems, DATA);
        let plain = tempfile::tempdir().expect("temp dir");
        graphs.write(plain.path(), DATA);
        small_files(plain.path());
        let plain = open(plain.path()).expect("plain files open");
        for (layout, lay_out) in LAYOUTS {
            let root = tempfile::tempdir().expect("temp dir");
            let folder = lay_out(&graphs, root.path());
            let encoder = open(&folder).unwrap_or_else(|error| panic!("{layout}: {error}"));
            assert_eq!(vectors(&encoder), vectors(&plain), "{layout}, {stems:?}");
            assert_eq!(encoder.hash(), plain.hash(), "{layout}, {stems:?}");
        }
    }
}

/// Weights in a folder below the graph's, as plain files and as links.
#[test]
fn weights_in_a_folder_of_their_own() {
    let wanted = vectors(&open(&plain(&["model"]).0).expect("opens"));
    for stems in KINDS {
        let graphs = Graphs::named(stems, "weights/part-0.bin");
        for link in [false, true] {
            let root = tempfile::tempdir().expect("temp dir");
            graphs.write(root.path(), "weights/part-0.bin");
            small_files(root.path());
            if link {
                fs_err::rename(root.path().join("onnx/weights"), root.path().join("w")).expect("w");
                symlink("../w", root.path().join("onnx/weights")).expect("link");
            }
            assert_eq!(vectors(&open(root.path()).expect("opens")), wanted, "{stems:?} {link}");
        }
    }
}

/// Each tower's weights in a file of its own, one of which is a link.
#[test]
fn several_files_of_weights() {
    let wanted = vectors(&open(&plain(&["model"]).0).expect("opens"));
    let root = tempfile::tempdir().expect("temp dir");
    small_files(root.path());
    for (stem, place) in [("vision_model", "v.data"), ("text_model", "words/t.data")] {
        Graphs::named(&[stem], place).write(root.path(), place);
    }
    let (from, to) = (root.path().join("onnx/v.data"), root.path().join("away"));
    fs_err::rename(&from, to).expect("moved");
    symlink("../away", from).expect("link");
    assert_eq!(vectors(&open(root.path()).expect("opens")), wanted);
}

fn plain(stems: &[&str]) -> (PathBuf, TempDir) {
    let root = tempfile::tempdir().expect("temp dir");
    Graphs::named(stems, DATA).write(root.path(), DATA);
    small_files(root.path());
    (root.path().to_owned(), root)
}

#[test]
fn a_graph_that_points_outside_is_refused() {
    for stems in KINDS {
        let outside = tempfile::tempdir().expect("temp dir");
        let absolute = outside.path().join("w").display().to_string();
        for location in ["../weights", "../../../../etc/passwd", "a/../../weights", &absolute] {
            let root = tempfile::tempdir().expect("temp dir");
            let graphs = Graphs::named(stems, location);
            small_files(root.path());
            // What it points at is there.
            graphs.write(root.path(), DATA);
            write(&root.path().join("weights"), &graphs.data);
            write(Path::new(&absolute), &graphs.data);
            let error = open(root.path()).err().expect("refused");
            assert!(matches!(&error, ModelError::WeightsOutside { .. }), "{location}: {error}");
            assert!(error.to_string().contains(location), "{error}");
        }
    }
}

#[test]
fn a_broken_link_is_named() {
    let (folder, _kept) = plain(&["model"]);
    fs_err::remove_file(folder.join("onnx").join(DATA)).expect("remove");
    symlink("../../blobs/gone", folder.join("onnx").join(DATA)).expect("link");
    let error = open(&folder).err().expect("refused");
    assert!(matches!(&error, ModelError::NoWeights { .. }), "{error}");
    assert!(error.to_string().contains("a link to ../../blobs/gone"), "{error}");
}

/// `models info` opens what it tells of.
#[test]
fn info_says_whether_the_graphs_open() {
    let info = |folder: &Path| {
        let program = Command::new(env!("CARGO_BIN_EXE_pairwright"))
            .args(["models", "info"])
            .arg(folder)
            .current_dir(paths::root())
            .output()
            .expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (program.status.code(), text(&program.stdout), text(&program.stderr))
    };
    let (folder, _kept) = plain(&["model"]);
    let (code, said, complaint) = info(&folder);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("opens           yes, on cpu"), "{said}");
    // The file is there, and what the graph looks for in it is not.
    let data = folder.join("onnx").join(DATA);
    fs_err::write(&data, &fs_err::read(&data).expect("read")[..4096]).expect("write");
    let (code, said, complaint) = info(&folder);
    assert_eq!(code, Some(2), "{said}{complaint}");
    assert!(said.contains("opens           no"), "{said}");
    assert!(complaint.contains("model.onnx") && complaint.contains("refuses"), "{complaint}");
}
