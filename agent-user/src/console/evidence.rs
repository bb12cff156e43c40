//! `agentward evidence verify` and `export`: the tamper-evident log, read from its files; no daemon is asked. Exit code 1 says that the
//! evidence does not hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::config::Config;
use super::{Failure, Format, Outcome};
use crate::deliver::evidence::{self, Bundle, Verdict, Verifier};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Check the whole log, or one bundle, against the log's public key.
    Verify(Verify),
    /// One alert's evidence as a file that verifies by itself: record, proof, rules, what it answers.
    Export(Export),
}

#[derive(clap::Args)]
struct Place {
    /// The daemon's configuration, for the place of its log.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log's folder, or a copy of it.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The log's public key, as kept elsewhere; default: `log.pub` in the folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Place,
    /// Check this bundle instead of the log.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(clap::Args)]
pub(super) struct Export {
    /// The alert's uid.
    uid: String,
    #[command(flatten)]
    place: Place,
    /// Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Rule packs to look for the record's one in, besides the built-in ones.
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Verify(verify) => check(verify),
        Command::Export(export) => take(export),
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.log {
            Some(folder) => Ok(folder.clone()),
            None => Ok(Config::load(self.config.as_deref())?.evidence_dir()),
        }
    }

    fn verifier(&self, folder: &Path) -> Result<Verifier, Failure> {
        let path = self.key.clone().unwrap_or_else(|| folder.join("log.pub"));
        let text = fs::read_to_string(&path).map_err(|error| Failure::file(&path, "read the log's public key", &error))?;
        Verifier::parse(&text).ok_or_else(|| Failure::Input(format!("{}: no key of the form NAME+ID+BASE64", path.display())))
    }
}

fn check(arguments: &Verify) -> Outcome {
    let folder = arguments.place.folder()?;
    let verifier = arguments.place.verifier(&folder)?;
    let (what, verdict) = match &arguments.bundle {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
            let bundle: Bundle =
                serde_json::from_str(&text).map_err(|error| Failure::Input(format!("{}: no bundle: {error}", path.display())))?;
            (path.display().to_string(), evidence::verify_bundle(&bundle, &verifier))
        }
        None => (folder.display().to_string(), evidence::verify(&folder, &verifier)),
    };
    let (holds, records, reason) = match &verdict {
        Verdict::Holds(records) => (true, *records, ""),
        Verdict::Broken(reason) => (false, 0, reason.as_str()),
    };
    match arguments.format {
        Format::Json => println!("{}", serde_json::json!({"holds": holds, "records": records, "reason": reason})),
        Format::Text if holds => println!("{what}: holds, {records} records as signed"),
        Format::Text => println!("{what}: DOES NOT HOLD: {reason}"),
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn take(arguments: &Export) -> Outcome {
    let folder = arguments.place.folder()?;
    let verifier = arguments.place.verifier(&folder)?;
    let found = evidence::export(&folder, &verifier, &arguments.uid)
        .map_err(|error| Failure::file(&folder, "read the evidence log", &error))?;
    let Some(mut bundle) = found else {
        return Err(Failure::Input(format!("{}: no alert has the uid {}", folder.display(), arguments.uid)));
    };
    bundle.rules = rules(&bundle, &arguments.rules)?;
    let text = serde_json::to_string_pretty(&bundle).map_err(|error| Failure::Internal(error.into()))? + "\n";
    match &arguments.output {
        Some(path) => fs::write(path, text).map_err(|error| Failure::file(path, "write", &error))?,
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The pack with the hash that the record names.
fn rules(bundle: &Bundle, folders: &[PathBuf]) -> Result<Option<String>, Failure> {
    let Some(wanted) = evidence::pack_hash(bundle) else { return Ok(None) };
    let mut texts: Vec<String> = crate::decide::sources().map(str::to_owned).collect();
    for folder in folders {
        for file in super::rules::rule_files(folder)? {
            texts.push(fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?);
        }
    }
    Ok(texts.into_iter().find(|text| evidence::sha256(text) == wanted))
}
