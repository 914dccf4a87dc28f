//! Rooms look down only, and files of one room look at each other in circles only where that is
//! known.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Module, Source};

/// From the floor up: a room may name those before it.
const ROOMS: [&str; 21] = [
    "base",
    "sandbox",
    "image",
    "llm",
    "model",
    "encoder",
    "index",
    "dataset",
    "matching",
    "instruction",
    "answer",
    "measure",
    "report",
    "config",
    "work",
    "generate",
    "run",
    "evaluate",
    "jobs",
    "server",
    "cli",
];

/// Files that look up, and the room they look at. Nothing may be added.
const LOOK_UP: [(&str, &str); 0] = [];

/// Circles of files inside one room that may stand. Nothing may be added.
const CIRCLES: usize = 4;

fn rank(room: &str) -> usize {
    let rank = ROOMS.iter().position(|one| *one == room);
    rank.unwrap_or_else(|| panic!("src/{room} is not in the list of rooms, with its place"))
}

fn source() -> Source {
    Source::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn rooms_look_down_only() {
    let source = source();
    let mut found = BTreeMap::<(String, String), BTreeSet<String>>::new();
    for (module, file) in source.files.iter().filter(|(module, _)| !module.is_empty()) {
        for path in file.names.iter().chain(&file.handed_on) {
            // What the crate's root hands on belongs to the room that it comes from.
            let is_room = path.first().is_some_and(|room| ROOMS.contains(&&**room));
            let target = if is_room { path.clone() } else { source.home(path) };
            let Some(room) = target.first() else { continue };
            if rank(room) > rank(&module[0]) {
                let edge = (file.path.clone(), room.clone());
                found.entry(edge).or_default().insert(path.join("::"));
            }
        }
    }
    let known: BTreeSet<_> = LOOK_UP.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let new: Vec<String> = found
        .iter()
        .filter(|(edge, _)| !known.contains(*edge))
        .map(|((file, room), paths)| format!("{file} looks up at {room}: {paths:?}"))
        .collect();
    assert!(new.is_empty(), "{} more than listed:\n{}", new.len(), new.join("\n"));
    let mended: Vec<_> = known.iter().filter(|edge| !found.contains_key(*edge)).collect();
    assert!(mended.is_empty(), "mended, take them off the list LOOK_UP: {mended:#?}");
}

#[test]
fn circles_inside_a_room_are_few() {
    let source = source();
    let circles = circles(&source);
    let shown: Vec<String> = circles
        .iter()
        .map(|circle| {
            let files: Vec<&str> = circle.iter().map(|one| &*source.files[one].path).collect();
            files.join(" <-> ")
        })
        .collect();
    assert!(circles.len() <= CIRCLES, "{} circles:\n{}", circles.len(), shown.join("\n"));
}

/// Whether one is the other or lies in its folder: a module and its parts know each other.
fn is_kin(one: &Module, other: &Module) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Groups of files of one room each of which leads to each other.
fn circles(source: &Source) -> Vec<BTreeSet<Module>> {
    let mut edges = BTreeMap::<&Module, BTreeSet<Module>>::new();
    for (module, file) in source.files.iter().filter(|(module, _)| !module.is_empty()) {
        let homes = file.names.iter().map(|path| source.home(path));
        let near = homes.filter(|home| home.first() == module.first() && !is_kin(home, module));
        edges.insert(module, near.collect());
    }
    let reached = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut left = vec![from.clone()];
        while let Some(one) = left.pop() {
            for next in &edges[&one] {
                if seen.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        edges.keys().map(|module| (*module, reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in reached.iter().filter(|(module, others)| others.contains(**module)) {
        let circle = others.iter().filter(|other| reached[other].contains(*module));
        circles.insert(circle.cloned().collect::<BTreeSet<Module>>());
    }
    circles.into_iter().collect()
}
