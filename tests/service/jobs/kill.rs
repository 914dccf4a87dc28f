//! Cancelled and resumed, or killed with the whole server: the pairs are those of an uninterrupted
//! run.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use pairwright::jobs::{JobManager, JobState, ManagerOptions};

use super::server::{Server, matching, shared, slow};
use crate::support::paths::again;
use crate::support::run::{PHOTOS, query, wait_until};

const KILLS: usize = 5;

/// Tells the child process of the kill test where its data folder is.
const DATA: &str = "PAIRWRIGHT_TEST_JOBS_DATA";

/// Quotas and hubness statistics are what an interrupted match could get wrong.
const CONFIG: &str = "seed = 11\nencoder.batch_size = 2\n[matching]\nstrategy = \"softmax\"\n\
    per_image = 2\nhubness = \"zscore\"\ncalibration = 5\ntemperature = 0.5\nmax_share = 0.2\n";

/// Every sample several times with other descriptions, so that there is something to do.
fn many() -> Server {
    let server = Server::new(&[]);
    for copy in 0..4 {
        for sample in PHOTOS {
            let name = format!("{sample}-{copy}");
            server.world.add_photo(sample, &name);
            let path = server.world.source().join(format!("{name}.txt"));
            let text = fs_err::read_to_string(&path).expect("a text");
            fs_err::write(path, format!("Copy {copy}. {text}")).expect("write");
        }
    }
    server
}

fn uninterrupted(server: &Server) -> Vec<String> {
    let manager = server.open(shared(), ManagerOptions::default());
    server.succeed(&manager, matching("whole", server.config(CONFIG)));
    server.close(manager);
    let pairs = server.pairs("whole");
    assert!(pairs.len() > 30, "{} pairs: too few to mean much", pairs.len());
    pairs
}

#[test]
fn cancelled_and_resumed_the_pairs_are_the_same() {
    let server = many();
    let expected = uninterrupted(&server);
    let manager = server.open(slow(60), ManagerOptions::default());
    let spec = matching("cut", server.config(CONFIG));
    let job = server.block(manager.submit(spec, None)).expect("submitted");
    for part in [4, 12] {
        server.until(&manager, &job.id, "a part is embedded", |_| embedded(&server, "cut") >= part);
        let asked = server.block(manager.cancel(&job.id)).expect("a job");
        assert!(asked.cancel_asked && asked.state == JobState::Running);
        let end = server.end(&manager, &job.id);
        assert_eq!((end.state, end.failure), (JobState::Cancelled, None));
        assert!(embedded(&server, "cut") < 24, "it went on to the end");
        let resumed = server.block(manager.resume(&job.id, None)).expect("it was cancelled");
        assert_eq!((resumed.state, resumed.ended), (JobState::Queued, None));
    }
    let end = server.end(&manager, &job.id);
    assert_eq!((end.state, end.attempts), (JobState::Succeeded, 3));
    assert_eq!(server.pairs("cut"), expected);
    server.close(manager);
}

fn embedded(server: &Server, run: &str) -> usize {
    let run = server.data().join("runs").join(run);
    states(&run).unwrap_or(0)
}

/// Photos that are embedded, once there is a store.
fn states(run: &Path) -> Option<usize> {
    let store = rusqlite::Connection::open_with_flags(
        run.join("run.sqlite"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    );
    let sql = "SELECT count(*) FROM items WHERE state = 'ready'";
    store.ok()?.query_row(sql, [], |row| row.get(0)).ok()
}

#[test]
fn five_kills_of_the_server_change_no_pair() {
    let server = many();
    let expected = uninterrupted(&server);
    // The job is left by a server that stops before it could begin.
    let manager = server.open(slow(1), ManagerOptions { max_running: 0, ..Default::default() });
    let spec = matching("killed", server.config(CONFIG));
    let job = server.block(manager.submit(spec, None)).expect("submitted");
    server.close(manager);

    let run = server.data().join("runs/killed");
    let mut seen = Vec::new();
    for kill in 0..KILLS {
        let mut child = child(&server.data());
        let before = states(&run).unwrap_or(0);
        // The first dies while it loads and lists; the others in the middle of the photos.
        let moment = if kill == 0 { 0 } else { before + 2 };
        wait_until("the child is at work", || {
            run.join("run.sqlite").is_file() && states(&run).unwrap_or(0) >= moment
        });
        child.kill().expect("kill -9");
        child.wait().expect("it ended");
        seen.push(states(&run).unwrap_or(0));
    }
    assert!(seen.iter().all(|count| *count < 24), "killed before the end: {seen:?}");
    let manager = server.open(shared(), ManagerOptions::default());
    let end = server.end(&manager, &job.id);
    assert_eq!(end.state, JobState::Succeeded, "{:?}", end.failure);
    assert_eq!(end.attempts as usize, KILLS + 1, "{seen:?}");
    assert_eq!(server.pairs("killed"), expected, "{seen:?}");
    let whole = query(&run, "PRAGMA integrity_check");
    assert_eq!(whole, ["ok"]);
    server.close(manager);
}

fn child(data: &Path) -> Child {
    again(module_path!(), "a_server_to_be_killed")
        .env(DATA, data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// Not a test: what `five_kills_of_the_server_change_no_pair` starts and kills.
#[test]
#[ignore = "the child process of another test"]
fn a_server_to_be_killed() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = JobManager::open(Path::new(&data), slow(60), ManagerOptions::default())
            .expect("the data folder is free");
        tokio::time::sleep(Duration::from_secs(120)).await;
    });
}
