//! Which instructions a photo gets: score the candidates, refuse what does not fit,
//! draw by a named and seeded strategy.
//!
//! One photo goes through [`combined_query`] (image and caption in one vector), the index, the
//! correction for hubs ([`HubnessStats`]), the similarity floor, the [`check`] of what applies
//! ([`CandidateCheck`]), the balance quotas ([`QuotaBook`]) and the [`Strategy`]. [`Matcher`] holds
//! these together; [`match_one`] is the part after the check, for candidates from elsewhere.
//!
//! [`match_queries`] is the whole way for many photos, as the service and a run go it.
//! [`PhotoSearch`] looks the other way, for the photos of a run.
//!
//! A draw depends on the candidates, the rules, the quotas and the seed: not on the order in
//! which candidates come, on threads or on time.

mod applicable;
pub mod check;
mod config;
mod error;
mod hubness;
mod matcher;
mod photos;
mod queries;
mod strategy;

#[cfg(test)]
mod tests;

pub use crate::model::manifest::ModelDefaults;
pub use applicable::{CandidateCheck, Wording, Wordings, keep_askable};
pub use config::{DEFAULT_CHECKS, Hubness, MatchRules, MatchingConfig};
pub use error::MatchError;
pub use hubness::{HubnessFit, HubnessStats, InstructionStats};
pub use matcher::{Candidate, Matcher, NoMatch, Outcome, Pick, QuotaBook, Refused, match_one};
pub use photos::{PhotoHit, PhotoQuery, PhotoSearch, PhotosFound, PhotosStamp};
pub use queries::{
    Drawing, MatchQuery, Query, QueryVectors, Subject, checked_candidates, combined_query,
    embed_queries, match_queries,
};
pub use strategy::{Strategy, Vectors};
