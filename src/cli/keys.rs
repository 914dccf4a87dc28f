//! `keys`: the API keys of `serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::Error;
use crate::server::ServerError;
use crate::server::auth::{KeyFile, Scope};

use super::exit::Exit;

/// Options of `keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The keys file; `serve --api-keys` takes the same.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "keys.toml",
        env = "PAIRWRIGHT__SERVE__AUTH__KEYS_FILE"
    )]
    pub file: PathBuf,

    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, print it once, and store its hash.
    New {
        /// Who will use it; logged with each call.
        #[arg(long)]
        name: String,

        /// read: calls that change nothing and cost no LLM tokens; write: every call.
        #[arg(long, value_enum)]
        scope: Scope,

        /// Time until it ends, such as 90d or 12h; default: never.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// Show names, scopes and expiry of the keys.
    List,
    /// Take a key back; a running server notices within seconds.
    Revoke {
        /// The name it was made with.
        #[arg(long)]
        name: String,
    },
}

/// `pairwright keys`.
pub fn keys(args: &KeysArgs) -> Result<Exit, Error> {
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
    Ok(Exit::Done)
}

fn list(file: &Path) -> Result<(), Error> {
    for entry in KeyFile::read(file).map_err(ServerError::from)?.keys {
        let expires = entry.expires.map_or("never".to_owned(), |time| time.to_string());
        println!("{}\t{}\texpires {expires}", entry.name, entry.scope.name());
    }
    Ok(())
}
