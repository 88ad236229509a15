//! The crate seen from outside: vectors, damaged messages, frames, responses, round trips,
//! mutations, and a second opinion.

mod corpus;
mod vectors;
