//! Who a request speaks for: bearer tokens, keys and the headers that gateways add. Nothing here is verified: each claim says where it
//! came from and how far it can be trusted.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Claim, Confidence, Identity, Token};
use crate::base::{KeyedHash, Value};
use crate::decode::{Header, header, json};

/// Headers that name a user or a tenant, as gateways and frameworks send them.
const USER_HEADERS: &[&str] =
    &["x-user-id", "x-user", "x-forwarded-user", "x-auth-request-user", "x-authenticated-user", "x-end-user", "x-remote-user"];
const TENANT_HEADERS: &[&str] =
    &["x-tenant-id", "x-tenant", "x-org-id", "x-organization-id", "x-account-id", "x-workspace-id", "openai-organization"];
const KEY_HEADERS: &[&str] = &["x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "apikey", "private-token"];
/// Who a proxy's TLS client was: Envoy's element list, or the subject alone (nginx, HAProxy, ingress controllers).
const CERTIFICATES: &[&str] =
    &["x-forwarded-client-cert", "ssl-client-subject-dn", "x-ssl-client-s-dn", "x-client-cert-subject", "x-ssl-client-dn"];
const TENANT_CLAIMS: &[&str] = &["tenant", "tenant_id", "tid", "org_id", "org", "organization", "account_id"];

pub(super) fn of(headers: &[Header], hash: &KeyedHash) -> Identity {
    let mut identity = Identity::default();
    if let Some(value) = text(headers, "authorization") {
        authorization(&mut identity, &value, hash);
    }
    for name in KEY_HEADERS {
        if let Some(key) = text(headers, name).filter(|_| identity.credential.is_none()) {
            identity.credential = Some(hash.label(key.as_bytes()).into());
        }
    }
    if identity.credential.is_none()
        && let Some(cookie) = text(headers, "cookie")
    {
        identity.credential = Some(hash.label(cookie.as_bytes()).into());
    }
    named(headers, USER_HEADERS, &mut identity.user);
    let before = identity.tenant.clone();
    let mut tenant = None;
    named(headers, TENANT_HEADERS, &mut tenant);
    if let (Some(token), Some(header)) = (&before, &tenant) {
        identity.tenant_conflict = token.value != header.value;
    }
    identity.tenant = before.or(tenant);
    if identity.agent_id.is_none() {
        identity.agent_id = CERTIFICATES.iter().find_map(|name| certified(name, &text(headers, name)?));
    }
    if let Some(baggage) = text(headers, "baggage") {
        carried(&baggage, &mut identity);
    }
    identity.agent_framework = text(headers, "user-agent").and_then(|agent| framework(&agent));
    identity.traceparent = text(headers, "traceparent").map(Arc::from);
    identity
}

/// The subject of a client's certificate, as a proxy says: its SPIFFE id, else its common name.
fn certified(name: &str, told: &str) -> Option<Claim> {
    // Of several proxies the last one spoke with us.
    let last = told.rsplit(',').find(|part| part.contains("URI=") || part.contains("Subject=")).unwrap_or(told);
    let element = |key: &str| last.split(';').find_map(|part| part.trim().strip_prefix(key)).filter(|value| !value.is_empty());
    let subject =
        told.split(['"', ',', '/', ';']).find_map(|part| part.trim().trim_start_matches("Subject=").strip_prefix("CN="));
    let value = element("URI=").or(subject).map(str::trim).filter(|value| !value.is_empty())?;
    Some(Claim { value: value.into(), source: format!("header:{name}").into(), confidence: Confidence::Claimed })
}

/// W3C Baggage: whoever took part may have written it, so it names a user or tenant only where nothing else does.
fn carried(baggage: &str, identity: &mut Identity) {
    const USER: [&str; 5] = ["enduser.id", "user.id", "user_id", "userid", "user"];
    const TENANT: [&str; 4] = ["tenant.id", "tenant_id", "tenantid", "tenant"];
    for member in baggage.split(',') {
        let Some((name, value)) = member.split(';').next().and_then(|member| member.split_once('=')) else { continue };
        let name = name.trim().to_ascii_lowercase();
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        let claim =
            || Claim { value: value.as_str().into(), source: format!("baggage:{name}").into(), confidence: Confidence::Guessed };
        if !value.is_empty() && USER.contains(&name.as_str()) && identity.user.is_none() {
            identity.user = Some(claim());
        } else if !value.is_empty() && TENANT.contains(&name.as_str()) && identity.tenant.is_none() {
            identity.tenant = Some(claim());
        }
    }
}

fn text(headers: &[Header], name: &str) -> Option<String> {
    header(headers, name)
        .and_then(|value| std::str::from_utf8(value).ok())
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

fn named(headers: &[Header], names: &[&str], claim: &mut Option<Claim>) {
    for name in names {
        if let Some(value) = text(headers, name).filter(|_| claim.is_none()) {
            *claim =
                Some(Claim { value: value.into(), source: format!("header:{name}").into(), confidence: Confidence::Claimed });
        }
    }
}

fn authorization(identity: &mut Identity, value: &str, hash: &KeyedHash) {
    let (scheme, credential) = value.split_once(' ').unwrap_or(("", value));
    let credential = credential.trim();
    // AWS Signature Version 4 signs each request anew; the key id is what stays.
    let constant = credential.split_once("Credential=").filter(|_| scheme.starts_with("AWS4-")).map(|(_, rest)| rest);
    let constant = constant.and_then(|rest| rest.split(['/', ',']).next()).unwrap_or(credential);
    identity.credential = Some(hash.label(constant.as_bytes()).into());
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "dpop" => bearer(identity, credential),
        "basic" => {
            let decoded = STANDARD.decode(credential).unwrap_or_default();
            let user = String::from_utf8_lossy(&decoded).split(':').next().unwrap_or_default().to_owned();
            if !user.is_empty() {
                identity.user = Some(Claim { value: user.into(), source: "basic".into(), confidence: Confidence::Claimed });
            }
        }
        _ => {}
    }
}

/// The claims of the bearer token of a request, where it is a JWT.
pub(super) fn claims(headers: &[Header]) -> Option<Value> {
    let value = text(headers, "authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    payload(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop"))
}

/// What a JWT says (RFC 7519), signature unchecked.
fn payload(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return None };
    URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok().and_then(|bytes| json::parse(&bytes).value)
}

fn bearer(identity: &mut Identity, token: &str) {
    let Some(claims) = payload(token) else { return };
    let word = |name: &str| claims.get(name).and_then(Value::as_str).map(Arc::<str>::from);
    let claim = |name: &str| {
        word(name).map(|value| Claim { value, source: format!("jwt:/{name}").into(), confidence: Confidence::Claimed })
    };
    let actor = claims.get("act");
    identity.user = claim("sub").or_else(|| claim("uid")).or_else(|| claim("email"));
    identity.agent_id = claim("azp").or_else(|| claim("client_id")).or_else(|| claim("agent_id"));
    identity.tenant = TENANT_CLAIMS.iter().find_map(|name| claim(name));
    identity.user_roles = words(claims.get("roles").or(claims.get("groups")));
    identity.token = Some(Token {
        iss: word("iss"),
        aud: words(claims.get("aud")),
        scopes: words(claims.get("scope").or(claims.get("scp"))),
        act: actors(actor),
        delegated: actor.is_some() || claims.get("may_act").is_some(),
        exp: claims.get("exp").and_then(Value::as_i64),
    });
}

/// A list of strings, or one string of words.
fn words(value: Option<&Value>) -> Vec<Arc<str>> {
    match value {
        Some(Value::Text(text)) => text.split_whitespace().map(Arc::from).collect(),
        Some(Value::List(items)) => items.iter().filter_map(Value::as_str).map(Arc::from).collect(),
        _ => Vec::new(),
    }
}

/// RFC 8693 section 4.1: `act` nests, the outermost is the current actor.
fn actors(mut act: Option<&Value>) -> Vec<Arc<str>> {
    const DEEPEST: usize = 16;
    let mut chain = Vec::new();
    while let Some(actor) = act.filter(|_| chain.len() < DEEPEST) {
        chain.extend(actor.get("sub").and_then(Value::as_str).map(Arc::from));
        act = actor.get("act");
    }
    chain
}

fn framework(agent: &str) -> Option<Arc<str>> {
    agent.split_whitespace().next().map(Arc::from)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Sensitive;

    fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
        pairs
            .iter()
            .map(|(name, value)| Header { name: (*name).into(), value: Sensitive::new(Bytes::copy_from_slice(value.as_bytes())) })
            .collect()
    }

    #[test]
    fn a_jwt_names_user_tenant_and_actor() {
        let claims = r#"{"iss":"https://idp","sub":"u-1","tenant_id":"t-9","scope":"orders:read refunds","act":{"sub":"agent-a","act":{"sub":"agent-b"}},"exp":1900000000}"#;
        let token = format!("Bearer {}.{}.x", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims));
        let identity = of(&headers(&[("authorization", &token), ("x-tenant-id", "t-8")]), &KeyedHash::new([0; 16]));
        assert_eq!(identity.user.map(|claim| claim.value).as_deref(), Some("u-1"));
        assert_eq!(identity.tenant.map(|claim| claim.value).as_deref(), Some("t-9"));
        assert!(identity.tenant_conflict);
        let token = identity.token.expect("a JWT");
        assert_eq!(token.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["orders:read", "refunds"]);
        assert_eq!(token.act.iter().map(|actor| &**actor).collect::<Vec<_>>(), ["agent-a", "agent-b"]);
        assert!(token.delegated);
    }

    #[test]
    fn the_key_id_of_a_signature_is_the_credential() {
        let hash = KeyedHash::new([0; 16]);
        let signed = |signature: &str| {
            let value = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/bedrock/aws4_request, SignedHeaders=host, Signature={signature}"
            );
            of(&headers(&[("authorization", &value)]), &hash).credential
        };
        assert_eq!(signed("aa"), signed("bb"));
        assert_eq!(signed("aa").as_deref(), Some(&*hash.label(b"AKIDEXAMPLE")));
    }

    #[test]
    fn baggage_is_the_last_to_be_asked() {
        let hash = KeyedHash::new([0; 16]);
        let carried = of(&headers(&[("baggage", "a=b, user.id=u%201;p=1, tenant=t")]), &hash);
        assert_eq!(carried.user.as_ref().map(|user| (&*user.value, user.confidence)), Some(("u 1", Confidence::Guessed)));
        assert_eq!(carried.tenant.map(|tenant| tenant.value).as_deref(), Some("t"));
        let named = of(&headers(&[("x-user-id", "u-2"), ("baggage", "user.id=u-1")]), &hash);
        assert_eq!(named.user.map(|user| user.value).as_deref(), Some("u-2"));
    }

    #[test]
    fn a_proxy_tells_who_its_tls_client_was() {
        const ENVOY: &str = "By=spiffe://desk/shop;Hash=ab12;Subject=\"CN=clerk,OU=agents\";URI=spiffe://desk/clerk";
        for (name, value, expected) in [
            ("x-forwarded-client-cert", ENVOY, Some("spiffe://desk/clerk")),
            ("x-forwarded-client-cert", "Hash=ab12;Subject=\"/C=DE/CN=clerk\"", Some("clerk")),
            ("ssl-client-subject-dn", "CN=clerk,OU=agents,O=Desk", Some("clerk")),
            ("ssl-client-subject-dn", "OU=agents", None),
        ] {
            let identity = of(&headers(&[(name, value)]), &KeyedHash::new([0; 16]));
            assert_eq!(identity.agent_id.map(|claim| claim.value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_key_is_only_a_hash() {
        let identity = of(&headers(&[("x-api-key", "very-secret")]), &KeyedHash::new([0; 16]));
        let shown = format!("{identity:?}");
        assert!(identity.credential.is_some() && !shown.contains("very-secret"));
    }
}
