//! Programs that hide, and heavy work that does not. Both take minutes, so `cargo xtask test` leaves them out.

use anyhow::Result;

use crate::{build, peers, setup, sh, test};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only the program, or the workload, of this name.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only in this scope of the daemon, `all` or `auto`; else in both.
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// How long each ordinary workload works; 0 leaves them out.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    ordinary: u64,
    /// Only the ordinary workloads.
    #[arg(long)]
    only_ordinary: bool,
}

/// The live tests that take minutes.
pub const EVERY_EVASION: &str = "every_evasion";
pub const ORDINARY_WORK: &str = "ordinary_work";

pub fn run(arguments: &Arguments) -> Result<()> {
    peers::prepare_python()?;
    peers::prepare_stacks(false)?;
    peers::prepare_evasions()?;
    setup::need(&[
        ("git", "git"),
        ("curl", "curl"),
        ("wget", "wget"),
        ("node", "nodejs"),
        ("setpriv", "util-linux"),
        ("initdb", "postgresql"),
    ])?;
    build::run()?;
    let _alone = sh::alone("running programs that hide")?;
    let check = |name: &str| {
        let mut tests = test::agent_tests();
        tests.args(["--test", "live", "--", "--ignored", "--nocapture", name]);
        tests.env("AGENTWARD_SECONDS", arguments.ordinary.to_string());
        let narrowed = [("AGENTWARD_CASE", &arguments.case), ("AGENTWARD_SCOPE", &arguments.scope)];
        for (variable, value) in narrowed.into_iter().filter_map(|(variable, value)| Some((variable, value.as_ref()?))) {
            tests.env(variable, value);
        }
        sh::check(&mut tests)
    };
    if !arguments.only_ordinary {
        check(EVERY_EVASION)?;
    }
    if arguments.ordinary > 0 { check(ORDINARY_WORK) } else { Ok(()) }
}
