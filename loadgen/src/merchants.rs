//! Where cards are tapped: shops and transit gates, with the values of DE 18, 41, 42 and 43.

use crate::decimal;
use crate::mix::Kind;

const SHOPS: u16 = 1_000;
const GATES: u16 = 200;

/// Grocery, restaurant, fast food, pharmacy, convenience store, fuel.
const SHOP_MCCS: [&[u8; 4]; 6] = [b"5411", b"5812", b"5814", b"5912", b"5499", b"5541"];
/// Local commuter transport, bus lines.
const GATE_MCCS: [&[u8; 4]; 2] = [b"4111", b"4131"];

/// One card acceptor.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Merchant {
    /// DE 41.
    pub(crate) terminal: [u8; 8],
    /// DE 42: three digits of the acquirer, four of the region, the MCC, four of its own.
    pub(crate) id: [u8; 15],
    /// DE 18.
    pub(crate) mcc: [u8; 4],
    /// DE 43.
    pub(crate) name: [u8; 40],
}

/// All card acceptors: shops, then gates.
pub(crate) struct Merchants(Vec<Merchant>);

impl Merchants {
    /// The same ones in every run.
    pub(crate) fn new() -> Self {
        let shop = |serial: u16| {
            let mcc = SHOP_MCCS[usize::from(serial) % SHOP_MCCS.len()];
            Merchant::new(serial, *mcc, "TEST MERCHANT BEIJING")
        };
        let gate = |serial: u16| {
            let mcc = GATE_MCCS[usize::from(serial) % GATE_MCCS.len()];
            Merchant::new(SHOPS + serial, *mcc, "TEST METRO LINE 1")
        };
        Self((0..SHOPS).map(shop).chain((0..GATES).map(gate)).collect())
    }

    /// The place of the merchant at which this random number puts a transaction.
    #[inline]
    pub(crate) fn pick(kind: Kind, random: u16) -> u16 {
        match kind {
            Kind::Transit | Kind::PreAuthorization => SHOPS + random % GATES,
            Kind::Tap
            | Kind::TapWithPin
            | Kind::QrCode
            | Kind::Balance
            | Kind::Reversal
            | Kind::Refund
            | Kind::EchoTest
            | Kind::SignOn => random % SHOPS,
        }
    }

    /// The merchant at a place given by [`Merchants::pick`].
    #[inline]
    pub(crate) fn at(&self, place: u16) -> &Merchant {
        &self.0[usize::from(place)]
    }
}

impl Merchant {
    fn new(serial: u16, mcc: [u8; 4], name: &str) -> Self {
        let mut id = *b"333290000000000";
        id[7..11].copy_from_slice(&mcc);
        decimal::put(u64::from(serial), &mut id[11..]);
        let mut padded = [b' '; 40];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        let terminal = decimal::text(1_080_000 + u64::from(serial));
        Self { terminal, id, mcc, name: padded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fares_are_taken_at_gates_and_the_rest_in_shops() {
        let merchants = Merchants::new();
        for random in [0, 1, 999, u16::MAX] {
            let mcc = |kind| merchants.at(Merchants::pick(kind, random)).mcc;
            assert!(GATE_MCCS.contains(&&mcc(Kind::Transit)));
            assert!(SHOP_MCCS.contains(&&mcc(Kind::Tap)));
        }
        assert_eq!(&merchants.at(1_001).id, b"333290041311001");
        assert_eq!(&merchants.at(7).terminal, b"01080007");
    }
}
