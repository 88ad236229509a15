//! The crate seen from outside: vectors, damaged messages, frames, responses, round trips,
//! mutations, and a second opinion.
//!
//! The modules say `cfg(test)` although all of this is test code: by it the lints know that helpers
//! may unwrap too.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod vectors;
