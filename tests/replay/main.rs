//! Recordings through the built program.
