//! The match stage's side of the store: items with their vectors in, pairs out.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Row, Transaction, params};

use super::photo_replies::{IS_DESCRIBED, written};
use super::{Store, image, insert_rejection};
use crate::base::db::{DbError, json_column, json_text, vector_column};
use crate::dataset::ImageRef;
use crate::dataset::record::{CandidateScore, Instruction, Rejection};

/// An embedded item that has no match under the present configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemToMatch {
    pub seq: i64,
    pub id: String,
    pub item_key: String,
    pub photo: ImageRef,
    /// SHA-256 of the photo's bytes.
    pub image_sha256: String,
    /// What people, and first of all a model that was asked to, say is in the photo.
    pub descriptions: Vec<String>,
    /// What a model wrote about it.
    pub written: Option<String>,
    /// Unit vector of the photo.
    pub image: Vec<f32>,
    /// Unit vector of the source's description, where it says something and one is stored.
    pub caption: Option<Vec<f32>>,
}

/// One drawn instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRow {
    pub pair_key: String,
    pub rank: u32,
    pub instruction_key: String,
    pub similarity: f64,
    pub score: f64,
    pub probability: Option<f64>,
}

/// What matching found for one item.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRow {
    pub seq: i64,
    pub item_key: String,
    pub candidates: Vec<CandidateScore>,
    /// How many candidates each check refused, by its name; `None` where nothing was checked.
    pub refused_by: Option<BTreeMap<String, u64>>,
    pub pairs: Vec<PairRow>,
    /// Set where no instruction could be drawn.
    pub rejection: Option<Rejection>,
}

impl Store {
    /// Keeps the instruction library of a run, so that a report needs no other file.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_instructions(&self, library: &[Instruction], hash: &str) -> Result<(), DbError> {
        self.db.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO instructions VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for one in library {
                let requires = json_text(one.requires.as_ref());
                let Instruction { id, text, category, .. } = one;
                insert.execute(params![one.key(), id, text, category, hash, requires])?;
            }
            Ok(())
        })
    }

    /// The next items to match, in source order, after `after`: those that are embedded, described
    /// if they are to be, have no match under `conf`, and come before the first item the image stage still has to do. The
    /// last condition keeps the order of draws, and so quotas, the same however a run is cut up.
    ///
    /// # Errors
    /// SQLite's.
    pub fn items_to_match(
        &self,
        pass: i64,
        conf: &str,
        encoder: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ItemToMatch>, DbError> {
        self.db.rows(
            &format!(
                "SELECT i.seq, i.id, i.item_key, e.vector, c.vector,
                 coalesce(i.descriptions, json_array(i.description)), i.image, i.image_sha256, {}
             FROM items i
             JOIN embeddings e ON e.key = 'image:' || i.image_sha256 AND e.encoder = ?3
             LEFT JOIN embeddings c ON c.key = 'text:' || i.item_key AND c.encoder = ?3
             WHERE i.state = 'ready' AND i.pass = ?1 AND i.seq > ?4
               AND i.seq < ifnull((SELECT min(seq) FROM items WHERE state = 'new' AND pass = ?1),
                                  9223372036854775807)
               AND NOT EXISTS (SELECT 1 FROM matches m
                               WHERE m.seq = i.seq AND m.conf = ?2 AND m.item_key = i.item_key)
               AND {IS_DESCRIBED}
             ORDER BY i.seq LIMIT ?5",
                written!()
            ),
            params![pass, conf, encoder, after, limit],
            item_to_match,
        )
    }

    /// The first `limit` embedded items in source order: the calibration set. `complete` in the
    /// answer says that no more can come before the set is full.
    ///
    /// # Errors
    /// SQLite's.
    pub fn calibration_items(
        &self,
        pass: i64,
        encoder: &str,
        limit: usize,
    ) -> Result<(Vec<ItemToMatch>, bool), DbError> {
        let items = self.items_to_match(pass, "", encoder, 0, limit)?;
        let complete = items.len() == limit || self.count_new(pass)? == 0;
        Ok((items, complete))
    }

    /// How many items of the source there are, whatever became of them.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_items(&self, pass: i64) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM items WHERE pass = ?1", [pass])
    }

    /// How many pairs each instruction has under `conf` (by instruction key).
    ///
    /// # Errors
    /// SQLite's.
    pub fn pair_counts(&self, conf: &str) -> Result<Vec<(String, u64)>, DbError> {
        self.db.rows(
            "SELECT instruction_key, count(*) FROM pairs WHERE conf = ?1 GROUP BY 1 ORDER BY 1",
            [conf],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Photos of the present source whose candidates were checked under `conf`, and how many
    /// candidates each check refused, by its name.
    ///
    /// # Errors
    /// SQLite's.
    pub fn check_refusals(&self, conf: &str) -> Result<(u64, Vec<(String, u64)>), DbError> {
        let current = "FROM matches m JOIN items i ON i.seq = m.seq AND i.state = 'ready'
                 AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0";
        let photos = self.db.value(
            &format!("SELECT count(*) {current} WHERE m.conf = ?1 AND m.refused_by IS NOT NULL"),
            [conf],
        )?;
        let refused = self.db.rows(
            &format!(
                "SELECT c.key, sum(c.value) {current}
                 JOIN json_each(m.refused_by) c WHERE m.conf = ?1 GROUP BY c.key ORDER BY c.key"
            ),
            [conf],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok((photos, refused))
    }

    /// Keeps a batch of matches, all or none; an item's earlier match and pairs are replaced.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_matches(&self, conf: &str, batch: &[MatchRow]) -> Result<(), DbError> {
        self.db
            .write(|transaction| batch.iter().try_for_each(|one| put_match(transaction, conf, one)))
    }

    /// The hubness statistics kept under `key`, as JSON.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hubness(&self, key: &str) -> Result<Option<String>, DbError> {
        self.db.meta(&format!("hubness:{key}"))
    }

    /// Keeps hubness statistics, so that later items are scored by the same ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_hubness(&self, key: &str, json: &str) -> Result<(), DbError> {
        self.db.set_meta(&format!("hubness:{key}"), json)
    }
}

fn item_to_match(row: &Row<'_>) -> rusqlite::Result<ItemToMatch> {
    let captions = spoken(json_column(row, 5)?);
    let has_vector = !captions.is_empty() && row.get_ref(4)? != ValueRef::Null;
    let written: Option<String> = row.get(8)?;
    Ok(ItemToMatch {
        seq: row.get(0)?,
        id: row.get(1)?,
        item_key: row.get(2)?,
        photo: image(row, 6)?,
        image_sha256: row.get(7)?,
        descriptions: written.iter().cloned().chain(captions).collect(),
        written,
        image: vector_column(row, 3)?,
        caption: has_vector.then(|| vector_column(row, 4)).transpose()?,
    })
}

/// Descriptions that say something.
fn spoken(mut descriptions: Vec<String>) -> Vec<String> {
    descriptions.retain(|text| !text.trim().is_empty());
    descriptions
}

fn put_match(transaction: &Transaction<'_>, conf: &str, one: &MatchRow) -> rusqlite::Result<()> {
    let MatchRow { seq, item_key, candidates, refused_by, pairs, rejection } = one;
    transaction.execute("DELETE FROM pairs WHERE seq = ?1", [seq])?;
    transaction
        .execute("DELETE FROM rejections WHERE stage = 'match' AND key = ?1", [seq.to_string()])?;
    let outcome = rejection.as_ref().map_or("matched", |rejection| rejection.code.as_str());
    // Plain strings and finite numbers always serialise.
    let candidates = serde_json::to_string(candidates).unwrap_or_default();
    transaction
        .prepare_cached("INSERT OR REPLACE INTO matches VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            seq,
            conf,
            item_key,
            outcome,
            candidates,
            json_text(refused_by.as_ref())
        ])?;
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO pairs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for pair in pairs {
        let PairRow { pair_key, rank, instruction_key, similarity, score, probability } = pair;
        insert.execute(params![
            pair_key,
            seq,
            rank,
            instruction_key,
            similarity,
            score,
            probability,
            conf
        ])?;
    }
    match rejection {
        Some(rejection) => insert_rejection(transaction, rejection, &seq.to_string(), conf),
        None => Ok(()),
    }
}
