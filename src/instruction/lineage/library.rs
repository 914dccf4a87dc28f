//! Reading a generation: its rows, the library they make, and the lineage of each instruction.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    ACCEPTED, ClusterRow, FinalRow, GenerationStore, MemberRow, PickRow, RawRow, RefusalRow,
};
use crate::base::db::{DbError, json_column, json_text, optional_json};
use crate::instruction::{Instruction, Seed};

/// One final instruction with everything it came from: a line of `lineage.jsonl`. No field depends
/// on the time or on how often the generation was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageRow {
    /// The instruction's id in the library; empty when nothing came of the cluster.
    pub id: String,
    pub text: String,
    /// `accepted`, `merged`, or the code of the last refusal.
    pub verdict: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub cluster: usize,
    /// The cluster whose instruction stands for this one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<usize>,
    /// What it requires of a photo, where the LLM said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Vec<String>>,
    /// Whether the LLM found a task that the members have in common, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coherent: Option<bool>,
    pub size: usize,
    /// The call that wrote it.
    pub call: Option<CallLineage>,
    pub attempts: u32,
    /// Places of the members that the LLM saw.
    pub shown: Vec<usize>,
    /// The members, nearest the centre first.
    pub members: Vec<MemberLineage>,
}

/// A call in a lineage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallLineage {
    pub key: String,
    pub model: String,
    pub seed: u64,
    pub attempt: u32,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// A raw instruction in a lineage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberLineage {
    /// Its id in the library, where it is there itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub place: usize,
    pub text: String,
    /// Euclidean distance to the centre, six decimals.
    pub distance: f64,
    /// The user's own id of the description.
    pub description: String,
    /// Ids of the seeds shown, in their order.
    pub seeds: Vec<String>,
    pub call: Option<CallLineage>,
}

impl GenerationStore {
    /// The library: accepted final instructions by cluster, then picked members by cluster, then
    /// imported ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn library(&self) -> Result<Vec<Instruction>, DbError> {
        let generated = self.finals()?.into_iter().filter(|row| row.verdict == ACCEPTED);
        let mut library: Vec<Instruction> = generated
            .map(|FinalRow { id, text, cluster, requires, .. }| Instruction {
                id,
                text,
                category: Some(category(cluster)),
                requires,
                tags: Vec::new(),
            })
            .collect();
        let picked = "SELECT p.id, r.text, p.cluster FROM picks p JOIN raws r ON r.place = p.raw
             JOIN members m ON m.raw = p.raw ORDER BY p.cluster, m.rank";
        library.extend(self.db.rows(picked, [], |row| {
            let category = Some(category(row.get(2)?));
            Ok(Instruction {
                id: row.get(0)?,
                text: row.get(1)?,
                category,
                ..Instruction::default()
            })
        })?);
        library.extend(self.imported()?);
        Ok(library)
    }

    /// The raw instructions that are in the library themselves, by cluster, nearest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn picks(&self) -> Result<Vec<PickRow>, DbError> {
        let sql = "SELECT p.raw, p.cluster, p.id FROM picks p JOIN members m ON m.raw = p.raw
             ORDER BY p.cluster, m.rank";
        self.db.rows(sql, [], |row| {
            Ok(PickRow { raw: row.get(0)?, cluster: row.get(1)?, id: row.get(2)? })
        })
    }

    /// Instructions brought in from elsewhere, in their order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn imported(&self) -> Result<Vec<Instruction>, DbError> {
        let sql = "SELECT id, text, category, requires, tags FROM imported ORDER BY place";
        self.db.rows(sql, [], |row| {
            Ok(Instruction {
                id: row.get(0)?,
                text: row.get(1)?,
                category: row.get(2)?,
                requires: optional_json(row, 3)?,
                tags: optional_json(row, 4)?.unwrap_or_default(),
            })
        })
    }

    /// Adds an instruction from elsewhere.
    ///
    /// # Errors
    /// SQLite's.
    pub fn import(&self, instructions: &[Instruction]) -> Result<(), DbError> {
        self.db.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO imported (id, text, category, requires, tags)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for Instruction { id, text, category, requires, tags } in instructions {
                let (requires, tags) = (json_text(requires.as_ref()), json_text(Some(tags)));
                insert.execute((id, text, category, requires, tags))?;
            }
            Ok(())
        })
    }

    /// The seeds of the last generation.
    ///
    /// # Errors
    /// SQLite's.
    pub fn seeds(&self) -> Result<Vec<Seed>, DbError> {
        let sql = "SELECT id, text FROM seeds ORDER BY place";
        self.db.rows(sql, [], |row| Ok(Seed { id: row.get(0)?, text: row.get(1)? }))
    }

    /// Ids and texts of the descriptions, in their order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn descriptions(&self) -> Result<Vec<(String, String)>, DbError> {
        let sql = "SELECT id, text FROM descriptions ORDER BY place";
        self.db.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Every raw instruction, refused ones included.
    ///
    /// # Errors
    /// SQLite's.
    pub fn raws(&self) -> Result<Vec<RawRow>, DbError> {
        let sql = "SELECT place, key, text, description, seeds, call_key, verdict, reason
             FROM raws ORDER BY place";
        self.db.rows(sql, [], |row| {
            Ok(RawRow {
                place: row.get(0)?,
                key: row.get(1)?,
                text: row.get(2)?,
                description: row.get(3)?,
                seeds: json_column(row, 4)?,
                call_key: row.get(5)?,
                verdict: row.get(6)?,
                reason: row.get(7)?,
            })
        })
    }

    /// The clusters.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clusters(&self) -> Result<Vec<ClusterRow>, DbError> {
        let sql = "SELECT cluster, size, inertia FROM clusters ORDER BY cluster";
        self.db.rows(sql, [], |row| {
            Ok(ClusterRow { cluster: row.get(0)?, size: row.get(1)?, inertia: row.get(2)? })
        })
    }

    /// The members of every cluster, nearest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn members(&self) -> Result<Vec<MemberRow>, DbError> {
        let sql = "SELECT raw, cluster, rank, distance FROM members ORDER BY cluster, rank";
        self.db.rows(sql, [], |row| {
            Ok(MemberRow {
                raw: row.get(0)?,
                cluster: row.get(1)?,
                rank: row.get(2)?,
                distance: row.get(3)?,
            })
        })
    }

    /// What each cluster came to.
    ///
    /// # Errors
    /// SQLite's.
    pub fn finals(&self) -> Result<Vec<FinalRow>, DbError> {
        let sql =
            "SELECT cluster, id, text, call_key, shown, attempts, verdict, reason, merged_into,
                requires, coherent
             FROM finals ORDER BY cluster";
        self.db.rows(sql, [], |row| {
            Ok(FinalRow {
                cluster: row.get(0)?,
                id: row.get(1)?,
                text: row.get(2)?,
                call_key: row.get(3)?,
                shown: json_column(row, 4)?,
                attempts: row.get(5)?,
                verdict: row.get(6)?,
                reason: row.get(7)?,
                merged_into: row.get(8)?,
                requires: optional_json(row, 9)?,
                coherent: row.get(10)?,
            })
        })
    }

    /// Every refused attempt at a final instruction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn refusals(&self) -> Result<Vec<RefusalRow>, DbError> {
        let sql = "SELECT call_key, cluster, text, code, reason FROM refusals
             ORDER BY cluster, call_key";
        self.db.rows(sql, [], |row| {
            Ok(RefusalRow {
                call_key: row.get(0)?,
                cluster: row.get(1)?,
                text: row.get(2)?,
                code: row.get(3)?,
                reason: row.get(4)?,
            })
        })
    }

    /// Every cluster's instruction with its lineage, in the clusters' order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn lineage(&self) -> Result<Vec<LineageRow>, DbError> {
        let (raws, descriptions) = (self.raws()?, self.descriptions()?);
        let clusters = self.clusters()?;
        let picks = self.picks()?.into_iter().map(|pick| (pick.raw, pick.id));
        let mut picks: HashMap<usize, String> = picks.collect();
        let mut members: Vec<Vec<MemberLineage>> = vec![Vec::new(); clusters.len()];
        for row in self.members()? {
            let Some((raw, into)) = raws.get(row.raw).zip(members.get_mut(row.cluster)) else {
                continue;
            };
            let description = descriptions.get(raw.description);
            into.push(MemberLineage {
                id: picks.remove(&raw.place).unwrap_or_default(),
                place: raw.place,
                text: raw.text.clone(),
                distance: (row.distance * 1e6).round() / 1e6,
                description: description.map(|(id, _)| id.clone()).unwrap_or_default(),
                seeds: raw.seeds.clone(),
                call: self.call_lineage(&raw.call_key)?,
            });
        }
        let finals = self.finals()?;
        finals.into_iter().map(|row| self.lineage_row(row, &clusters, &mut members)).collect()
    }

    fn lineage_row(
        &self,
        row: FinalRow,
        clusters: &[ClusterRow],
        members: &mut [Vec<MemberLineage>],
    ) -> Result<LineageRow, DbError> {
        let call = self.call_lineage(&row.call_key)?;
        let FinalRow { cluster, id, text, shown, attempts, verdict, .. } = row;
        let FinalRow { reason, merged_into, requires, coherent, .. } = row;
        let size = clusters.get(cluster).map_or(0, |one| one.size);
        let members = members.get_mut(cluster).map(std::mem::take).unwrap_or_default();
        Ok(LineageRow {
            id,
            text,
            verdict,
            reason,
            cluster,
            merged_into,
            requires,
            coherent,
            size,
            call,
            attempts,
            shown,
            members,
        })
    }

    fn call_lineage(&self, key: &str) -> Result<Option<CallLineage>, DbError> {
        Ok(self.reply(key)?.map(|reply| CallLineage {
            key: reply.key,
            model: reply.model,
            seed: reply.seed,
            attempt: reply.attempt,
            prompt_tokens: reply.prompt_tokens,
            completion_tokens: reply.completion_tokens,
        }))
    }
}

/// The category of a cluster's instruction.
fn category(cluster: usize) -> String {
    format!("cluster-{cluster:03}")
}
