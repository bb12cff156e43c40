//! Tells the library where the probe object is. Without one the program builds and says at start what is missing.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=AGENTWARD_BPF_OBJECT");
    if env::var_os("CARGO_FEATURE_LIVE").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies below the workspace");
    let default = root.join("target/bpf/bpfel-unknown-none/release/agent-ebpf");
    let object = env::var_os("AGENTWARD_BPF_OBJECT").map_or(default, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = out.join("probes.o");
    let bytes = std::fs::read(&object).unwrap_or_default();
    std::fs::write(&embedded, bytes).expect("OUT_DIR is writable");
    println!("cargo::rustc-env=AGENTWARD_PROBES={}", embedded.display());
}
