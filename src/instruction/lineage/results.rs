//! What the stages found, as rows, and how those are kept.

use rusqlite::params;

use super::{ACCEPTED, GenerationStore, MERGED, NOT_SUMMARIZED};
use crate::base::db::{DbError, json_text};
use crate::instruction::descriptions::Description;
use crate::instruction::seeds::Seed;
use crate::llm::Spent;

/// How a reply could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingRow {
    pub call_key: String,
    /// `augment` or `summarize`.
    pub role: &'static str,
    /// The form, or the code of what was wrong.
    pub outcome: String,
    /// Instructions in it.
    pub found: usize,
}

/// An instruction the LLM wrote for a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    /// Place among all raw instructions, from 0: description by description, in each reply's order.
    pub place: usize,
    /// Key of the text.
    pub key: String,
    pub text: String,
    /// Place of its description.
    pub description: usize,
    /// Ids of the seeds shown, in their order.
    pub seeds: Vec<String>,
    pub call_key: String,
    /// `accepted`, or the code of its refusal.
    pub verdict: String,
    /// Empty when accepted.
    pub reason: String,
}

/// One cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterRow {
    pub cluster: usize,
    /// Members.
    pub size: usize,
    /// Sum of the members' squared distances to the centre.
    pub inertia: f64,
}

/// An accepted raw instruction in its cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberRow {
    /// Place of the raw instruction.
    pub raw: usize,
    pub cluster: usize,
    /// 0 is nearest the centre.
    pub rank: usize,
    /// Euclidean distance to the centre.
    pub distance: f64,
}

/// What a cluster came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalRow {
    pub cluster: usize,
    /// The instruction's id in the library; empty when nothing came of the cluster.
    pub id: String,
    pub text: String,
    pub call_key: String,
    /// Places of the raw instructions that the LLM saw, nearest first.
    pub shown: Vec<usize>,
    /// Replies that were read.
    pub attempts: u32,
    /// `accepted`, `merged`, or the code of the last refusal.
    pub verdict: String,
    pub reason: String,
    /// The cluster whose instruction stands for this one's.
    pub merged_into: Option<usize>,
    /// What the instruction requires of a photo; `None` where the LLM did not say.
    pub requires: Option<Vec<String>>,
    /// Whether the LLM found a task that the members have in common; `None` where it did not say.
    pub coherent: Option<bool>,
}

impl FinalRow {
    /// Of a cluster that nothing has come of yet.
    pub fn of(cluster: usize) -> Self {
        Self {
            cluster,
            id: String::new(),
            text: String::new(),
            call_key: String::new(),
            shown: Vec::new(),
            attempts: 0,
            verdict: String::new(),
            reason: String::new(),
            merged_into: None,
            requires: None,
            coherent: None,
        }
    }
}

/// A raw instruction that is in the library itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickRow {
    /// Place of the raw instruction.
    pub raw: usize,
    pub cluster: usize,
    /// Its id in the library.
    pub id: String,
}

/// A refused attempt at a final instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    pub call_key: String,
    pub cluster: usize,
    pub text: String,
    pub code: String,
    pub reason: String,
}

/// A code with how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// `reply`, `raw` or `final`: what was counted.
    pub of: String,
    pub code: String,
    pub count: u64,
}

/// How many of `of` there are, with `code` or with any.
pub fn count(counts: &[Count], of: &str, code: Option<&str>) -> u64 {
    let counted = counts.iter().filter(|count| count.of == of);
    let wanted = counted.filter(|count| code.is_none_or(|code| count.code == code));
    wanted.map(|count| count.count).sum()
}

/// What was lost of `of`.
pub fn losses<'a>(counts: &'a [Count], of: &str) -> impl Iterator<Item = &'a Count> {
    counts.iter().filter(move |count| count.of == of && is_loss(&count.code))
}

/// Whether a code means that nothing came of it.
fn is_loss(code: &str) -> bool {
    ![ACCEPTED, MERGED, NOT_SUMMARIZED, "json", "half_json", "list", "line"].contains(&code)
}

impl GenerationStore {
    /// Keeps the seeds and the descriptions of this generation in place of earlier ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_inputs(&self, seeds: &[Seed], descriptions: &[Description]) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute_batch("DELETE FROM seeds; DELETE FROM descriptions;")?;
            let mut insert = transaction.prepare_cached("INSERT INTO seeds VALUES (?1, ?2, ?3)")?;
            for (place, seed) in seeds.iter().enumerate() {
                insert.execute(params![place, seed.id, seed.text])?;
            }
            let mut insert =
                transaction.prepare_cached("INSERT INTO descriptions VALUES (?1, ?2, ?3)")?;
            for (place, one) in descriptions.iter().enumerate() {
                insert.execute(params![place, one.id, one.text])?;
            }
            Ok(())
        })
    }

    /// Keeps what a round of descriptions gave; `first` is the place of its first raw instruction,
    /// from which on earlier rows are forgotten.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_round(
        &self,
        first: usize,
        readings: &[ReadingRow],
        raws: &[RawRow],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            if first == 0 {
                transaction.execute("DELETE FROM readings WHERE role = 'augment'", [])?;
            }
            put_readings(transaction, readings)?;
            transaction.execute("DELETE FROM raws WHERE place >= ?1", [first])?;
            let mut insert = transaction
                .prepare_cached("INSERT INTO raws VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            for row in raws {
                let RawRow { place, key, text, description, seeds, call_key, verdict, reason } =
                    row;
                let seeds = serde_json::json!(seeds).to_string();
                insert.execute(params![
                    place,
                    key,
                    text,
                    description,
                    seeds,
                    call_key,
                    verdict,
                    reason
                ])?;
            }
            Ok(())
        })
    }

    /// Forgets the clustering and all that came of it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_clusters(&self) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute_batch(
                "DELETE FROM clusters; DELETE FROM members; DELETE FROM finals;
                 DELETE FROM refusals; DELETE FROM picks;
                 DELETE FROM readings WHERE role = 'summarize';
                 DELETE FROM meta WHERE name = 'cluster';",
            )
        })
    }

    /// Keeps a clustering in place of an earlier one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_clusters(
        &self,
        clusters: &[ClusterRow],
        members: &[MemberRow],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute_batch("DELETE FROM clusters; DELETE FROM members;")?;
            let mut insert =
                transaction.prepare_cached("INSERT INTO clusters VALUES (?1, ?2, ?3)")?;
            for ClusterRow { cluster, size, inertia } in clusters {
                insert.execute(params![cluster, size, inertia])?;
            }
            let mut insert =
                transaction.prepare_cached("INSERT INTO members VALUES (?1, ?2, ?3, ?4)")?;
            for MemberRow { raw, cluster, rank, distance } in members {
                insert.execute(params![raw, cluster, rank, distance])?;
            }
            Ok(())
        })
    }

    /// Keeps the final instructions in place of earlier ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_finals(
        &self,
        readings: &[ReadingRow],
        finals: &[FinalRow],
        refusals: &[RefusalRow],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute_batch(
                "DELETE FROM readings WHERE role = 'summarize'; DELETE FROM finals;
                 DELETE FROM refusals;",
            )?;
            put_readings(transaction, readings)?;
            finals.iter().try_for_each(|row| put_final(transaction, row))?;
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO refusals VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for RefusalRow { call_key, cluster, text, code, reason } in refusals {
                insert.execute(params![call_key, cluster, text, code, reason])?;
            }
            Ok(())
        })
    }

    /// Keeps the picked members in place of earlier ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_picks(&self, picks: &[PickRow]) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute("DELETE FROM picks", [])?;
            let mut insert = transaction.prepare_cached("INSERT INTO picks VALUES (?1, ?2, ?3)")?;
            for PickRow { raw, cluster, id } in picks {
                insert.execute(params![raw, cluster, id])?;
            }
            Ok(())
        })
    }

    /// Adds a session's time to a stage.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_stage_time(&self, stage: &str, items: u64, seconds: f64) -> Result<(), DbError> {
        self.db.write(|transaction| {
            transaction.execute(
                "INSERT INTO stage_times VALUES (?1, ?2, ?3) ON CONFLICT (stage)
                 DO UPDATE SET items = ?2, seconds = seconds + ?3",
                params![stage, items, seconds],
            )?;
            Ok(())
        })
    }

    /// (stage, items, seconds) in the order in which the stages first ended.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stage_times(&self) -> Result<Vec<(String, u64, f64)>, DbError> {
        let sql = "SELECT stage, items, seconds FROM stage_times ORDER BY rowid";
        self.db.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    }

    /// Outcomes of replies, raw and final instructions, most frequent first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn counts(&self) -> Result<Vec<Count>, DbError> {
        let sql = "SELECT 'reply', outcome, count(*) n FROM readings GROUP BY outcome
             UNION ALL SELECT 'raw', verdict, count(*) n FROM raws GROUP BY verdict
             UNION ALL SELECT 'final', verdict, count(*) n FROM finals GROUP BY verdict
             ORDER BY 1 DESC, 3 DESC, 2";
        self.db.rows(sql, [], |row| {
            Ok(Count { of: row.get(0)?, code: row.get(1)?, count: row.get(2)? })
        })
    }

    /// What the replies that are kept took, by role and model.
    ///
    /// # Errors
    /// SQLite's.
    pub fn spent(&self) -> Result<Vec<(String, String, Spent)>, DbError> {
        let sql = "SELECT role, model, count(*), sum(prompt_tokens), sum(completion_tokens)
             FROM calls GROUP BY role, model";
        self.db.rows(sql, [], |row| {
            let spent = Spent {
                calls: row.get(2)?,
                prompt_tokens: row.get(3)?,
                completion_tokens: row.get(4)?,
                ..Spent::default()
            };
            Ok((row.get(0)?, row.get(1)?, spent))
        })
    }

    /// (calls, prompt tokens, completion tokens) of the replies that this generation rests on.
    ///
    /// # Errors
    /// SQLite's.
    pub fn usage(&self) -> Result<(u64, u64, u64), DbError> {
        let sql = "SELECT count(*), coalesce(sum(prompt_tokens), 0),
                coalesce(sum(completion_tokens), 0)
             FROM calls WHERE key IN (SELECT call_key FROM readings)";
        let rows = self.db.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

fn put_readings(
    transaction: &rusqlite::Transaction<'_>,
    readings: &[ReadingRow],
) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO readings VALUES (?1, ?2, ?3, ?4)")?;
    for ReadingRow { call_key, role, outcome, found } in readings {
        insert.execute(params![call_key, role, outcome, found])?;
    }
    Ok(())
}

fn put_final(transaction: &rusqlite::Transaction<'_>, row: &FinalRow) -> rusqlite::Result<()> {
    let FinalRow { cluster, id, text, call_key, shown, attempts, verdict, .. } = row;
    let FinalRow { reason, merged_into, requires, coherent, .. } = row;
    let shown = serde_json::json!(shown).to_string();
    transaction
        .prepare_cached("INSERT INTO finals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?
        .execute(params![
            cluster,
            id,
            text,
            call_key,
            shown,
            attempts,
            verdict,
            reason,
            merged_into,
            json_text(requires.as_ref()),
            coherent
        ])?;
    Ok(())
}
