//! Which counters and limits mean a transaction: one bit each, looked up key by key.
//!
//! Not here: what the bits mean.

use super::VelocityTransaction;
use crate::config::{PinPresence, VelocityCondition};
use crate::limits::MCC_MAX;

/// Conditions by bit, compiled into tables of masks.
pub(super) struct Conditions {
    /// Class of each MCC: most MCCs are meant by the same conditions.
    mcc_class: Box<[u16]>,
    mcc_masks: Vec<u64>,
    /// For numbers that are no MCC.
    no_mcc: u64,
    entry_mode: [u64; 256],
    transaction_type: [u64; 256],
    kind: [u64; 8],
    /// Absent, present.
    pin: [u64; 2],
    /// First nine digits from which on a mask holds, ascending from 0.
    iins: Vec<(u32, u64)>,
    currencies: Vec<(u16, u64)>,
    other_currency: u64,
    /// Unknown or no code, static, dynamic.
    qr_code: [u64; 3],
    /// No code, A, B, C.
    qr_level: [u64; 4],
}

impl Conditions {
    /// The first condition has the lowest bit; there are at most 64.
    pub(super) fn new<'c>(conditions: impl Iterator<Item = (u32, &'c VelocityCondition)>) -> Self {
        let mut this = Self {
            mcc_class: vec![0; usize::from(MCC_MAX) + 1].into_boxed_slice(),
            mcc_masks: Vec::new(),
            no_mcc: 0,
            entry_mode: [0; 256],
            transaction_type: [0; 256],
            kind: [0; 8],
            pin: [0; 2],
            iins: Vec::new(),
            currencies: Vec::new(),
            other_currency: 0,
            qr_code: [0; 3],
            qr_level: [0; 4],
        };
        let conditions: Vec<(u64, &VelocityCondition)> =
            conditions.map(|(bit, when)| (1 << bit, when)).collect();
        let mut by_mcc = vec![0u64; usize::from(MCC_MAX) + 1];
        for &(bit, when) in &conditions {
            accept(&mut by_mcc, bit, when.mccs.iter().map(|&mcc| usize::from(mcc)));
            if when.mccs.is_empty() {
                this.no_mcc |= bit;
            }
            let modes = when.entry_modes.iter().map(|&mode| usize::from(mode));
            accept(&mut this.entry_mode, bit, modes);
            let types = when.transaction_types.iter().map(|&of| usize::from(of));
            accept(&mut this.transaction_type, bit, types);
            let kinds = when.transaction_kinds.iter().map(|&kind| kind as usize);
            accept(&mut this.kind, bit, kinds);
            let pin = when.pin.iter().map(|&pin| usize::from(pin == PinPresence::Present));
            accept(&mut this.pin, bit, pin);
            accept(&mut this.qr_code, bit, when.qr_code.iter().map(|&code| code as usize + 1));
            let levels = when.qr_levels.iter().map(|&level| level as usize + 1);
            accept(&mut this.qr_level, bit, levels);
        }
        this.classify(&by_mcc);
        this.sort_iins(&conditions);
        this.list_currencies(&conditions);
        this
    }

    fn classify(&mut self, by_mcc: &[u64]) {
        for (class, &mask) in self.mcc_class.iter_mut().zip(by_mcc) {
            let known = self.mcc_masks.iter().position(|&other| other == mask);
            // At most as many classes as MCCs.
            *class = known.unwrap_or(self.mcc_masks.len()) as u16;
            if known.is_none() {
                self.mcc_masks.push(mask);
            }
        }
    }

    fn sort_iins(&mut self, conditions: &[(u64, &VelocityCondition)]) {
        let ranges = || conditions.iter().flat_map(|(_, when)| &when.iins);
        let mut starts: Vec<u32> =
            ranges().flat_map(|&(from, to)| [from, to.saturating_add(1)]).chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        let mask = |iin: u32| {
            let means = |when: &VelocityCondition| {
                when.iins.is_empty()
                    || when.iins.iter().any(|&(from, to)| (from..=to).contains(&iin))
            };
            conditions.iter().filter(|(_, when)| means(when)).fold(0, |mask, (bit, _)| mask | bit)
        };
        self.iins = starts.into_iter().map(|start| (start, mask(start))).collect();
    }

    fn list_currencies(&mut self, conditions: &[(u64, &VelocityCondition)]) {
        let any = conditions.iter().filter(|(_, when)| when.currencies.is_empty());
        self.other_currency = any.fold(0, |mask, (bit, _)| mask | bit);
        let mut listed: Vec<u16> =
            conditions.iter().flat_map(|(_, when)| when.currencies.iter().copied()).collect();
        listed.sort_unstable();
        listed.dedup();
        let mask = |currency: u16| {
            let meant = conditions.iter().filter(|(_, when)| when.currencies.contains(&currency));
            meant.fold(self.other_currency, |mask, (bit, _)| mask | bit)
        };
        self.currencies = listed.into_iter().map(|currency| (currency, mask(currency))).collect();
    }

    /// The conditions that mean this transaction.
    #[inline]
    pub(super) fn meaning(&self, t: &VelocityTransaction) -> u64 {
        let class = self.mcc_class.get(usize::from(t.mcc));
        let by_mcc = class.and_then(|&class| self.mcc_masks.get(usize::from(class)));
        let listed = self.currencies.iter().find(|(currency, _)| *currency == t.currency);
        let (code, level) = match t.qr {
            None => (0, 0),
            Some(qr) => (qr.code.map_or(0, |code| code as usize + 1), qr.level as usize + 1),
        };
        by_mcc.copied().unwrap_or(self.no_mcc)
            & self.entry_mode[usize::from(t.entry_mode)]
            & self.transaction_type[usize::from(t.transaction_type)]
            & self.kind[t.kind as usize]
            & self.pin[usize::from(t.pin_present)]
            & listed.map_or(self.other_currency, |(_, mask)| *mask)
            & self.qr_code[code]
            & self.qr_level[level]
            & self.by_iin(t.iin)
    }

    #[inline]
    fn by_iin(&self, iin: u32) -> u64 {
        // Where no condition asks, the one entry is all there is.
        let after = match self.iins.len() {
            1 => 1,
            _ => self.iins.partition_point(|(start, _)| *start <= iin),
        };
        after.checked_sub(1).and_then(|place| self.iins.get(place)).map_or(0, |(_, mask)| *mask)
    }
}

/// Adds a condition's bit to the masks of the listed values, or of all when none is listed.
fn accept(masks: &mut [u64], bit: u64, listed: impl ExactSizeIterator<Item = usize>) {
    if listed.len() == 0 {
        masks.iter_mut().for_each(|mask| *mask |= bit);
    }
    for value in listed {
        let mask = masks.get_mut(value).expect("Invariant: conditions list checked values");
        *mask |= bit;
    }
}
