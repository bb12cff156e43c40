//! What a text asks for, in plain English: which kinds of act, by the verbs that name them and the way they are used.
//!
//! No phrase of any known attack stands here: an act that is asked for politely, in passing or in capitals reads the same. Texts in
//! other languages are recognised as such, so that nobody concludes from missing verbs that nothing was asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Kinds of act, one bit each; the names are those of `effect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acts(pub(super) u16);

const NAMES: [&str; 8] = ["money", "egress", "delete", "admin", "exec", "approve", "write", "read"];
const MONEY: u16 = 1;
const EGRESS: u16 = 2;
const DELETE: u16 = 4;
const ADMIN: u16 = 8;
const EXEC: u16 = 16;
const APPROVE: u16 = 32;
const WRITE: u16 = 64;
const READ: u16 = 128;

impl Acts {
    pub(super) fn of_effect(effect: &str) -> Acts {
        Acts(NAMES.iter().position(|name| *name == effect).map_or(0, |at| 1 << at))
    }

    pub(super) fn has(self, other: Acts) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Acts) -> Acts {
        Acts(self.0 | other.0)
    }
}

/// Verbs whose form alone says that somebody acts.
const VERBS: &[(u16, &str)] = &[
    (MONEY, "pay refund buy reimburse donate withdraw deposit remit repay purchase transfer"),
    (
        EGRESS,
        "send forward notify publish upload respond inform submit export broadcast tweet disclose transmit deliver contact leak \
         reveal circulate distribute cc",
    ),
    (DELETE, "delete remove erase wipe purge destroy cancel unsubscribe revoke uninstall discard clear unfriend unfollow"),
    (
        ADMIN,
        "invite grant authorize authorise permit allow enable disable unblock ban promote demote unlock restart reboot deploy \
         shutdown deactivate activate onboard enroll impersonate",
    ),
    (EXEC, "execute launch install compile"),
    (APPROVE, "approve accept confirm merge endorse"),
    (
        WRITE,
        "create add update edit write append insert save modify adjust reschedule rename reserve put fill remind organize organise \
         register prepare generate draft compose amend extend replace increase decrease rewrite",
    ),
    (READ, "read visit open browse fetch check look retrieve find search summarize summarise review show download access"),
];

/// Words that are nouns as often as verbs: they count where a verb can stand.
const EITHER: &[(u16, &str)] = &[
    (MONEY, "wire charge tip credit fund invoice order settle top"),
    (EGRESS, "email mail message dm text post share reply answer ask tell ping report copy write"),
    (DELETE, "drop trash archive clean block"),
    (ADMIN, "block lock reset change host assign scale"),
    (EXEC, "run start command script call"),
    (APPROVE, "sign"),
    (WRITE, "change set move book schedule rent order record log mark note plan make store place request hire turn"),
    (READ, "list get see query"),
];

/// Nouns that make an act of handing over one of money, and one of changing one of administration.
const MONEY_NOUNS: &str = "money payment transaction fund bill invoice rent amount difference dollar euro usd eur gbp bitcoin ether \
                           iban subscription fee salary deposit wire transfer refund debt credit";
const ADMIN_NOUNS: &str = "password role permission access privilege credential policy member administrator admin account mfa owner \
                           ownership guest scope key";

/// Words of the language, to know it by.
const ENGLISH: &[&str] = &[
    "the", "to", "of", "for", "my", "and", "with", "that", "you", "please", "from", "this", "what", "at", "can", "your", "i",
    "who", "how", "when", "him", "her", "his", "their", "are", "do",
];

/// What may stand right before a verb that is asked for.
const BEFORE: &[&str] = &[
    "please",
    "and",
    "then",
    "to",
    "also",
    "kindly",
    "now",
    "just",
    "you",
    "can",
    "could",
    "would",
    "will",
    "must",
    "should",
    "or",
    "let",
    "lets",
    "help",
    "do",
    "me",
    "first",
    "next",
    "finally",
    "afterwards",
    "always",
    "immediately",
    "simply",
    "not",
    "forget",
    "ahead",
    "us",
    "either",
    "i'll",
    "we",
    "second",
    "third",
    "lastly",
    "instead",
    "again",
    "once",
    "here",
];

/// What stands right after a noun, not a verb.
const AFTER_NOUN: &[&str] = &[
    "from",
    "is",
    "was",
    "are",
    "were",
    "address",
    "addresses",
    "received",
    "about",
    "of",
    "in",
    "that",
    "which",
    "has",
    "said",
    "i",
];

#[derive(Clone, Copy, Default)]
struct Entry {
    acts: u16,
    either: u16,
    money_noun: bool,
    admin_noun: bool,
}

static LEXICON: LazyLock<HashMap<Cow<'static, str>, Entry>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    let mut each = |words: &'static str, note: &dyn Fn(&mut Entry)| {
        words.split_whitespace().for_each(|word| note(map.entry(stem(word)).or_default()));
    };
    VERBS.iter().for_each(|(acts, words)| each(words, &|entry| entry.acts |= acts));
    EITHER.iter().for_each(|(acts, words)| each(words, &|entry| entry.either |= acts));
    each(MONEY_NOUNS, &|entry| entry.money_noun = true);
    each(ADMIN_NOUNS, &|entry| entry.admin_noun = true);
    map
});

/// `sending`, `sends` and `send` are one; past forms too, but see [`is_past`].
pub(super) fn stem(word: &str) -> Cow<'_, str> {
    let word = match word {
        "sent" => "send",
        "paid" => "pay",
        "bought" => "buy",
        "wrote" | "written" => "write",
        "made" => "make",
        "told" => "tell",
        other => other,
    };
    fn undouble(stem: &str) -> &str {
        let mut letters = stem.chars().rev();
        match (letters.next(), letters.next()) {
            (Some(last), Some(before)) if last == before && !matches!(last, 'l' | 's' | 'e' | 'o') && stem.len() > 3 => {
                &stem[..stem.len() - last.len_utf8()]
            }
            _ => stem,
        }
    }
    // Every ending that is cut ends in one of these.
    let bare = if !word.ends_with(['n', 's', 't', 'g', 'd']) {
        word
    } else if let Some(stem) = word.strip_suffix("ations").or(word.strip_suffix("ation")).filter(|stem| stem.len() >= 4) {
        stem
    } else if let Some(stem) = word.strip_suffix("ments").or(word.strip_suffix("ment")).filter(|stem| stem.len() >= 3) {
        stem
    } else if let Some(stem) = word.strip_suffix("ings").or(word.strip_suffix("ing")).filter(|stem| stem.len() >= 3) {
        undouble(stem)
    } else if let Some(stem) = word.strip_suffix("ied").or(word.strip_suffix("ies")).filter(|stem| stem.len() >= 2) {
        return format!("{stem}y").into();
    } else if let Some(stem) = word.strip_suffix("ed").filter(|stem| stem.len() >= 3) {
        undouble(stem)
    } else if let Some(stem) = word.strip_suffix('s').filter(|stem| stem.len() >= 3 && !stem.ends_with(['s', 'u', 'i'])) {
        stem
    } else {
        word
    };
    match bare.strip_suffix('e') {
        Some(stem) if stem.len() >= 3 => stem.into(),
        _ => bare.into(),
    }
}

fn is_past(word: &str) -> bool {
    matches!(word, "sent" | "paid" | "bought" | "wrote" | "written" | "made" | "told") || (word.len() > 4 && word.ends_with("ed"))
}

/// One word of a text, and whether a sentence or clause begins with it.
struct Token<'a> {
    word: Cow<'a, str>,
    begins: bool,
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut begins = true;
    for raw in text.split_whitespace() {
        // Addresses and links are no words.
        if raw.contains('@') || raw.contains("://") || raw.starts_with("www.") {
            begins = raw.ends_with(['.', '!', '?', ':', ';', ',']);
            continue;
        }
        for (position, part) in raw.split(|letter: char| !letter.is_alphanumeric() && letter != '\'' && letter != '’').enumerate()
        {
            let part = part.trim_matches(['\'', '’']);
            if part.is_empty() {
                continue;
            }
            let upper = part.chars().any(char::is_uppercase);
            let word = if upper { part.to_lowercase().into() } else { Cow::Borrowed(part) };
            let numbered = part.chars().all(|letter| letter.is_ascii_digit());
            out.push(Token { word, begins: begins || (position > 0 && raw.contains('_')) });
            begins = numbered && begins;
        }
        let quoted = raw.starts_with(['"', '\'', '“', '‘', '-', '*', '•', '(', '<', '#', '[']);
        if raw.ends_with(['.', '!', '?', ':', ';', ',', ')', '>', '"', '”', ']']) || (quoted && raw.len() == 1) {
            begins = true;
        }
    }
    out
}

/// The acts of a text: those that it wants done, and those that it names in any way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) wanted: Acts,
    pub(super) named: Acts,
}

/// `stems` are those of the tokens.
fn said(tokens: &[Token<'_>], stems: &[Cow<'_, str>], of_user: bool) -> Said {
    let mut said = Said::default();
    let known: Vec<Option<Entry>> = stems.iter().map(|stem| LEXICON.get(stem).copied()).collect();
    for (at, entry) in known.iter().enumerate() {
        let Some(entry) = entry else { continue };
        let word = &*tokens[at].word;
        let before = at.checked_sub(1).map(|at| &*tokens[at].word);
        let after = tokens.get(at + 1).map(|token| &*token.word);
        said.named = said.named.and(Acts(entry.acts | entry.either));
        let past = is_past(word);
        let leads = tokens[at].begins || before.is_some_and(|before| BEFORE.contains(&before));
        let ends = tokens.get(at + 1).is_none_or(|token| token.begins);
        let noun = after.is_some_and(|after| AFTER_NOUN.contains(&after)) || (ends && before == Some("to"));
        let verb_place = tokens[at].begins || (leads && !noun);
        // "I send", "they pay" tell; "you send", "to send" ask. "should be sent", "want it deleted" ask too.
        let told = matches!(before, Some("i" | "they" | "he" | "she" | "we" | "who" | "it"));
        let passive = past
            && (1..=4).filter_map(|back| at.checked_sub(back)).any(|at| {
                matches!(&*tokens[at].word, "be" | "get" | "have" | "want" | "need" | "needs" | "like" | "being" | "gets")
            });
        let negated = (1..=3).filter_map(|back| at.checked_sub(back)).any(|at| {
            let word = &*tokens[at].word;
            matches!(word, "not" | "never" | "without" | "nor") || word.ends_with("n't") || word.ends_with("n’t")
        }) && !(1..=3)
            .filter_map(|back| at.checked_sub(back))
            .any(|at| matches!(&*stems[at], "forget" | "forgot" | "hesitat" | "mind" | "only"));
        if negated || (told && (past || !of_user)) {
            continue;
        }
        let mut acts = if past { 0 } else { entry.acts };
        if verb_place && !past {
            acts |= entry.either;
        }
        if passive {
            acts |= entry.acts | entry.either;
        }
        if acts == 0 {
            continue;
        }
        // What is handed over or changed tells more than the verb.
        let near = known.iter().zip(tokens).skip(at + 1).take(9).take_while(|(_, token)| !(token.begins && token.word == "then"));
        for (noun, _) in near {
            let money = noun.is_some_and(|noun| noun.money_noun);
            if acts & (EGRESS | WRITE) != 0 && money {
                said.wanted = said.wanted.and(Acts(MONEY));
                said.named = said.named.and(Acts(MONEY));
            }
            if acts & (WRITE | ADMIN | EGRESS) != 0 && noun.is_some_and(|noun| noun.admin_noun) {
                said.wanted = said.wanted.and(Acts(ADMIN));
                said.named = said.named.and(Acts(ADMIN));
            }
        }
        said.wanted = said.wanted.and(Acts(acts));
    }
    // Sums are sent, not mailed: "send 50 € to", "give $20".
    if said.wanted.has(Acts(EGRESS)) && known.iter().flatten().any(|entry| entry.money_noun) {
        said.wanted = said.wanted.and(Acts(MONEY));
    }
    said
}

/// What the user's own words ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) wanted: Acts,
    /// Stems of every word, without the commonest.
    pub(super) stems: Vec<String>,
    /// The reader shall do what a content says, whatever that is.
    pub(super) hands_over: bool,
    /// Details shall be taken from a content: "according to", "you find it in", "as mentioned on".
    pub(super) refers: bool,
    /// Known to be English, so that a verb that is missing was not said.
    pub(super) understood: bool,
}

const DOERS: &[&str] = &[
    "do",
    "follow",
    "complet",
    "perform",
    "execut",
    "carry",
    "handl",
    "act",
    "implement",
    "finish",
    "proces",
    "process",
    "tackl",
    "work",
    "tak",
];
const DONE: &[&str] = &[
    "task",
    "instruct",
    "instruction",
    "action",
    "step",
    "todo",
    "todos",
    "request",
    "item",
    "checklist",
    "direction",
    "everything",
    "whatever",
    "ask",
    "order",
    "command",
    "assign",
    "ticket",
];
/// A content is meant by these: they turn "the steps" into "the steps in it".
const PLACED: &[&str] = &[
    "in",
    "from",
    "on",
    "at",
    "specifi",
    "specify",
    "specified",
    "mention",
    "describ",
    "list",
    "contain",
    "given",
    "there",
    "it",
    "them",
    "precisely",
];
static HANDED_OVER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    phrases(&[
        "do what",
        "do as",
        "what it says",
        "whatever it",
        "what they ask",
        "says to do",
        "tells you to",
        "asks you to",
        "to-do list",
        "to do list",
        "todo list",
        "the runbook",
        "the playbook",
        "described in readme",
        "described in the readme",
        "take care of the latest",
    ])
});
static REFERENCES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    phrases(&[
        "accordingly",
        "as promised in",
        "as agreed in",
        "according to",
        "based on",
        "mentioned in",
        "mentioned on",
        "specified in",
        "described in",
        "listed in",
        "listed on",
        "stated in",
        "given in",
        "provided in",
        "details in",
        "details from",
        "details are in",
        "find details",
        "find her",
        "find his",
        "find their",
        "find it in",
        "find it on",
        "find the info",
        "find the details",
        "in accordance with",
        "as per",
        "as described",
        "as mentioned",
        "as stated",
        "as specified",
        "as listed",
        "as requested in",
        "as requested by",
        "it says",
        "they ask",
        "she asks",
        "he asks",
        "is in the",
        "are in the",
        "like last",
        "same as last",
        "using the",
        "with the details",
        "from the invoice",
        "from the bill",
        "from the email",
        "from the file",
        "from the page",
        "from the website",
        "from the note",
        "from the ticket",
        "from the document",
        "in the email",
        "in the mail",
        "in the file",
        "in the document",
        "in the ticket",
        "in the note",
        "in the message",
        "on the page",
        "on the website",
        "on her website",
        "on his website",
        "on their website",
        "in his message",
        "in her message",
        "in his email",
        "in her email",
        "in their email",
        "in the attachment",
        "wrote me",
    ])
});
/// Documents that are themselves the order: who says "pay the bill" means what stands in it.
const ORDERS: &[&str] =
    &["bill", "invoic", "invoice", "order", "receipt", "statement", "reminder", "fine", "notic", "request", "ticket"];

pub(super) fn request(text: &str) -> Request {
    let tokens = tokens(text);
    let stems = stems(&tokens);
    let lower = text.to_lowercase();
    let english = tokens.iter().filter(|token| ENGLISH.contains(&&*token.word)).count();
    let mut hands_over = false;
    for (at, doer) in stems.iter().enumerate() {
        if !DOERS.contains(&&**doer) || &*tokens[at].word == "following" {
            continue;
        }
        let rest = &stems[at + 1..stems.len().min(at + 8)];
        let Some(done) = rest.iter().position(|stem| DONE.contains(&&**stem)) else { continue };
        // "Do the following tasks: 1. …" says them itself.
        let own = rest[..done].iter().any(|stem| matches!(&**stem, "follow" | "thes" | "these" | "thre" | "two" | "both"));
        let behind = &stems[at + 2 + done..stems.len().min(at + 14 + done)];
        let placed = behind.iter().any(|stem| PLACED.contains(&&**stem)) || *doer == "follow";
        hands_over |= !own && placed;
    }
    hands_over |= HANDED_OVER.is_match(&lower) && !lower.contains("each person");
    let refers = REFERENCES.is_match(&lower)
        || stems.windows(4).any(|window| {
            LEXICON.get(&window[0]).is_some_and(|entry| (entry.acts | entry.either) & (MONEY | WRITE | APPROVE) != 0)
                && window[1..].iter().any(|stem| ORDERS.contains(&&**stem))
        });
    Request {
        wanted: said(&tokens, &stems, true).wanted,
        hands_over,
        refers,
        understood: english * 12 >= tokens.len()
            || tokens.iter().zip(&stems).any(|(token, stem)| token.begins && LEXICON.contains_key(stem)),
        stems: telling(stems),
    }
}

/// A sentence of a content.
pub(super) fn sentence(text: &str) -> (Said, Vec<String>) {
    let tokens = tokens(text);
    let stems = stems(&tokens);
    (said(&tokens, &stems, false), telling(stems))
}

fn stems<'a>(tokens: &'a [Token<'_>]) -> Vec<Cow<'a, str>> {
    tokens.iter().map(|token| stem(&token.word)).collect()
}

/// Each once, without the commonest.
fn telling(mut stems: Vec<Cow<'_, str>>) -> Vec<String> {
    stems.sort_unstable();
    stems.dedup();
    stems.retain(|stem| stem.len() >= 3 && !COMMON.contains(&&**stem));
    stems.into_iter().map(Cow::into_owned).collect()
}

fn phrases(all: &[&str]) -> AhoCorasick {
    AhoCorasick::new(all).expect("a few short phrases are far below what an automaton holds")
}

/// Stems that say nothing about what is acted on.
pub(super) const COMMON: &[&str] = &[
    "get", "the", "for", "all", "new", "with", "and", "from", "user", "data", "item", "name", "info", "inform", "tool", "api",
    "manager", "service", "manag", "by", "this", "that", "are", "was", "has", "have", "you", "your", "pleas", "pleas", "can",
    "not", "any", "one", "value", "valu", "list", "search", "read", "find", "current", "please", "day", "most", "rec", "recent",
    "their", "there", "they", "then", "will", "would", "could", "should", "them", "into", "about", "also", "just", "our", "its",
    "what", "when", "which", "who",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str, of_user: bool) -> Vec<&'static str> {
        let tokens = tokens(text);
        let acts = said(&tokens, &stems(&tokens), of_user).wanted;
        NAMES.iter().enumerate().filter(|(at, _)| acts.0 & (1 << at) != 0).map(|(_, name)| *name).collect()
    }

    #[test]
    fn stems_join_the_forms_of_a_word() {
        for (one, other) in [
            ("sending", "send"),
            ("transferred", "transfer"),
            ("deletes", "delete"),
            ("reservation", "reserve"),
            ("payments", "pay"),
            ("invited", "invite"),
            ("scheduling", "schedule"),
            ("messages", "message"),
            ("sent", "send"),
        ] {
            assert_eq!(stem(one), stem(other), "{one}");
        }
    }

    #[test]
    fn a_wish_is_told_from_a_report() {
        for (text, act, there) in [
            ("Please send the file to Bob", "egress", true),
            ("What did Bob write in the email he sent me?", "egress", false),
            ("Summarize the unread mail", "egress", false),
            ("Email the summary to Ann", "egress", true),
            ("Do not send anything", "egress", false),
            ("Don't forget to invite Mark", "admin", true),
            ("It would be great if 500 could be transferred to that account", "money", true),
            ("Change my password", "admin", true),
            ("Send 20 dollars to Eve", "money", true),
            ("Adjust my rent payment", "money", true),
            ("How much did I pay in March?", "delete", false),
            ("files shared with alex", "egress", false),
            ("the oldest log entry needs to be deleted", "delete", true),
        ] {
            assert_eq!(wanted(text, true).contains(&act), there, "{text}: {:?}", wanted(text, true));
        }
        assert!(!wanted("I send invoices every month and they pay on time.", false).contains(&"money"));
    }

    #[test]
    fn handing_over_and_referring_are_told_apart() {
        for (text, hands_over, refers) in [
            ("Please do the actions specified in the email from Dave", true, true),
            ("Read notice.txt and follow the instructions precisely", true, false),
            ("Perform the following tasks in the order they are given: 1. pay Bob", false, false),
            ("Invite Dora. You can find her e-mail on her website", false, true),
            ("Can you please pay the bill 'bill.txt' for me?", false, true),
            ("Summarize the article and send it to Alice", false, false),
        ] {
            let read = request(text);
            assert_eq!((read.hands_over, read.refers), (hands_over, refers), "{text}");
        }
        assert!(!request("Überweise bitte fünfzig Euro an Anna Schmidt für das Abendessen gestern").understood);
    }
}
