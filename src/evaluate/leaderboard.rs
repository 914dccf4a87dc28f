//! Many models judged against each other or against one baseline, and ranked.

use crate::Error;
use crate::sandbox::FileAccess;
use crate::work::{Estimate, Progress, Stop};

use super::align::Entrant;
use super::bootstrap::Games;
use super::error::EvaluationError;
use super::folder::{EvaluationFolder, Kind};
use super::judge::Session;
use super::output;
use super::request::LeaderboardRequest;
use super::results::{
    FileFacts, JudgeFacts, LeaderboardResults, MADE_BY, Matchup, RESULTS_VERSION, Ranked,
};
use super::session::{Finished, Prepared, remember};
use super::store::Record;
use super::tally::{Cost, Position, QuestionResult, Tally};

/// Elo points per unit of log-strength, around 1000.
const ELO: f64 = 400.0 / std::f64::consts::LN_10;

/// Judges every pair, or goes on where an earlier start ended, and writes `results.json` and
/// `report.html` into `folder`.
///
/// # Errors
/// As [`super::judge`]; [`EvaluationError::Ranking`] where the games link nobody, and
/// [`EvaluationError::NoReplies`] where there are none.
pub async fn leaderboard(
    request: &LeaderboardRequest,
    folder: &EvaluationFolder,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<Finished<LeaderboardResults>, Error> {
    let prepared = prepare(request)?;
    let mut store = folder.store(Kind::Leaderboard)?;
    let prepared = prepared.going_on(&request.options, &store)?;
    remember(&store, request)?;
    let session = Session { store: &mut store, stop, progress };
    let (judge, worked) = prepared.work(&request.options, None, session).await?;
    let record = Record::read(&store)?;
    let pair = |pair: &(usize, usize)| record.pair(&prepared.board, &judge, *pair);
    let games = Games {
        pairs: prepared.board.pairs.clone(),
        verdicts: prepared.board.pairs.iter().map(pair).collect(),
        players: prepared.board.entrants.len(),
        rule: request.options.rule,
    };
    let facts = prepared.judge_facts(&judge, &request.options.llm);
    if let Some(why) = why_nothing(&games) {
        // What may pass at the next start is the reason, where there is such.
        return Err(match worked.gave_up {
            Some(error) => error.into(),
            None => EvaluationError::NoReplies { why }.into(),
        });
    }
    let results = assemble(&games, request, &prepared, facts)?;
    output::write_leaderboard(folder, &results)?;
    Ok(Finished { results, worked })
}

/// Why no game was played, where no question of any pair has a reply or a forfeit.
fn why_nothing(games: &Games) -> Option<String> {
    let all = || games.verdicts.iter().flatten();
    let forfeits: u64 =
        games.verdicts.iter().map(|pair| Tally::of(pair, games.rule).forfeits).sum();
    if Cost::of(all()).replies > 0 || forfeits > 0 {
        return None;
    }
    let mut sides = all().flat_map(|one| [&one.forward, &one.backward]);
    let failure = sides.find_map(|side| side.failure.as_ref());
    Some(failure.map_or("nothing was asked", |failure| &failure.reason).to_owned())
}

/// What a leaderboard would take, without a call.
///
/// # Errors
/// As [`leaderboard`], before its first call.
pub fn estimate_leaderboard(
    request: &LeaderboardRequest,
    folder: Option<&EvaluationFolder>,
) -> Result<Estimate, Error> {
    let store = folder.map(|folder| folder.store(Kind::Leaderboard)).transpose()?;
    prepare(request)?.estimate(&request.options, store.as_ref())
}

fn prepare(request: &LeaderboardRequest) -> Result<Prepared, Error> {
    request.validate()?;
    let files: Vec<&std::path::Path> = request.answers.iter().map(|path| path.as_path()).collect();
    let pairs = |entrants: &[Entrant]| pairs(entrants, request.baseline.as_deref());
    let access = FileAccess::Anywhere;
    Prepared::read(&request.questions, &files, &request.options, &access, pairs)
}

fn pairs(
    entrants: &[Entrant],
    baseline: Option<&str>,
) -> Result<Vec<(usize, usize)>, EvaluationError> {
    let count = entrants.len();
    let Some(wanted) = baseline else {
        return Ok((0..count)
            .flat_map(|one| (one + 1..count).map(move |other| (one, other)))
            .collect());
    };
    let Some(base) = entrants.iter().position(|entrant| entrant.name == wanted) else {
        let names: Vec<&str> = entrants.iter().map(|entrant| entrant.name.as_str()).collect();
        let expected = format!("one of {}", names.join(", "));
        return Err(EvaluationError::Setting {
            setting: "baseline",
            value: wanted.into(),
            expected,
        });
    };
    Ok((0..count).filter(|one| *one != base).map(|one| (one, base)).collect())
}

fn assemble(
    games: &Games,
    request: &LeaderboardRequest,
    prepared: &Prepared,
    judge: JudgeFacts,
) -> Result<LeaderboardResults, EvaluationError> {
    let every: Vec<usize> = (0..prepared.board.questions.len()).collect();
    let fit = games.fit(&every)?;
    let intervals = games.intervals(request.options.seed, request.bootstrap, &every)?;
    let player = |player: usize| {
        let interval = intervals.as_ref().map(|all| all[player]);
        ranked(prepared.entrant(player), fit.strengths[player], interval, games.record(player))
    };
    let mut ranking: Vec<Ranked> = (0..games.players).map(player).collect();
    ranking.sort_by(|a, b| b.strength.total_cmp(&a.strength).then(a.name.cmp(&b.name)));
    let all: Vec<QuestionResult> = games.verdicts.iter().flatten().cloned().collect();
    Ok(LeaderboardResults {
        version: RESULTS_VERSION,
        made_by: MADE_BY.to_owned(),
        questions: prepared.questions.clone(),
        judge,
        rule: games.rule,
        baseline: request.baseline.clone(),
        ranking,
        pairs: tallies(games, prepared),
        position: Position::of(&all),
        smoothed: fit.smoothed,
        bootstrap: request.bootstrap,
        cost: Cost::of(&all),
    })
}

fn tallies(games: &Games, prepared: &Prepared) -> Vec<Matchup> {
    let name = |player: usize| prepared.board.entrants[player].name.clone();
    let pair = |((one, other), verdicts): (&(usize, usize), &Vec<QuestionResult>)| Matchup {
        first: name(*one),
        second: name(*other),
        tally: Tally::of(verdicts, games.rule),
    };
    games.pairs.iter().zip(&games.verdicts).map(pair).collect()
}

fn ranked(
    file: FileFacts,
    strength: f64,
    interval: Option<(f64, f64)>,
    (wins, ties, losses): (u64, u64, u64),
) -> Ranked {
    let (name, elo) = (file.name.clone(), 1000.0 + ELO * strength);
    Ranked { name, strength, interval, elo, wins, ties, losses, file }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant(name: &str) -> Entrant {
        let path = format!("{name}.json").into();
        Entrant { name: name.into(), path, sha256: String::new(), answers: Vec::new() }
    }

    #[test]
    fn everyone_meets_everyone_or_the_baseline() {
        let entrants = ["a", "b", "c"].map(entrant);
        assert_eq!(pairs(&entrants, None).expect("pairs"), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(pairs(&entrants, Some("b")).expect("pairs"), [(0, 1), (2, 1)]);
        let error = pairs(&entrants, Some("d")).expect_err("unknown").to_string();
        assert_eq!(error, "baseline is d, must be one of a, b, c");
    }
}
