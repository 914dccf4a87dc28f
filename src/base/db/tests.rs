use std::sync::Barrier;
use std::thread;

use rusqlite_migration::HookError;

use super::*;

const FIRST: &str = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE numbers (number INTEGER NOT NULL);";

const FIRST_SCHEMA: Schema = Schema {
    name: "notebook",
    made_by: "write --out DIR",
    code: "notebook_store",
    when_full: "make room",
    when_other_version: "; use another folder",
    readable_from: 1,
    migrations: || vec![Migration::up(FIRST)],
};

static FIRST_VERSION: Schema = FIRST_SCHEMA;

/// A second version whose migration needs a Rust function, and whose views need it done.
static SECOND_VERSION: Schema = Schema {
    readable_from: 2,
    migrations: || {
        let double = |transaction: &Transaction<'_>| {
            let changed = transaction.execute("UPDATE numbers SET number = number * 2", [])?;
            if changed == 7 { Err(HookError::Hook("seven".into())) } else { Ok(()) }
        };
        let sql = "ALTER TABLE numbers ADD COLUMN name TEXT;";
        vec![Migration::up(FIRST), Migration::up_with_hook(sql, double)]
    },
    ..FIRST_SCHEMA
};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("notes.sqlite");
    (folder, path)
}

fn numbers(database: &Database) -> Vec<i64> {
    let sql = "SELECT number FROM numbers ORDER BY number";
    database.rows(sql, [], |row| row.get(0)).expect("read")
}

fn add(database: &Database, number: i64) -> Result<usize, DbError> {
    database.execute("INSERT INTO numbers (number) VALUES (?1)", [number])
}

#[test]
fn values_rows_and_names_come_back() {
    let (_folder, path) = place();
    let database = Database::create(&path, &FIRST_VERSION).expect("made");
    add(&database, 2).expect("added");
    database
        .reopen()
        .expect("there")
        .write(|transaction| transaction.execute("INSERT INTO numbers VALUES (1)", []))
        .expect("added");
    assert_eq!(numbers(&database), [1, 2]);
    assert_eq!(database.value::<u64>("SELECT count(*) FROM numbers", []).expect("one"), 2);
    let none =
        database.row("SELECT 1 FROM numbers WHERE number = 9", [], |row| row.get::<_, i64>(0));
    assert_eq!(none.expect("read"), None);
    database.set_meta_json("list", &[3, 4]).expect("kept");
    assert_eq!(database.meta_json::<Vec<u8>>("list").expect("read"), Some(vec![3, 4]));
    let error = database.meta_json::<String>("list").expect_err("of another form");
    assert!(matches!(error.cause(), Cause::Damaged(what) if what.starts_with("list: ")));
    database.check_integrity().expect("whole");
}

#[test]
fn a_write_that_fails_keeps_nothing() {
    let (_folder, path) = place();
    let database = Database::create(&path, &FIRST_VERSION).expect("made");
    let failed = database.write(|transaction| {
        transaction.execute("INSERT INTO numbers VALUES (1)", [])?;
        transaction.execute("INSERT INTO numbers VALUES (NULL)", [])
    });
    assert!(matches!(failed.expect_err("NULL").cause(), Cause::Sqlite(_)));
    assert!(numbers(&database).is_empty());
}

#[test]
fn writers_and_makers_wait_for_each_other() {
    // Many files, for makers meet in few of them.
    let (files, threads, each) = (20, 8, 2);
    for _ in 0..files {
        let (_folder, path) = place();
        let start = Barrier::new(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    let database = Database::create(&path, &FIRST_VERSION).expect("made by one");
                    for number in 0..each {
                        add(&database, number).expect("waited");
                    }
                });
            }
        });
        let database = Database::open(&path, &FIRST_VERSION).expect("there");
        assert_eq!(numbers(&database).len(), threads * each as usize);
    }
}

#[test]
fn a_view_reads_beside_a_writer_and_cannot_write() {
    let (_folder, path) = place();
    let database = Database::create(&path, &FIRST_VERSION).expect("made");
    add(&database, 1).expect("added");
    database
        .write(|transaction| {
            transaction.execute("INSERT INTO numbers VALUES (2)", [])?;
            let view = Database::open_to_read(&path, &FIRST_VERSION).expect("beside the writer");
            assert_eq!(numbers(&view), [1]);
            Ok(())
        })
        .expect("written");
    let view = Database::open_to_read(&path, &FIRST_VERSION).expect("a view");
    assert_eq!(numbers(&view), [1, 2]);
    add(&view, 3).expect_err("only for reading");
}

#[test]
fn a_database_whose_making_has_only_begun_is_absent_to_a_view() {
    let (_folder, path) = place();
    let text = || Database::open_to_read(&path, &FIRST_VERSION).err().expect("absent").to_string();
    let absent = format!("no notebook at {}: start one with `write --out DIR`", path.display());
    assert_eq!(text(), absent);
    assert!(Database::open(&path, &FIRST_VERSION).err().expect("absent").is_absent());
    let maker = Connection::open(&path).expect("an empty file");
    maker.execute_batch(DURABLE).expect("set");
    maker.execute_batch("BEGIN IMMEDIATE; CREATE TABLE numbers (number);").expect("half made");
    assert_eq!(text(), absent);
    maker.execute_batch("COMMIT; PRAGMA user_version = 1").expect("made");
    Database::open_to_read(&path, &FIRST_VERSION).expect("there");
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    let (_folder, path) = place();
    Database::create(&path, &SECOND_VERSION).expect("made");
    for open in [Database::create, Database::open, Database::open_to_read] {
        let error = open(&path, &FIRST_VERSION).err().expect("refused");
        assert!(matches!(error.cause(), Cause::Version { found: 2, wanted: 1 }), "{error}");
        assert_eq!((error.kind(), error.code()), (ErrorKind::FailedPrecondition, "notebook_store"));
        let text = "another version of Pairwright (schema 2, this one wants 1); use another folder";
        assert!(error.to_string().ends_with(text), "{error}");
    }
    Database::open(&path, &SECOND_VERSION).expect("as it was");
}

#[test]
fn an_older_version_is_brought_up_by_writers_and_views() {
    for open in [Database::open, Database::open_to_read] {
        let (_folder, path) = place();
        add(&Database::create(&path, &FIRST_VERSION).expect("made"), 21).expect("added");
        assert_eq!(numbers(&open(&path, &SECOND_VERSION).expect("brought up")), [42]);
        assert_eq!(numbers(&open(&path, &SECOND_VERSION).expect("as it is")), [42]);
    }
}

#[test]
fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let (_folder, path) = place();
    let old = Database::create(&path, &FIRST_VERSION).expect("made");
    (0..7).for_each(|number| assert_eq!(add(&old, number).expect("added"), 1));
    let error = Database::open(&path, &SECOND_VERSION).err().expect("seven rows");
    assert!(matches!(error.cause(), Cause::Damaged(what) if what.ends_with("seven")), "{error}");
    let again = Database::open(&path, &FIRST_VERSION).expect("still the first version");
    assert_eq!(numbers(&again), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let (_folder, path) = place();
    let database = Database::create(&path, &FIRST_VERSION).expect("made");
    database.batch("PRAGMA max_page_count = 4").expect("set");
    let full = (0..5000).find_map(|number| add(&database, number).err()).expect("no room");
    assert!(matches!(full.cause(), Cause::DiskFull), "{full}");
    assert_eq!((full.kind(), full.code()), (ErrorKind::ResourceExhausted, "disk_full"));
    assert!(full.to_string().ends_with("notes.sqlite: the disk is full; make room"), "{full}");
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let (_folder, path) = place();
    fs_err::write(&path, "not a database, but long enough to have a header".repeat(9))
        .expect("written");
    let error = Database::open(&path, &FIRST_VERSION).err().expect("refused");
    assert!(matches!(error.cause(), Cause::Damaged(_)), "{error}");
}

#[test]
fn vectors_and_json_keep_their_form() {
    let (_folder, path) = place();
    let database = Database::create(&path, &FIRST_VERSION).expect("made");
    let vector = vec![0.25f32, -1.5];
    let select = "SELECT ?1, '[1, 2]', 'no'";
    let read = database.row(select, [vector_bytes(&vector)], |row| {
        let no = json_column::<Vec<u8>>(row, 2);
        Ok((vector_column(row, 0)?, json_column::<Vec<u8>>(row, 1)?, no.is_err()))
    });
    assert_eq!(read.expect("read"), Some((vector, vec![1, 2], true)));
}
