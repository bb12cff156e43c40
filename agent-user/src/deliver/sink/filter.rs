//! Which records a sink wants.

use crate::base::Value;
use crate::deliver::codec::severity_rank;

/// The rule id of a sign of life.
pub const HEARTBEAT: &str = "agentward.heartbeat";

/// Every list that is not empty must be met; gap and test records always pass, because they speak of the sink itself.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// 0 to 4 in the order of severities.
    pub least_severity: u8,
    /// Rule ids; a `*` at the end takes all that begin so.
    pub rules: Vec<String>,
    /// Tags; a `*` at the end takes all that begin so.
    pub tags: Vec<String>,
    pub tenants: Vec<String>,
    /// Signs of life too.
    pub heartbeat: bool,
}

impl Filter {
    pub fn wants(&self, alert: &Value) -> bool {
        let rule = alert.pointer("/rule/id").and_then(Value::as_str).unwrap_or_default();
        if rule == HEARTBEAT {
            return self.heartbeat;
        }
        if rule.starts_with("agentward.") {
            return true;
        }
        let tags = alert.pointer("/tags").and_then(Value::as_list).unwrap_or_default();
        let tenant = alert.pointer("/actor/tenant/id").and_then(Value::as_str).unwrap_or_default();
        severity_rank(alert) >= self.least_severity
            && met(&self.rules, std::iter::once(rule))
            && met(&self.tags, tags.iter().filter_map(Value::as_str))
            && met(&self.tenants, std::iter::once(tenant))
    }
}

fn met<'a>(wanted: &[String], mut there: impl Iterator<Item = &'a str>) -> bool {
    wanted.is_empty()
        || there.any(|text| {
            wanted.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => text.starts_with(start),
                None => text == pattern,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_must_be_met() {
        let alert = Value::map([
            ("severity", Value::text("medium")),
            ("rule", Value::map([("id", Value::text("core.approval"))])),
            ("tags", Value::list([Value::text("attack.t1059")])),
        ]);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (severity, rules, tags, tenants, wanted) in [
            (0, &[][..], &[][..], &[][..], true),
            (2, &["core.*"], &["attack.*"], &[], true),
            (3, &[], &[], &[], false),
            (0, &["other"], &[], &[], false),
            (0, &["core.approval"], &["owasp.*"], &[], false),
            (0, &[], &[], &["t1"], false),
        ] {
            let filter = Filter {
                least_severity: severity,
                rules: words(rules),
                tags: words(tags),
                tenants: words(tenants),
                heartbeat: false,
            };
            assert_eq!(filter.wants(&alert), wanted, "{filter:?}");
        }
    }
}
