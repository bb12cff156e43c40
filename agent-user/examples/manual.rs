//! Manual pages and shell completions, made of the command line itself: `cargo xtask dist` packs them.
//!
//!     cargo run --package agentward --example manual -- FOLDER

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("the folder to write to"));
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(agentward::console::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut agentward::console::command(), "agentward", &folder)?;
    }
    Ok(())
}
