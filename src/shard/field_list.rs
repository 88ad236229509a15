//! Data elements one after another in bytes: number, wire length (two bytes), wire form. What is
//! kept of a message where a whole message would be too much or would carry too much.
//!
//! Not here: which elements are kept, except that [`CARD_DATA`] never is.

use tapswitch_protocol::{Dialect, FieldSet, MessageView, MessageWriter, Mti, WireField};

/// Elements that name a card or prove its holder: they are in no list. The card is known by its key;
/// tracks and PIN blocks are never stored at all, chip data only as far as `notice` says.
pub(super) const CARD_DATA: FieldSet =
    FieldSet::of(&[2, 14, 34, 35, 36, 45, 52, 55, 64, 102, 103, 128]);

/// Most elements of a list and what is added to it.
const FIELDS_MAX: usize = 48;

/// Elements to be listed: picked from a message, or listed already.
#[derive(Clone, Copy)]
pub enum StoredFields<'a> {
    /// Those of a message; made with [`StoredFields::of`] only.
    Picked(Picked<'a>),
    /// A list.
    Listed(&'a [u8]),
}

/// Elements of a message, without [`CARD_DATA`].
#[derive(Clone, Copy)]
pub struct Picked<'a> {
    view: &'a MessageView<'a>,
    fields: FieldSet,
}

impl<'a> StoredFields<'a> {
    /// The elements of `view` that are in `fields` and say nothing of the card.
    pub(super) fn of(view: &'a MessageView<'a>, fields: FieldSet) -> Self {
        let fields = view.present().and(fields).minus(CARD_DATA);
        Self::Picked(Picked { view, fields })
    }

    /// Writes the list; returns its bytes. `None` when it does not fit.
    pub(super) fn write(&self, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Listed(bytes) => {
                out.get_mut(..bytes.len())?.copy_from_slice(bytes);
                Some(bytes.len())
            }
            Self::Picked(Picked { view, fields }) => {
                let mut at = 0;
                for field in *fields {
                    at += write_field(
                        WireField { field, wire: view.wire(field)? },
                        out.get_mut(at..)?,
                    )?;
                }
                Some(at)
            }
        }
    }
}

/// Adds one element at the start of `out`; returns the bytes written.
pub(super) fn write_field(field: WireField<'_>, out: &mut [u8]) -> Option<usize> {
    let bytes = 3 + field.wire.len();
    let (head, tail) = out.get_mut(..bytes)?.split_at_mut(3);
    let [low, high] = u16::try_from(field.wire.len()).ok()?.to_le_bytes();
    head.copy_from_slice(&[field.field, low, high]);
    tail.copy_from_slice(field.wire);
    Some(bytes)
}

/// The elements of a list.
pub(super) fn fields(mut list: &[u8]) -> impl Iterator<Item = WireField<'_>> {
    core::iter::from_fn(move || {
        let (&[field, low, high], rest) = list.split_first_chunk()?;
        let (wire, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        list = rest;
        Some(WireField { field, wire })
    })
}

/// The wire form of an element of a list, to be changed in its length.
pub(super) fn wire_mut(mut list: &mut [u8], wanted: u8) -> Option<&mut [u8]> {
    loop {
        let (&mut [field, low, high], rest) = list.split_first_chunk_mut()?;
        let bytes = usize::from(u16::from_le_bytes([low, high]));
        let (wire, rest) = rest.split_at_mut_checked(bytes)?;
        if field == wanted {
            return Some(wire);
        }
        list = rest;
    }
}

/// Writes a message of the elements of a list and `own`, which wins where both have one; `pan` is
/// DE 2. Returns the bytes written.
pub(super) fn write_message(
    dialect: &Dialect,
    mti: Mti,
    (list, own): (&[u8], &[WireField<'_>]),
    pan: Option<&[u8]>,
    out: &mut [u8],
) -> Option<usize> {
    let mut all = [WireField { field: 0, wire: &[] }; FIELDS_MAX];
    let mut count = 0;
    let listed = fields(list).filter(|field| own.iter().all(|own| own.field != field.field));
    for field in listed.chain(own.iter().copied()) {
        *all.get_mut(count)? = field;
        count += 1;
    }
    let all = all.get_mut(..count)?;
    all.sort_unstable_by_key(|field| field.field);
    let mut writer = MessageWriter::new(dialect, mti, out).ok()?;
    if let Some(pan) = pan {
        writer.put(2, pan).ok()?;
    }
    for field in all {
        writer.put_wire(field.field, field.wire).ok()?;
    }
    writer.finish().ok()
}
