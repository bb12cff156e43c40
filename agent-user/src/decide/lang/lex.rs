//! Text into tokens.

use super::Fault;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(f64),
    /// Operators and brackets, as written.
    Sign(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 23] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "?", ":", "+", "-", "(", ")", "[", "]", ".", ",", "*", "/", "%", "="];

/// Tokens with their byte offsets; the last is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        if character.is_whitespace() {
            at += character.len_utf8();
        } else if text[at..].starts_with("//") {
            at += text[at..].find('\n').unwrap_or(text.len() - at);
        } else if matches!(character, 'r' | 'R') && matches!(text[at + 1..].chars().next(), Some('"' | '\'')) {
            at = raw(text, at, &mut found)?;
        } else if character.is_ascii_alphabetic() || character == '_' {
            let end = text[at..]
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .map_or(text.len(), |length| at + length);
            found.push((at, Token::Name(text[at..end].to_owned())));
            at = end;
        } else if character.is_ascii_digit() || (character == '.' && starts_with_digit(&text[at + 1..])) {
            at = number(text, at, &mut found)?;
        } else if matches!(character, '"' | '\'') {
            at = quoted(text, at, character, &mut found)?;
        } else if let Some(sign) = SIGNS.iter().find(|sign| text[at..].starts_with(**sign)) {
            found.push((at, Token::Sign(sign)));
            at += sign.len();
        } else {
            return Err(Fault { at, reason: format!("unexpected character {character:?}") });
        }
    }
    found.push((text.len(), Token::End));
    Ok(found)
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit())
}

/// `r"\d+"`: nothing inside is an escape.
fn raw(text: &str, at: usize, found: &mut Vec<(usize, Token)>) -> Result<usize, Fault> {
    let quote = &text[at + 1..at + 2];
    let start = at + 2;
    let length = text[start..].find(quote).ok_or_else(|| Fault { at, reason: format!("this text has no closing {quote}") })?;
    found.push((at, Token::Text(text[start..start + length].to_owned())));
    Ok(start + length + 1)
}

fn number(text: &str, at: usize, found: &mut Vec<(usize, Token)>) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    let mut end = at;
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    while digit(end) {
        end += 1;
    }
    if text[at..end] == *"0" && matches!(bytes.get(end), Some(b'x' | b'X')) {
        let digits = text[end + 1..].find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(text.len() - end - 1);
        let value =
            u64::from_str_radix(&text[end + 1..end + 1 + digits], 16).map_err(|_| Fault { at, reason: "not a number".into() })?;
        found.push((at, Token::Number(value as f64)));
        return Ok(end + 1 + digits);
    }
    if bytes.get(end) == Some(&b'.') && digit(end + 1) {
        end += 1;
        while digit(end) {
            end += 1;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E'))
        && (digit(end + 1) || (matches!(bytes.get(end + 1), Some(b'+' | b'-')) && digit(end + 2)))
    {
        end += 2;
        while digit(end) {
            end += 1;
        }
    }
    let value = text[at..end].parse().map_err(|_| Fault { at, reason: "not a number".into() })?;
    found.push((at, Token::Number(value)));
    Ok(end)
}

fn quoted(text: &str, at: usize, quote: char, found: &mut Vec<(usize, Token)>) -> Result<usize, Fault> {
    let mut value = String::new();
    let mut characters = text[at + 1..].char_indices();
    while let Some((offset, character)) = characters.next() {
        match character {
            end if end == quote => {
                found.push((at, Token::Text(value)));
                return Ok(at + 1 + offset + 1);
            }
            '\\' => {
                match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some('r') => value.push('\r'),
                    Some('a') => value.push('\u{7}'),
                    Some('f') => value.push('\u{c}'),
                    Some('v') => value.push('\u{b}'),
                    Some(same @ ('\\' | '"' | '\'' | '`' | '?')) => value.push(same),
                    Some('x' | 'X') => value.push(code(&mut characters, 2).ok_or_else(|| bad_escape(at + 1 + offset))?),
                    Some('u') => value.push(code(&mut characters, 4).ok_or_else(|| bad_escape(at + 1 + offset))?),
                    Some('U') => value.push(code(&mut characters, 8).ok_or_else(|| bad_escape(at + 1 + offset))?),
                    // A pattern such as "\d": the backslash is part of it.
                    Some(other) => value.extend(['\\', other]),
                    None => break,
                }
            }
            other => value.push(other),
        }
    }
    Err(Fault { at, reason: format!("this text has no closing {quote}") })
}

fn bad_escape(at: usize) -> Fault {
    Fault { at, reason: "an escape is \\xHH, \\uHHHH or \\UHHHHHHHH with a character's number".into() }
}

/// The character that this many hex digits name.
fn code(characters: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let mut number = 0;
    for _ in 0..digits {
        number = number * 16 + characters.next()?.1.to_digit(16)?;
    }
    char::from_u32(number)
}
