//! agentward: what AI agents do through APIs, on whose behalf, judged against rules.
//!
//! ```text
//! probes --ring--> capture -> reassemble -> decode -> understand -> correlate -> decide -> deliver
//!        wire::Record  Observation  StreamEvent  HttpEvent   Draft        Step       Alert     bytes
//! ```
//!
//! The modules below stand in that order. Each stage owns the type it hands on and imports only from [`base`] and from
//! stages before it (a test proves it). A stage is a struct with `push(now, input, out)` and `tick(now, out)`: no clock,
//! no IO, no randomness inside. [`pipeline`] is the one file that knows the order.
//!
//! Without default features the crate has no kernel, clock or network access: that build is the proof of purity.

pub mod base;
pub mod capture;
#[cfg(feature = "cli")]
pub mod console;
pub mod correlate;
pub mod decide;
pub mod decode;
pub mod deliver;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod pipeline;
#[cfg(feature = "live")]
pub mod probes;
pub mod reassemble;
#[cfg(feature = "sinks")]
pub mod relay;
#[cfg(feature = "resolve")]
pub mod resolve;
pub mod understand;

#[cfg(test)]
mod tidy;
