//! Verifying a log or a bundle, and making a bundle: offline, from files alone.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::merkle::{Edge, Hash, WIDTH, climb, leaf, path};
use super::note::Verifier;
use super::read_entries;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many records, all as signed.
    Holds(u64),
    Broken(String),
}

/// One alert's evidence: everything that its check needs, but for the log's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub format: String,
    /// The log's entry, byte for byte.
    pub entry: String,
    pub index: u64,
    /// Base64, lowest first.
    pub path: Vec<String>,
    pub checkpoint: String,
    /// The rule pack, where its text is known: its SHA-256 is the record's `rule.pack_hash`.
    pub rules: Option<String>,
    pub mapping: Vec<Mapping>,
}

/// What a framework or law asks, and what of this alert answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub text: String,
    pub point: String,
    pub answers: String,
}

pub const FORMAT: &str = "agentward-evidence-1";

/// The whole log against its checkpoint: every entry, every tile.
pub fn verify(folder: &Path, verifier: &Verifier) -> Verdict {
    match check(folder, verifier) {
        Ok(size) => Verdict::Holds(size),
        Err(error) => Verdict::Broken(error.to_string()),
    }
}

fn check(folder: &Path, verifier: &Verifier) -> io::Result<u64> {
    let note = fs::read_to_string(folder.join("checkpoint"))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.join("checkpoint").display())))?;
    let checkpoint = verifier.open(&note).ok_or_else(|| io::Error::other("the checkpoint's signature does not hold"))?;
    let mut edge = Edge::default();
    let mut last = None;
    for number in 0..checkpoint.size.div_ceil(WIDTH as u64) {
        let count = usize::try_from(checkpoint.size - number * WIDTH as u64).unwrap_or(WIDTH).min(WIDTH);
        for entry in read_entries(folder, number, count)? {
            let sequence = super::sequence(&entry);
            if sequence.is_none() || sequence <= last {
                return Err(io::Error::other(format!("entry {}: out of order", edge.size)));
            }
            last = sequence;
            edge.push(leaf(&entry), |level, place, hashes| {
                let tile = super::tile_path(folder, &level.to_string(), place, WIDTH);
                let same = fs::read(&tile).is_ok_and(|bytes| bytes == hashes.concat());
                if same { Ok(()) } else { Err(io::Error::other(format!("{}: not the hashes of its entries", tile.display()))) }
            })?;
        }
    }
    if edge.root() != checkpoint.root {
        return Err(io::Error::other("the entries are not those that the checkpoint signs"));
    }
    Ok(checkpoint.size)
}

/// The newest record of the alert `uid`, with its proof. `None` when the log has no such alert.
pub fn export(folder: &Path, verifier: &Verifier, uid: &str) -> io::Result<Option<Bundle>> {
    let note = fs::read_to_string(folder.join("checkpoint"))?;
    let checkpoint = verifier.open(&note).ok_or_else(|| io::Error::other("the checkpoint's signature does not hold"))?;
    let (mut leaves, mut found) = (Vec::new(), None);
    for number in 0..checkpoint.size.div_ceil(WIDTH as u64) {
        let count = usize::try_from(checkpoint.size - number * WIDTH as u64).unwrap_or(WIDTH).min(WIDTH);
        for entry in read_entries(folder, number, count)? {
            if uid_of(&entry).as_deref() == Some(uid) {
                found = Some((leaves.len(), entry.clone()));
            }
            leaves.push(leaf(&entry));
        }
    }
    let Some((index, entry)) = found else { return Ok(None) };
    let entry = String::from_utf8(entry).map_err(io::Error::other)?;
    Ok(Some(Bundle {
        format: FORMAT.into(),
        index: index as u64,
        path: path(&leaves, index).iter().map(|hash| STANDARD.encode(hash)).collect(),
        checkpoint: note,
        rules: None,
        mapping: mapping(&entry),
        entry,
    }))
}

/// A bundle by itself.
pub fn verify_bundle(bundle: &Bundle, verifier: &Verifier) -> Verdict {
    let broken = |why: &str| Verdict::Broken(why.to_owned());
    if bundle.format != FORMAT {
        return broken("another format than this program knows");
    }
    let Some(checkpoint) = verifier.open(&bundle.checkpoint) else { return broken("the checkpoint's signature does not hold") };
    let way: Option<Vec<Hash>> = bundle.path.iter().map(|text| STANDARD.decode(text).ok()?.try_into().ok()).collect();
    let Some(way) = way else { return broken("the path is no list of hashes") };
    if let Some(rules) = &bundle.rules
        && pack_hash(bundle) != Some(sha256(rules))
    {
        return broken("the rules are not those that the record names");
    }
    if climb(leaf(bundle.entry.as_bytes()), bundle.index, checkpoint.size, &way) == Some(checkpoint.root) {
        Verdict::Holds(1)
    } else {
        broken("the record is not in the log that the checkpoint signs")
    }
}

/// In hex, as `rule.pack_hash` is.
pub fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of the rule pack that the record names.
pub fn pack_hash(bundle: &Bundle) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&bundle.entry).ok()?;
    Some(value.pointer("/record/rule/pack_hash")?.as_str()?.to_owned())
}

fn uid_of(entry: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(entry).ok()?;
    Some(value.pointer("/record/uid")?.as_str()?.to_owned())
}

/// Rows for every alert: what its record answers. Article numbers as of 2026; no legal advice.
const ALWAYS: &[(&str, &str, &str)] = &[
    ("EU AI Act (2024/1689)", "Art. 12(2)", "the event, its time, the chain of steps before it, and what of it was not seen"),
    ("EU AI Act (2024/1689)", "Art. 26(5)", "the deployer's own monitoring raised this"),
    ("ISO/IEC 42001:2023", "A.6.2.8", "an event log of the system in use"),
    ("NIS2 (2022/2555)", "Art. 21(2)(b)", "a line of an incident's course"),
    ("NIS2 (2022/2555)", "Art. 21(2)(i)", "who acted for whom, with which authority"),
    ("SOC 2", "CC7.2", "an anomaly that was monitored and recorded"),
    ("NIST SP 800-53", "AU-10", "a signature that the record was written then and not changed since"),
];

/// The alert's own tags name frameworks; laws follow from what every record holds.
fn mapping(entry: &str) -> Vec<Mapping> {
    let value: serde_json::Value = serde_json::from_str(entry).unwrap_or_default();
    let tags = value.pointer("/record/tags").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let tagged = tags.iter().filter_map(serde_json::Value::as_str).filter_map(|tag| {
        let (framework, point) = tag.split_once('.')?;
        Some(Mapping { text: framework.to_owned(), point: point.to_owned(), answers: "the rule detects this".into() })
    });
    let always = ALWAYS.iter().map(|(text, point, answers)| Mapping {
        text: (*text).to_owned(),
        point: (*point).to_owned(),
        answers: (*answers).to_owned(),
    });
    tagged.chain(always).collect()
}
