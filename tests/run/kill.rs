//! `kill -9` at any moment loses nothing, repeats nothing that was finished, and changes no byte.

use std::path::Path;
use std::time::{Duration, Instant};

use image::imageops;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, assert_same_exports, count, exported_ids, exports, finish,
    pairwright, query, root, start,
};
use crate::support::stub_llm::StubOptions;

const SEED: u64 = 20_240;
const KILLS: usize = 20;
/// Kills of a run that had finished before.
const AFTERWARDS: usize = 6;
const COUNT: usize = 40;
const IN_FLIGHT: usize = 4;

/// Quotas and hubness statistics are what an interrupted match could get wrong: both depend on
/// what was drawn and embedded before.
const CONFIG: &str = r#"
seed = 11
encoder.batch_size = 4
llm.max_in_flight = 4
[matching]
strategy = "softmax"
per_image = 2
hubness = "zscore"
calibration = 12
temperature = 0.5
max_share = 0.06
"#;

/// Distinct photos, cut out of the samples.
fn fill(world: &World, draws: &mut ChaCha8Rng) {
    let photos = root().join("samples/photos");
    for number in 0..COUNT {
        let sample = PHOTOS[number % PHOTOS.len()];
        let photo = image::open(photos.join(format!("{sample}.jpg"))).expect("a sample");
        let side = draws.random_range(120..photo.width().min(photo.height()));
        let x = draws.random_range(0..=photo.width() - side);
        let y = draws.random_range(0..=photo.height() - side);
        let cut = imageops::resize(
            &photo.crop_imm(x, y, side, side).to_rgb8(),
            320,
            240,
            imageops::FilterType::Triangle,
        );
        cut.save(world.path(&format!("photos/{number:02}.jpg"))).expect("a JPEG");
        let text = fs_err::read_to_string(photos.join(format!("{sample}.txt"))).expect("a text");
        world.write(&format!("photos/{number:02}.txt"), format!("Cut {number}. {text}"));
    }
}

struct Killer<'a> {
    world: &'a World,
    llm: &'a Llm,
    expected: [Vec<u8>; 3],
    /// What an uninterrupted run takes.
    whole: Duration,
    draws: ChaCha8Rng,
    kills: usize,
    /// State of the folder at each kill, to tell how far the run was.
    seen: Vec<String>,
}

impl Killer<'_> {
    /// One folder from its first start to the end, killed at random moments between. A run that
    /// ends before its moment comes must have finished well.
    fn round(&mut self, out: &Path) {
        while self.kills < KILLS {
            let moment = self.whole.mul_f64(self.draws.random_range(0.0..1.0));
            let mut child = start(&mut self.world.command(out, &self.llm.target()));
            std::thread::sleep(moment);
            child.kill().expect("kill -9");
            let output = child.wait_with_output().expect("it ended");
            if output.status.code().is_some() {
                assert_code(&output, 0);
                return self.compare(out);
            }
            self.kills += 1;
            self.seen.push(format!("{:4} ms: {}", moment.as_millis(), state(out)));
        }
        let output = finish(&mut self.world.command(out, &self.llm.target()));
        assert_code(&output, 0);
        self.compare(out);
    }

    /// Killed while a finished run is gone through again and its exports are written again: they
    /// are whole at every moment.
    fn disturb(&mut self, out: &Path) {
        let started = Instant::now();
        assert_code(&finish(&mut self.world.command(out, &self.llm.target())), 0);
        let whole = started.elapsed();
        for _ in 0..AFTERWARDS {
            let moment = whole.mul_f64(self.draws.random_range(0.5..1.0));
            let mut child = start(&mut self.world.command(out, &self.llm.target()));
            std::thread::sleep(moment);
            child.kill().expect("kill -9");
            child.wait().expect("it ended");
            self.compare(out);
        }
        assert_code(&finish(pairwright(&["verify", "--out"]).arg(out)), 0);
    }

    fn compare(&self, out: &Path) {
        let history = self.seen.join("\n");
        assert_same_exports(out, &self.expected, &format!("seed {SEED}; kills:\n{history}"));
        assert_eq!(count(out, "SELECT count(*) FROM failures"), 0);
    }
}

/// How far a killed run was.
fn state(out: &Path) -> String {
    if !out.join("run.sqlite").is_file() {
        return "no store".into();
    }
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    let counts = ["items", "embeddings", "pairs", "answers", "exports"].map(|table| {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = store.query_row(&sql, [], |row| row.get(0)).unwrap_or(-1);
        format!("{rows} {table}")
    });
    counts.join(", ")
}

#[test]
fn twenty_kills_change_no_byte() {
    let world = World::new();
    world.configure(CONFIG);
    let mut draws = ChaCha8Rng::seed_from_u64(SEED);
    fill(&world, &mut draws);
    let options = || StubOptions { delay: Duration::from_millis(20), ..StubOptions::default() };

    let llm = Llm::start(options());
    let started = Instant::now();
    assert_code(&world.run("whole", &llm), 0);
    let whole = started.elapsed();
    let out = world.path("whole");
    let samples = exported_ids(&out).len();
    assert!(samples > COUNT, "{samples} samples: too few to mean much");
    quotas_matter(&out);
    let needed = llm.stub.calls();
    assert_eq!(needed, llm.distinct(), "an uninterrupted run asks nothing twice");

    let llm = Llm::start(options());
    let expected = exports(&out);
    let mut killer =
        Killer { world: &world, llm: &llm, expected, whole, draws, kills: 0, seen: Vec::new() };
    let mut rounds = 0;
    while killer.kills < KILLS {
        rounds += 1;
        killer.round(&world.path(&format!("killed-{rounds}")));
    }
    killer.disturb(&world.path("killed-1"));
    println!("{whole:?} uninterrupted; {rounds} folders; kills:\n{}", killer.seen.join("\n"));

    // Other folders ask the same; a kill loses at most what was in flight.
    assert_eq!(llm.distinct(), needed, "the interrupted runs ask what the other asked");
    let (calls, most) = (llm.stub.calls(), rounds * needed + KILLS * IN_FLIGHT);
    assert!(calls <= most, "{calls} calls, at most {most} without repeating finished work");
    assert!(calls >= rounds * needed, "{calls} calls for {rounds} folders of {needed}");
}

/// The configuration does bind: some instruction reached its quota of 4 (0.06 of 80), none passed.
fn quotas_matter(out: &Path) {
    let most = query(out, "SELECT count(*) n FROM pairs GROUP BY instruction_key ORDER BY n DESC");
    assert_eq!(most.first().map(String::as_str), Some("4"), "{most:?}");
}
