//! What meaning costs: an example of the test package, because only it links the library.

use anyhow::Result;

use crate::sh;

pub fn run() -> Result<()> {
    sh::run(sh::cargo().args(["run", "--release", "--quiet", "--package", "agent-tests", "--example", "understand"]))
}
