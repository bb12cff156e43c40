//! An expression as text, in one form whatever it was written as.

use std::fmt;

use super::parse::{Comparison, Expr, FUNCTIONS};

/// The terms of a chain of `&&`, in order.
pub fn terms(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::And(one, other) => [terms(one), terms(other)].concat(),
        other => vec![other],
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
        })
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Literal(value) => f.write_str(&value.to_json()),
            Expr::List(items) => write!(f, "[{}]", joined(items)),
            Expr::Field(name) => f.write_str(name),
            Expr::NamedList(name, _) => write!(f, "list.{name}"),
            Expr::Variable(name, path) => {
                f.write_str(name)?;
                path.iter().try_for_each(|part| write!(f, ".{part}"))
            }
            Expr::Index(of, at) => write!(f, "{of}[{at}]"),
            Expr::Not(one) => write!(f, "!{}", Term(one)),
            Expr::Negate(one) => write!(f, "-{}", Term(one)),
            Expr::And(one, other) => write!(f, "{} && {}", Term(one), Term(other)),
            Expr::Or(one, other) => write!(f, "{} || {}", Term(one), Term(other)),
            Expr::Choose(condition, yes, no) => write!(f, "{} ? {} : {}", Term(condition), Term(yes), Term(no)),
            Expr::Compare(comparison, one, other) => write!(f, "{} {comparison} {}", Term(one), Term(other)),
            Expr::In(one, other) => write!(f, "{} in {}", Term(one), Term(other)),
            Expr::Add(one, other) => write!(f, "{} + {}", Term(one), Term(other)),
            Expr::Subtract(one, other) => write!(f, "{} - {}", Term(one), Term(other)),
            Expr::Has(one) => write!(f, "has({one})"),
            Expr::Matches(one, regex) => write!(f, "{}.matches(r{:?})", Term(one), regex.as_str()),
            Expr::Call(function, arguments) => match FUNCTIONS.iter().find(|known| known.function == *function) {
                Some(known) if known.method => write!(f, "{}.{}({})", Term(&arguments[0]), known.name, joined(&arguments[1..])),
                Some(known) => write!(f, "{}({})", known.name, joined(arguments)),
                None => write!(f, "?({})", joined(arguments)),
            },
            Expr::Every { any, over, variable, body } => {
                write!(f, "{}.{}({variable}, {body})", Term(over), if *any { "exists" } else { "all" })
            }
        }
    }
}

fn joined(items: &[Expr]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// In brackets where it is made of parts.
struct Term<'a>(&'a Expr);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = matches!(
            self.0,
            Expr::And(..)
                | Expr::Or(..)
                | Expr::Choose(..)
                | Expr::Compare(..)
                | Expr::In(..)
                | Expr::Add(..)
                | Expr::Subtract(..)
        );
        if made { write!(f, "({})", self.0) } else { write!(f, "{}", self.0) }
    }
}
