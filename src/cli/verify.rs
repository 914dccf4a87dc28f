//! `verify`: checks a run and tells what it found.

use crate::Error;
use crate::run;
use crate::run::RunFolder;

use super::args::FolderArgs;
use super::exit::Outcome;
use super::run::existing;

/// `pairwright verify`.
pub fn verify(args: &FolderArgs) -> Result<Outcome, Error> {
    let config = existing(&args.out)?;
    let folder = RunFolder::take(&args.out)?;
    let findings = run::verify(&folder, config.image.decode_options())?;
    for finding in &findings {
        println!("{} {}", if finding.is_sound() { "ok   " } else { "WRONG" }, finding.check);
        for problem in &finding.problems {
            println!("      {problem}");
        }
    }
    let sound = findings.iter().all(run::Finding::is_sound);
    Ok(if sound { Outcome::Done } else { Outcome::Unsound })
}
