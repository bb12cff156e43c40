//! Names as words: what a tool, a path or an argument is called tells what it does when no vocabulary does.

/// Effects that rules read (`effect`), by the words that name them. The first group with a hit wins, so the graver come first.
const VERBS: &[(&str, &[&str])] = &[
    (
        "money",
        &[
            "refund",
            "pay",
            "payment",
            "payout",
            "transfer",
            "charge",
            "withdraw",
            "withdrawal",
            "invoice",
            "purchase",
            "buy",
            "checkout",
            "disburse",
            "wire",
            "remit",
            "donate",
            "tip",
            "credit",
            "debit",
            "topup",
            "settle",
            "money",
            "funds",
            "transaction",
            "reimburse",
            "deposit",
            "donation",
            "ether",
            "bitcoin",
        ],
    ),
    (
        "exec",
        &[
            "exec",
            "execute",
            "shell",
            "bash",
            "command",
            "terminal",
            "run",
            "eval",
            "spawn",
            "subprocess",
            "powershell",
            "repl",
            "interpreter",
        ],
    ),
    (
        "delete",
        &[
            "delete",
            "remove",
            "destroy",
            "drop",
            "purge",
            "erase",
            "wipe",
            "truncate",
            "cancel",
            "revoke",
            "terminate",
            "uninstall",
            "unsubscribe",
            "archive",
            "trash",
        ],
    ),
    (
        "admin",
        &[
            "grant",
            "permission",
            "role",
            "invite",
            "invitation",
            "password",
            "credential",
            "apikey",
            "token",
            "privilege",
            "sudo",
            "policy",
            "acl",
            "firewall",
            "mfa",
            "impersonate",
            "deploy",
            "rollback",
            "restart",
            "shutdown",
            "reboot",
            "scale",
            "enable",
            "disable",
            "promote",
            "disconnect",
            "block",
            "unblock",
        ],
    ),
    ("approve", &["approve", "approval", "confirm", "authorize", "sign", "accept", "merge"]),
    (
        "egress",
        &[
            "send",
            "email",
            "mail",
            "sms",
            "message",
            "post",
            "publish",
            "share",
            "upload",
            "forward",
            "notify",
            "webhook",
            "export",
            "tweet",
            "dm",
            "reply",
            "broadcast",
            "slack",
        ],
    ),
    (
        "write",
        &[
            "create", "add", "update", "set", "write", "edit", "put", "insert", "save", "modify", "change", "patch", "append",
            "move", "rename", "book", "reserve", "schedule", "submit", "register", "assign", "open", "close", "make", "store",
            "upsert", "replace", "order", "place", "start", "stop", "reset", "apply", "import", "mark",
        ],
    ),
];

/// Words that say "only looks", stronger than a noun after them (`list_payments`, `get_sent_messages`).
pub(super) const READS: &[&str] = &[
    "get",
    "gets",
    "list",
    "lists",
    "read",
    "reads",
    "search",
    "find",
    "fetch",
    "query",
    "show",
    "view",
    "describe",
    "lookup",
    "look",
    "check",
    "count",
    "download",
    "browse",
    "retrieve",
    "load",
    "status",
    "preview",
    "validate",
    "verify",
    "estimate",
    "calculate",
    "compute",
    "summarize",
    "is",
    "has",
    "can",
    "history",
    "inspect",
    "scan",
    "poll",
    "watch",
    "explain",
    "analyze",
    "compare",
    "detect",
    "resolve",
    "ls",
    "cat",
    "head",
    "stat",
];

/// `refundOrder`, `refund_order`, `refund-order`, `v1/orders/refund` as lower-case words.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut previous_lower = false;
    for character in name.chars() {
        let starts = character.is_uppercase() && previous_lower;
        if (starts || !character.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        previous_lower = character.is_lowercase() || character.is_numeric();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The effect that a tool's name says; `None` when it says nothing.
pub(crate) fn effect_of_tool(name: &str) -> Option<&'static str> {
    let words = words(name);
    // The verb comes first as a rule; a server prefix (`github_list_issues`, `mcp__mail__send`) may stand before it.
    let read_at = words.iter().position(|word| READS.contains(&word.as_str()));
    let verb_at = |effect, verbs: &[&str]| words.iter().position(|word| names(effect, verbs, word));
    let found = VERBS
        .iter()
        .filter_map(|(effect, verbs)| Some((*effect, verb_at(effect, verbs)?)))
        .min_by_key(|(effect, at)| (rank(effect), *at));
    match (read_at, found) {
        (Some(read), Some((_, verb))) if read < verb => Some("read"),
        (Some(_), Some(("write", _))) => Some("read"),
        (_, Some((effect, _))) => Some(effect),
        (Some(_), None) => Some("read"),
        (None, None) => None,
    }
}

/// The effect of an HTTP call: safe methods read, others do what their path says.
pub(crate) fn effect_of_call(method: &str, path: &str) -> &'static str {
    if matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") {
        return "read";
    }
    let words = words(path);
    if method == "DELETE" {
        return "delete";
    }
    let asks = words.last().is_some_and(|word| {
        matches!(word.as_str(), "search" | "query" | "graphql" | "list" | "count" | "validate" | "preview" | "lookup")
    });
    if asks {
        return "read";
    }
    let named = VERBS
        .iter()
        .filter(|(effect, _)| *effect != "write")
        .find(|(effect, verbs)| words.iter().any(|word| names(effect, verbs, word)));
    named.map_or("write", |(effect, _)| effect)
}

/// Plurals that are other words than their singular: a blog's tips, a page's blocks, a thread's runs, vital signs.
const OTHER_WORDS: &[&str] = &["tips", "blocks", "runs", "signs", "scales"];

/// Whether a word is one of these: `invitation` or `invitations`, `policy` or `policies`. What only writes has singulars alone: `orders`
/// and `books` are things.
fn names(effect: &str, verbs: &[&str], word: &str) -> bool {
    let plural = word.ends_with('s') && effect != "write" && !OTHER_WORDS.contains(&word);
    verbs.contains(&word) || plural && verbs.contains(&&*super::api::singular(word))
}

fn rank(effect: &str) -> usize {
    VERBS.iter().position(|(name, _)| *name == effect).unwrap_or(VERBS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_people_write_them() {
        for (name, expected) in [
            ("refundOrder", vec!["refund", "order"]),
            ("send_email-now", vec!["send", "email", "now"]),
            ("/v1/orders/17/refunds", vec!["v1", "orders", "17", "refunds"]),
            ("HTTPServer", vec!["httpserver"]),
            ("", vec![]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }

    #[test]
    fn tools_by_name() {
        for (name, effect) in [
            ("refund_order", Some("money")),
            ("list_payments", Some("read")),
            ("get_sent_messages", Some("read")),
            ("mcp__mail__send_email", Some("egress")),
            ("deleteFile", Some("delete")),
            ("update_password", Some("admin")),
            ("run_shell", Some("exec")),
            ("read_file", Some("read")),
            ("write_file", Some("write")),
            ("search_orders", Some("read")),
            ("weather", None),
            ("check_balance", Some("read")),
            ("transfer_funds", Some("money")),
            ("share_document", Some("egress")),
            ("workspace_invitations", Some("admin")),
            ("apply_policies", Some("admin")),
            ("bulk_purchases", Some("money")),
            ("travel_tips", None),
            ("nearby_places", None),
        ] {
            assert_eq!(effect_of_tool(name), effect, "{name}");
        }
    }

    #[test]
    fn calls_by_method_and_path() {
        for (method, path, effect) in [
            ("GET", "/v1/payments", "read"),
            ("POST", "/v1/orders/1001/refunds", "money"),
            ("POST", "/v1/orders/search", "read"),
            ("DELETE", "/v1/users/7", "delete"),
            ("POST", "/v1/notes", "write"),
            ("PUT", "/users/7/role", "admin"),
            ("POST", "/v1/messages/send", "egress"),
            ("POST", "/v1/orgs/7/invitations", "admin"),
            ("POST", "/v1/replies", "egress"),
            ("POST", "/v1/threads/7/runs", "write"),
            ("PATCH", "/v1/blocks/7/children", "write"),
        ] {
            assert_eq!(effect_of_call(method, path), effect, "{method} {path}");
        }
    }
}
