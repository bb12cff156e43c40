//! The bill of materials, CycloneDX 1.5: the program, the probe object inside it with its hash, and every crate linked into either.
//!
//! Crates come from cargo's own graph, their hashes from `Cargo.lock`. No clock and no random number: the serial number is made of the
//! program's hash, so the same build has the same bill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Build, VERSION, sha256};
use crate::sh;

pub(super) fn bill(build: &Build, program: &Path, object: &Path, linked: &[Crate]) -> Result<String> {
    let hashes = lock_hashes(&build.root)?;
    let program_hash = sha256(program)?;
    let root = format!("agentward@{VERSION}");
    let probe_ref = format!("agent-ebpf@{VERSION}");
    let mut components = vec![json!({
        "type": "file", "bom-ref": probe_ref, "name": "agent-ebpf", "version": VERSION,
        "description": "kernel probes (BPF object) embedded in the program",
        "licenses": [{"expression": "MIT OR GPL-2.0-only"}],
        "hashes": [{"alg": "SHA-256", "content": sha256(object)?}],
    })];
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for Crate { name, version, license, below, .. } in linked {
        let reference = format!("{name}@{version}");
        edges.entry(reference.clone()).or_default().extend(below.iter().cloned());
        if [&root, &probe_ref].contains(&&reference) || !seen.insert(reference.clone()) {
            continue;
        }
        let mut component = json!({"type": "library", "bom-ref": reference, "name": name, "version": version});
        if let Some(license) = license {
            component["licenses"] = json!([{"expression": license}]);
        }
        // Crates without a hash in the lock file are this workspace's own.
        if let Some(hash) = hashes.get(&reference) {
            component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
            component["hashes"] = json!([{"alg": "SHA-256", "content": hash}]);
        }
        components.push(component);
    }
    edges.entry(root.clone()).or_default().insert(probe_ref);
    components[1..].sort_by_key(|component| component["bom-ref"].as_str().unwrap_or_default().to_owned());
    let dependencies: Vec<Value> = edges.iter().map(|(from, to)| json!({"ref": from, "dependsOn": to})).collect();
    let (a, b, c, d) = (&program_hash[..8], &program_hash[8..12], &program_hash[13..16], &program_hash[17..20]);
    let timestamp = sh::output(sh::command("date").args(["-u", "-d", &format!("@{}", build.epoch), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        // Version 8: custom.
        "serialNumber": format!("urn:uuid:{a}-{b}-8{c}-a{d}-{}", &program_hash[20..32]),
        "metadata": {
            "timestamp": timestamp.trim(),
            "component": {
                "type": "application", "bom-ref": root, "name": "agentward", "version": VERSION,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": program_hash}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{bill:#}\n"))
}

pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    /// Its sources.
    pub(super) folder: PathBuf,
    /// What it depends on, as `name@version`.
    below: Vec<String>,
}

/// Every crate linked into the program or the probe object, twice where both have it.
pub(super) fn linked(build: &Build) -> Result<Vec<Crate>> {
    let mut all = graph(build, "x86_64-unknown-linux-gnu", "agentward")?;
    all.extend(graph(build, "bpfel-unknown-none", "agent-ebpf")?);
    Ok(all)
}

/// Every crate linked into `top`: normal dependencies, build scripts and tests left out.
fn graph(build: &Build, target: &str, top: &str) -> Result<Vec<Crate>> {
    let mut metadata = sh::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]).current_dir(&build.root);
    let metadata: Value = serde_json::from_str(&sh::output(&mut metadata)?).context("cargo metadata")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut packages = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        packages.insert(text(&package["id"]), package);
    }
    let mut below = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let linked = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let ids: Vec<String> = list(&node["deps"])
            .iter()
            .filter(|dependency| linked(dependency))
            .map(|dependency| text(&dependency["pkg"]))
            .collect();
        below.insert(text(&node["id"]), ids);
    }
    let start = packages.iter().find(|(_, package)| package["name"] == top).map(|(id, _)| id.clone());
    let mut order = vec![start.with_context(|| format!("the workspace has no {top}"))?];
    let mut next = 0;
    while next < order.len() {
        for id in below.get(&order[next]).into_iter().flatten() {
            if !order.contains(id) {
                order.push(id.clone());
            }
        }
        next += 1;
    }
    let reference = |id: &String| format!("{}@{}", text(&packages[id]["name"]), text(&packages[id]["version"]));
    Ok(order
        .iter()
        .map(|id| {
            let package = &packages[id];
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            Crate {
                name: text(&package["name"]),
                version: text(&package["version"]),
                // The older spelling of cargo means OR.
                license: package["license"].as_str().map(|license| license.replace(" / ", " OR ").replace('/', " OR ")),
                folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
                below: below[id].iter().map(reference).collect(),
            }
        })
        .collect())
}

/// `name@version` to the checksum that the registry gave.
fn lock_hashes(root: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let mut hashes = BTreeMap::new();
    for package in text.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            Some(line.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(hash)) = (value("name"), value("version"), value("checksum")) {
            hashes.insert(format!("{name}@{version}"), hash);
        }
    }
    Ok(hashes)
}
