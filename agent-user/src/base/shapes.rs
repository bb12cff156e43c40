//! Shapes of secrets and personal data in text: what redaction hides and what rules ask for.
//!
//! A shape is a pattern that runs in linear time and, where ordinary numbers would match it, a check digit.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Gives access: keys, tokens, passwords.
    Secret,
    /// Says something about a person: cards, accounts, addresses.
    Personal,
}

/// A compiled shape.
pub struct Detector {
    pub label: &'static str,
    pub class: Class,
    regex: Regex,
    check: Option<fn(&str) -> bool>,
}

impl Detector {
    /// Byte ranges of the secrets themselves, without the words around them.
    pub fn hits<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        self.regex.captures_iter(text).filter_map(|captures| {
            let hit = captures.get(1).or_else(|| captures.get(0)).expect("group 0 always takes part");
            self.check.is_none_or(|check| check(hit.as_str())).then(|| hit.range())
        })
    }
}

/// All of them, compiled at first use.
pub fn detectors() -> impl Iterator<Item = &'static Detector> {
    static COMPILED: LazyLock<Vec<Detector>> = LazyLock::new(|| {
        let compile = |shape: &Shape| Detector {
            label: shape.label,
            class: shape.class,
            regex: Regex::new(shape.pattern).expect("the patterns of the table compile"),
            check: shape.check,
        };
        SHAPES.iter().map(compile).collect()
    });
    COMPILED.iter()
}

/// False when no shape is in the text: one pass, where most texts end. Personal data are asked for or not.
pub fn may_hold(text: &str, personal: bool) -> bool {
    static SETS: LazyLock<[RegexSet; 2]> = LazyLock::new(|| {
        [false, true].map(|personal| {
            let asked = SHAPES.iter().filter(|shape| personal || shape.class == Class::Secret);
            RegexSet::new(asked.map(|shape| shape.pattern)).expect("the patterns of the table compile")
        })
    });
    SETS[usize::from(personal)].is_match(text)
}

/// True when any text inside the value has a shape of that class.
pub fn holds(value: &Value, class: Class) -> bool {
    match value {
        Value::Text(text) => {
            text.len() >= 6
                && may_hold(text, class == Class::Personal)
                && detectors().filter(|detector| detector.class == class).any(|detector| detector.hits(text).next().is_some())
        }
        Value::List(items) => items.iter().any(|item| holds(item, class)),
        Value::Map(entries) => entries.iter().any(|(_, nested)| holds(nested, class)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A shape of secret and the word that replaces it. The text inside group 1 is replaced, or the whole match.
struct Shape {
    label: &'static str,
    pattern: &'static str,
    /// What must also hold, where a pattern alone would hit ordinary numbers.
    check: Option<fn(&str) -> bool>,
    class: Class,
}

const fn secret(label: &'static str, pattern: &'static str) -> Shape {
    Shape { label, pattern, check: None, class: Class::Secret }
}

/// Vendor prefixes are those that the vendors publish for secret scanning.
const SHAPES: &[Shape] = &[
    secret("private_key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    secret("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
    Shape {
        label: "bearer",
        pattern: r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/_.~=-]{8,})",
        check: Some(is_no_word),
        class: Class::Secret,
    },
    secret("api_key", r"\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9_-]{16,}"),
    secret("aws_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    secret("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    secret("gitlab_token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{16,}"),
    secret("slack_token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    secret("slack_hook", r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
    secret("google_key", r"\bAIza[A-Za-z0-9_-]{30,}"),
    secret("google_token", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    secret("azure_secret", r"(?i)\b(?:AccountKey|SharedAccessKey|sig)=([A-Za-z0-9%+/=]{20,})"),
    secret("stripe_hook", r"\bwhsec_[A-Za-z0-9]{16,}"),
    secret("sendgrid_key", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    secret("npm_token", r"\bnpm_[A-Za-z0-9]{30,}"),
    secret("pypi_token", r"\bpypi-[A-Za-z0-9_-]{40,}"),
    secret("hf_token", r"\bhf_[A-Za-z0-9]{20,}"),
    secret("vault_token", r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    secret("telegram_token", r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"),
    secret("age_key", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    secret("url_password", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:([^\s/@]+)@"),
    secret(
        "assignment",
        r#"(?i)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret)["']?\s*[:=]\s*["']?([^\s"'&,;]{4,})"#,
    ),
    Shape { label: "card", pattern: r"\b\d(?:[ -]?\d){12,18}\b", check: Some(is_card), class: Class::Personal },
    Shape {
        label: "iban",
        pattern: r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        check: Some(is_iban),
        class: Class::Personal,
    },
    Shape { label: "ssn", pattern: r"\b\d{3}-\d{2}-\d{4}\b", check: None, class: Class::Personal },
    Shape {
        label: "email",
        pattern: r"\b([A-Za-z0-9._%+-]+)@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b",
        check: None,
        class: Class::Personal,
    },
];

/// "Bearer of news" is no credential: those have digits or both cases, or are longer than words.
fn is_no_word(text: &str) -> bool {
    let upper_inside = text.chars().skip(1).any(|letter| letter.is_ascii_uppercase());
    text.len() >= 16 || upper_inside || text.chars().any(|letter| letter.is_ascii_digit())
}

/// The check digit of ISO/IEC 7812 (Luhn).
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| if position % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    (13..=19).contains(&digits.len()) && matches!(digits[0], 2..=6) && sum.is_multiple_of(10)
}

/// The check digits of ISO 13616: the number, first four characters last, letters as 10 to 35, is 1 modulo 97.
fn is_iban(text: &str) -> bool {
    let plain: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    if !(15..=34).contains(&plain.len()) {
        return false;
    }
    let rest = plain[4..].iter().chain(&plain[..4]).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1
}
