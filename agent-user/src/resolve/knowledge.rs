//! Signature knowledge: read from TOML, embedded and replaceable from disk.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use sha2::{Digest, Sha256};

static EMBEDDED: &str = include_str!("signatures.toml");

/// The format that this program reads.
const VERSION: u32 = 1;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    pub version: u32,
    /// Names this text: answers found with another one are not used.
    #[serde(skip)]
    digest: String,
    pub(super) openssl3: Openssl3,
    pub(super) openssl11: Openssl11,
    pub(super) boringssl: Boringssl,
    pub(super) aead: Aead,
    pub(super) rustls: Rustls,
    pub(super) go: Go,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Openssl3 {
    pub(super) file: String,
    pub(super) read_internal: String,
    pub(super) write_internal: String,
    pub(super) read: String,
    pub(super) write: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Openssl11 {
    pub(super) read_internal: u32,
    pub(super) write_internal: u32,
    pub(super) read: u32,
    pub(super) write: u32,
}

/// Reasons that a function must report, and those that it must not.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reasons {
    pub(super) all: Vec<u32>,
    pub(super) none: Vec<u32>,
}

impl Reasons {
    pub(super) fn answered_by(&self, reported: &BTreeSet<u32>) -> bool {
        self.all.iter().all(|reason| reported.contains(reason)) && !self.none.iter().any(|reason| reported.contains(reason))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Boringssl {
    pub(super) file: String,
    pub(super) write: Vec<u32>,
    pub(super) read_impl: Reasons,
    pub(super) read: Reasons,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aead {
    pub(super) files: Vec<String>,
    pub(super) seal: Reasons,
    pub(super) seal_scatter: Reasons,
    pub(super) open: Reasons,
    pub(super) open_gather: Reasons,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rustls {
    pub(super) overhead: Vec<Overhead>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overhead {
    pub(super) suite: String,
    #[serde(deserialize_with = "code")]
    pub(super) leaf: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Go {
    pub(super) read: String,
    pub(super) write: String,
    pub(super) close: String,
}

/// Why a signature file cannot be used.
#[derive(Debug)]
pub enum KnowledgeError {
    /// The parser's words, with line and column.
    Syntax(String),
    Version(u32),
}

impl fmt::Display for KnowledgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KnowledgeError::Syntax(words) => f.write_str(words.trim_end()),
            KnowledgeError::Version(found) => {
                write!(f, "signature format {found} is not known: this program reads format {VERSION}; update it or the file")
            }
        }
    }
}

impl std::error::Error for KnowledgeError {}

impl Knowledge {
    /// # Panics
    /// Never: a test reads the embedded file.
    pub fn embedded() -> Knowledge {
        Knowledge::parse(EMBEDDED).expect("the embedded signatures are tested")
    }

    pub fn parse(text: &str) -> Result<Knowledge, KnowledgeError> {
        let mut knowledge: Knowledge = toml::from_str(text).map_err(|error| KnowledgeError::Syntax(error.to_string()))?;
        knowledge.digest = Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        if knowledge.version == VERSION { Ok(knowledge) } else { Err(KnowledgeError::Version(knowledge.version)) }
    }
}

impl Knowledge {
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Machine code in hexadecimal.
fn code<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let read = |text: &String| {
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        bytes
            .filter(|bytes| text.len().is_multiple_of(2) && !bytes.is_empty())
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not machine code in hexadecimal")))
    };
    Vec::<String>::deserialize(from)?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_signatures_are_read() {
        assert_eq!(Knowledge::embedded().version, VERSION);
    }

    #[test]
    fn a_bad_file_says_where_and_why() {
        let cases = [
            (EMBEDDED.replace("version = 1\n", "version = 2\n"), "format 2"),
            (EMBEDDED.replace("[go]", "[go]\nextra = 1"), "extra"),
            (EMBEDDED.replace("488d4611c3", "488d4611c"), "488d4611c"),
            (EMBEDDED.replace("\"ssl/ssl_lib.cc\"", "1"), "line"),
        ];
        for (text, word) in cases {
            let error = Knowledge::parse(&text).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
