//! Who may connect to a listener: addresses and networks, as `peers` names them.
//!
//! Not here: connections (`io`).

use core::fmt;
use core::net::IpAddr;

/// Entries of one list at most.
pub const PEERS_MAX: usize = 16;

/// An address, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerNet {
    address: IpAddr,
    /// Leading bits that count.
    bits: u8,
}

/// Why something is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// It is not written as one.
    Form,
    /// It has bits behind its length.
    HostBits,
}

impl PeerNet {
    /// `10.1.2.3`, `10.1.0.0/16`, `fd00::/8`.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub fn parse(text: &str) -> Result<Self, PeerError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PeerError::Form)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(widest), str::parse).map_err(|_| PeerError::Form)?;
        if bits > widest {
            return Err(PeerError::Form);
        }
        let net = Self { address, bits };
        if net.high_bits(address) == Some(widened(address)) {
            Ok(net)
        } else {
            Err(PeerError::HostBits)
        }
    }

    /// An address of the same family without the bits that do not count.
    fn high_bits(&self, address: IpAddr) -> Option<u128> {
        if address.is_ipv4() != self.address.is_ipv4() {
            return None;
        }
        let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
        Some(widened(address) & mask)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.high_bits(address) == Some(widened(self.address))
    }
}

/// Its bits, from the highest on.
fn widened(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for PeerNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits {
            bits if bits == whole => write!(f, "{}", self.address),
            bits => write!(f, "{}/{bits}", self.address),
        }
    }
}

/// Who may connect; an empty list: anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers([Option<PeerNet>; PEERS_MAX]);

impl Peers {
    /// No list.
    pub const ANYBODY: Self = Self([None; PEERS_MAX]);

    /// At most [`PEERS_MAX`]; more are `None`.
    #[must_use]
    pub fn new(nets: &[PeerNet]) -> Option<Self> {
        let mut peers = Self::default();
        let places = peers.0.get_mut(..nets.len())?;
        places.iter_mut().zip(nets).for_each(|(place, net)| *place = Some(*net));
        Some(peers)
    }

    /// Whether this address may connect. An IPv4 address that a listener for both families sees is one.
    #[must_use]
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0[0].is_none() || self.0.iter().flatten().any(|net| net.has(address))
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0[0].is_none() {
            return f.write_str("anybody");
        }
        let mut first = true;
        for net in self.0.iter().flatten() {
            let between = if core::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{between}{net}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(nets: &[&str]) -> Peers {
        let nets: Vec<_> = nets.iter().map(|net| PeerNet::parse(net).unwrap()).collect();
        Peers::new(&nets).unwrap()
    }

    #[test]
    fn networks_have_their_addresses_and_no_others() {
        let some = peers(&["10.1.0.0/16", "127.0.0.1", "fd00::/8"]);
        assert_eq!(some.to_string(), "10.1.0.0/16, 127.0.0.1, fd00::/8");
        for (address, allowed) in [
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(some.allow(address.parse().unwrap()), allowed, "{address}");
        }
        assert!(Peers::default().allow("8.8.8.8".parse().unwrap()), "no list: anybody");
        assert!(peers(&["0.0.0.0/0"]).allow("8.8.8.8".parse().unwrap()));
        assert!(!peers(&["0.0.0.0/0"]).allow("::1".parse().unwrap()));
        assert_eq!(Peers::default().to_string(), "anybody");
    }

    #[test]
    fn what_is_no_network_is_said() {
        for text in
            ["", "localhost", "10.1", "10.1.0.0/33", "fd00::/129", "10.0.0.0/x", "10.0.0.0/"]
        {
            assert_eq!(PeerNet::parse(text), Err(PeerError::Form), "{text}");
        }
        for text in ["10.1.2.3/16", "fd00::1/8", "10.0.0.1/0"] {
            assert_eq!(PeerNet::parse(text), Err(PeerError::HostBits), "{text}");
        }
        assert_eq!(Peers::new(&[PeerNet::parse("10.0.0.1").unwrap(); 17]), None);
    }
}
