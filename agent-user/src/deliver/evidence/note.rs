//! Checkpoints: C2SP tlog-checkpoint in a signed note, with one Ed25519 signature.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::merkle::Hash;

/// Type byte of Ed25519 in signed notes.
const ED25519_TYPE: u8 = 1;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub size: u64,
    pub root: Hash,
}

/// The log's own key.
pub(super) struct Signer {
    /// Origin of the log and name of its key.
    name: String,
    pair: Ed25519KeyPair,
}

/// What others need to check it: `NAME+KEYID+BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: Vec<u8>,
}

impl Signer {
    pub(super) fn new(name: &str, seed: &[u8]) -> io::Result<Signer> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| io::Error::other("the log's key must be 32 bytes"))?;
        Ok(Signer { name: name.to_owned(), pair })
    }

    pub(super) fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), key: self.pair.public_key().as_ref().to_vec() }
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = format!("{}\n{}\n{}\n", self.name, checkpoint.size, STANDARD.encode(checkpoint.root));
        let id = key_id(&self.name, self.pair.public_key().as_ref());
        let signature = [&id[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(signature))
    }
}

impl Verifier {
    pub fn parse(text: &str) -> Option<Verifier> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, STANDARD.decode(parts.next()?).ok()?);
        let (kind, key) = key.split_first()?;
        let right = *kind == ED25519_TYPE && key.len() == 32 && id == hex(&key_id(name, key));
        right.then(|| Verifier { name: name.to_owned(), key: key.to_vec() })
    }

    pub fn text(&self) -> String {
        let key = [&[ED25519_TYPE], &self.key[..]].concat();
        format!("{}+{}+{}", self.name, hex(&key_id(&self.name, &self.key)), STANDARD.encode(key))
    }

    /// What the note says, when one of its signatures is by this key.
    pub fn open(&self, note: &str) -> Option<Checkpoint> {
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let id = key_id(&self.name, &self.key);
        let signed = signatures.lines().any(|line| {
            let Some((name, signature)) = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')) else {
                return false;
            };
            let Ok(signature) = STANDARD.decode(signature) else { return false };
            name == self.name
                && signature.get(..4) == Some(&id[..])
                && UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), &signature[4..]).is_ok()
        });
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        // Leading zeros would give two texts for one size.
        let plain = size.parse::<u64>().ok().filter(|number| number.to_string() == size)?;
        (signed && origin == self.name).then_some(Checkpoint { size: plain, root })
    }
}

fn key_id(name: &str, key: &[u8]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(key).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_opens_only_as_it_was_signed() {
        let signer = Signer::new("host.example/agentward", &[7; 32]).expect("makes a key");
        let checkpoint = Checkpoint { size: 42, root: [9; 32] };
        let note = signer.sign(&checkpoint);
        let verifier = Verifier::parse(&signer.verifier().text()).expect("reads its own text");
        assert_eq!(verifier.open(&note), Some(checkpoint));
        for (from, to) in [("42", "43"), ("\n42", "\n042"), ("host", "most"), ("CQkJ", "CQkK")] {
            assert_eq!(verifier.open(&note.replacen(from, to, 1)), None, "{from}");
        }
        let stranger = Signer::new("host.example/agentward", &[8; 32]).expect("makes a key").verifier();
        assert_eq!(stranger.open(&note), None);
    }

    /// The key of Go's `golang.org/x/mod/sumdb/note` documentation.
    #[test]
    fn a_published_key_is_read() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let verifier = Verifier::parse(text).expect("reads");
        assert_eq!(verifier.text(), text);
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line =
            "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let signature = STANDARD.decode(line.rsplit_once(' ').expect("has one").1).expect("decodes");
        assert_eq!(signature[..4], key_id("PeterNeumann", &verifier.key));
        assert!(UnparsedPublicKey::new(&ED25519, &verifier.key).verify(note.as_bytes(), &signature[4..]).is_ok());
    }
}
