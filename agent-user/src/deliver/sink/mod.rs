//! Sinks: where journal records go, in the words of a codec. Each is driven by a thread and a cursor of its own (see [`super::outbox`]).
//!
//! In: [`Parcel`]s, at least once, in order. Out: what the receiver said to each. A sink neither waits between attempts nor forgets:
//! both are the driver's. Error texts name the receiver and its answer's code, never what was sent.

mod broker;
mod client;
mod elastic;
mod file;
mod filter;
mod kafka;
mod nats;
mod otlp;
mod protobuf;
mod secret;
mod splunk;
mod syslog;
mod tls;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use broker::{Broker, entrust};
pub use file::FileSink;
pub use filter::{Filter, HEARTBEAT};
pub use secret::SecretFile;
pub use tls::Tls;

use super::codec::Codec;
use super::journal::Sequence;
use crate::base::Value;

/// A record on its way to a receiver.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub sequence: Sequence,
    pub uid: String,
    /// 0 for a finding, then counting its updates, which share its uid.
    pub revision: u32,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// The redacted native view.
    pub alert: Value,
    /// The same in the sink's codec: one line without its end.
    pub text: String,
}

impl Parcel {
    /// Names this very record to receivers that drop what they have: the uid, and for an update its number.
    fn id(&self) -> String {
        if self.revision == 0 { self.uid.clone() } else { format!("{}.{}", self.uid, self.revision) }
    }

    /// Keeps the order of one workflow where a receiver has lanes.
    fn lane(&self) -> &str {
        self.alert.pointer("/workflow").and_then(Value::as_str).unwrap_or(&self.uid)
    }
}

/// What became of one parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// Not now; it comes again.
    Later,
    /// Never: the receiver's reason goes into the dead letters.
    Refused(String),
}

/// Why nothing of a batch is known to have arrived.
#[derive(Debug)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// For a person: who, and what code. No content.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Unreachable, overloaded, or our credentials are not taken: the same again later, not before the receiver's own wish.
    Later(Option<Duration>),
    /// The batch as it is will never be taken. Its parcels are tried one by one, and one that is refused alone is a dead letter.
    Refused,
}

impl Trouble {
    fn later(why: impl Into<String>) -> Trouble {
        Trouble { kind: TroubleKind::Later(None), why: why.into() }
    }

    fn refused(why: impl Into<String>) -> Trouble {
        Trouble { kind: TroubleKind::Refused, why: why.into() }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::later(error.to_string())
    }
}

/// A receiver.
pub trait Sink: Send {
    /// Returns when the receiver has answered for every parcel, one fate each.
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble>;
}

fn all_delivered(batch: &[Parcel]) -> Vec<Fate> {
    vec![Fate::Delivered; batch.len()]
}

/// A sink as configured.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub codec: Codec,
    pub filter: Filter,
    /// Parcels in one delivery.
    pub batch: usize,
    pub target: Target,
}

#[derive(Clone, Debug)]
pub enum Target {
    File {
        path: PathBuf,
        /// Rotated at this size; `None` leaves it to others (logrotate).
        rotate: Option<file::Rotation>,
    },
    Stdout,
    Syslog {
        transport: Transport,
        address: String,
        tls: Tls,
    },
    Http {
        url: String,
        tls: Tls,
        /// Key of the signature (Standard Webhooks).
        signing: Option<SecretFile>,
        bearer: Option<SecretFile>,
        cloudevents: bool,
    },
    SplunkHec {
        url: String,
        tls: Tls,
        token: SecretFile,
        acknowledge: bool,
        index: Option<String>,
        source_type: String,
    },
    Elastic {
        url: String,
        tls: Tls,
        index: String,
        login: Option<Login>,
    },
    Otlp {
        url: String,
        tls: Tls,
        protocol: OtlpProtocol,
        bearer: Option<SecretFile>,
    },
    Kafka {
        brokers: Vec<String>,
        topic: String,
        tls: Option<Tls>,
        login: Option<(String, SecretFile)>,
    },
    Nats {
        urls: Vec<String>,
        subject: String,
        tls: Tls,
        token: Option<SecretFile>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    Http,
    Grpc,
}

#[derive(Clone, Debug)]
pub enum Login {
    Basic(String, SecretFile),
    ApiKey(SecretFile),
}

pub use file::Rotation;

impl Plan {
    /// What the sink reads of secret files each time it needs it.
    fn secrets(&self) -> Vec<&SecretFile> {
        let found: [Option<&SecretFile>; 2] = match &self.target {
            Target::File { .. } | Target::Stdout | Target::Syslog { .. } => [None, None],
            Target::Http { signing, bearer, .. } => [signing.as_ref(), bearer.as_ref()],
            Target::SplunkHec { token, .. } => [Some(token), None],
            Target::Elastic { login, .. } => match login {
                Some(Login::Basic(_, secret) | Login::ApiKey(secret)) => [Some(secret), None],
                None => [None, None],
            },
            Target::Otlp { bearer, .. } => [bearer.as_ref(), None],
            Target::Kafka { login, .. } => [login.as_ref().map(|(_, secret)| secret), None],
            Target::Nats { token, .. } => [token.as_ref(), None],
        };
        found.into_iter().flatten().collect()
    }

    /// `host` is this machine's name, for formats that ask. Nothing connects yet; what can be wrong in files is found here.
    pub fn build(&self, host: &str) -> io::Result<Box<dyn Sink>> {
        Ok(match &self.target {
            Target::File { path, rotate } => Box::new(FileSink::open(path, *rotate)?),
            Target::Stdout => Box::new(file::Stdout),
            Target::Syslog { transport, address, tls } => {
                Box::new(syslog::Syslog::new(*transport, address, tls, self.codec, host)?)
            }
            Target::Http { url, tls, signing, bearer, cloudevents } => {
                Box::new(webhook::Webhook::new(url, tls, signing.clone(), bearer.clone(), *cloudevents, self.codec)?)
            }
            Target::SplunkHec { url, tls, token, acknowledge, index, source_type } => {
                let envelope = splunk::Envelope { host: host.to_owned(), index: index.clone(), source_type: source_type.clone() };
                Box::new(splunk::Splunk::new(url, tls, token.clone(), *acknowledge, envelope, self.codec)?)
            }
            Target::Elastic { url, tls, index, login } => {
                Box::new(elastic::Elastic::new(url, tls, index.clone(), login.clone(), self.codec)?)
            }
            Target::Otlp { url, tls, protocol, bearer } => {
                Box::new(otlp::Otlp::new(url, tls, *protocol, bearer.clone(), host, self.codec)?)
            }
            Target::Kafka { brokers, topic, tls, login } => {
                Box::new(kafka::Kafka::new(brokers.clone(), topic.clone(), tls.as_ref(), login.clone(), self.codec)?)
            }
            Target::Nats { urls, subject, tls, token } => {
                Box::new(nats::Nats::new(urls.clone(), subject.clone(), tls, token.clone())?)
            }
        })
    }
}

/// One runtime a sink: its thread alone runs it.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}
