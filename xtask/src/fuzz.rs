//! Fuzzing of the decoders with libFuzzer, on the stable toolchain: `tests/fuzz` is a workspace of its own whose configuration asks
//! for the instrumentation. What a run finds new stays under `target`; the committed corpora are only read.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::sh;

#[derive(clap::Args)]
pub struct Arguments {
    /// The door; all of them, one after the other, when none is named.
    target: Option<String>,
    /// Seconds a door.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// In place of fuzzing: cut streams of every protocol in two at so many places; what comes out must not change.
    #[arg(long, value_name = "N")]
    splits: Option<u64>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(splits) = arguments.splits {
        let mut cargo = sh::cargo();
        cargo.args(["test", "--release", "--quiet", "--package", "agentward", "--no-default-features", "--lib"]);
        return sh::run(cargo.args(["cuts_do_not_matter", "--", "--nocapture"]).env("AGENTWARD_SPLITS", splits.to_string()));
    }
    let folder = sh::root().join("tests/fuzz");
    ensure!(folder.is_dir(), "this checkout has no fuzz targets ({} is missing)", folder.display());
    let names = match &arguments.target {
        Some(name) => vec![name.clone()],
        None => doors(&folder)?,
    };
    for name in names {
        let found = folder.join("target/corpus").join(&name);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let mut fuzz = sh::cargo();
        fuzz.args(["run", "--release", "--quiet", "--", &format!("-max_total_time={}", arguments.seconds), "-max_len=2048"])
            .arg(&found)
            .arg(format!("corpus/{name}"))
            .arg("-print_final_stats=1")
            .env("AGENTWARD_FUZZ", &name)
            .env_remove("RUSTFLAGS")
            .current_dir(&folder);
        sh::run(&mut fuzz)?;
    }
    Ok(())
}

/// Each door has a corpus.
fn doors(folder: &std::path::Path) -> Result<Vec<String>> {
    let corpora = folder.join("corpus");
    let mut names = Vec::new();
    for entry in fs::read_dir(&corpora).with_context(|| format!("cannot read {}", corpora.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
