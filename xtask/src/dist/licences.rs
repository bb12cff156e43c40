//! The licence list: every crate that is linked in, under which licence, and the texts that these licences ask to be passed on.
//!
//! Texts are those that the crates carry. One that several carry stands once, with their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::sbom::Crate;

pub(super) fn list(linked: &[Crate]) -> Result<String> {
    let mut licences = BTreeMap::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Crates of this workspace are under the LICENSE that lies beside.
    for member in linked.iter().filter(|member| !["agentward", "agent-ebpf", "agent-wire"].contains(&member.name.as_str())) {
        let name = format!("{} {}", member.name, member.version);
        licences.insert(name.clone(), member.license.clone().unwrap_or_else(|| "see its text below".into()));
        for text in texts_of(&member.folder).with_context(|| format!("the licence texts of {name}"))? {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    let mut out = String::from("What is linked into agentward, and under which licences.\n\n");
    let fits = "writing to a String cannot fail";
    for (name, licence) in &licences {
        writeln!(out, "{name}: {licence}").expect(fits);
    }
    let mut texts: Vec<(String, Vec<String>)> =
        texts.into_iter().map(|(text, names)| (text, names.into_iter().collect())).collect();
    texts.sort_by(|(text, names), (other, others)| (names, text).cmp(&(others, other)));
    for (text, names) in texts {
        write!(out, "\n{}\n{}\n\n{text}", "-".repeat(72), names.join(", ")).expect(fits);
    }
    Ok(out)
}

/// With lines that end as here, and without the blank ones around: crates carry the same text in several shapes.
fn texts_of(folder: &Path) -> Result<Vec<String>> {
    const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            let text = String::from_utf8_lossy(&fs::read(&path)?).replace("\r\n", "\n");
            texts.push(format!("{}\n", text.trim_matches('\n').trim_end()));
        }
    }
    Ok(texts)
}
