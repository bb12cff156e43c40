//! The policy engine against things that are not it: workflows that know no rule, an other implementation of the language.

mod detection;
mod expressions;
mod oracle;
