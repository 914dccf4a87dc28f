//! What a language model said of photos beside the answers: descriptions, and what applies.

use rusqlite::{Row, params};

use super::{Store, image};
use crate::base::db::{DbError, optional_json};
use crate::dataset::ImageRef;
use crate::dataset::record::{Refused, Rejection, Stage, Verdict};

/// The role whose accepted replies stand in the place of the source's description.
pub const DESCRIBE: &str = "describe";

/// Which descriptions hold: their key, and whether also where the source says something.
const HELD: &str = "described";
const HELD_FOR_ALL: &str = "described all";

/// The description that a model wrote for the item `i`, where one holds; `NULL` otherwise.
macro_rules! written {
    () => {
        "(SELECT w.text FROM photo_replies w
          WHERE w.role = 'describe' AND w.key = i.item_key AND w.verdict = 'accepted'
            AND w.conf = (SELECT value FROM meta WHERE name = 'described')
            AND (i.description = '' OR EXISTS (SELECT 1 FROM meta WHERE name = 'described all'))
          ORDER BY w.attempt LIMIT 1)"
    };
}
pub(super) use written;

/// Whether nothing more is to be written about the item `i` before it is matched.
pub(super) const IS_DESCRIBED: &str = "(NOT EXISTS (SELECT 1 FROM meta WHERE name = 'described')
    OR (i.description <> '' AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'described all'))
    OR EXISTS (SELECT 1 FROM photo_replies w
        WHERE w.role = 'describe' AND w.key = i.item_key AND w.verdict = 'accepted'
          AND w.conf = (SELECT value FROM meta WHERE name = 'described'))
    OR (i.description <> '' AND EXISTS (SELECT 1 FROM rejections r
        WHERE r.stage = 'describe' AND r.key = i.item_key
          AND r.conf = (SELECT value FROM meta WHERE name = 'described'))))";

/// A photo that a model is to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemToDescribe {
    pub seq: i64,
    pub id: String,
    pub item_key: String,
    pub image: ImageRef,
    pub image_sha256: String,
    /// What the source says of it, apart; none where it says nothing.
    pub captions: Vec<String>,
    /// The attempt to make now, from 1.
    pub attempt: u32,
}

/// A reply about a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoReply {
    pub key: String,
    /// From 1.
    pub attempt: u32,
    pub text: String,
    pub finish: String,
    /// The LLM's name as its server reports it.
    pub llm: String,
    /// What the model got to know of the photo.
    pub see: String,
    pub prompt_hash: String,
    pub seed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub verdict: Verdict,
}

impl Store {
    /// Names the descriptions that hold from now on, by their key; `all` where they do also for
    /// photos of which the source says something. Without one, the source's do.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hold_descriptions(&self, conf: Option<&str>, all: bool) -> Result<(), DbError> {
        self.db.write(|transaction| {
            let set = |name: &str, value: Option<&str>| match value {
                Some(value) => transaction
                    .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]),
                None => transaction.execute("DELETE FROM meta WHERE name = ?1", [name]),
            };
            set(HELD, conf)?;
            set(HELD_FOR_ALL, conf.filter(|_| all).map(|_| "yes")).map(drop)
        })
    }

    /// The next embedded photos to describe, in source order, after `after`: with no accepted
    /// description under `conf`, fewer than `attempts` made, and no refusal or failure. A photo that
    /// was given up and went on with what its source says stays with that, also where more attempts
    /// are allowed now: instructions were drawn and answers written by it. One whose attempts ended
    /// in the middle, because fewer are allowed now, gets one more, which settles it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn items_to_describe(
        &self,
        pass: i64,
        conf: &str,
        (all, attempts): (bool, u32),
        after: i64,
        limit: usize,
    ) -> Result<Vec<ItemToDescribe>, DbError> {
        self.db.rows(
            "SELECT i.seq, i.id, i.item_key, i.image, i.image_sha256,
                 coalesce(i.descriptions, json_array(i.description)),
                 (SELECT count(*) FROM photo_replies w
                  WHERE w.role = 'describe' AND w.key = i.item_key AND w.conf = ?2)
             FROM items i
             WHERE i.state = 'ready' AND i.pass = ?1 AND i.seq > ?5 AND (?3 OR i.description = '')
               AND NOT EXISTS (SELECT 1 FROM photo_replies w
                   WHERE w.role = 'describe' AND w.key = i.item_key AND w.conf = ?2
                     AND (w.verdict = 'accepted' OR w.finish = 'refused'))
               AND NOT EXISTS (SELECT 1 FROM rejections r
                   WHERE r.stage = 'describe' AND r.key = i.item_key AND r.conf = ?2
                     AND (i.description <> '' OR EXISTS (SELECT 1 FROM photo_replies w
                         WHERE w.role = 'describe' AND w.key = i.item_key AND w.conf = ?2
                           AND w.attempt >= ?4)))
               AND NOT EXISTS (SELECT 1 FROM failures f
                   WHERE f.pair_key = 'describe:' || i.item_key)
             ORDER BY i.seq LIMIT ?6",
            params![pass, conf, all, attempts, after, limit],
            item_to_describe,
        )
    }

    /// How many photos there are to describe, those that are described included.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_to_describe(&self, pass: i64, all: bool) -> Result<u64, DbError> {
        self.db.value(
            "SELECT count(*) FROM items WHERE pass = ?1 AND state = 'ready'
             AND (?2 OR description = '')",
            params![pass, all],
        )
    }

    /// Every reply of a role about `key` under `conf`, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn photo_replies(
        &self,
        role: &str,
        key: &str,
        conf: &str,
    ) -> Result<Vec<PhotoReply>, DbError> {
        self.db.rows(
            "SELECT key, attempt, text, finish, llm, see, prompt_hash, seed, prompt_tokens,
                 completion_tokens, verdict, reason FROM photo_replies
             WHERE role = ?1 AND key = ?2 AND conf = ?3 ORDER BY attempt",
            [role, key, conf],
            photo_reply,
        )
    }

    /// Whether any call of a role under `conf` was answered.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_photo_replies(&self, role: &str, conf: &str) -> Result<bool, DbError> {
        self.db.value(
            "SELECT EXISTS (SELECT 1 FROM photo_replies
             WHERE role = ?1 AND conf = ?2 AND finish <> 'refused')",
            [role, conf],
        )
    }

    /// Keeps a reply, in the place of a failure of the same question.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_photo_reply(
        &self,
        role: &str,
        conf: &str,
        reply: &PhotoReply,
    ) -> Result<(), DbError> {
        self.db
            .execute("DELETE FROM failures WHERE pair_key = ?1 || ':' || ?2", [role, &reply.key])?;
        self.db
            .execute(
                "INSERT OR REPLACE INTO photo_replies VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                params![
                    role,
                    reply.key,
                    conf,
                    reply.attempt,
                    reply.text,
                    reply.finish,
                    reply.llm,
                    reply.see,
                    reply.prompt_hash,
                    // Seeds are below 2^31.
                    reply.seed as i64,
                    reply.prompt_tokens,
                    reply.completion_tokens,
                    reply.verdict.code(),
                    reply.verdict.reason(),
                ],
            )
            .map(drop)
    }

    /// Keeps why a photo has no description under `conf`, or (`None`) that nothing stands against it
    /// any more.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_describe_rejection(
        &self,
        conf: &str,
        item_key: &str,
        rejection: Option<&Rejection>,
    ) -> Result<(), DbError> {
        self.db.execute(
            "DELETE FROM rejections WHERE stage = 'describe' AND key = ?1 AND conf = ?2",
            [item_key, conf],
        )?;
        let Some(Rejection { stage, code, reason, subject }) = rejection else { return Ok(()) };
        debug_assert_eq!(*stage, Stage::Describe);
        self.db
            .execute(
                "INSERT INTO rejections (stage, subject, key, conf, code, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![stage.name(), subject, item_key, conf, code, reason],
            )
            .map(drop)
    }

    /// Forgets the failed calls of a role, so that they are tried again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_photo_failures(&self, role: &str) -> Result<usize, DbError> {
        self.db.execute("DELETE FROM failures WHERE pair_key LIKE ?1 || ':%'", [role])
    }

    /// Replies of a role under `conf`: (accepted, all, prompt tokens, completion tokens).
    ///
    /// # Errors
    /// SQLite's.
    pub fn photo_reply_totals(
        &self,
        role: &str,
        conf: &str,
    ) -> Result<(u64, u64, u64, u64), DbError> {
        let mut rows = self.db.rows(
            "SELECT count(CASE WHEN verdict = 'accepted' THEN 1 END), count(*),
                 ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0)
             FROM photo_replies WHERE role = ?1 AND conf = ?2 AND finish <> 'refused'",
            [role, conf],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        Ok(rows.pop().unwrap_or_default())
    }
}

fn item_to_describe(row: &Row<'_>) -> rusqlite::Result<ItemToDescribe> {
    let mut captions: Vec<String> = optional_json(row, 5)?.unwrap_or_default();
    captions.retain(|caption| !caption.trim().is_empty());
    Ok(ItemToDescribe {
        seq: row.get(0)?,
        id: row.get(1)?,
        item_key: row.get(2)?,
        image: image(row, 3)?,
        image_sha256: row.get(4)?,
        captions,
        attempt: row.get::<_, u32>(6)? + 1,
    })
}

fn photo_reply(row: &Row<'_>) -> rusqlite::Result<PhotoReply> {
    let (code, reason): (String, String) = (row.get(10)?, row.get(11)?);
    Ok(PhotoReply {
        key: row.get(0)?,
        attempt: row.get(1)?,
        text: row.get(2)?,
        finish: row.get(3)?,
        llm: row.get(4)?,
        see: row.get(5)?,
        prompt_hash: row.get(6)?,
        seed: row.get::<_, i64>(7)?.unsigned_abs(),
        prompt_tokens: row.get(8)?,
        completion_tokens: row.get(9)?,
        verdict: match &*code {
            Verdict::ACCEPTED => Verdict::Pass,
            _ => Verdict::Reject(Refused { code, reason }),
        },
    })
}

/// What is known of a photo where a model has described it: that first, then the captions.
pub(super) fn grounded(
    written: Option<String>,
    description: String,
    captions: Vec<String>,
) -> (String, Vec<String>) {
    let Some(written) = written else { return (description, captions) };
    let said = if captions.is_empty() { vec![description] } else { captions };
    let said = said.into_iter().filter(|caption| !caption.trim().is_empty());
    (written.clone(), std::iter::once(written).chain(said).collect())
}
