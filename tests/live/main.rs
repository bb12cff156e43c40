//! Live tests: real clients under the probes of this kernel. They need root and the packages that `cargo xtask test` installs,
//! so plain `cargo test` leaves them out. One at a time: each watches the whole host.

mod agent;
mod blind;
mod chain;
mod clients;
mod evasions;
mod kill;
mod ordinary;
mod parts;
mod protocols;
mod refusal;
mod restart;
mod risks;
mod short;
mod stacks;
mod stdio;
mod volume;
