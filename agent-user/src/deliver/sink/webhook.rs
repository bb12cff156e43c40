//! HTTPS webhook: one POST an alert, signed as Standard Webhooks say, bare or in a CloudEvents 1.0 envelope.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::client::{Client, Version};
use super::{Fate, Parcel, SecretFile, Sink, Tls, Trouble, TroubleKind};
use crate::base::Value;
use crate::deliver::codec::{Codec, rfc3339};

pub(super) struct Webhook {
    client: Client,
    signing: Option<SecretFile>,
    bearer: Option<SecretFile>,
    cloudevents: bool,
    content_type: &'static str,
}

impl Webhook {
    pub(super) fn new(
        url: &str,
        tls: &Tls,
        signing: Option<SecretFile>,
        bearer: Option<SecretFile>,
        cloudevents: bool,
        codec: Codec,
    ) -> io::Result<Webhook> {
        if cloudevents && !codec.is_json() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "`cloudevents` needs a codec that writes JSON"));
        }
        let content_type = match (cloudevents, codec.is_json()) {
            (true, _) => "application/cloudevents+json",
            (false, true) => "application/json",
            (false, false) => "text/plain; charset=utf-8",
        };
        Ok(Webhook { client: Client::new(url, tls, Version::Http1)?, signing, bearer, cloudevents, content_type })
    }

    fn post(&mut self, parcel: &Parcel) -> Result<Fate, Trouble> {
        let body = if self.cloudevents { envelope(parcel) } else { parcel.text.clone() };
        let id = parcel.id();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut headers = vec![
            ("content-type", self.content_type.to_owned()),
            ("webhook-id", id.clone()),
            ("webhook-timestamp", at.to_string()),
        ];
        if let Some(secret) = &self.signing {
            headers.push(("webhook-signature", signature(&secret.read()?, &id, at, &body)));
        }
        if let Some(secret) = &self.bearer {
            headers.push(("authorization", format!("Bearer {}", *secret.read()?)));
        }
        let path = self.client.path().to_owned();
        let answer = self.client.post(&path, &headers, &Bytes::from(body))?;
        match answer.trouble("the webhook") {
            None => Ok(Fate::Delivered),
            Some(Trouble { kind: TroubleKind::Refused, why }) => Ok(Fate::Refused(why)),
            Some(trouble) => Err(trouble),
        }
    }
}

impl Sink for Webhook {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let mut fates = vec![Fate::Later; batch.len()];
        for (number, parcel) in batch.iter().enumerate() {
            match self.post(parcel) {
                Ok(fate) => fates[number] = fate,
                // What was taken before stays taken.
                Err(_) if number > 0 => break,
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(fates)
    }
}

/// `v1,` and the HMAC-SHA256 over `id.timestamp.body`; a key that begins with `whsec_` is Base64.
fn signature(key: &str, id: &str, at: u64, body: &str) -> String {
    let decoded = key.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let key = decoded.as_deref().unwrap_or(key.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn envelope(parcel: &Parcel) -> String {
    let head = Value::map([
        ("specversion", Value::text("1.0")),
        ("type", Value::text("agentward.alert.v1")),
        ("source", Value::text("urn:agentward")),
        ("id", Value::text(parcel.id())),
        ("time", Value::text(rfc3339(&parcel.alert))),
        ("datacontenttype", Value::text("application/json")),
    ])
    .to_json();
    let open = head.strip_suffix('}').unwrap_or(&head);
    format!("{open},\"data\":{}}}", parcel.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_published_signature_is_reproduced() {
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = "{\"test\": 2432232314}";
        let made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
