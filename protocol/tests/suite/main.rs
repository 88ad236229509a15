//! The crate seen from outside: vectors, damaged messages, frames, responses, round trips,
//! mutations, DE 55, and a second opinion.
//!
//! The modules say `cfg(test)` although all of this is test code: by it the lints know that helpers
//! may unwrap too.

#[cfg(test)]
mod chip;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod describing;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod random;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod second_opinion;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod writing;
