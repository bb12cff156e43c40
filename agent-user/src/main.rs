//! The program: everything is in the library, behind `console`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentward::console::main()
}
