//! Which data objects a cryptogram covers, in which order: data of an issuer, not code.

use crate::chip::{ChipData, ObjectError, ObjectProblem, tag};
use crate::tlv::TlvReader;
use core::fmt;

/// Most objects of a list.
const ITEMS_MAX: usize = 32;
/// Most bytes that the objects of a list may have together.
const BYTES_MAX: usize = 256;
/// What stands for the card verification results in a list's text.
const RESULTS: &str = "CVR";
/// Bytes of them.
const RESULTS_BYTES: usize = 4;

/// Tag, fewest and most bytes of what cryptograms cover (EMV Book 3, annex A).
const LENGTHS: [(u32, u8, u8); 17] = [
    (0x82, 2, 2),
    (0x84, 5, 16),
    (0x95, 5, 5),
    (0x9A, 3, 3),
    (0x9C, 1, 1),
    (0x5F2A, 2, 2),
    (0x5F34, 1, 1),
    (0x9F02, 6, 6),
    (0x9F03, 6, 6),
    (0x9F10, 1, 32),
    (0x9F1A, 2, 2),
    (0x9F21, 3, 3),
    (0x9F33, 3, 3),
    (0x9F34, 3, 3),
    (0x9F35, 1, 1),
    (0x9F36, 2, 2),
    (0x9F37, 4, 4),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// The card verification results in 9F10.
    Results,
    /// The whole value of an object.
    Object { tag: u32, min: u8, max: u8, zeros_if_absent: bool },
}

/// The data objects that a cryptogram covers, in order. It can be written as text, and parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataList {
    items: [Item; ITEMS_MAX],
    count: u8,
}

/// Which item of a list's text is wrong, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataListError {
    /// Its place, from 1 on; 0 for a list without items.
    pub item: usize,
    /// What is wrong with it.
    pub reason: DataListReason,
}

/// Why an item of a list's text is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataListReason {
    /// There is none.
    Empty,
    /// It is neither `CVR` nor a tag.
    NotATag,
    /// Its object has no length that is known here: write it, `9F7C:20`.
    UnknownLength,
    /// Its length is not 1 to 252 bytes.
    BadLength,
    /// It comes twice.
    Twice,
    /// It is the cryptogram itself.
    Cryptogram,
    /// More than 32 items, or more than 256 bytes of objects together.
    TooLong,
}

impl fmt::Display for DataListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            DataListReason::Empty => return f.write_str("the list has no items"),
            DataListReason::NotATag => "is neither CVR nor a tag",
            DataListReason::UnknownLength => "has no known length: write it, as in 9F7C:20",
            DataListReason::BadLength => "has no length of 1 to 252 bytes",
            DataListReason::Twice => "comes twice",
            DataListReason::Cryptogram => "is the cryptogram itself",
            DataListReason::TooLong => "makes the list longer than 32 items or 256 bytes",
        };
        write!(f, "item {} {reason}", self.item)
    }
}

impl std::error::Error for DataListError {}

impl DataList {
    /// What UnionPay's cards cover by version 01, and Visa's by version 10.
    pub const LONG: Self = Self::of(
        [0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36],
        Item::Results,
    );

    /// What UnionPay's fast contactless payment covers by version 17 (an assumption).
    pub const SHORT: Self = Self::of([0x9F02, 0x9F37, 0x9F36], Item::Results);

    /// What Visa's cards cover by version 18: as [`Self::LONG`], with all of 9F10.
    pub const WITH_ISSUER_DATA: Self = Self::of(
        [0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36],
        Item::Object { tag: 0x9F10, min: 1, max: 32, zeros_if_absent: false },
    );

    const fn of<const COUNT: usize>(tags: [u32; COUNT], last: Item) -> Self {
        let mut items = [Item::Results; ITEMS_MAX];
        let mut place = 0;
        while place < COUNT {
            let tag = tags[place];
            let Some((min, max)) = lengths(tag) else { panic!("a tag of known length") };
            items[place] = Item::Object { tag, min, max, zeros_if_absent: false };
            place += 1;
        }
        items[place] = last;
        Self { items, count: COUNT as u8 + 1 }
    }

    /// From text: tags in hexadecimal and `CVR` (bytes 4 to 7 of 9F10), between spaces or commas. A
    /// tag whose length is not known here is written with it, `9F7C:20`; an object that counts as
    /// zeros where a terminal does not send it has a question mark, `9F03?`.
    ///
    /// # Errors
    /// [`DataListError`]
    pub fn parse(text: &str) -> Result<Self, DataListError> {
        let mut this = Self { items: [Item::Results; ITEMS_MAX], count: 0 };
        let separators = |c: char| c.is_ascii_whitespace() || c == ',';
        for word in text.split(separators).filter(|word| !word.is_empty()) {
            let place = usize::from(this.count) + 1;
            let added = Item::parse(word).and_then(|item| this.add(item));
            added.map_err(|reason| DataListError { item: place, reason })?;
        }
        if this.count == 0 {
            return Err(DataListError { item: 0, reason: DataListReason::Empty });
        }
        Ok(this)
    }

    fn add(&mut self, item: Item) -> Result<(), DataListReason> {
        if self.items().iter().any(|known| known.tag() == item.tag()) {
            return Err(DataListReason::Twice);
        }
        let bytes: usize = self.items().iter().map(|item| item.bytes_max()).sum();
        let free = self.items.get_mut(usize::from(self.count)).ok_or(DataListReason::TooLong)?;
        if bytes + item.bytes_max() > BYTES_MAX {
            return Err(DataListReason::TooLong);
        }
        *free = item;
        self.count += 1;
        Ok(())
    }

    fn items(&self) -> &[Item] {
        self.items.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The objects' values, one after the other.
    ///
    /// # Errors
    /// [`ObjectError`] for the first object that is missing or of a wrong length.
    pub(super) fn collect(&self, chip: &ChipData<'_>) -> Result<Data, ObjectError> {
        let mut data = Data { bytes: [0; BYTES_MAX], count: 0 };
        for item in self.items() {
            match *item {
                Item::Results => data.push(&chip.issuer_application_data()?.results),
                Item::Object { tag, max, zeros_if_absent: true, .. }
                    if chip.get(tag).is_none_or(<[u8]>::is_empty) =>
                {
                    data.skip(usize::from(max));
                }
                Item::Object { tag, min, max, .. } => {
                    let value = chip.require(tag)?;
                    if !(usize::from(min)..=usize::from(max)).contains(&value.len()) {
                        return Err(ObjectError::new(tag, ObjectProblem::Length));
                    }
                    data.push(value);
                }
            }
        }
        Ok(data)
    }
}

/// The list as it can be parsed.
impl fmt::Display for DataList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, item) in self.items().iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            fmt::Display::fmt(item, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for DataList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataList({self})")
    }
}

impl Item {
    fn parse(word: &str) -> Result<Self, DataListReason> {
        if word == RESULTS {
            return Ok(Self::Results);
        }
        let (word, zeros_if_absent) = match word.strip_suffix('?') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let (word, length) = match word.split_once(':') {
            Some((word, length)) => (word, Some(length)),
            None => (word, None),
        };
        let tag = parse_tag(word).ok_or(DataListReason::NotATag)?;
        if tag == tag::CRYPTOGRAM {
            return Err(DataListReason::Cryptogram);
        }
        let (min, max) = match length.map(str::parse::<u8>) {
            None => lengths(tag).ok_or(DataListReason::UnknownLength)?,
            Some(Ok(bytes @ 1..=252)) => (bytes, bytes),
            Some(_) => return Err(DataListReason::BadLength),
        };
        Ok(Self::Object { tag, min, max, zeros_if_absent })
    }

    /// The object's tag; none for the results.
    const fn tag(&self) -> Option<u32> {
        match self {
            Self::Results => None,
            Self::Object { tag, .. } => Some(*tag),
        }
    }

    fn bytes_max(&self) -> usize {
        match self {
            Self::Results => RESULTS_BYTES,
            Self::Object { max, .. } => usize::from(*max),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Object { tag, min, max, zeros_if_absent } = *self else {
            return f.write_str(RESULTS);
        };
        write!(f, "{tag:X}")?;
        if lengths(tag) != Some((min, max)) {
            write!(f, ":{max}")?;
        }
        f.write_str(if zeros_if_absent { "?" } else { "" })
    }
}

/// A whole tag in hexadecimal.
fn parse_tag(word: &str) -> Option<u32> {
    let is_hex = matches!(word.len(), 2 | 4 | 6 | 8) && word.bytes().all(|b| b.is_ascii_hexdigit());
    let tag = is_hex.then(|| u32::from_str_radix(word, 16).ok()).flatten()?;
    // With a length of zero behind it, it must read as an object of this tag.
    let mut bytes = [0; 5];
    let count = word.len() / 2;
    let shifted = tag.checked_shl(8 * (4 - count as u32))?;
    bytes.first_chunk_mut::<4>()?.copy_from_slice(&shifted.to_be_bytes());
    let mut reader = TlvReader::new(bytes.get(..=count)?);
    let object = reader.next()?.ok()?;
    (tag != 0 && object.tag == tag && reader.rest().is_empty()).then_some(tag)
}

/// Fewest and most bytes of an object.
const fn lengths(tag: u32) -> Option<(u8, u8)> {
    let mut place = 0;
    while place < LENGTHS.len() {
        let (known, min, max) = LENGTHS[place];
        if known == tag {
            return Some((min, max));
        }
        place += 1;
    }
    None
}

/// What a cryptogram covers, collected. A list's bound is its own.
pub(super) struct Data {
    bytes: [u8; BYTES_MAX],
    count: usize,
}

impl Data {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, value: &[u8]) {
        let free = self.bytes.get_mut(self.count..).unwrap_or_default();
        debug_assert!(value.len() <= free.len(), "a list's objects fit");
        free.iter_mut().zip(value).for_each(|(out, byte)| *out = *byte);
        self.skip(value.len());
    }

    /// Over so many zeros.
    fn skip(&mut self, bytes: usize) {
        self.count = (self.count + bytes).min(BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (usize, DataListReason) {
        let error = DataList::parse(text).unwrap_err();
        (error.item, error.reason)
    }

    #[test]
    fn lists_are_the_same_as_their_text() {
        let long = "9F02 9F03 9F1A 95 5F2A 9A 9C 9F37 82 9F36 CVR";
        assert_eq!(DataList::parse(long), Ok(DataList::LONG));
        assert_eq!(DataList::parse("9f02, 9f37,9F36\tCVR"), Ok(DataList::SHORT));
        assert_eq!(DataList::LONG.to_string(), long);
        assert_eq!(DataList::WITH_ISSUER_DATA.to_string(), long.replace("CVR", "9F10"));
        for text in ["9F03? 9F7C:20 DF8129:8? 9F10", "9F37:8 CVR 9F10?", "84 9F33:3"] {
            let list = DataList::parse(text).unwrap();
            assert_eq!(DataList::parse(&list.to_string()), Ok(list), "{list}");
        }
    }

    #[test]
    fn wrong_items_are_named() {
        use DataListReason as R;
        assert_eq!(reason(" , "), (0, R::Empty));
        for word in ["9F", "9F0", "9F0236", "0", "00", "1F8182838401", "cvr", "9G02", "+9F2", ":4"]
        {
            assert_eq!(reason(&format!("95 {word}")), (2, R::NotATag), "{word}");
        }
        assert_eq!(reason("9F02 9F7C"), (2, R::UnknownLength));
        for word in ["9F7C:0", "9F7C:253", "9F7C:", "9F7C:x", "9F7C:20:1"] {
            assert_eq!(reason(word), (1, R::BadLength), "{word}");
        }
        assert_eq!(reason("9F02 95 9F02"), (3, R::Twice));
        assert_eq!(reason("CVR 95 CVR"), (3, R::Twice));
        assert_eq!(reason("9F26"), (1, R::Cryptogram));
        assert_eq!(reason("9F7C:252 CVR 9C"), (3, R::TooLong));
        let many: String = (1..=33).map(|tag| format!("DF{tag:02X}:1 ")).collect();
        assert_eq!(reason(&many), (33, R::TooLong));
    }

    #[test]
    fn objects_are_collected_in_the_list_s_order() {
        let chip = b"\x9F\x36\x02\x00\x07\x9F\x10\x08\x07\x01\x17\x03\xA0\x00\x00\x01\x9C\x01\x20";
        let chip = ChipData::parse(chip).unwrap();
        let collect = |text: &str| {
            let data = DataList::parse(text).unwrap().collect(&chip);
            data.map(|data| data.as_bytes().to_vec()).map_err(|error| (error.tag, error.problem))
        };
        assert_eq!(collect("9C 9F36 CVR"), Ok(b"\x20\x00\x07\x03\xA0\x00\x00".to_vec()));
        assert_eq!(collect("9F36 9C? 9F03?"), Ok(b"\x00\x07\x20\0\0\0\0\0\0".to_vec()));
        assert_eq!(collect("9C 9F03"), Err((0x9F03, ObjectProblem::Missing)));
        assert_eq!(collect("9C 9F36:3?"), Err((0x9F36, ObjectProblem::Length)));
    }

    #[test]
    fn the_largest_list_fits() {
        let list = DataList::parse("9F7C:252 CVR").unwrap();
        let mut bytes = b"\x9F\x10\x07\x06\x01\x0A\x03\xA0\x60\x10\x9F\x7C\x81\xFC".to_vec();
        bytes.extend([0xEE; 252]);
        let data = list.collect(&ChipData::parse(&bytes).unwrap()).ok().unwrap();
        assert_eq!(data.as_bytes()[248..], [0xEE, 0xEE, 0xEE, 0xEE, 0x03, 0xA0, 0x60, 0x10]);
    }
}
