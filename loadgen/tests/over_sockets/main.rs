//! Runs against a switch for tests, over sockets.

#![expect(clippy::unwrap_used, reason = "what a test does not expect ends it")]

mod command_line;
mod responder;
mod runs;
