//! The one file that knows the order of the stages.
