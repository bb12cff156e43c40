//! Detections into conditions: selections, modifiers and the expression over them (Sigma specification 2.1).
//!
//! Sigma compares without case and takes an absent field for one that does not match: below a `not`, each comparison asks first
//! whether the field is there.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::fields::field;
use super::yaml::{Kind, Node};
use crate::base::Value;
use crate::decide::lang::{Type, type_of};
use crate::decide::pack::Fault;

pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) map: &'a BTreeMap<String, String>,
}

/// Written into an expression.
pub(super) fn quoted(text: &str) -> String {
    Value::text(text).to_json()
}

fn either(parts: &[String], sign: &str) -> String {
    match parts {
        [one] => one.clone(),
        _ => format!("({})", parts.join(sign)),
    }
}

/// How a value is compared, as modifiers say.
#[derive(Default)]
struct Modes {
    place: Option<&'static str>,
    all: bool,
    cased: bool,
    negated: bool,
    windash: bool,
    base64: Option<bool>,
    regex: Option<String>,
    other: Option<&'static str>,
}

impl Reader<'_> {
    /// The condition of a `detection`, over its selections.
    pub(super) fn condition(&self, detection: &Node) -> Result<String, Fault> {
        self.said(detection, false)
    }

    /// The same, to be put below a `not`.
    pub(super) fn guarded(&self, detection: &Node) -> Result<String, Fault> {
        self.said(detection, true)
    }

    fn said(&self, detection: &Node, guarded: bool) -> Result<String, Fault> {
        let written = detection.get("condition").ok_or_else(|| detection.fault(self.file, "a detection has a `condition`"))?;
        let parts: Result<Vec<String>, Fault> =
            written.items().into_iter().map(|one| self.expression(detection, one, guarded)).collect();
        Ok(either(&parts?, " || "))
    }

    fn expression(&self, detection: &Node, written: &Node, guarded: bool) -> Result<String, Fault> {
        let text =
            written.text().ok_or_else(|| written.fault(self.file, "a condition is a text such as `selection and not filter`"))?;
        if text.contains('|') {
            let reason = "aggregations after `|` are of Sigma 1; write a correlation document";
            return Err(written.fault(self.file, reason));
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { reader: self, detection, written, words, at: 0, negated: guarded, depth: 0 };
        let parsed = parser.or()?;
        match parser.words.get(parser.at) {
            None => Ok(parsed),
            Some(word) => Err(parser.fault(&format!("expected `and`, `or` or the end before `{word}`"))),
        }
    }

    fn selection(&self, selection: &Node, guarded: bool) -> Result<String, Fault> {
        match &selection.kind {
            Kind::Map(entries) => {
                let parts: Result<Vec<String>, Fault> =
                    entries.iter().map(|(key, value)| self.item(key, value, guarded)).collect();
                Ok(either(&parts?, " && "))
            }
            Kind::List(items) => {
                let parts: Result<Vec<String>, Fault> = items.iter().map(|item| self.selection(item, guarded)).collect();
                Ok(either(&parts?, " || "))
            }
            Kind::Text(_) | Kind::Number(_) => Ok(self.keyword(&selection.word().unwrap_or_default())),
            Kind::Null | Kind::Bool(_) => Err(selection.fault(self.file, "a selection is a map, a list or a keyword")),
        }
    }

    /// A word anywhere in what is sent or answered.
    fn keyword(&self, word: &str) -> String {
        let word = quoted(&word.trim_matches('*').to_lowercase());
        let within = |name: &str| format!("(has({name}) && text({name}).lowerAscii().contains({word}))");
        format!("({} || {})", within("arg"), within("result"))
    }

    /// `field|modifier: value`.
    fn item(&self, key: &Node, value: &Node, guarded: bool) -> Result<String, Fault> {
        let written = key.word().ok_or_else(|| key.fault(self.file, "a field is a word"))?;
        let mut words = written.split('|');
        let name = words.next().unwrap_or_default();
        let modes = self.modes(key, words)?;
        if name.is_empty() {
            let parts: Vec<String> =
                value.items().iter().filter_map(|item| item.word()).map(|word| self.keyword(&word)).collect();
            return Ok(either(&parts, if modes.all { " && " } else { " || " }));
        }
        let field = field(name, self.map).map_err(|reason| key.fault(self.file, reason))?;
        let parts: Result<Vec<String>, Fault> =
            value.items().into_iter().map(|item| self.compared(&field, item, &modes)).collect();
        let parts = parts?;
        if parts.is_empty() {
            return Err(value.fault(self.file, "an empty list matches nothing; name a value"));
        }
        let said = either(&parts, if modes.all { " && " } else { " || " });
        let asks_itself = said.starts_with("has(") || said.starts_with("!has(");
        let said = if guarded && !asks_itself { format!("(has({field}) && {said})") } else { said };
        Ok(if modes.negated { format!("!(has({field}) && {said})") } else { said })
    }

    fn modes<'w>(&self, key: &Node, words: impl Iterator<Item = &'w str>) -> Result<Modes, Fault> {
        let mut modes = Modes::default();
        for word in words {
            match word {
                "contains" => modes.place = Some("contains"),
                "startswith" => modes.place = Some("startsWith"),
                "endswith" => modes.place = Some("endsWith"),
                "all" => modes.all = true,
                "cased" => modes.cased = true,
                "neq" => modes.negated = true,
                "windash" => modes.windash = true,
                "base64" => modes.base64 = Some(false),
                "base64offset" => modes.base64 = Some(true),
                "re" => modes.regex = Some(String::new()),
                "i" | "m" | "s" if modes.regex.is_some() => modes.regex.iter_mut().for_each(|flags| flags.push_str(word)),
                "lt" => modes.other = Some("<"),
                "lte" => modes.other = Some("<="),
                "gt" => modes.other = Some(">"),
                "gte" => modes.other = Some(">="),
                "exists" => modes.other = Some("exists"),
                "cidr" => modes.other = Some("cidr"),
                "fieldref" => modes.other = Some("fieldref"),
                other => return Err(key.fault(self.file, format!("the modifier `{other}` cannot be imported"))),
            }
        }
        Ok(modes)
    }

    fn compared(&self, name: &str, value: &Node, modes: &Modes) -> Result<String, Fault> {
        let wrong = |reason: &str| value.fault(self.file, reason);
        match (modes.other, &value.kind) {
            (Some("exists"), Kind::Bool(there)) => return Ok(format!("{}has({name})", if *there { "" } else { "!" })),
            (Some("exists"), _) => return Err(wrong("`exists` is true or false")),
            (Some("cidr"), Kind::Text(network)) => return Ok(format!("cidr({name}, [{}])", quoted(network))),
            (Some("fieldref"), Kind::Text(other)) => {
                let other = field(other, self.map).map_err(|reason| value.fault(self.file, reason))?;
                return Ok(format!("{name} == {other}"));
            }
            (Some(sign @ ("<" | "<=" | ">" | ">=")), _) => {
                let number = value.word().and_then(|word| word.parse::<f64>().ok());
                return Ok(format!("{name} {sign} {}", number.ok_or_else(|| wrong("expected a number"))?));
            }
            (Some(_), _) => return Err(wrong("expected a text")),
            (None, _) => {}
        }
        match &value.kind {
            Kind::Null => Ok(format!("!has({name})")),
            Kind::Bool(flag) => Ok(format!("{name} == {flag}")),
            Kind::Number(number) if type_of(name) != Some(Type::Text) && modes.place.is_none() && modes.base64.is_none() => {
                Ok(format!("{name} == {number}"))
            }
            Kind::Text(_) | Kind::Number(_) => Ok(self.texts(name, &value.word().unwrap_or_default(), modes)),
            Kind::List(_) | Kind::Map(_) => Err(wrong("expected a value, not a list or map in a list")),
        }
    }

    fn texts(&self, name: &str, text: &str, modes: &Modes) -> String {
        if let Some(flags) = &modes.regex {
            let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
            return self.on(name, &|subject| format!("{subject}.matches({})", quoted(&format!("{flags}{text}"))));
        }
        let mut forms = vec![text.to_owned()];
        if modes.windash {
            for dash in ["/", "\u{2013}", "\u{2014}"] {
                forms.push(text.replacen('-', dash, 1));
            }
            forms.dedup();
        }
        if let Some(offset) = modes.base64 {
            forms = forms.iter().flat_map(|form| encoded(form, offset)).collect();
        }
        let cased = modes.cased || modes.base64.is_some();
        let parts: Vec<String> =
            forms.iter().map(|form| self.on(name, &|subject| one_text(subject, form, modes.place, cased))).collect();
        either(&parts, " || ")
    }

    /// Each item of a list is asked; what has no type of its own is asked as text.
    fn on(&self, name: &str, test: &dyn Fn(&str) -> String) -> String {
        match type_of(name) {
            Some(Type::List) => format!("{name}.exists(item, {})", test("item")),
            Some(Type::Entity) => test(&format!("{name}.id")),
            Some(Type::Any) => test(&format!("text({name})")),
            _ => test(name),
        }
    }
}

/// Base64 of a text, or the part of it that stays the same at each of three offsets.
fn encoded(text: &str, offsets: bool) -> Vec<String> {
    if !offsets {
        return vec![base64::engine::general_purpose::STANDARD.encode(text)];
    }
    const START: [usize; 3] = [0, 2, 3];
    (0..3)
        .map(|offset| {
            let whole = STANDARD_NO_PAD.encode([&b"   "[..offset], text.as_bytes()].concat());
            let sure = (offset + text.len()) * 8 / 6;
            whole[START[offset].min(sure)..sure].to_owned()
        })
        .collect()
}

/// A text with Sigma's `*` and `?` against a subject.
fn one_text(subject: &str, text: &str, place: Option<&'static str>, cased: bool) -> String {
    let mut pieces = pieces(text);
    if matches!(place, Some("contains" | "endsWith")) {
        pieces.insert(0, Piece::Any);
    }
    if matches!(place, Some("contains" | "startsWith")) {
        pieces.push(Piece::Any);
    }
    pieces.dedup_by(|one, other| matches!((one, other), (Piece::Any, Piece::Any)));
    let ascii = text.is_ascii();
    let plain = if cased || !ascii { subject.to_owned() } else { format!("{subject}.lowerAscii()") };
    let word = |word: &str| quoted(&if cased || !ascii { word.to_owned() } else { word.to_ascii_lowercase() });
    if cased || ascii {
        match pieces.as_slice() {
            [] => return format!("{subject} == \"\""),
            [Piece::Text(text)] => return format!("{plain} == {}", word(text)),
            [Piece::Any, Piece::Text(text), Piece::Any] => return format!("{plain}.contains({})", word(text)),
            [Piece::Text(text), Piece::Any] => return format!("{plain}.startsWith({})", word(text)),
            [Piece::Any, Piece::Text(text)] => return format!("{plain}.endsWith({})", word(text)),
            [Piece::Any] => return format!("{plain}.size() > 0"),
            _ => {}
        }
    }
    let mut pattern = String::from(if cased { "(?s)^" } else { "(?is)^" });
    for piece in &pieces {
        match piece {
            Piece::Text(text) => pattern.push_str(&regex::escape(text)),
            Piece::Any => pattern.push_str(".*"),
            Piece::One => pattern.push('.'),
        }
    }
    pattern.push('$');
    format!("{subject}.matches({})", quoted(&pattern))
}

enum Piece {
    Text(String),
    Any,
    One,
}

/// `\*`, `\?` and `\\` stand for themselves; any other backslash does, too.
fn pieces(text: &str) -> Vec<Piece> {
    let mut found: Vec<Piece> = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let literal = match letter {
            '*' => {
                found.push(Piece::Any);
                continue;
            }
            '?' => {
                found.push(Piece::One);
                continue;
            }
            '\\' => letters.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\'),
            other => other,
        };
        match found.last_mut() {
            Some(Piece::Text(text)) => text.push(literal),
            _ => found.push(Piece::Text(literal.into())),
        }
    }
    found
}

/// `selection and not (a or 1 of b*)`.
struct Parser<'a> {
    reader: &'a Reader<'a>,
    detection: &'a Node,
    written: &'a Node,
    words: Vec<&'a str>,
    at: usize,
    negated: bool,
    depth: usize,
}

impl Parser<'_> {
    fn fault(&self, reason: &str) -> Fault {
        self.written.fault(self.reader.file, reason)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<String, Fault> {
        let mut parts = vec![self.and()?];
        while self.take("or") {
            parts.push(self.and()?);
        }
        Ok(either(&parts, " || "))
    }

    fn and(&mut self) -> Result<String, Fault> {
        let mut parts = vec![self.not()?];
        while self.take("and") {
            parts.push(self.not()?);
        }
        Ok(either(&parts, " && "))
    }

    fn not(&mut self) -> Result<String, Fault> {
        const DEEPEST: usize = 32;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault("nested too deeply"));
        }
        let said = if self.take("not") {
            let before = std::mem::replace(&mut self.negated, true);
            let inner = self.not()?;
            self.negated = before;
            format!("!({inner})")
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err(self.fault("expected `)`"));
            }
            inner
        } else {
            self.named()?
        };
        self.depth -= 1;
        Ok(said)
    }

    fn named(&mut self) -> Result<String, Fault> {
        let word = *self.words.get(self.at).ok_or_else(|| self.fault("expected a selection"))?;
        self.at += 1;
        let many = self.words.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case("of"));
        if !many {
            return match self.detection.get(word).filter(|_| word != "condition") {
                Some(selection) => self.reader.selection(selection, self.negated),
                None => Err(self.fault(&format!("no selection is called `{word}`"))),
            };
        }
        self.at += 1;
        let pattern = *self.words.get(self.at).ok_or_else(|| self.fault("expected `them` or a pattern after `of`"))?;
        self.at += 1;
        let sign = match word {
            "1" | "any" => " || ",
            "all" => " && ",
            _ => return Err(self.fault(&format!("`{word} of` cannot be imported; `1 of` and `all of` can"))),
        };
        let fits = |name: &str| {
            if pattern == "them" {
                !name.starts_with('_')
            } else {
                crate::decide::lang::glob(name.as_bytes(), pattern.as_bytes())
            }
        };
        let chosen =
            self.detection.entries().iter().filter(|(key, _)| key.text().is_some_and(|name| name != "condition" && fits(name)));
        let parts: Result<Vec<String>, Fault> =
            chosen.map(|(_, selection)| self.reader.selection(selection, self.negated)).collect();
        let parts = parts?;
        if parts.is_empty() {
            return Err(self.fault(&format!("no selection fits `{pattern}`")));
        }
        Ok(either(&parts, sign))
    }
}
