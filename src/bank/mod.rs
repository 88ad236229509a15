//! Simulated issuing banks.
