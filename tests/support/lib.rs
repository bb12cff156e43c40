//! Shared helpers of the agentward test suites.
