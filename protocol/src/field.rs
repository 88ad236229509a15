//! What a dialect says of one data element, and sets of data elements.

/// Content class of a data element, as ISO 8583 names them. Only `N` and `Z` are validated: real
/// peers send text outside the other classes, and nothing here depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `n`: digits, right-justified, zero-filled.
    N,
    /// `an`: letters and digits, left-justified, space-filled.
    An,
    /// `ans`: text, left-justified, space-filled.
    Ans,
    /// `z`: track 2 and 3 code set.
    Z,
    /// `b`: bytes.
    B,
}

/// How the content of a field lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A byte a character (or a byte a byte, for class `b`).
    Plain,
    /// Two digits a byte, an odd count padded on the right (left-justified).
    BcdLeft,
    /// Two digits a byte, an odd count padded on the left (right-justified).
    BcdRight,
}

/// One row of a dialect's table. Lengths count characters, digits or bytes, by packing and class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Digits of the length prefix: 0 (fixed), 2 or 3.
    pub prefix_digits: u8,
    /// The fixed length, or the maximum of a variable one.
    pub length_max: u16,
    /// Content class.
    pub class: Class,
    /// Form on the wire.
    pub packing: Packing,
}

impl FieldSpec {
    /// Reads the notation of the dialect files: `6 n`, `..19 LL n`, `..512 LLL b`, `6 bcdL`,
    /// `..37 LL zL`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let length = words.next()?;
        let (prefix_digits, length) = match length.strip_prefix("..") {
            None => (0, length),
            Some(max) => match words.next()? {
                "LL" => (2, max),
                "LLL" => (3, max),
                _ => return None,
            },
        };
        let (class, packing) = match words.next()? {
            "n" => (Class::N, Packing::Plain),
            "an" => (Class::An, Packing::Plain),
            "ans" | "ns" => (Class::Ans, Packing::Plain),
            "z" => (Class::Z, Packing::Plain),
            "b" => (Class::B, Packing::Plain),
            "bcdL" => (Class::N, Packing::BcdLeft),
            "bcdR" => (Class::N, Packing::BcdRight),
            "zL" => (Class::Z, Packing::BcdLeft),
            _ => return None,
        };
        let length_max = length.parse().ok().filter(|&max| max > 0 && max <= 999)?;
        if words.next().is_some() || (prefix_digits == 2 && length_max > 99) {
            return None;
        }
        Some(Self { prefix_digits, length_max, class, packing })
    }

    /// Bytes on the wire that `count` characters, digits or bytes of this field take.
    #[inline]
    #[must_use]
    pub const fn wire_bytes(&self, count: usize) -> usize {
        match self.packing {
            Packing::Plain => count,
            Packing::BcdLeft | Packing::BcdRight => count.div_ceil(2),
        }
    }
}

/// Data elements of a message with primary and secondary bitmap.
pub(crate) const FIELDS: usize = 128;

/// The number of the data element with this index in a table of [`FIELDS`].
#[expect(clippy::cast_possible_truncation, reason = "an index is below 128")]
pub(crate) const fn field_number(index: usize) -> u8 {
    debug_assert!(index < FIELDS, "Invariant: an index is below 128");
    index as u8 + 1
}

/// A set of data elements 1 to 128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u128);

impl FieldSet {
    /// No data element.
    pub const EMPTY: Self = Self(0);

    /// The set of the listed data elements; numbers outside 1 to 128 are ignored.
    #[must_use]
    pub const fn of(fields: &[u8]) -> Self {
        let mut set = Self(0);
        let mut rest = fields;
        while let Some((&field, tail)) = rest.split_first() {
            set = set.with(field);
            rest = tail;
        }
        set
    }

    /// From a bitmap whose most significant bit is DE 1.
    #[inline]
    #[must_use]
    pub const fn from_bitmap(primary: u64, secondary: u64) -> Self {
        Self(primary.reverse_bits() as u128 | ((secondary.reverse_bits() as u128) << 64))
    }

    /// As primary and secondary bitmap, the most significant bit first; DE 1 is set when needed.
    #[inline]
    #[must_use]
    pub const fn to_bitmap(self) -> (u64, u64) {
        let [low, high] = self.halves();
        let secondary = high.reverse_bits();
        let primary = (low & !1).reverse_bits();
        (if secondary == 0 { primary } else { primary | (1 << 63) }, secondary)
    }

    /// This set and `field`.
    #[inline]
    #[must_use]
    pub const fn with(self, field: u8) -> Self {
        if field == 0 || field > 128 { self } else { Self(self.0 | (1 << (field - 1))) }
    }

    /// Puts `field` in.
    #[inline(always)]
    pub(crate) const fn insert(&mut self, field: u8) {
        debug_assert!(field != 0 && field <= 128, "Invariant: data elements are 1 to 128");
        self.0 |= 1 << (field.wrapping_sub(1) & 127);
    }

    /// This set less `field`.
    #[inline]
    #[must_use]
    pub const fn without(self, field: u8) -> Self {
        if field == 0 || field > 128 { self } else { Self(self.0 & !(1 << (field - 1))) }
    }

    /// Whether `field` is in the set.
    #[inline]
    #[must_use]
    pub const fn has(self, field: u8) -> bool {
        field != 0 && field <= 128 && self.0 & (1 << (field - 1)) != 0
    }

    /// Data elements in both.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Data elements in either.
    #[inline]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Data elements of this set that are not in `other`.
    #[inline]
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Data elements with a lower number than `field`.
    #[inline]
    #[must_use]
    pub(crate) const fn below(self, field: u8) -> Self {
        match field {
            0 => Self::EMPTY,
            1..=128 => Self(self.0 & ((1 << (field - 1)) - 1)),
            _ => self,
        }
    }

    /// The lowest data element.
    #[inline]
    pub(crate) fn first(self) -> Option<u8> {
        self.into_iter().next()
    }

    /// Calls `visit` with the index (number less one) of each data element, ascending, until the
    /// first error. Indexes are visibly below [`FIELDS`], so that tables are not checked again.
    #[inline(always)]
    pub(crate) fn try_each_index<E>(
        self,
        mut visit: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        for (half, mut bits) in self.halves().into_iter().enumerate() {
            while bits != 0 {
                visit((half * 64 + bits.trailing_zeros() as usize) % FIELDS)?;
                bits &= bits - 1;
            }
        }
        Ok(())
    }

    /// Calls `visit` with the first and the last field of each run of this set, until the first
    /// error: fields with none of `all` between them that is not in the set. All are in `all`. A
    /// run ends between 64 and 65.
    #[inline(always)]
    pub(crate) fn try_each_run<E>(
        self,
        all: Self,
        mut visit: impl FnMut(u8, u8) -> Result<(), E>,
    ) -> Result<(), E> {
        let halves = self.halves().into_iter().zip(all.halves());
        for ((mut members, all), base) in halves.zip([1, 65]) {
            let others = all & !members;
            while members != 0 {
                let first = members.trailing_zeros();
                // The lowest of the others above the first member ends its run.
                let end = others & (u64::MAX << first);
                let run = members & (end & end.wrapping_neg()).wrapping_sub(1);
                members &= !run;
                // Bits are below 64.
                visit(base + first as u8, base + run.ilog2() as u8)?;
            }
        }
        Ok(())
    }

    /// Whether a field needs the secondary bitmap.
    #[inline]
    pub(crate) const fn reaches_above_64(self) -> bool {
        self.halves()[1] != 0
    }

    /// The data elements from `first` to `last`.
    #[inline]
    pub(crate) const fn through(self, first: u8, last: u8) -> Self {
        self.minus(self.below(first)).below(last + 1)
    }

    /// The data elements 1 to 64 and 65 to 128, lowest bit first.
    #[inline]
    pub(crate) const fn halves(self) -> [u64; 2] {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        [self.0 as u64, (self.0 >> 64) as u64]
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl IntoIterator for FieldSet {
    type Item = u8;
    type IntoIter = FieldSetIter;

    #[inline]
    fn into_iter(self) -> FieldSetIter {
        FieldSetIter { halves: self.halves() }
    }
}

/// Ascending numbers of a [`FieldSet`].
#[derive(Clone, Debug)]
pub struct FieldSetIter {
    halves: [u64; 2],
}

impl Iterator for FieldSetIter {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let [low, high] = &mut self.halves;
        let (half, first) = if *low != 0 { (low, 1) } else { (high, 65) };
        if *half == 0 {
            return None;
        }
        let bit = half.trailing_zeros() as u8;
        *half &= *half - 1;
        Some(first + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_and_its_bitmap_agree() {
        let set = FieldSet::of(&[2, 3, 64, 65, 128]);
        let (primary, secondary) = set.to_bitmap();
        assert_eq!(primary, 0xE000_0000_0000_0001);
        assert_eq!(secondary, 0x8000_0000_0000_0001);
        assert_eq!(FieldSet::from_bitmap(primary, secondary), set.with(1));
        assert_eq!(set.into_iter().collect::<Vec<_>>(), [2, 3, 64, 65, 128]);
        assert_eq!(FieldSet::of(&[11]).to_bitmap(), (1 << 53, 0));
    }

    #[test]
    fn runs_end_at_others_and_between_64_and_65() {
        let runs = |set: &[u8], all: &[u8]| {
            let mut runs = Vec::new();
            let visited: Result<(), ()> = FieldSet::of(set).try_each_run(
                FieldSet::of(all).or(FieldSet::of(set)),
                |first, last| {
                    runs.push((first, last));
                    Ok(())
                },
            );
            assert_eq!(visited, Ok(()));
            runs
        };
        assert_eq!(runs(&[2, 3, 7, 11], &[]), [(2, 11)]);
        assert_eq!(runs(&[2, 3, 7, 11], &[4, 5]), [(2, 3), (7, 11)]);
        assert_eq!(runs(&[2, 63, 64, 66, 128], &[127]), [(2, 64), (66, 66), (128, 128)]);
        assert_eq!(runs(&[1, 128], &[2, 127]), [(1, 1), (128, 128)]);
        assert_eq!(runs(&[], &[2]), []);
    }

    #[test]
    fn parts_of_a_set() {
        let set = FieldSet::of(&[2, 64, 65, 128]);
        assert_eq!(set.below(64), FieldSet::of(&[2]));
        assert_eq!((set.below(1), set.below(0)), (FieldSet::EMPTY, FieldSet::EMPTY));
        assert_eq!(set.below(129), set);
        assert_eq!(set.through(64, 65), FieldSet::of(&[64, 65]));
        assert_eq!(set.through(65, 128), FieldSet::of(&[65, 128]));
        assert_eq!((set.first(), FieldSet::EMPTY.first()), (Some(2), None));
    }

    #[test]
    fn notation_reads_and_refuses() {
        let pan = FieldSpec::parse("..19 LL n").unwrap();
        assert_eq!((pan.prefix_digits, pan.length_max, pan.class), (2, 19, Class::N));
        let track = FieldSpec::parse("..37 LL zL").unwrap();
        assert_eq!((track.class, track.packing), (Class::Z, Packing::BcdLeft));
        assert_eq!(FieldSpec::parse("6 bcdL").unwrap().wire_bytes(5), 3);
        for wrong in ["", "n", "0 n", "..120 LL n", "..19 L n", "6 x", "6 n more", "1000 n"] {
            assert_eq!(FieldSpec::parse(wrong), None, "{wrong}");
        }
    }
}
