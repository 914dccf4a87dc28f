//! What the help of `serve` says of a flag, held against what the flag and the variable do.

use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::serve::configure;
use super::{Cli, Command};
use crate::config::{Config, Layers, keys, settings};

/// Values that some flag takes, most peculiar ones last.
const SAMPLES: [&str; 9] = [
    "7",
    "127.0.0.1:7",
    "off",
    "http://h:4317",
    "openai:http://h:1/v1",
    "cpu",
    "fp16",
    "keep",
    "/x",
];

/// Flags that cannot stand alone, what they stand with, and the keys of that.
const COMPANY: [(&str, &[&str], &[&str]); 6] = [
    ("max-messages-mb", &["--max-message-mb=1"], &["serve.limits.max_message_bytes"]),
    ("tls-cert", &["--tls-key=/k"], &["serve.tls.key"]),
    ("tls-key", &["--tls-cert=/c"], &["serve.tls.cert"]),
    ("tls-client-ca", &["--tls-cert=/c", "--tls-key=/k"], &["serve.tls.cert", "serve.tls.key"]),
    ("otel-ca", &["--otel-endpoint=https://h:1"], &["serve.otel.endpoint"]),
    ("model-text", &["--model=/m"], &["model.path"]),
];

/// One flag's words in the help.
struct Told {
    flag: String,
    takes_value: bool,
    key: String,
    variable: String,
    default: Option<String>,
}

/// Every flag whose help names a variable.
fn told() -> Vec<Told> {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("serve");
    let told = serve.get_arguments().filter_map(|arg| {
        let help = arg.get_help()?.to_string();
        let after = |mark| Some(help.split_once(mark)?.1.split([']', '=', ',']).next()?.to_owned());
        let variable = after("[env: ")?;
        let key = variable.strip_prefix("PAIRWRIGHT__")?.replace("__", ".").to_ascii_lowercase();
        Some(Told {
            flag: arg.get_long()?.to_owned(),
            takes_value: arg.get_action().takes_values(),
            key,
            variable,
            default: after("[default: "),
        })
    });
    told.collect()
}

/// The keys that have other values than by default.
fn changed(config: &Config) -> Vec<String> {
    let before = settings(&Config::default());
    let after = settings(config).into_iter();
    after.filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key).collect()
}

fn by_flags(flags: &[String]) -> Option<Config> {
    let line = ["pairwright".to_owned(), "serve".to_owned()];
    match Cli::try_parse_from(line.iter().chain(flags)).ok()?.command {
        Command::Serve(args) => configure(&args).ok(),
        _ => None,
    }
}

#[test]
fn each_flag_of_serve_sets_the_key_that_its_help_names() {
    let told = told();
    assert!(told.len() > 20, "flags with a variable: {}", told.len());
    for Told { flag, takes_value, key, .. } in told {
        let company = COMPANY.iter().find(|(name, ..)| *name == flag);
        let (others, besides) =
            company.map_or((&[][..], &[][..]), |(_, flags, keys)| (*flags, *keys));
        let given = SAMPLES.map(|value| format!("--{flag}={value}"));
        let given = if takes_value { given.to_vec() } else { vec![format!("--{flag}")] };
        let set = given.into_iter().find_map(|given| {
            let others = others.iter().map(|other| (*other).to_owned());
            let mut keys = changed(&by_flags(&others.chain([given]).collect::<Vec<_>>())?);
            keys.retain(|key| !besides.contains(&key.as_str()));
            Some(keys).filter(|keys| !keys.is_empty())
        });
        let set = set.unwrap_or_else(|| panic!("no sample value fits --{flag}"));
        assert_eq!(set, [key], "what --{flag} sets");
    }
}

#[test]
fn each_variable_and_default_in_the_help_of_serve_is_right() {
    let keys = keys();
    for Told { flag, key, variable, default, .. } in told() {
        let found = keys.iter().find(|one| one.path == key);
        let found = found.unwrap_or_else(|| panic!("--{flag}: there is no key for {variable}"));
        let Some(default) = default else { continue };
        let right = match &found.default {
            Value::Number(number) => {
                let unit = if flag.ends_with("-mb") { f64::from(1 << 20) } else { 1.0 };
                default.parse::<f64>().ok().map(|value| value * unit) == number.as_f64()
            }
            Value::String(text) => *text == default,
            // Unset: the help says what that comes to.
            _ => true,
        };
        assert!(right, "--{flag}: the default is {}, not {default}", found.default);
    }
}

#[test]
fn a_variable_is_named_as_its_key() {
    let variables = [("PAIRWRIGHT__SERVE__QUEUE__MAX_QUEUE_ITEMS".to_owned(), "9".to_owned())];
    let layers = Layers::default().variables(Some(variables.into()));
    let config = layers.resolve().expect("valid");
    assert_eq!(changed(&config), ["serve.queue.max_queue_items"]);
}
