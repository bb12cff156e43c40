//! `[[sink]]`: what people write, and the [`Plan`] that is made from it once.
//!
//! One flat table a sink: `type` says which of the keys mean anything, and a key that means nothing for its type is refused.

use std::path::PathBuf;

use serde::Deserialize;

use crate::deliver::codec::Codec;
use crate::deliver::sink::{Filter, Login, OtlpProtocol, Plan, Rotation, SecretFile, Target, Tls, Transport};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    File,
    Stdout,
    Syslog,
    Http,
    SplunkHec,
    Elastic,
    Otlp,
    Kafka,
    Nats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http,
    Grpc,
}

/// As written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub name: String,
    pub codec: Option<Codec>,
    /// Records in one delivery.
    pub batch: Option<usize>,
    pub min_severity: Option<Severity>,
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub tenants: Vec<String>,
    /// A sign of life each minute, with the daemon's counters and the signed checkpoint of its evidence log.
    #[serde(default)]
    pub heartbeat: bool,

    pub path: Option<PathBuf>,
    pub rotate_bytes: Option<u64>,
    pub keep: Option<u32>,
    /// `syslog`: `host:port`.
    pub address: Option<String>,
    pub transport: Option<Wire>,
    pub url: Option<String>,
    /// `nats`: any of them.
    pub urls: Option<Vec<String>>,
    pub brokers: Option<Vec<String>>,
    pub topic: Option<String>,
    pub subject: Option<String>,
    pub index: Option<String>,
    pub source_type: Option<String>,
    pub protocol: Option<Protocol>,
    pub acknowledge: Option<bool>,
    pub cloudevents: Option<bool>,
    /// `kafka`: connect by TLS.
    pub tls: Option<bool>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    pub api_key_file: Option<PathBuf>,
    pub signing_key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// Records in one delivery unless configured.
const BATCH: usize = 256;
const BATCH_MOST: usize = 4096;

const NETWORK: [&str; 3] = ["ca_file", "certificate_file", "key_file"];

impl Sink {
    /// The alerts file that there is when nobody configured a sink.
    pub fn default_file(path: PathBuf) -> Plan {
        let target = Target::File { path, rotate: None };
        Plan { name: "alerts".into(), codec: Codec::Native, filter: Filter::default(), batch: BATCH, target }
    }

    /// The fault is a key and what is wrong with it.
    pub fn plan(&self) -> Result<Plan, (String, String)> {
        let known = !self.name.is_empty() && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !known {
            return Err(fault("name", "must be of letters, digits, `-` and `_`: a file is called after it"));
        }
        self.check_keys()?;
        let batch = self.batch.unwrap_or(BATCH);
        if !(1..=BATCH_MOST).contains(&batch) {
            return Err(fault("batch", &format!("must be 1 to {BATCH_MOST}")));
        }
        let filter = Filter {
            least_severity: self.min_severity.map_or(0, |severity| severity as u8),
            rules: self.rules.clone(),
            tags: self.tags.clone(),
            tenants: self.tenants.clone(),
            heartbeat: self.heartbeat,
        };
        let codec = self.codec.unwrap_or(match self.kind {
            Kind::Elastic => Codec::Ecs,
            Kind::File | Kind::Stdout | Kind::Http | Kind::Otlp | Kind::Nats => Codec::Native,
            Kind::Syslog | Kind::SplunkHec | Kind::Kafka => Codec::Ocsf,
        });
        Ok(Plan { name: self.name.clone(), codec, filter, batch, target: self.target()? })
    }

    fn target(&self) -> Result<Target, (String, String)> {
        let tls =
            Tls { authorities: self.ca_file.clone(), certificate: self.certificate_file.clone(), key: self.key_file.clone() };
        let secret = |path: &Option<PathBuf>| path.as_deref().map(SecretFile::new);
        Ok(match self.kind {
            Kind::File => Target::File {
                path: self.needed("path", &self.path)?,
                rotate: self.rotate_bytes.map(|bytes| Rotation { bytes, keep: self.keep.unwrap_or(5) }),
            },
            Kind::Stdout => Target::Stdout,
            Kind::Syslog => {
                let transport = match self.transport.unwrap_or(Wire::Tls) {
                    Wire::Udp => Transport::Udp,
                    Wire::Tcp => Transport::Tcp,
                    Wire::Tls => Transport::Tls,
                };
                Target::Syslog { transport, address: self.needed("address", &self.address)?, tls }
            }
            Kind::Http => Target::Http {
                url: self.needed("url", &self.url)?,
                tls,
                signing: secret(&self.signing_key_file),
                bearer: secret(&self.token_file),
                cloudevents: self.cloudevents.unwrap_or(false),
            },
            Kind::SplunkHec => Target::SplunkHec {
                url: self.needed("url", &self.url)?,
                tls,
                token: SecretFile::new(&self.needed("token_file", &self.token_file)?),
                acknowledge: self.acknowledge.unwrap_or(false),
                index: self.index.clone(),
                source_type: self.source_type.clone().unwrap_or_else(|| "agentward:alert".into()),
            },
            Kind::Elastic => {
                let login = match (&self.user, secret(&self.password_file), secret(&self.api_key_file)) {
                    (Some(user), Some(password), None) => Some(Login::Basic(user.clone(), password)),
                    (None, None, Some(key)) => Some(Login::ApiKey(key)),
                    (None, None, None) => None,
                    _ => return Err(fault("user", "needs `password_file`; or use `api_key_file` alone")),
                };
                let index = self.index.clone().unwrap_or_else(|| "logs-agentward.alert-default".into());
                Target::Elastic { url: self.needed("url", &self.url)?, tls, index, login }
            }
            Kind::Otlp => {
                let protocol = match self.protocol.unwrap_or(Protocol::Http) {
                    Protocol::Http => OtlpProtocol::Http,
                    Protocol::Grpc => OtlpProtocol::Grpc,
                };
                Target::Otlp { url: self.needed("url", &self.url)?, tls, protocol, bearer: secret(&self.token_file) }
            }
            Kind::Kafka => {
                let login = match (&self.user, secret(&self.password_file)) {
                    (Some(user), Some(password)) => Some((user.clone(), password)),
                    (None, None) => None,
                    _ => return Err(fault("user", "needs `password_file`, and the other way round")),
                };
                let tls = self.tls.unwrap_or(false).then_some(tls);
                Target::Kafka {
                    brokers: self.needed("brokers", &self.brokers)?,
                    topic: self.needed("topic", &self.topic)?,
                    tls,
                    login,
                }
            }
            Kind::Nats => Target::Nats {
                urls: self.needed("urls", &self.urls)?,
                subject: self.needed("subject", &self.subject)?,
                tls,
                token: secret(&self.token_file),
            },
        })
    }

    fn needed<T: Clone>(&self, key: &str, value: &Option<T>) -> Result<T, (String, String)> {
        value.clone().ok_or_else(|| fault("name", &format!("the sink `{}` needs the key `{key}`", self.name)))
    }

    fn check_keys(&self) -> Result<(), (String, String)> {
        let meaningful: &[&str] = match self.kind {
            Kind::File => &["path", "rotate_bytes", "keep"],
            Kind::Stdout => &[],
            Kind::Syslog => &["address", "transport"],
            Kind::Http => &["url", "signing_key_file", "token_file", "cloudevents"],
            Kind::SplunkHec => &["url", "token_file", "acknowledge", "index", "source_type"],
            Kind::Elastic => &["url", "index", "user", "password_file", "api_key_file"],
            Kind::Otlp => &["url", "protocol", "token_file"],
            Kind::Kafka => &["brokers", "topic", "tls", "user", "password_file"],
            Kind::Nats => &["urls", "subject", "token_file"],
        };
        let local = matches!(self.kind, Kind::File | Kind::Stdout);
        let written = self.written();
        let stray = written.into_iter().find(|key| !meaningful.contains(key) && (local || !NETWORK.contains(key)));
        stray.map_or(Ok(()), |key| Err(fault(key, &format!("means nothing for the sink `{}` of this type", self.name))))
    }

    /// The keys of a target that are there.
    fn written(&self) -> Vec<&'static str> {
        let keys = [
            ("path", self.path.is_some()),
            ("rotate_bytes", self.rotate_bytes.is_some()),
            ("keep", self.keep.is_some()),
            ("address", self.address.is_some()),
            ("transport", self.transport.is_some()),
            ("url", self.url.is_some()),
            ("urls", self.urls.is_some()),
            ("brokers", self.brokers.is_some()),
            ("topic", self.topic.is_some()),
            ("subject", self.subject.is_some()),
            ("index", self.index.is_some()),
            ("source_type", self.source_type.is_some()),
            ("protocol", self.protocol.is_some()),
            ("acknowledge", self.acknowledge.is_some()),
            ("cloudevents", self.cloudevents.is_some()),
            ("tls", self.tls.is_some()),
            ("user", self.user.is_some()),
            ("password_file", self.password_file.is_some()),
            ("token_file", self.token_file.is_some()),
            ("api_key_file", self.api_key_file.is_some()),
            ("signing_key_file", self.signing_key_file.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("certificate_file", self.certificate_file.is_some()),
            ("key_file", self.key_file.is_some()),
        ];
        keys.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }
}

fn fault(key: &str, reason: &str) -> (String, String) {
    (key.to_owned(), reason.to_owned())
}
