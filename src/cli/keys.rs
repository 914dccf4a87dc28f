//! `keys`: the API keys of `serve`.

use std::path::Path;

use crate::Error;
use crate::server::ServerError;
use crate::server::auth::KeyFile;

use super::args::{KeysArgs, KeysCommand};
use super::exit::Outcome;

/// `pairwright keys`.
pub fn keys(args: &KeysArgs) -> Result<Outcome, Error> {
    let file = &args.file;
    match &args.command {
        KeysCommand::New { name, scope, expires_in } => {
            let key =
                KeyFile::create(file, name, *scope, *expires_in).map_err(ServerError::from)?;
            // Alone on stdout, so that it can be piped into a secret store.
            println!("{}", key.reveal());
            eprintln!(
                "key {name:?} ({}) added to {}; it is shown only this once",
                scope.name(),
                file.display()
            );
        }
        KeysCommand::List => list(file)?,
        KeysCommand::Revoke { name } => {
            KeyFile::revoke(file, name).map_err(ServerError::from)?;
            eprintln!("key {name:?} removed from {}", file.display());
        }
    }
    Ok(Outcome::Done)
}

fn list(file: &Path) -> Result<(), Error> {
    for entry in KeyFile::read(file).map_err(ServerError::from)?.keys {
        let expires = entry.expires.map_or("never".to_owned(), |time| time.to_string());
        println!("{}\t{}\texpires {expires}", entry.name, entry.scope.name());
    }
    Ok(())
}
