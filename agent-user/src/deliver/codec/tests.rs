use super::*;
use crate::deliver::line::invisible;

/// Everything a hostile peer would put into a path, a tool name or an argument.
const HOSTILE: &[&str] = &[
    "plain",
    "a|b",
    "a=b",
    "a\\b",
    "a\nb",
    "a\r\nCEF:0|x|y|z|1|n|5|",
    "]\"\\",
    "\u{1f}sev=10",
    "\t",
    "\x1b[2J",
    "\u{0}",
    "key=value key2=value2",
    "é\u{202e}",
    "",
];

fn alert(text: &str) -> Value {
    Value::map([
        ("uid", Value::text(text)),
        ("time", Value::Number(crate::base::value::Number { text: "1790000000123456789".into() })),
        (
            "rule",
            Value::map([
                ("id", Value::text(text)),
                ("title", Value::text(text)),
                ("version", Value::text("1")),
                ("pack", Value::text("core")),
            ]),
        ),
        ("severity", Value::text("high")),
        ("proof", Value::text("served")),
        ("count", Value::int(1)),
        ("workflow", Value::text("w1")),
        ("action", Value::text("a1")),
        (
            "chain",
            Value::list([Value::map([
                ("action", Value::text("a1")),
                ("kind", Value::text("api.request")),
                ("summary", Value::text(text)),
            ])]),
        ),
        ("actor", Value::map([("user", Value::map([("id", Value::text(text))]))])),
        ("object", Value::map([("id", Value::text(text))])),
        ("matched", Value::map([("arg.x", Value::text(text))])),
        ("tags", Value::list([Value::text("attack.t1059"), Value::text(text)])),
        ("fix", Value::text(text)),
        ("incomplete", Value::list([])),
    ])
}

/// A reader of CEF extensions written from the standard: a key is the word before an unescaped `=`.
fn read_cef(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut header, mut field, mut escaped, mut rest) = (Vec::new(), String::new(), false, line.len());
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => {
                field.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '|' => header.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
        if header.len() == 7 {
            rest = at + 1;
            break;
        }
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    let (mut value, mut escaped) = (String::new(), false);
    for character in line[rest..].chars() {
        match character {
            'n' if escaped => value.push('\n'),
            'r' if escaped => value.push('\r'),
            _ if escaped => value.push(character),
            '\\' => {}
            '=' => {
                let (before, key) = value.rsplit_once(' ').unwrap_or(("", &value));
                let (before, key) = (before.to_owned(), key.to_owned());
                if let Some(last) = pairs.last_mut() {
                    last.1 = before;
                }
                pairs.push((key, String::new()));
                value.clear();
            }
            other => value.push(other),
        }
        escaped = character == '\\' && !escaped;
    }
    if let Some(last) = pairs.last_mut() {
        last.1 = value;
    }
    (header, pairs)
}

#[test]
fn cef_reads_back_equal() {
    for text in HOSTILE {
        let line = Codec::Cef.encode(&alert(text));
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let (header, pairs) = read_cef(&line);
        assert_eq!(header.len(), 7, "{line}");
        assert_eq!(header[6], "8");
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        let own = ["rt", "cat"].iter().chain(EXTENSION_KEYS.iter());
        assert!(keys.iter().all(|key| own.clone().any(|own| own == key)), "{keys:?}");
        let plain = text.replace('\t', " ");
        let shown = |character: char| !invisible(character) || "\r\n".contains(character);
        if !text.is_empty() && plain.chars().all(shown) {
            let found = pairs.iter().find(|(key, _)| key == "externalId").map(|(_, value)| value.as_str());
            assert_eq!(found, Some(plain.as_str()), "{line}");
        }
    }
}

const EXTENSION_KEYS: &[&str] = &[
    "externalId",
    "suser",
    "sproc",
    "spid",
    "outcome",
    "cnt",
    "cs1",
    "cs1Label",
    "cs2",
    "cs2Label",
    "cs3",
    "cs3Label",
    "cs4",
    "cs4Label",
    "cs5",
    "cs5Label",
    "cs6",
    "cs6Label",
    "msg",
];

#[test]
fn leef_has_only_its_own_attributes() {
    for text in HOSTILE {
        let line = Codec::Leef.encode(&alert(text));
        let attributes = line.splitn(7, '|').nth(6).expect("six header fields");
        let count = attributes.split('\u{1f}').count();
        assert_eq!(count, if text.is_empty() { 10 } else { 14 }, "{line:?}");
        assert!(!line.chars().any(|character| character.is_control() && character != '\u{1f}'), "{line:?}");
    }
}

#[test]
fn json_codecs_are_json_with_the_required_fields() {
    for text in HOSTILE {
        for (codec, required) in [
            (
                Codec::Ocsf,
                &[
                    "/activity_id",
                    "/category_uid",
                    "/class_uid",
                    "/metadata/product",
                    "/metadata/version",
                    "/severity_id",
                    "/time",
                    "/type_uid",
                    "/finding_info/uid",
                    "/evidences/0",
                ][..],
            ),
            (Codec::Ecs, &["/@timestamp", "/event/kind", "/event/id", "/rule/id", "/ecs/version"][..]),
            (Codec::Native, &["/uid"][..]),
        ] {
            let line = codec.encode(&alert(text));
            assert!(!line.contains('\n'), "{line}");
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            for pointer in required {
                let there = parsed.pointer(pointer).is_some();
                assert!(there || text.is_empty(), "{codec:?} lacks {pointer}: {line}");
            }
        }
    }
    let finding: serde_json::Value = serde_json::from_str(&Codec::Ocsf.encode(&alert("x"))).expect("JSON");
    assert_eq!(finding["type_uid"], 200_401);
    assert_eq!(finding["severity_id"], 4);
    assert_eq!(finding["finding_info"]["attacks"][0]["technique"]["uid"], "T1059");
    assert_eq!(finding["time"], 1_790_000_000_123_i64);
}

#[test]
fn syslog_escapes_structured_data() {
    for text in HOSTILE {
        let line = syslog::message(&alert(text), Codec::Cef, "host name", 7);
        assert!(line.starts_with("<107>1 2026-09-21T14:13:20.123Z hostname agentward 7 ALERT ["), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let mut escaped = false;
        let mut quotes = 0;
        for character in line.split_once('[').expect("structured data").1.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quotes += 1,
                ']' if quotes % 2 == 0 => break,
                _ => {}
            }
        }
        assert_eq!(quotes, 8, "{line}");
    }
}
