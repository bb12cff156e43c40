//! The policy engine against things that are not it: workflows that know no rule, another implementation of the language, bad files.

mod clock;
mod detection;
mod expressions;
mod hostile;
mod oracle;
mod packs;
mod recorded;
