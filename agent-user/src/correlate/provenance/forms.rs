//! One spelling for values that travel in many: case, white space, hyphens, encodings, numbers and addresses.

use std::borrow::Cow;

use super::content::unwrapped;

/// Values shorter than this say nothing about where they come from.
pub(super) const SHORTEST: usize = 3;

/// The spellings under which a value is kept and looked up; the first is its own.
pub(super) fn forms(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    each_form(text, &normal(text), &mut |form| forms.push(form.to_owned()));
    forms
}

/// The same one after the other; `plain` is what [`normal`] makes of the text.
pub(super) fn each_form(text: &str, plain: &str, each: &mut impl FnMut(&str)) {
    let own = plain.trim_start_matches('+');
    let digits = plain.bytes().any(|byte| byte.is_ascii_digit());
    if digits && let Some(number) = amount(text) {
        each(&number);
        // Long ones are phone numbers and accounts as well.
        if own.len() >= 7 && own != number {
            each(own);
        }
        return;
    }
    // A letter with a digit is a name of something (`T-2`), however short.
    let named = digits && plain.chars().any(char::is_alphabetic);
    if plain.chars().count() < SHORTEST && !named {
        return;
    }
    each(own);
    if let Some(hidden) = unwrapped(text) {
        let hidden = normal(&hidden);
        if hidden.chars().count() >= SHORTEST && hidden != own {
            each(&hidden);
        }
    }
}

/// Lower case, without white space, hyphens, quotes, the marks around a value, and the parts of a link that do not choose its target.
pub(super) fn normal(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim().trim_matches(|letter: char| !letter.is_alphanumeric() && !matches!(letter, '/' | '~' | '+' | '_'));
    // Most words are just letters.
    if trimmed.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !trimmed.starts_with("www") {
        let upper = trimmed.bytes().any(|byte| byte.is_ascii_uppercase());
        return if upper { trimmed.to_ascii_lowercase().into() } else { trimmed.into() };
    }
    let lower = trimmed.to_lowercase();
    let bare =
        lower.strip_prefix("https://").or(lower.strip_prefix("http://")).or(lower.strip_prefix("mailto:")).unwrap_or(&lower);
    let bare = bare.strip_prefix("www.").unwrap_or(bare).trim_end_matches('/');
    bare.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '-' | '_' | '\'' | '"' | '’' | '`')).collect()
}

/// A number in one spelling: `25`, `25.0`, `$25.00` and `1,000` as people write them.
pub(super) fn amount(text: &str) -> Option<Cow<'_, str>> {
    /// More digits than that do not stand for a sum.
    const LONGEST: usize = 15;
    let whole = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    // A whole number as it is written is the spelling already.
    if !text.is_empty() && whole(text) {
        return (text.len() <= LONGEST).then_some(text.into());
    }
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bare = text.trim_matches(|letter: char| !letter.is_ascii_digit() && letter != '-' && letter != '.').trim_end_matches('.');
    if text.trim().len() > bare.len() + 4 || !bare.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-') {
        return None;
    }
    let letters: String = text.chars().filter(|letter| letter.is_alphabetic()).collect::<String>().to_lowercase();
    let currency = letters.is_empty()
        || matches!(letters.as_str(), "eur" | "usd" | "gbp" | "chf" | "euro" | "euros" | "dollars" | "us" | "k");
    let digits = if bare.contains(',') { bare.replace(',', "").into() } else { Cow::Borrowed(bare) };
    let number: f64 = digits.parse().ok().filter(|_| currency && digits.len() <= LONGEST)?;
    if whole(&digits) {
        return Some(digits);
    }
    Some(format!("{number}").into())
}

/// What kind of target a value is: users name people, accounts and places in such forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Mail,
    Link,
    Account,
    Number,
    Word,
    Words,
}

pub(super) fn shape(text: &str) -> Shape {
    let telling =
        |byte: u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || matches!(byte, b'@' | b'/' | b'.') || byte >= 0x80;
    if !text.bytes().any(telling) {
        return Shape::Word;
    }
    let text = text.trim().trim_matches(['.', ',', '!', '?', ')', '(', '"', '\'', '<', '>', ';', ':']);
    let words = text.split_whitespace().count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if words == 1 && text.contains('@') && text.rsplit('@').next().is_some_and(|host| host.contains('.')) {
        return Shape::Mail;
    }
    if words == 1 && (text.contains("://") || text.starts_with("www.") || is_host(text)) {
        return Shape::Link;
    }
    if amount(text).is_some() {
        return Shape::Number;
    }
    let compact: String = text.chars().filter(|letter| letter.is_alphanumeric()).collect();
    if digits >= 6 && compact.len() <= 42 && compact.len() * 3 >= text.len() * 2 && digits * 2 >= compact.len() {
        return Shape::Account;
    }
    if compact.len() >= 32 && words == 1 && digits >= 4 && compact.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Shape::Account;
    }
    if words > 1 { Shape::Words } else { Shape::Word }
}

/// `shop.example/x`: dots between letters, an ending of letters.
fn is_host(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    let mut labels = host.rsplit('.');
    let top = labels.next().unwrap_or_default();
    host.contains('.')
        && (2..=6).contains(&top.len())
        && top.chars().all(|letter| letter.is_ascii_lowercase())
        && text.contains('/')
        && labels.all(|label| !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-'))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        for (one, other) in [
            ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
            ("  Ann@Example.com.", "ann@example.com"),
            ("https://www.shop.example/a/", "shop.example/a"),
            ("$1,000.00", "1000"),
            ("ann%40example.com", "ann@example.com"),
            ("'Riverside View  Hotel'", "riverside view hotel"),
        ] {
            assert!(
                forms(one).iter().any(|form| forms(other).contains(form)),
                "{one} {other}: {:?} {:?}",
                forms(one),
                forms(other)
            );
        }
        let hidden = base64::engine::general_purpose::STANDARD.encode("mallory@evil.example");
        assert!(forms(&hidden).contains(&"mallory@evil.example".to_owned()));
    }

    #[test]
    fn shapes() {
        for (text, expected) in [
            ("ann@example.com", Shape::Mail),
            ("https://x.example/y", Shape::Link),
            ("www.x.com", Shape::Link),
            ("US133000000121212121212", Shape::Account),
            ("0x52908400098527886E0F7030069857D2E4169EE7", Shape::Account),
            ("25.00", Shape::Number),
            ("Alice", Shape::Word),
            ("Riverside View Hotel", Shape::Words),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }
}
