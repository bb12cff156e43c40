//! Splunk HTTP Event Collector: several envelopes in one body; with indexer acknowledgement where the receiver has it.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{Client, Version};
use super::{Fate, Parcel, SecretFile, Sink, Tls, Trouble, TroubleKind, all_delivered};
use crate::deliver::codec::Codec;

/// The indexer is asked this often, and this long, whether it has a batch on its disk.
const ASK: Duration = Duration::from_millis(250);
const ASK_LONGEST: Duration = Duration::from_secs(60);

const EVENTS: &str = "/services/collector/event";
const ACKNOWLEDGEMENTS: &str = "/services/collector/ack";

/// What stands around each event.
pub(super) struct Envelope {
    pub(super) host: String,
    pub(super) index: Option<String>,
    pub(super) source_type: String,
}

pub(super) struct Splunk {
    client: Client,
    token: SecretFile,
    acknowledge: bool,
    envelope: Envelope,
    json: bool,
    /// Names this sink to the indexer; new at each start, as acknowledgement ids are.
    channel: String,
}

impl Splunk {
    pub(super) fn new(
        url: &str,
        tls: &Tls,
        token: SecretFile,
        acknowledge: bool,
        envelope: Envelope,
        codec: Codec,
    ) -> io::Result<Splunk> {
        let client = Client::new(url, tls, Version::Http1)?;
        Ok(Splunk { client, token, acknowledge, envelope, json: codec.is_json(), channel: channel()? })
    }

    fn path(&self, end: &str) -> String {
        let start = self.client.path().trim_end_matches('/');
        let start = start.strip_suffix(EVENTS).unwrap_or(start);
        format!("{start}{end}")
    }

    fn headers(&self) -> io::Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("content-type", "application/json".into()),
            ("authorization", format!("Splunk {}", *self.token.read()?)),
            ("x-splunk-request-channel", self.channel.clone()),
        ])
    }

    fn body(&self, batch: &[Parcel]) -> Bytes {
        let mut body = String::new();
        for parcel in batch {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let event = if self.json { parcel.text.clone() } else { quoted(&parcel.text) };
            let index = self.envelope.index.as_ref().map(|index| format!(",\"index\":{}", quoted(index))).unwrap_or_default();
            body.push_str(&format!(
                "{{\"time\":{}.{:03},\"host\":{},\"source\":\"agentward\",\"sourcetype\":{}{index},\"fields\":{{\"uid\":{}}},\"event\":{event}}}\n",
                parcel.time / 1_000_000_000,
                parcel.time / 1_000_000 % 1_000,
                quoted(&self.envelope.host),
                quoted(&self.envelope.source_type),
                quoted(&parcel.id()),
            ));
        }
        Bytes::from(body)
    }

    /// Waits until the indexer says that it has the batch.
    fn wait(&mut self, id: u64) -> Result<(), Trouble> {
        let started = Instant::now();
        let path = format!("{}?channel={}", self.path(ACKNOWLEDGEMENTS), self.channel);
        let question = Bytes::from(format!("{{\"acks\":[{id}]}}"));
        loop {
            let answer = self.client.post(&path, &self.headers()?, &question)?;
            if let Some(trouble) = answer.trouble("the acknowledgement endpoint") {
                return Err(Trouble { kind: TroubleKind::Later(None), why: trouble.why });
            }
            let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if said.pointer(&format!("/acks/{id}")).and_then(serde_json::Value::as_bool) == Some(true) {
                return Ok(());
            }
            if started.elapsed() > ASK_LONGEST {
                return Err(Trouble::later(format!("not indexed after {} s", ASK_LONGEST.as_secs())));
            }
            std::thread::sleep(ASK);
        }
    }
}

impl Sink for Splunk {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let path = self.path(EVENTS);
        let answer = self.client.post(&path, &self.headers()?, &self.body(batch))?;
        if let Some(trouble) = answer.trouble("the collector") {
            return Err(trouble);
        }
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match said.pointer("/code").and_then(serde_json::Value::as_i64) {
            Some(0) => {}
            Some(code) => return Err(Trouble::later(format!("the collector answered code {code}"))),
            None => return Err(Trouble::later("the collector's answer has no code: is this its address?")),
        }
        if self.acknowledge {
            let id = said.pointer("/ackId").and_then(serde_json::Value::as_u64);
            let id = id.ok_or_else(|| Trouble::later("the token has no indexer acknowledgement; turn `acknowledge` off"))?;
            self.wait(id)?;
        }
        Ok(all_delivered(batch))
    }
}

/// A random UUID (RFC 9562, version 4).
fn channel() -> io::Result<String> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
