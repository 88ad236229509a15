//! The response to a request: its echoed fields, bit for bit, and what is added to them.

use crate::error::WriteError;
use crate::field::FieldSet;
use crate::mti::Mti;
use crate::view::MessageView;
use crate::writer::MessageWriter;

/// A field put into a response: its value without length prefix, as for [`MessageWriter::put`].
#[derive(Clone, Copy)]
pub struct Addition<'a> {
    /// Data element.
    pub field: u8,
    /// Characters, or bytes for class `b`.
    pub value: &'a [u8],
}

/// Writes a message of type `mti` made of the fields of `request` that are in `echo`, and of
/// `additions`, which replace an echoed field of the same number. Returns the bytes written.
///
/// `additions` are in ascending order.
///
/// # Errors
/// See [`WriteError`]; additions out of order are skipped fields, found by tests, not at run time.
#[inline]
pub fn respond(
    request: &MessageView<'_>,
    mti: Mti,
    echo: FieldSet,
    additions: &[Addition<'_>],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    debug_assert!(additions.is_sorted_by_key(|addition| addition.field), "ascending additions");
    let mut writer = MessageWriter::new(request.dialect(), mti, out)?;
    let echoed = request.present().and(echo);
    let added = additions.iter().fold(FieldSet::EMPTY, |set, addition| set.with(addition.field));
    let mut rest = additions.iter();
    for field in echoed.or(added) {
        if added.has(field) {
            let addition = rest.next().ok_or(WriteError::OutOfOrder(field))?;
            writer.put(addition.field, addition.value)?;
        } else {
            writer.copy(field, request)?;
        }
    }
    writer.finish()
}
