//! Random bytes from the kernel: the only randomness of the process, drawn once at start.

use crate::shard::Secrets;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// Fresh keys for this process. Without a data directory nothing outlives it, so neither need they.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn fresh_secrets() -> io::Result<Secrets> {
    let mut secrets = Secrets { card_key: [0; 32], digest_key: [0; 16] };
    fill(&mut secrets.card_key)?;
    fill(&mut secrets.digest_key)?;
    Ok(secrets)
}

/// Fills all of it.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_processes_would_differ() {
        let (one, other) = (super::fresh_secrets().unwrap(), super::fresh_secrets().unwrap());
        assert_ne!(one.card_key, other.card_key);
        assert_ne!(one.digest_key, other.digest_key);
    }
}
