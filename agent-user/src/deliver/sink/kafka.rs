//! Kafka: acknowledged by all in-sync replicas; a workflow's alerts keep their order because they share a partition.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::runtime::Runtime;

use super::{Fate, Parcel, SecretFile, Sink, Tls, Trouble};
use crate::deliver::codec::Codec;

/// The client's own attempts end here; the driver makes the next ones.
const DEADLINE: Duration = Duration::from_secs(10);
const EXCHANGE: Duration = Duration::from_secs(30);

pub(super) struct Kafka {
    runtime: Runtime,
    brokers: Vec<String>,
    topic: String,
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    login: Option<(String, SecretFile)>,
    codec: Codec,
    open: Option<Open>,
}

struct Open {
    client: Client,
    /// In the order of their numbers.
    partitions: Vec<i32>,
    clients: BTreeMap<i32, PartitionClient>,
}

impl Kafka {
    pub(super) fn new(
        brokers: Vec<String>,
        topic: String,
        tls: Option<&Tls>,
        login: Option<(String, SecretFile)>,
        codec: Codec,
    ) -> io::Result<Kafka> {
        let tls = tls.map(|tls| tls.client(&[])).transpose()?;
        Ok(Kafka { runtime: super::runtime()?, brokers, topic, tls, login, codec, open: None })
    }

    fn record(&self, parcel: &Parcel) -> Record {
        let headers = [
            ("uid", parcel.uid.as_bytes()),
            ("schema", self.codec.schema().as_bytes()),
            ("content-type", if self.codec.is_json() { &b"application/json"[..] } else { &b"text/plain"[..] }),
        ];
        Record {
            key: Some(parcel.lane().as_bytes().to_vec()),
            value: Some(parcel.text.clone().into_bytes()),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            timestamp: DateTime::<Utc>::from_timestamp_nanos(i64::try_from(parcel.time).unwrap_or(i64::MAX)),
        }
    }

    fn send(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let login =
            self.login.as_ref().map(|(user, password)| password.read().map(|secret| (user.clone(), secret))).transpose()?;
        let mut open = self.open.take();
        let sent = self.runtime.block_on(async {
            let work = async {
                let open = match &mut open {
                    Some(open) => open,
                    none => none.insert(connect(&self.brokers, &self.topic, self.tls.clone(), login).await?),
                };
                let mut fates = vec![Fate::Later; batch.len()];
                let mut lanes: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
                for (number, parcel) in batch.iter().enumerate() {
                    lanes.entry(open.partition(parcel.lane())).or_default().push(number);
                }
                for (partition, numbers) in lanes {
                    let records = numbers.iter().map(|number| self.record(&batch[*number])).collect();
                    let sent = open.client(&self.topic, partition).await?.produce(records, Compression::NoCompression).await;
                    match sent {
                        Ok(_) => numbers.into_iter().for_each(|number| fates[number] = Fate::Delivered),
                        Err(error) if fates.contains(&Fate::Delivered) => {
                            // Other partitions took theirs; this one's come again after a new look at the cluster.
                            open.clients.remove(&partition);
                            drop(error);
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok::<_, rskafka::client::error::Error>(fates)
            };
            tokio::time::timeout(EXCHANGE, work).await
        });
        match sent {
            Ok(Ok(fates)) => {
                self.open = open;
                Ok(fates)
            }
            Ok(Err(error)) => Err(Trouble::later(format!("{}: {error}", self.brokers.join(",")))),
            Err(_) => Err(Trouble::later(format!("{}: no answer in {} s", self.brokers.join(","), EXCHANGE.as_secs()))),
        }
    }
}

impl Open {
    fn partition(&self, lane: &str) -> i32 {
        let place = crc32fast::hash(lane.as_bytes()) as usize % self.partitions.len().max(1);
        self.partitions.get(place).copied().unwrap_or(0)
    }

    async fn client(&mut self, topic: &str, partition: i32) -> Result<&PartitionClient, rskafka::client::error::Error> {
        if !self.clients.contains_key(&partition) {
            let client = self.client.partition_client(topic, partition, UnknownTopicHandling::Error).await?;
            self.clients.insert(partition, client);
        }
        Ok(&self.clients[&partition])
    }
}

async fn connect(
    brokers: &[String],
    topic: &str,
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    login: Option<(String, zeroize::Zeroizing<String>)>,
) -> Result<Open, rskafka::client::error::Error> {
    let backoff = BackoffConfig { deadline: Some(DEADLINE), ..BackoffConfig::default() };
    let mut builder = ClientBuilder::new(brokers.to_vec()).client_id("agentward").backoff_config(backoff);
    if let Some(tls) = tls {
        builder = builder.tls_config(tls);
    }
    if let Some((user, password)) = login {
        builder = builder.sasl_config(SaslConfig::ScramSha512(Credentials::new(user, password.to_string())));
    }
    let client = builder.build().await?;
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|found| found.name == topic);
    let partitions = match found {
        Some(topic) => topic.partitions.into_iter().collect(),
        // The broker makes it with the first look, where it is allowed to.
        None => {
            client.partition_client(topic, 0, UnknownTopicHandling::Retry).await?;
            vec![0]
        }
    };
    Ok(Open { client, partitions, clients: BTreeMap::new() })
}

impl Sink for Kafka {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        self.send(batch)
    }
}
