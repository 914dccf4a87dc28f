//! What the report shows beside its pairs: use of the instructions, and histograms' values.

use super::Store;
use crate::base::db::DbError;
use crate::dataset::record::CandidateScore;

/// How many instructions a run knows, how often each was drawn and led to an accepted sample.
pub type InstructionUse = (String, String, Option<String>, u64, u64);

impl Store {
    /// For each instruction of the library `library`: (id, text, category, drawn, accepted).
    ///
    /// # Errors
    /// SQLite's.
    pub fn instruction_use(
        &self,
        library: &str,
        match_conf: &str,
        conf: &str,
    ) -> Result<Vec<InstructionUse>, DbError> {
        self.db.rows(
            "SELECT n.id, n.text, n.category, count(p.pair_key),
                    count(DISTINCT CASE WHEN a.verdict = 'accepted' THEN p.pair_key END)
             FROM instructions n
             LEFT JOIN pairs p ON p.instruction_key = n.key AND p.conf = ?2
             LEFT JOIN answers a ON a.pair_key = p.pair_key AND a.conf = ?3
                 AND a.verdict = 'accepted'
             WHERE n.library = ?1 GROUP BY n.key ORDER BY 4 DESC, n.id",
            [library, match_conf, conf],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
    }

    /// Gives every candidate's similarity to `each`, and whether it was drawn, for the
    /// histograms, with constant memory.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_similarity(
        &self,
        match_conf: &str,
        mut each: impl FnMut(f64, bool),
    ) -> Result<(), DbError> {
        self.db.each(
            "SELECT m.candidates,
                    (SELECT json_group_array(n.id) FROM pairs p
                     JOIN instructions n ON n.key = p.instruction_key WHERE p.seq = m.seq)
             FROM matches m JOIN items i ON i.seq = m.seq AND i.state = 'ready'
             WHERE m.conf = ?1",
            [match_conf],
            |row| Ok((parse(&row.get::<_, String>(0)?), parse(&row.get::<_, String>(1)?))),
            |(candidates, drawn): (Vec<CandidateScore>, Vec<String>)| {
                candidates.iter().for_each(|one| each(one.similarity, drawn.contains(&one.id)));
                Ok(())
            },
        )
    }

    /// Gives the length in words of every accepted answer to `each`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_accepted_length(
        &self,
        match_conf: &str,
        conf: &str,
        mut each: impl FnMut(usize),
    ) -> Result<(), DbError> {
        self.db.each(
            "SELECT a.text FROM answers a JOIN pairs p ON p.pair_key = a.pair_key
             WHERE p.conf = ?1 AND a.conf = ?2 AND a.verdict = 'accepted'",
            [match_conf, conf],
            |row| Ok(row.get_ref(0)?.as_str()?.split_whitespace().count()),
            |words| {
                each(words);
                Ok(())
            },
        )
    }
}

/// Reads a list this store wrote itself; a damaged one shows as empty in figures.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap_or_default()
}
