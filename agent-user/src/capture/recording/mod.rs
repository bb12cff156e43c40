//! Recordings: what `record` writes and `replay` reads, in two encodings of one model.
