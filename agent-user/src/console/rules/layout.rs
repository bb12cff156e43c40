//! `agentward rules fmt`: one layout, readable by editors that know TOML 1.0 only.
//!
//! Spaces at line ends go, runs of blank lines become one, an inline table stands on one line without a comma at its end (TOML 1.1
//! allows what 1.0 does not), the file ends with one line feed. Texts and comments stay as they are.

pub(super) fn tidied(text: &str) -> String {
    let joined = joined(text);
    // A comment inside a table cannot stand on its line: such a file keeps its tables.
    let same = |other: &str| text.parse::<toml::Table>().ok() == other.parse::<toml::Table>().ok();
    let text = if same(&joined) { &joined } else { text };
    let mut out = String::with_capacity(text.len());
    let mut quoted: Option<&str> = None;
    let mut blank = 0;
    for line in text.lines() {
        let inside = quoted.is_some();
        for quote in ["\"\"\"", "'''"] {
            for _ in 0..line.matches(quote).count() {
                quoted = match quoted {
                    Some(open) if open == quote => None,
                    None => Some(quote),
                    other => other,
                };
            }
        }
        let line = if inside || quoted.is_some() { line } else { line.trim_end() };
        blank = if line.is_empty() && !inside { blank + 1 } else { 0 };
        if blank < 2 && !(line.is_empty() && out.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Inline tables on one line each.
fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<char> = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let taken = match letter {
            '"' | '\'' => string(rest, letter),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            _ => letter.len_utf8(),
        };
        let piece = &rest[..taken];
        rest = &rest[taken..];
        match letter {
            '{' | '[' => open.push(letter),
            '}' | ']' => drop(open.pop()),
            _ => {}
        }
        if matches!(letter, '\n' | '\r') && open.last() == Some(&'{') {
            rest = rest.trim_start();
            let end = out.trim_end().len();
            out.truncate(end);
            if rest.starts_with('}') && out.ends_with(',') {
                out.pop();
            }
            out.push(' ');
            continue;
        }
        // A comma before the end of a table that stands on one line already.
        if letter == '}' {
            let end = out.trim_end().len();
            if out[..end].ends_with(',') {
                out.truncate(end - 1);
                out.push(' ');
            }
        }
        out.push_str(piece);
    }
    out
}

/// Length of the string that begins here, with its quotes.
fn string(text: &str, quote: char) -> usize {
    let long: String = std::iter::repeat_n(quote, 3).collect();
    let (mark, start) = if text.starts_with(&long) { (long.as_str(), 3) } else { (&text[..1], 1) };
    let mut at = start;
    while at < text.len() {
        let here = &text[at..];
        if here.starts_with(mark) {
            // Up to two more quotes may stand before the three that end a long text.
            let more = if start == 3 { here[3..].chars().take_while(|letter| *letter == quote).count().min(2) } else { 0 };
            return at + mark.len() + more;
        }
        let escaped = quote == '"' && here.starts_with('\\');
        at += here.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_tidied_and_text_kept() {
        for (written, tidy) in [
            ("\n\na = 1  \n\n\n\nb = 2\n\n", "a = 1\n\nb = 2\n"),
            ("a = '''\nx  \n\n\n\ny'''\n", "a = '''\nx  \n\n\n\ny'''\n"),
            ("a = {\n  b = 1,\n  c = [\n    1,\n  ],\n}\n", "a = { b = 1, c = [\n    1,\n  ] }\n"),
            ("a = [\n  { b = 1, },\n]\n", "a = [\n  { b = 1 },\n]\n"),
            ("a = { b = '{\n' }\n", "a = { b = '{\n' }\n"),
            ("a = \"{,\\\"\" # {\nb = 1\n", "a = \"{,\\\"\" # {\nb = 1\n"),
            ("a = { b = \"\"\"\n}\"\"\" }\n", "a = { b = \"\"\"\n}\"\"\" }\n"),
            ("a = {\n  b = 1, # why\n  c = 2\n}\n", "a = {\n  b = 1, # why\n  c = 2\n}\n"),
        ] {
            assert_eq!(tidied(written), tidy, "{written}");
            assert_eq!(tidied(tidy), tidy, "{written}");
        }
    }
}
