//! NATS JetStream: published with the alert's uid as message id, so that the stream itself drops repetitions.

use std::io;
use std::time::Duration;

use async_nats::jetstream::{self, message::PublishMessage};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

use super::{Fate, Parcel, SecretFile, Sink, Tls, Trouble};

const CONNECT: Duration = Duration::from_secs(10);
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

pub(super) struct Nats {
    runtime: Runtime,
    urls: Vec<String>,
    subject: String,
    /// Where a URL asks for it, or the configuration names an authority.
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    token: Option<SecretFile>,
    open: Option<jetstream::Context>,
}

impl Nats {
    pub(super) fn new(urls: Vec<String>, subject: String, tls: &Tls, token: Option<SecretFile>) -> io::Result<Nats> {
        let secure = tls.authorities.is_some() || urls.iter().any(|url| url.starts_with("tls://"));
        let tls = if secure { Some(tls.client(&[])?) } else { None };
        Ok(Nats { runtime: super::runtime()?, urls, subject, tls, token, open: None })
    }

    fn send(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let place = self.urls.join(",");
        let token = self.token.as_ref().map(SecretFile::read).transpose()?;
        let open = self.open.take();
        let sent = self.runtime.block_on(async {
            let context = match open {
                Some(context) => context,
                None => connect(&self.urls, self.tls.as_deref(), token).await?,
            };
            // One deadline for all that a silent server leaves open: each answer gives the next one its time.
            let mut end = Instant::now() + ACKNOWLEDGE;
            let mut waiting = Vec::new();
            for parcel in batch {
                let payload = Bytes::from(parcel.text.clone());
                let message = PublishMessage::build().payload(payload).message_id(parcel.id());
                let published = timeout_at(end, context.send_publish(self.subject.clone(), message)).await;
                waiting.push(match published {
                    Ok(Ok(acknowledged)) => Some(acknowledged),
                    Ok(Err(_)) | Err(_) => None,
                });
            }
            let mut fates = Vec::new();
            for acknowledged in waiting {
                let arrived = match acknowledged {
                    Some(acknowledged) => timeout_at(end, acknowledged.into_future()).await.is_ok_and(|answer| answer.is_ok()),
                    None => false,
                };
                if arrived {
                    end = Instant::now() + ACKNOWLEDGE;
                }
                fates.push(if arrived { Fate::Delivered } else { Fate::Later });
            }
            Ok::<_, String>((context, fates))
        });
        match sent {
            Ok((context, fates)) if fates.contains(&Fate::Delivered) => {
                self.open = Some(context);
                Ok(fates)
            }
            Ok(_) => Err(Trouble::later(format!("{place}: no stream acknowledged on subject {}", self.subject))),
            Err(why) => Err(Trouble::later(format!("{place}: {why}"))),
        }
    }
}

async fn connect(
    urls: &[String],
    tls: Option<&rustls::ClientConfig>,
    token: Option<zeroize::Zeroizing<String>>,
) -> Result<jetstream::Context, String> {
    let mut options = async_nats::ConnectOptions::new().name("agentward").connection_timeout(CONNECT);
    if let Some(tls) = tls {
        options = options.tls_client_config(tls.clone()).require_tls(true);
    }
    if let Some(token) = token {
        options = options.token(token.to_string());
    }
    let client = options.connect(urls).await.map_err(|error| error.to_string())?;
    let mut context = jetstream::new(client);
    context.set_timeout(ACKNOWLEDGE);
    Ok(context)
}

impl Sink for Nats {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        self.send(batch)
    }
}
