//! A full disk, on a small file system made for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, assert_same_exports, exports, finish, pairwright, said,
};

/// A file system in memory, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said aloud, where this user may not mount.
    fn mount(path: &Path, kilobytes: u32) -> Option<Self> {
        fs_err::create_dir(path).expect("create");
        let disk = Self(path.to_owned());
        if disk.try_mount(&format!("size={kilobytes}k")) {
            return Some(disk);
        }
        eprintln!("SKIPPED: the full disk, because mounting a tmpfs needs root");
        None
    }

    fn grow(&self, kilobytes: u32) {
        assert!(self.try_mount(&format!("remount,size={kilobytes}k")), "remount");
    }

    fn try_mount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0);
        mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Fails where nothing was mounted.
        let _ = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// The disk fills at one stage after the other as it grows; each time the run says so, keeps what
/// it has, and goes on with more room.
#[test]
fn a_full_disk_is_said_and_survived() {
    let world = World::with_photos(&PHOTOS);
    let small = world.path("small");
    let Some(disk) = SmallDisk::mount(&small, 16) else { return };
    let llm = Llm::default();
    assert_code(&world.run("roomy", &llm), 0);
    let (expected, needed) = (exports(&world.path("roomy")), llm.stub.calls());

    let out = small.join("out");
    let mut full = Vec::new();
    for kilobytes in (1..100).map(|step| step * 96) {
        disk.grow(kilobytes);
        let output = finish(&mut world.command(&out, &llm.target()));
        if output.status.code() == Some(0) {
            break;
        }
        assert_code(&output, 6);
        let text = said(&output);
        let names = |line: &&str| line.starts_with("error:") && line.contains("small/out");
        let error = text.lines().find(names);
        assert!(error.is_some(), "at {kilobytes} kB no file is named: {text}");
        assert!(text.contains("pairwright run --out"), "{text}");
        full.push(format!("{kilobytes} kB: {}", error.unwrap_or_default()));
    }
    println!("{}", full.join("\n"));
    assert!(full.len() > 1, "the disk was never full: {full:?}");
    assert_same_exports(&out, &expected, "a run over a disk that was full");
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);
    let lost = llm.stub.calls() - 2 * needed;
    assert!(lost <= full.len() * 8, "{lost} calls lost in {} full disks", full.len());
}
