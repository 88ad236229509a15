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
/// `additions` are in ascending order, each field once.
///
/// # Errors
/// See [`WriteError`].
#[inline]
pub fn respond(
    request: &MessageView<'_>,
    mti: Mti,
    echo: FieldSet,
    additions: &[Addition<'_>],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let added = additions.iter().fold(FieldSet::EMPTY, |set, addition| set.with(addition.field));
    let mut echoed = request.present().and(echo).minus(added);
    let has_secondary = echoed.or(added).reaches_above_64();
    let mut writer = MessageWriter::with_bitmaps(request.dialect(), mti, has_secondary, out)?;
    for addition in additions {
        let before = echoed.below(addition.field);
        writer.copy_all(before, request)?;
        writer.put(addition.field, addition.value)?;
        echoed = echoed.minus(before);
    }
    writer.copy_all(echoed, request)?;
    writer.finish()
}
