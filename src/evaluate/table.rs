//! Results as a terminal shows them.

use std::fmt::Write;

use super::compare::Agreement;
use super::results::{JudgeResults, LeaderboardResults};
use super::rule::Rule;
use super::tally::{Group, Tally};

/// The table of a judged pair.
pub fn judge_table(results: &JudgeResults) -> String {
    let JudgeResults { first, second, judge, rule, .. } = results;
    let other = if *rule == Rule::Strict { Rule::Paper } else { Rule::Strict };
    let mut text = format!(
        "first   {}\nsecond  {}\njudge   {}, shown the {} of each question\n\n",
        first.name,
        second.name,
        judge.model,
        judge.sight.name()
    );
    for (rule, note) in [(*rule, ""), (other, " (for comparison)")] {
        let total = &results.under(rule).total;
        line(&mut text, &format!("rule {}{note}", rule.name()), &tally(total));
    }
    let counts = &results.consistency;
    let orders = format!(
        "{} agree ({} on a tie), {} flip with the order, {} lean, {} unread",
        counts.agreed, counts.agreed_ties, counts.order_flips, counts.leaning, counts.unread
    );
    line(&mut text, "both orders", &orders);
    line(&mut text, "position", &results.position.to_string());
    line(&mut text, "length", &results.under(*rule).length.to_string());
    groups(&mut text, "by length difference", &results.under(*rule).by_length);
    groups(&mut text, "by category", &results.under(*rule).by_category);
    let cost = &results.cost;
    let tokens = format!(
        "{} replies, {} requests, {} prompt and {} reply tokens",
        cost.replies, cost.requests, cost.prompt_tokens, cost.completion_tokens
    );
    line(&mut text, "cost", &tokens);
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name:<30}{value}");
}

fn groups(text: &mut String, title: &str, groups: &[Group]) {
    line(text, title, "");
    for group in groups {
        line(text, &format!("  {}", cut(&group.name, 26)), &tally(&group.tally));
    }
}

fn cut(name: &str, width: usize) -> String {
    match name.chars().nth(width) {
        Some(_) => name.chars().take(width - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

fn tally(tally: &Tally) -> String {
    let Tally { first, tie, second, unparsed, missing, forfeits, .. } = tally;
    let mut text = format!("win {first}  tie {tie}  loss {second}");
    for (count, what) in [(unparsed, "unparsed"), (missing, "missing"), (forfeits, "forfeits")] {
        if *count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "  {what} {count}");
        }
    }
    text
}

/// The table of two judges' agreement.
pub fn agreement_table(agreement: &Agreement) -> String {
    let Agreement { one, other, rule, compared, left_out, counts, kappa, .. } = agreement;
    let mut text = format!("judge 1  {one}\njudge 2  {other}\nrule     {}\n\n", rule.name());
    line(&mut text, "questions compared", &format!("{compared}, left out {left_out}"));
    for (name, row) in ["first", "tie", "second"].iter().zip(counts) {
        let row: Vec<String> = row.iter().map(|count| format!("{count:>6}")).collect();
        line(&mut text, &format!("  judge 1 says {name}"), &row.concat());
    }
    line(&mut text, "  judge 2 says", " first   tie second");
    let Some(kappa) = kappa else {
        line(&mut text, "agreement", "nothing to compare");
        return text;
    };
    line(&mut text, "agreement", &format!("{:.1} %", 100.0 * kappa.observed));
    let value = kappa
        .kappa
        .map_or("undefined: both always say the same".into(), |kappa| format!("{kappa:.3}"));
    line(&mut text, "Cohen's kappa", &value);
    text
}

/// The table of a leaderboard.
pub fn ranking_table(results: &LeaderboardResults) -> String {
    let mut text = format!(
        "judge {}, shown the {} of each question; rule {}; {}\n\n",
        results.judge.model,
        results.judge.sight.name(),
        results.rule.name(),
        results.opponents()
    );
    let head = format!(
        "{:<28}{:>9}{:>20}{:>8}{:>18}",
        "model", "strength", "95 % interval", "Elo", "win/tie/loss"
    );
    text.push_str(head.trim_end());
    text.push('\n');
    for (rank, row) in results.ranking.iter().enumerate() {
        let interval =
            row.interval.map_or("-".into(), |(low, high)| format!("[{low:.2}, {high:.2}]"));
        let games = format!("{}/{}/{}", row.wins, row.ties, row.losses);
        let name = format!("{}. {}", rank + 1, cut(&row.name, 24));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<28}{:>9.3}{interval:>20}{:>8.0}{games:>18}",
            row.strength, row.elo
        );
    }
    text.push('\n');
    for pair in &results.pairs {
        line(
            &mut text,
            &cut(&format!("{} : {}", pair.first, pair.second), 29),
            &tally(&pair.tally),
        );
    }
    line(&mut text, "position", &results.position.to_string());
    if results.smoothed {
        text.push_str("Some model won or lost everything: half a win each way was added to every pair that met.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!((cut("short", 6).as_str(), cut("too long", 6).as_str()), ("short", "too l…"));
    }
}
