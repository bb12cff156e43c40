//! Throughput of the decoders beside bare libraries: an example of the library, because only it reaches their inner paths.

use anyhow::Result;

use crate::{setup, sh};

pub fn run() -> Result<()> {
    setup::need(&[("cc", "gcc")])?;
    setup::install(&["libnghttp2-dev"])?;
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "agentward", "--no-default-features", "--features", "bench"]);
    sh::run(cargo.args(["--example", "decode-speed"]))
}
