//! **deliver**: what people and other programs read: JSON lines, terminal lines, journal, sinks.
//!
//! In: [`Alert`](crate::decide::Alert)s, steps, exchanges. Out: bytes, after redaction. The only stage that opens
//! [`Sensitive`](crate::base::Sensitive) content.
