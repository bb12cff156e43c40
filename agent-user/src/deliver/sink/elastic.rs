//! Elasticsearch and OpenSearch: `_bulk` with `create` and `_id`; items fail one by one, and an item that exists already has arrived.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::client::{Client, Version};
use super::{Fate, Login, Parcel, Sink, Tls, Trouble};
use crate::deliver::codec::Codec;

pub(super) struct Elastic {
    client: Client,
    index: String,
    login: Option<Login>,
}

impl Elastic {
    pub(super) fn new(url: &str, tls: &Tls, index: String, login: Option<Login>, codec: Codec) -> io::Result<Elastic> {
        if !codec.is_json() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an elastic sink needs a codec that writes JSON: `ecs`"));
        }
        Ok(Elastic { client: Client::new(url, tls, Version::Http1)?, index, login })
    }

    fn body(&self, batch: &[Parcel]) -> Bytes {
        let mut body = String::new();
        let index = serde_json::Value::from(self.index.as_str());
        for parcel in batch {
            let id = serde_json::Value::from(parcel.id());
            body.push_str(&format!("{{\"create\":{{\"_index\":{index},\"_id\":{id}}}}}\n{}\n", parcel.text));
        }
        Bytes::from(body)
    }
}

impl Sink for Elastic {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let mut headers = vec![("content-type", "application/x-ndjson".to_owned())];
        match &self.login {
            Some(Login::Basic(user, password)) => {
                let login = zeroize::Zeroizing::new(format!("{user}:{}", *password.read()?));
                headers.push(("authorization", format!("Basic {}", STANDARD.encode(login.as_bytes()))));
            }
            Some(Login::ApiKey(key)) => headers.push(("authorization", format!("ApiKey {}", *key.read()?))),
            None => {}
        }
        let path = format!("{}/_bulk", self.client.path().trim_end_matches('/'));
        let answer = self.client.post(&path, &headers, &self.body(batch))?;
        if let Some(trouble) = answer.trouble("the cluster") {
            return Err(trouble);
        }
        fates(&answer.body, batch.len()).ok_or_else(|| Trouble::later("the cluster's answer has no result for each item"))
    }
}

fn fates(answer: &[u8], count: usize) -> Option<Vec<Fate>> {
    let said: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let items = said.get("items")?.as_array()?;
    let fates: Option<Vec<Fate>> = items
        .iter()
        .map(|item| {
            let result = item.as_object()?.values().next()?;
            let kind = result.pointer("/error/type").and_then(serde_json::Value::as_str).unwrap_or("no reason");
            Some(match result.get("status")?.as_u64()? {
                200..=299 | 409 => Fate::Delivered,
                429 | 500..=599 | 401 | 403 | 404 => Fate::Later,
                status => Fate::Refused(format!("the cluster refused the document: {status} {kind}")),
            })
        })
        .collect();
    fates.filter(|fates| fates.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_own_fate() {
        let answer = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"secret"}}}]}"#;
        let refused = Fate::Refused("the cluster refused the document: 400 mapper_parsing_exception".into());
        assert_eq!(fates(answer, 4), Some(vec![Fate::Delivered, Fate::Delivered, Fate::Later, refused]));
        assert_eq!(fates(answer, 5), None);
        assert_eq!(fates(b"<html>", 1), None);
    }
}
