//! The match stage: draws instructions for every embedded photo, in source order.

mod library;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::base::hash;
use crate::base::key::Key;
use crate::config::Config;
use crate::dataset::record::{CandidateScore, CheckFinding, Refused, Rejection, Stage};
use crate::dataset::source::Source;
use crate::dataset::store::{ItemToMatch, MatchRow, PairRow, Store};
use crate::encoder::Encoder;
use crate::index::{LEAST, SAMPLE};
use crate::instruction::{Instruction, Library};
use crate::llm::{LlmError, See};
use crate::matching::check::{CheckKind, Checker, Finding, Requirements};
use crate::matching::{
    Candidate, CandidateCheck, DEFAULT_CHECKS, Drawing, Hubness, HubnessFit, HubnessStats,
    MatchRules, Matcher, MatchingConfig, Outcome, QuotaBook, Wording, Wordings, checked_candidates,
    combined_query, match_queries,
};

use self::library::{LibraryIndex, facts};
use super::checking::{CheckAsker, Checked, Checking};
use super::photo_calls::PhotoRole;
use super::settings::{MatchSettings, Settings, write_search};
use super::{RunError, old_keys};
use crate::work::{Feed, Feeder, Phase, Progress, Stop};

/// Items matched in one transaction.
const PAGE: usize = 256;

/// What the match stage works with.
pub struct MatchStage {
    config: Config,
    encoder: Arc<dyn Encoder>,
    library: Library,
    rules: MatchRules,
    index: LibraryIndex,
    /// Key over everything a draw depends on beside its photo.
    conf: String,
    quota: Option<u64>,
    planned: u64,
    pass: i64,
}

impl MatchStage {
    /// Embeds the library (or reads its index from the run folder) and settles the rules. Call it
    /// after the source was listed: quotas are shares of all pairs planned. `described` is the key of
    /// descriptions that a model writes.
    ///
    /// # Errors
    /// Encoder, index or store failed, or the matching settings contradict each other.
    pub fn prepare(
        config: &Config,
        encoder: Arc<dyn Encoder>,
        library: Library,
        store: &Store,
        folder: &Path,
        described: Option<String>,
    ) -> Result<Self, Error> {
        // A model's entry may change; this run goes on with what it said when the run began.
        let began = format!("matching defaults of {}", encoder.hash());
        let defaults = store.database().began_with(&began, encoder.manifest().defaults)?;
        let check = Some(checks(&config.matching, store)?);
        let rules =
            MatchRules::new(&MatchingConfig { check, ..config.matching.clone() }, defaults)?;
        let index = LibraryIndex::open(&config.index, &*encoder, &library, folder)?;
        write_search(&index.facts(), store)?;
        let mut library = library;
        if !rules.checks().is_empty() {
            for Instruction { text, requires, .. } in &mut library.instructions {
                requires.get_or_insert_with(|| Requirements::of_text(text));
            }
        }
        store.put_instructions(&library.instructions, &library.wording)?;
        let pass = store.pass()?;
        let planned = store.count_items(pass)? * rules.config().per_image as u64;
        let hashes = (library.wording.as_str(), library.requires_key());
        let conf = match_key(encoder.hash(), hashes, &rules, config.seed);
        let asks = rules.checks().contains(&CheckKind::Llm);
        let see = Some(config.check.see).filter(|see| asks && *see != See::Description);
        let conf = match see {
            Some(see) => Key::new("match", 3).field("match", conf).field("see", see.name()).done(),
            None => conf,
        };
        let conf = match described {
            Some(key) => Key::new("match", 3).field("match", conf).field("described", key).done(),
            None => conf,
        };
        let old = old_keys::matching(encoder.hash(), &library.wording, &rules, config.seed);
        store.rekey_matches(&old, &conf)?.report("photos' draws");
        let quota = QuotaBook::with_share(rules.config().max_share, planned).cap();
        let config = config.clone();
        Ok(Self { config, encoder, library, rules, index, conf, quota, planned, pass })
    }

    /// Whether a language model is asked which candidates apply.
    pub fn asks_llm(&self) -> bool {
        self.rules.checks().contains(&CheckKind::Llm)
    }

    /// Whether the score uses descriptions.
    pub fn uses_captions(&self) -> bool {
        self.rules.caption_weight() > 0.0
    }

    /// What to keep with the run about this stage.
    pub fn settings(&self, source: &dyn Source) -> MatchSettings {
        let rules = self.rules.config();
        MatchSettings {
            conf: self.conf.clone(),
            library: self.library.wording.clone(),
            library_origin: self.library.origin.clone(),
            strategy: rules.strategy.name().to_owned(),
            checks: self.rules.checks().iter().map(|kind| kind.name().to_owned()).collect(),
            encoder: facts(self.encoder.manifest(), self.encoder.hash()),
            caption_weight: self.rules.caption_weight(),
            min_similarity: self.rules.min_similarity(),
            temperature: self.rules.config().temperature,
            quota: self.quota,
            image_root: source.image_root().map(Path::to_owned),
            source: source.describe(),
        }
    }

    /// Names and hashes for `run.toml`.
    pub fn resolved(&self) -> [(&'static str, String); 4] {
        [
            ("encoder", self.encoder.manifest().name.clone()),
            ("encoder_hash", self.encoder.hash().to_owned()),
            ("library_hash", self.library.hash.clone()),
            ("match_conf", self.conf.clone()),
        ]
    }

    /// Matches every embedded item that has no match under these settings, while embedding still
    /// brings new ones; `matched` hears of each page. Where a language model is to be asked which
    /// candidates apply, `asker` does so. Returns how many were matched in this session, and why the
    /// calls ended early, if they did.
    ///
    /// # Errors
    /// The store or the index failed. A stop ends early without an error.
    pub fn run(
        &self,
        store: &Store,
        (embedded, matched): (&mut Feed, &Feeder),
        asker: Option<&CheckAsker>,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<(u64, Option<LlmError>), Error> {
        progress.expect(Phase::Match, store.count_items(self.pass)?);
        let Some(hubness) = self.hubness(store, embedded, stop)? else { return Ok((0, None)) };
        self.measure_search(store, embedded, stop)?;
        let matcher = Matcher::new(self.rules.clone(), self.index.search(), hubness.stats)?;
        let matcher = match self.rules.checks() {
            [] => matcher,
            kinds => matcher.with_check(self.check(kinds)),
        };
        let mut quota = self.restored_quota(store)?;
        store.clear_photo_failures(Checking::NAME)?;
        let (mut after, mut count, mut gave_up) = (0, 0, None);
        // A page's questions go by the batch together, and the next page waits for their answers.
        let llm = &self.config.llm;
        let asks = self.asks_llm() && llm.batch;
        let page = if asks { llm.batch_max_requests.max(PAGE) } else { PAGE };
        while gave_up.is_none() && !stop.is_asked() {
            let last_look = embedded.begin_look();
            let items =
                store.items_to_match(self.pass, &self.conf, self.encoder.hash(), after, page)?;
            let Some(last) = items.last() else {
                if last_look {
                    progress.finish(Phase::Match);
                    break;
                }
                embedded.more_blocking(stop);
                continue;
            };
            after = last.seq;
            let items = self.with_written(items)?;
            let rows;
            (rows, gave_up) =
                self.match_items(&matcher, &mut quota, &items, (store, asker, stop))?;
            store.put_matches(&self.conf, &rows)?;
            matched.more();
            count += rows.len() as u64;
            progress.advance(Phase::Match, rows.len() as u64);
        }
        Ok((count, gave_up))
    }

    /// Measures with the first photos of the source how much a search finds, where none were
    /// measured with yet.
    fn measure_search(&self, store: &Store, embedded: &mut Feed, stop: &Stop) -> Result<(), Error> {
        if !self.index.waits_for_photos() {
            return Ok(());
        }
        let Some(items) = self.calibration(store, embedded, SAMPLE, stop)? else { return Ok(()) };
        if items.len() < LEAST {
            return Ok(());
        }
        let items = self.with_written(items)?;
        let weight = self.rules.caption_weight();
        // A query that cannot be made is refused where it is matched.
        let query = |item: &ItemToMatch| {
            let query = combined_query(&item.image, item.caption.as_deref(), weight).ok()?;
            Some(query.vector().to_vec())
        };
        let queries = items.iter().filter_map(query).collect();
        if self.index.measure(queries)? {
            write_search(&self.index.facts(), store)?;
        }
        Ok(())
    }

    /// The items with the embedding of what a model wrote about them as their caption's.
    fn with_written(&self, mut items: Vec<ItemToMatch>) -> Result<Vec<ItemToMatch>, Error> {
        if !self.uses_captions() {
            return Ok(items);
        }
        let texts: Vec<&str> = items.iter().filter_map(|item| item.written.as_deref()).collect();
        let embedded = match texts.is_empty() {
            true => Vec::new(),
            false => self.encoder.embed_texts(&texts)?,
        };
        let mut embedded = embedded.into_iter();
        for item in items.iter_mut().filter(|item| item.written.is_some()) {
            item.caption = embedded.next().map(|text| text.vector);
        }
        Ok(items)
    }

    fn match_items(
        &self,
        matcher: &Matcher,
        quota: &mut QuotaBook,
        items: &[ItemToMatch],
        (store, asker, stop): (&Store, Option<&CheckAsker>, &Stop),
    ) -> Result<(Vec<MatchRow>, Option<LlmError>), Error> {
        let keys: HashMap<&str, &Instruction> =
            self.library.instructions.iter().map(|one| (one.id.as_str(), one)).collect();
        let drawings = items.iter().map(|item| {
            let ItemToMatch { image: subject, caption, descriptions, .. } = item;
            let seed = hash::seed(self.config.seed, &["match", &item.item_key]);
            let caption = caption.as_deref();
            Drawing { subject, caption, descriptions, is_photo: true, seed }
        });
        let drawings: Vec<_> = drawings.collect();
        let Some(asker) = asker else {
            let outcomes = match_queries(matcher, quota, &drawings)?;
            let rows = items.iter().zip(outcomes);
            let rows = rows.map(|(item, outcome)| Ok(match_row(item, outcome?, &keys)));
            return Ok((rows.collect::<Result<_, Error>>()?, None));
        };
        let mut found = checked_candidates(matcher, &drawings)?;
        let asking = (&self.rules, &self.wordings());
        let (checked, gave_up) = asker.settle(store, items, &mut found, asking, stop)?;
        let mut rows = Vec::with_capacity(items.len());
        for (((item, drawing), found), checked) in
            items.iter().zip(&drawings).zip(found).zip(checked)
        {
            let row = match checked {
                Checked::Waiting => continue,
                Checked::Refused(refused) => refused_row(item, refused),
                Checked::Ready => {
                    match_row(item, matcher.draw(found?, quota, drawing.seed)?, &keys)
                }
            };
            rows.push(row);
        }
        Ok((rows, gave_up))
    }

    /// The candidates' check, by the words of the library.
    fn check(&self, kinds: &[CheckKind]) -> CandidateCheck {
        let checker = Checker::new(kinds, Some(Arc::clone(&self.encoder)));
        CandidateCheck { checker, wordings: self.wordings() }
    }

    fn wordings(&self) -> Wordings {
        let wording = |one: &Instruction| {
            let requires = one.requires.as_deref().map(Arc::from);
            (one.id.clone(), Wording { text: one.text.as_str().into(), requires })
        };
        let words: HashMap<String, Wording> =
            self.library.instructions.iter().map(wording).collect();
        Arc::new(move |id| words.get(id).cloned())
    }

    fn restored_quota(&self, store: &Store) -> Result<QuotaBook, Error> {
        let mut quota = QuotaBook::with_share(self.rules.config().max_share, self.planned);
        let ids: HashMap<String, String> =
            self.library.instructions.iter().map(|one| (one.key(), one.id.clone())).collect();
        let counts = store.pair_counts(&self.conf)?;
        let by_id = counts.into_iter().filter_map(|(key, n)| Some((ids.get(&key)?.clone(), n)));
        quota.restore(by_id);
        Ok(quota)
    }

    /// The first `limit` photos of the source once they are embedded, or all where there are
    /// fewer: what is found with them depends on how fast they come no more than on how the run is
    /// cut up, but for photos of which a description is still to come. `None` when stopped
    /// meanwhile.
    fn calibration(
        &self,
        store: &Store,
        embedded: &mut Feed,
        limit: usize,
        stop: &Stop,
    ) -> Result<Option<Vec<ItemToMatch>>, Error> {
        while !stop.is_asked() {
            let last_look = embedded.begin_look();
            let (items, full) = store.calibration_items(self.pass, self.encoder.hash(), limit)?;
            if full || last_look {
                return Ok(Some(items));
            }
            embedded.more_blocking(stop);
        }
        Ok(None)
    }

    /// The statistics the scores are corrected by: those this run fitted before, else over the
    /// first photos of the source. `None` when stopped meanwhile.
    fn hubness(
        &self,
        store: &Store,
        embedded: &mut Feed,
        stop: &Stop,
    ) -> Result<Option<Fitted>, Error> {
        if self.rules.config().hubness == Hubness::None {
            return Ok(Some(Fitted { stats: None }));
        }
        if let Some(json) = store.hubness(&self.conf)? {
            let damaged =
                |error: serde_json::Error| RunError::Hubness { message: error.to_string() };
            return Ok(Some(Fitted { stats: Some(serde_json::from_str(&json).map_err(damaged)?) }));
        }
        let photos = self.calibration(store, embedded, self.rules.config().calibration, stop)?;
        photos.map(|photos| self.fit(store, &self.with_written(photos)?)).transpose()
    }

    fn fit(&self, store: &Store, items: &[ItemToMatch]) -> Result<Fitted, Error> {
        let ids: Vec<&str> = self.library.instructions.iter().map(|one| one.id.as_str()).collect();
        let mut fit = HubnessFit::new(&*self.index.search(), &ids)?.by(self.rules.config());
        let weight = self.rules.caption_weight();
        for item in items {
            fit.add(&combined_query(&item.image, item.caption.as_deref(), weight)?)?;
        }
        let stats = fit.finish()?;
        let json = serde_json::to_string(&stats)
            .map_err(|error| RunError::Hubness { message: error.to_string() })?;
        store.set_hubness(&self.conf, &json)?;
        Ok(Fitted { stats: Some(stats) })
    }
}

struct Fitted {
    stats: Option<HubnessStats>,
}

/// The checks that are set; where none are named, those that this run began with: a run that was
/// matched before there were any goes on without.
fn checks(config: &MatchingConfig, store: &Store) -> Result<Vec<CheckKind>, Error> {
    if let Some(named) = &config.check {
        return Ok(named.clone());
    }
    let today = match Settings::read(store)?.matching {
        Some(earlier) => earlier.checks.iter().filter_map(|name| CheckKind::named(name)).collect(),
        None => DEFAULT_CHECKS.into(),
    };
    Ok(store.database().began_with("matching.check", today)?)
}

/// The key of what is drawn, from the hash of the encoder, those of the library's wording and of
/// what it says that is required, which matters to no draw without a check.
pub(super) fn match_key(
    encoder: &str,
    (wording, requires): (&str, Option<&str>),
    rules: &MatchRules,
    seed: u64,
) -> String {
    let key = Key::new("match", 2).field("encoder", encoder).field("library", wording);
    let requires = requires.filter(|_| !rules.checks().is_empty());
    rules.add_to(key).optional("requires", requires).field("seed", seed).done()
}

/// A photo of whose candidates the language model has said nothing that can be used.
fn refused_row(item: &ItemToMatch, Refused { code, reason }: Refused) -> MatchRow {
    let (stage, subject) = (Stage::Match, item.id.clone());
    MatchRow {
        seq: item.seq,
        item_key: item.item_key.clone(),
        candidates: Vec::new(),
        refused_by: None,
        pairs: Vec::new(),
        rejection: Some(Rejection { stage, code, reason, subject }),
    }
}

fn match_row(
    item: &ItemToMatch,
    outcome: Outcome,
    library: &HashMap<&str, &Instruction>,
) -> MatchRow {
    let pairs = outcome.picks.iter().filter_map(|pick| {
        // Every id of the index is one of the library's.
        let instruction_key = library.get(pick.id.as_str())?.key();
        Some(PairRow {
            pair_key: hash::key(&["pair", &item.item_key, &instruction_key]),
            rank: pick.rank,
            instruction_key,
            similarity: rounded(pick.similarity),
            score: rounded(pick.score),
            probability: pick.probability.map(rounded),
        })
    });
    let rejection = outcome.no_match.as_ref().map(|reason| Rejection {
        stage: Stage::Match,
        code: reason.code().to_owned(),
        reason: reason.to_string(),
        subject: item.id.clone(),
    });
    MatchRow {
        seq: item.seq,
        item_key: item.item_key.clone(),
        pairs: pairs.collect(),
        candidates: candidates(&outcome),
        refused_by: outcome.refused_by.map(|counts| {
            counts.into_iter().map(|(kind, count)| (kind.name().to_owned(), count as u64)).collect()
        }),
        rejection,
    }
}

/// What was considered and what did not apply, best score first.
fn candidates(outcome: &Outcome) -> Vec<CandidateScore> {
    let mut all: Vec<&Candidate> = outcome.considered.iter().chain(&outcome.inapplicable).collect();
    all.sort_by(|a, b| a.best_first(b));
    all.into_iter().map(candidate_score).collect()
}

fn candidate_score(candidate: &Candidate) -> CandidateScore {
    let findings = candidate.verdict.iter().flat_map(|verdict| &verdict.findings);
    let checks = findings.map(|Finding { kind, score, missing }| CheckFinding {
        check: kind.name().to_owned(),
        score: score.map(rounded),
        missing: missing.clone(),
    });
    CandidateScore {
        id: candidate.id.clone(),
        similarity: rounded(candidate.similarity),
        score: rounded(candidate.score),
        checks: checks.collect(),
    }
}

/// Six decimals: beyond them a cosine of f32 vectors is noise.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
