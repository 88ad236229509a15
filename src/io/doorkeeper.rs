//! Who is let in at a listener: only peers that it names, and not too many connections a second from one
//! address.
//!
//! Not here: accepting and placing (`listener`).

use super::listener::Guest;
use crate::config::{Config, Peers};
use crate::shard::{AcquirerId, IssuerId};
use std::collections::BTreeMap;
use std::net::IpAddr;

const NS_PER_S: u64 = 1_000_000_000;
/// Addresses whose connections are counted at a time. Where more come in one second, further ones are
/// let in uncounted: descriptors bound them.
const ADDRESSES_MAX: usize = 4_096;

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is of nobody that the listener is for.
    NotAPeer,
    /// Its address connects too often.
    TooOften,
}

/// What listeners ask of those who connect.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    /// By acquirer; and connections a second from one address, 0: any number.
    acquirers: Vec<(Peers, u32)>,
    /// By issuer.
    issuers: Vec<Peers>,
    /// By acquirer and address: when all that it was let in with has been paid for.
    paid_ns: BTreeMap<(u8, IpAddr), u64>,
    /// When it is looked again who has paid for all.
    look_again_ns: u64,
}

impl Doorkeeper {
    pub(crate) fn new(config: &Config) -> Self {
        let acquirers = config.acquirers.iter().map(|it| it.session);
        let link_peers = |link: &crate::config::IssuerLinkConfig| link.peers;
        let issuers = config.issuers.iter();
        Self {
            acquirers: acquirers.map(|it| (it.peers, it.connects_per_second)).collect(),
            issuers: issuers
                .map(|it| it.link.as_ref().map(link_peers).unwrap_or_default())
                .collect(),
            paid_ns: BTreeMap::new(),
            look_again_ns: 0,
        }
    }

    /// Whether this address may come in now.
    pub(crate) fn admit(&mut self, guest: Guest, from: IpAddr, now_ns: u64) -> Result<(), Denied> {
        let (acquirer, rate) = match guest {
            Guest::Issuer(IssuerId(issuer)) => {
                let peers = self.issuers.get(usize::from(issuer)).copied().unwrap_or_default();
                return if peers.allow(from) { Ok(()) } else { Err(Denied::NotAPeer) };
            }
            Guest::Acquirer(AcquirerId(acquirer)) => {
                let rules = self.acquirers.get(usize::from(acquirer)).copied();
                let (peers, rate) = rules.unwrap_or_default();
                if !peers.allow(from) {
                    return Err(Denied::NotAPeer);
                }
                (acquirer, u64::from(rate))
            }
        };
        if rate == 0 {
            return Ok(());
        }
        if self.paid_ns.len() >= ADDRESSES_MAX && now_ns >= self.look_again_ns {
            self.look_again_ns = now_ns + NS_PER_S;
            self.paid_ns.retain(|_, paid_ns| *paid_ns > now_ns);
        }
        let place = (acquirer, from.to_canonical());
        if self.paid_ns.len() >= ADDRESSES_MAX && !self.paid_ns.contains_key(&place) {
            return Ok(());
        }
        // A second's worth may come at once; each costs its part of a second.
        let paid_ns = self.paid_ns.entry(place).or_insert(now_ns);
        let after_ns = now_ns.max(*paid_ns) + NS_PER_S / rate;
        if after_ns > now_ns + NS_PER_S {
            return Err(Denied::TooOften);
        }
        *paid_ns = after_ns;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Guest = Guest::Acquirer(AcquirerId(0));

    fn doorkeeper(rate: u32) -> Doorkeeper {
        let acquirers = vec![(Peers::default(), rate); 2];
        Doorkeeper { acquirers, ..Doorkeeper::default() }
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_its_rate() {
        let mut doorkeeper = doorkeeper(10);
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut admitted = |from, now_ns, guest| {
            (0..100).filter(|_| doorkeeper.admit(guest, from, now_ns).is_ok()).count()
        };
        assert_eq!(admitted(one, 5 * NS_PER_S, GUEST), 10);
        assert_eq!(admitted(other, 5 * NS_PER_S, GUEST), 10, "each address for itself");
        assert_eq!(admitted(one, 5 * NS_PER_S, Guest::Acquirer(AcquirerId(1))), 10);
        assert_eq!(admitted(one, 5 * NS_PER_S + NS_PER_S / 2, GUEST), 5);
        assert_eq!(admitted(one, 60 * NS_PER_S, GUEST), 10, "no more is saved up");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut doorkeeper = doorkeeper(1);
        for host in 0..2 * ADDRESSES_MAX as u32 {
            let from = IpAddr::V4((0x0A00_0000 + host).into());
            assert_eq!(doorkeeper.admit(GUEST, from, NS_PER_S), Ok(()));
        }
        assert_eq!(doorkeeper.paid_ns.len(), ADDRESSES_MAX);
        let late = "192.168.0.1".parse().unwrap();
        assert_eq!(doorkeeper.admit(GUEST, late, 3 * NS_PER_S), Ok(()));
        assert_eq!(doorkeeper.admit(GUEST, late, 3 * NS_PER_S), Err(Denied::TooOften));
        assert_eq!(doorkeeper.paid_ns.len(), 1, "those of a second ago are forgotten");
    }
}
