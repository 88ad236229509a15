//! What a chip card says in DE 55: a checked view over its data objects.
//!
//! [`ChipData::parse`] walks the objects once, notes where each of them lies and refuses what two
//! readers could take differently: an object that comes twice, bytes that are no object. After it no
//! accessor can fail for the form of DE 55, only because an object is missing, or is not of the size
//! or content that its definition asks for. Objects come in any order; an empty one is one that is not
//! there (real terminals send them). Nothing is copied or allocated. [`ChipData::write_with`] writes them
//! again with one more, for an answer.
//!
//! Tags, lengths and meanings: EMV Book 3, annexes A and B.
//!
//! Not here: whether a cryptogram is right (`emv`), names of objects for people (`describe`), and
//! which objects a message must have.

mod issuer_application_data;

pub use issuer_application_data::{IadAlgorithm, IssuerApplicationData};

use crate::error::WriteError;
use crate::tlv::{Tlv, TlvError, TlvReader, TlvWriter};
use crate::view::MessageView;
use core::fmt;

/// Tags that this crate asks for.
pub mod tag {
    /// Application cryptogram, 8 bytes.
    pub const CRYPTOGRAM: u32 = 0x9F26;
    /// Cryptogram information data, 1 byte.
    pub const CRYPTOGRAM_INFORMATION: u32 = 0x9F27;
    /// Issuer application data, at most 32 bytes.
    pub const ISSUER_APPLICATION_DATA: u32 = 0x9F10;
    /// Application transaction counter, 2 bytes.
    pub const TRANSACTION_COUNTER: u32 = 0x9F36;
    /// PAN sequence number, two packed digits.
    pub const PAN_SEQUENCE: u32 = 0x5F34;
    /// Issuer authentication data, 8 to 16 bytes: what a card is answered.
    pub const ISSUER_AUTHENTICATION: u32 = 0x91;
    /// Issuer script template 1.
    pub const SCRIPT_1: u32 = 0x71;
    /// Issuer script template 2.
    pub const SCRIPT_2: u32 = 0x72;
}

/// Most data objects of one DE 55; real messages have 15 to 30.
pub const OBJECTS_MAX: usize = 64;

/// The data element.
const FIELD: u8 = 55;
/// Card sequence number, the same as tag 5F34 for those who read no DE 55.
const SEQUENCE_FIELD: u8 = 23;

/// Why DE 55 is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChipDataError {
    /// It is not BER-TLV.
    Tlv(TlvError),
    /// A tag of zero: padding between objects, which other readers may take for objects.
    Padding,
    /// This tag comes twice. Scripts (71, 72) may.
    Twice(u32),
    /// More than [`OBJECTS_MAX`] objects.
    TooMany,
    /// More than 65,535 bytes, which no DE 55 has.
    TooLong,
}

impl fmt::Display for ChipDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tlv(TlvError::Truncated) => f.write_str("a data object runs past the end"),
            Self::Tlv(TlvError::Tag) => f.write_str("a tag has more than four bytes"),
            Self::Tlv(TlvError::Length) => f.write_str("a length is not of one to three bytes"),
            Self::Padding => f.write_str("zero bytes where a tag should be"),
            Self::Twice(tag) => write!(f, "tag {tag:X} comes twice"),
            Self::TooMany => write!(f, "more than {OBJECTS_MAX} data objects"),
            Self::TooLong => f.write_str("more than 65,535 bytes"),
        }
    }
}

impl std::error::Error for ChipDataError {}

/// Why a data object cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectProblem {
    /// It is not there, or empty.
    Missing,
    /// Its length is not the one that its definition asks for.
    Length,
    /// Its content is none that its definition knows.
    Content,
}

/// Which data object cannot be used, and why. Its value is not in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectError {
    /// The tag: `0x9F36`.
    pub tag: u32,
    /// What is wrong with it.
    pub problem: ObjectProblem,
}

impl ObjectError {
    pub(crate) const fn new(tag: u32, problem: ObjectProblem) -> Self {
        Self { tag, problem }
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            ObjectProblem::Missing => "is missing",
            ObjectProblem::Length => "has a wrong length",
            ObjectProblem::Content => "has a content that is not defined",
        };
        write!(f, "tag {:X} {problem}", self.tag)
    }
}

impl std::error::Error for ObjectError {}

/// What a cryptogram is (9F27, bits 8 and 7). The cryptogram does not protect this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptogramKind {
    /// AAC: the card declined.
    Declined,
    /// TC: the card approved by itself.
    Approved,
    /// ARQC: the card asks its issuer.
    Request,
}

/// PAN sequence number, 0 to 99: which of the cards of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PanSequence(u8);

impl PanSequence {
    /// `None` above 99.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|&number| number <= 99).map(Self)
    }

    /// As a number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Of a message: tag 5F34, else DE 23, else 0, which is what a key is derived with where a card has
    /// no such number (EMV Book 2, A1.4).
    ///
    /// # Errors
    /// [`ObjectError`] for tag 5F34 if what is there, or else DE 23, is not two digits.
    pub fn of(chip: &ChipData<'_>, view: &MessageView<'_>) -> Result<Self, ObjectError> {
        if let Some(own) = chip.pan_sequence()? {
            return Ok(own);
        }
        match view.number(SEQUENCE_FIELD) {
            None => Ok(Self::default()),
            Some(number) => Self::from_number(number)
                .ok_or(ObjectError::new(tag::PAN_SEQUENCE, ObjectProblem::Content)),
        }
    }
}

/// Where an object of DE 55 lies. Its tag is never zero; a place that is not used has zero.
#[derive(Clone, Copy, Default)]
struct Place {
    tag: u32,
    start: u16,
    end: u16,
}

/// The data objects of one DE 55, checked.
///
/// It prints how many there are, not what they hold: account numbers and tracks are among them.
#[derive(Clone, Copy)]
pub struct ChipData<'a> {
    bytes: &'a [u8],
    places: [Place; OBJECTS_MAX],
    count: u8,
}

impl<'a> ChipData<'a> {
    /// Over the content of DE 55.
    ///
    /// # Errors
    /// [`ChipDataError`]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ChipDataError> {
        let mut this = Self { bytes, places: [Place::default(); OBJECTS_MAX], count: 0 };
        let mut reader = TlvReader::new(bytes);
        while let Some(object) = reader.next() {
            let object = object.map_err(ChipDataError::Tlv)?;
            this.add(object, bytes.len() - reader.rest().len())?;
        }
        Ok(this)
    }

    /// Of a message; `None` where it has no DE 55.
    ///
    /// # Errors
    /// [`ChipDataError`]
    pub fn of(view: &MessageView<'a>) -> Result<Option<Self>, ChipDataError> {
        view.raw(FIELD).map(Self::parse).transpose()
    }

    fn add(&mut self, object: Tlv<'a>, end: usize) -> Result<(), ChipDataError> {
        if object.tag == 0 {
            return Err(ChipDataError::Padding);
        }
        let may_repeat = matches!(object.tag, tag::SCRIPT_1 | tag::SCRIPT_2);
        if !may_repeat && self.places().iter().any(|place| place.tag == object.tag) {
            return Err(ChipDataError::Twice(object.tag));
        }
        let narrow = |offset| u16::try_from(offset).map_err(|_| ChipDataError::TooLong);
        let place =
            Place { tag: object.tag, start: narrow(end - object.value.len())?, end: narrow(end)? };
        let free = self.places.get_mut(usize::from(self.count)).ok_or(ChipDataError::TooMany)?;
        *free = place;
        self.count += 1;
        Ok(())
    }

    fn places(&self) -> &[Place] {
        self.places.get(..usize::from(self.count)).unwrap_or_default()
    }

    fn value(&self, place: &Place) -> &'a [u8] {
        self.bytes.get(usize::from(place.start)..usize::from(place.end)).unwrap_or_default()
    }

    /// All objects in the order in which they came, empty ones too.
    pub fn objects(&self) -> impl Iterator<Item = Tlv<'a>> {
        self.places().iter().map(|place| Tlv { tag: place.tag, value: self.value(place) })
    }

    /// The value of an object, the first where it may come more than once; empty when it came empty.
    #[must_use]
    pub fn get(&self, tag: u32) -> Option<&'a [u8]> {
        self.places().iter().find(|place| place.tag == tag).map(|place| self.value(place))
    }

    /// The value of an object that must be there and not be empty.
    ///
    /// # Errors
    /// [`ObjectProblem::Missing`]
    pub fn require(&self, tag: u32) -> Result<&'a [u8], ObjectError> {
        let value = self.get(tag).filter(|value| !value.is_empty());
        value.ok_or(ObjectError::new(tag, ObjectProblem::Missing))
    }

    /// The value of an object that must be there with exactly so many bytes.
    ///
    /// # Errors
    /// [`ObjectProblem::Missing`], [`ObjectProblem::Length`]
    pub fn exactly<const BYTES: usize>(&self, tag: u32) -> Result<&'a [u8; BYTES], ObjectError> {
        let value = self.require(tag)?;
        value.try_into().map_err(|_| ObjectError::new(tag, ObjectProblem::Length))
    }

    /// Writes these objects with `value` for one of them, in its place, or behind the others where it
    /// was not there: DE 55 of an answer, with tag 91. Returns how many bytes.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`]; the output is unusable then.
    pub fn write_with(&self, tag: u32, value: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        let mut writer = TlvWriter::new(out);
        for object in self.objects() {
            let value = if object.tag == tag { value } else { object.value };
            writer.put(object.tag, value)?;
        }
        if self.get(tag).is_none() {
            writer.put(tag, value)?;
        }
        Ok(writer.finish())
    }

    /// The application transaction counter, 9F36: how often the card was used.
    ///
    /// # Errors
    /// [`ObjectProblem::Missing`], [`ObjectProblem::Length`]
    pub fn transaction_counter(&self) -> Result<u16, ObjectError> {
        self.exactly(tag::TRANSACTION_COUNTER).map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The application cryptogram, 9F26.
    ///
    /// # Errors
    /// [`ObjectProblem::Missing`], [`ObjectProblem::Length`]
    pub fn cryptogram(&self) -> Result<[u8; 8], ObjectError> {
        self.exactly(tag::CRYPTOGRAM).copied()
    }

    /// What the cryptogram is, 9F27.
    ///
    /// # Errors
    /// [`ObjectError`]; [`ObjectProblem::Content`] for bits 8 and 7 both set, which are reserved.
    pub fn cryptogram_kind(&self) -> Result<CryptogramKind, ObjectError> {
        let &[byte] = self.exactly(tag::CRYPTOGRAM_INFORMATION)?;
        match byte & 0xC0 {
            0x00 => Ok(CryptogramKind::Declined),
            0x40 => Ok(CryptogramKind::Approved),
            0x80 => Ok(CryptogramKind::Request),
            _ => Err(ObjectError::new(tag::CRYPTOGRAM_INFORMATION, ObjectProblem::Content)),
        }
    }

    /// The PAN sequence number, 5F34; `None` where it is not there.
    ///
    /// # Errors
    /// [`ObjectProblem::Length`], [`ObjectProblem::Content`] unless it is two packed digits.
    pub fn pan_sequence(&self) -> Result<Option<PanSequence>, ObjectError> {
        let wrong = |problem| Err(ObjectError::new(tag::PAN_SEQUENCE, problem));
        match self.get(tag::PAN_SEQUENCE) {
            None | Some([]) => Ok(None),
            Some(&[byte]) if byte >> 4 <= 9 && byte & 0x0F <= 9 => {
                Ok(Some(PanSequence((byte >> 4) * 10 + (byte & 0x0F))))
            }
            Some([_]) => wrong(ObjectProblem::Content),
            Some(_) => wrong(ObjectProblem::Length),
        }
    }

    /// The issuer application data, 9F10, as UnionPay and Visa lay it out.
    ///
    /// # Errors
    /// See [`IssuerApplicationData::parse`].
    pub fn issuer_application_data(&self) -> Result<IssuerApplicationData<'a>, ObjectError> {
        IssuerApplicationData::parse(self.require(tag::ISSUER_APPLICATION_DATA)?)
    }
}

impl fmt::Debug for ChipData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChipData({} objects)", self.count)
    }
}

#[cfg(test)]
mod tests;
